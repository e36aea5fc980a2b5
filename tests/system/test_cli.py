# SPDX-License-Identifier: Apache-2.0
"""The `sluice` command as people and scripts use it, against a real standalone broker."""

import base64
import json
import os
import pty
import re
import signal
import socket
import subprocess

import pytest

import support
from support import Deadline, eventually, rng

SLUICE = str(support.BUILD / "bin/sluice")
DONE, FAILED, USAGE = 0, 1, 2


class Result:
    def __init__(self, process, out, err):
        self.status, self.out, self.err = process.returncode, out.decode(errors="replace"), err.decode()
        self.raw = out

    def json(self):
        return json.loads(self.raw)

    def lines(self):
        return self.out.splitlines()


def run(*args, input=b"", bootstrap=None, env=None, seconds=60):
    """Runs to the end. input: bytes or text."""
    environment = {k: v for k, v in os.environ.items() if k != "SLUICE_BOOTSTRAP"}
    environment |= {"SLUICE_BOOTSTRAP": bootstrap} if bootstrap else {}
    environment |= env or {}
    process = subprocess.Popen([SLUICE, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=environment)
    if isinstance(input, str):
        input = input.encode()
    try:
        out, err = process.communicate(input, timeout=Deadline(seconds).seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"sluice {args} did not end\n{out[-2000:]}\n{err.decode()[-2000:]}")
    result = Result(process, out, err)
    assert "Sanitizer" not in result.err and "CHECK failed" not in result.err, result.err
    return result


@pytest.fixture
def sluice(broker):
    """sluice("topic", "list") -> Result of a run that succeeded; status=N expects another end."""

    def call(*args, status=DONE, **options):
        result = run(*args, bootstrap=broker.addresses["metad"], **options)
        assert result.status == status, f"{args}: status {result.status}\n{result.out}\n{result.err}"
        return result

    return call


@pytest.fixture
def start(broker):
    """Starts a command and leaves it running; ends it after the test."""
    started = []

    def call(*args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE):
        environment = {**os.environ, "SLUICE_BOOTSTRAP": broker.addresses["metad"]}
        started.append(subprocess.Popen([SLUICE, *map(str, args)], stdin=stdin, stdout=stdout, stderr=stderr,
                                        env=environment))
        return started[-1]

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream and not stream.closed:
                stream.close()


# --- the line itself ---------------------------------------------------------------------------------

COMMANDS = ["topic create", "topic list", "topic describe", "topic alter", "topic delete", "produce", "consume",
            "config describe", "config alter", "broker list", "cluster describe", "records delete", "log dump",
            "log verify", "perf produce", "perf consume", "perf latency"]


def test_help_at_every_level():
    program = run("--help")
    assert program.status == DONE and program.err == ""
    for command in COMMANDS:
        assert re.search(rf"^  {command}  ", program.out, re.M), command
        own = run(*command.split(), "--help")
        assert own.status == DONE and f"Usage: sluice {command}" in own.out, command
        assert own.out == run("help", *command.split()).out
    for group in {command.split()[0] for command in COMMANDS if " " in command}:
        page = run(group, "--help")
        assert page.status == DONE
        assert [c for c in COMMANDS if f"  {c}  " in page.out] == [c for c in COMMANDS if c.startswith(group + " ")]


def test_version():
    assert re.fullmatch(r"sluice \d+\.\d+\.\d+\n", run("--version").out)


def test_manual_page_is_what_the_tables_say():
    assert run("--manual").out == (support.ROOT / "docs/man/sluice.1").read_text()


@pytest.mark.parametrize("line, says", [
    ("", "which command?"),
    ("topic", "topic: which command?"),
    ("topik list", "did you mean: sluice topic?"),
    ("topic lst", "did you mean: sluice topic list?"),
    ("list", "did you mean: sluice topic list?"),
    ("topic create", "NAME is missing"),
    ("topic create a b", "one argument too many"),
    ("topic create a --partition 3", "did you mean --partitions?"),
    ("topic create a --partitions x", "a whole number from 1 to 10000"),
    ("topic create a --config x", "KEY=VALUE"),
    ("topic alter a", "--partitions N"),
    ("topic list --output xml", "one of table, json"),
    ("topic list --timeout", "--timeout needs a value"),
    ("produce", "TOPIC is missing"),
    ("produce t --acks 2", "one of 0, 1, all"),
    ("produce t --compression zip", "one of none, gzip, snappy, lz4, zstd"),
    ("consume t --group g", "groups are not supported"),
    ("consume t --offset soon", "earliest, latest or time:MS"),
    ("consume t --offset time:now", "earliest, latest or time:MS"),
    ("consume t --offset -5", "earliest, latest or time:MS"),
    ("consume t --offset 1 --from-beginning", "exclude each other"),
    ("consume t --format %q", "%q means nothing"),
    ("consume t --format %v --output json", "exclude each other"),
    ("consume t --max-messages 0", "a whole number from 1"),
    ("config describe", "--topic TOPIC or --broker ID"),
    ("config describe --topic a --broker 1", "--topic TOPIC or --broker ID"),
    ("config alter --topic a", "--set KEY=VALUE or --delete KEY"),
    ("records delete --topic a", "--partition is missing"),
    ("log dump", "FILE... is missing"),
    ("perf produce t --records 0", "a whole number from 1"),
])
def test_wrong_lines_are_usage_errors_that_help(line, says):
    result = run(*line.split())
    assert result.status == USAGE, result.err
    assert says in result.err
    assert re.search(r"^(Try|Usage): sluice", result.err, re.M), result.err
    assert result.out == ""


def test_nobody_there():
    """Refused at once, it says where it tried and what to do, and does not outlive --timeout."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % s.getsockname()[1]
        for command in (["topic", "list"], ["produce", "t"], ["consume", "t"], ["perf", "produce", "t"]):
            result = run(*command, "--timeout", "300", "--bootstrap", address, input="x\n")
            assert result.status == FAILED, result.err
            assert address in result.err
            assert "sluice-broker --standalone" in result.err or "Is the cluster up" in result.err, result.err


def test_bootstrap_and_config_files(broker, directory):
    config = directory / "client.properties"
    config.write_text(f"# a comment\nbootstrap.servers = {broker.addresses['metad']}\nclient.id=me\n")
    assert run("--config", config, "broker", "list").status == DONE
    assert run("broker", "list", "--config", config).status == DONE
    # topic create has a --config of its own: the program's stands in front.
    assert run("--config", config, "topic", "create", "t", "--config", "retention.ms=1000").status == DONE
    missing = run("--config", directory / "nothing", "broker", "list")
    assert missing.status == FAILED and "nothing" in missing.err and "No such file" in missing.err
    config.write_text("bootstrap.servers=x:1\nno equals sign\n")
    bad = run("--config", config, "broker", "list")
    assert bad.status == FAILED and "line 2" in bad.err
    config.write_text("no.such.key=1\n")
    unknown = run("--config", config, "broker", "list")
    assert unknown.status == FAILED and "no.such.key" in unknown.err


# --- topics, configs, the cluster ---------------------------------------------------------------------

def test_topics_from_birth_to_death(sluice):
    assert sluice("topic", "list", "--output", "json").json() == []
    made = sluice("topic", "create", "orders", "--partitions", "3", "--config", "retention.ms=60000",
                  "--output", "json").json()
    assert made["topic"] == "orders" and made["created"] is True and made["partitions"] == 3
    assert re.fullmatch(r"[0-9a-f]{32}", made["id"])

    again = sluice("topic", "create", "orders", status=FAILED)
    assert "orders" in again.err and "--if-not-exists" in again.err
    calm = sluice("topic", "create", "orders", "--if-not-exists", "--output", "json").json()
    assert calm == {"topic": "orders", "created": False}

    [listed] = sluice("topic", "list", "--output", "json").json()
    assert listed == {"name": "orders", "id": made["id"], "partitions": 3, "replication_factor": 1, "internal": False}
    header, row = sluice("topic", "list").lines()
    assert header.split() == ["NAME", "PARTITIONS", "REPLICATION", "ID"]
    assert row.split() == ["orders", "3", "1", made["id"]]

    sluice("topic", "alter", "orders", "--partitions", "5")
    fewer = sluice("topic", "alter", "orders", "--partitions", "2", status=FAILED)
    assert "orders" in fewer.err
    [described] = sluice("topic", "describe", "orders", "--offsets", "--output", "json").json()
    assert described["configs"] == {"retention.ms": "60000"}
    assert [p["partition"] for p in described["partitions"]] == [0, 1, 2, 3, 4]
    assert all(p["first_offset"] == 0 and p["end_offset"] == 0 for p in described["partitions"])
    assert "retention.ms=60000" in sluice("topic", "describe").out

    assert "deleted" in sluice("topic", "delete", "orders").out
    assert sluice("topic", "list", "--output", "json").json() == []
    for command in (["topic", "describe", "orders"], ["topic", "delete", "orders"],
                    ["topic", "alter", "orders", "--partitions", "9"], ["consume", "orders"],
                    ["perf", "consume", "orders"], ["perf", "latency", "orders"]):
        gone = sluice(*command, status=FAILED)
        assert "orders" in gone.err and "sluice topic list" in gone.err, gone.err


@pytest.mark.parametrize("name", ["a b", "x" * 201, "..", "ä", "a/b"])
def test_topic_names_are_checked(sluice, name):
    refused = sluice("topic", "create", name, status=FAILED)
    assert "1 to 200" in refused.err


def test_describing_one_missing_topic_shows_the_others(sluice):
    sluice("topic", "create", "here")
    result = sluice("topic", "describe", "here", "missing", "--output", "json", status=FAILED)
    assert [t["name"] for t in result.json()] == ["here"]
    assert "missing" in result.err


def test_configs_of_a_broker_that_is_not_there(sluice):
    """Told by metad, which knows who is registered: not by waiting for it."""
    refused = sluice("--timeout", "1000", "config", "describe", "--broker", "9", status=FAILED)
    assert "BROKER_NOT_AVAILABLE" in refused.err and "not registered" in refused.err


def test_configs(sluice):
    sluice("topic", "create", "t", "--config", "retention.ms=1000")
    sluice("config", "alter", "--topic", "t", "--set", "segment.bytes=2000000", "--set", "durability=page-cache",
           "--delete", "retention.ms")
    entries = {c["key"]: c for c in sluice("config", "describe", "--topic", "t", "--output", "json").json()["configs"]}
    assert entries["segment.bytes"]["value"] == "2000000" and entries["segment.bytes"]["source"] == "topic"
    assert entries["durability"]["value"] == "page-cache"
    assert entries["retention.ms"]["source"] != "topic"
    changed = sluice("config", "describe", "--topic", "t", "--changed", "--output", "json").json()
    assert {"segment.bytes", "durability"} <= {c["key"] for c in changed["configs"]}
    assert "retention.ms" not in {c["key"] for c in changed["configs"]}
    table = sluice("config", "describe", "--topic", "t")
    assert re.search(r"^segment\.bytes +2000000 +topic", table.out, re.M)

    wrong = sluice("config", "alter", "--topic", "t", "--set", "segment.bytes=lots", status=FAILED)
    assert "segment.bytes" in wrong.err
    unknown = sluice("config", "alter", "--topic", "t", "--set", "no.such=1", status=FAILED)
    assert "no.such" in unknown.err
    missing = sluice("config", "describe", "--topic", "none", status=FAILED)
    assert "none" in missing.err


def test_broker_and_cluster(sluice):
    sluice("topic", "create", "t", "--partitions", "4")
    [broker] = sluice("broker", "list", "--output", "json").json()
    assert broker["controller"] is True and broker["host"] == "127.0.0.1" and broker["port"] > 0
    assert len(sluice("broker", "list").lines()) == 2
    cluster = sluice("cluster", "describe", "--output", "json").json()
    assert cluster["controller_id"] == broker["id"] and cluster["partitions"] == 4 and cluster["topics"] == 1
    assert cluster["partitions_without_leader"] == 0
    assert cluster["cluster_id"] in sluice("cluster", "describe").out
    described = sluice("config", "describe", "--broker", broker["id"], "--output", "json").json()
    assert described["broker"] == str(broker["id"]) and described["configs"]


# --- records in and out ---------------------------------------------------------------------------------

def read_back(sluice, topic, *args):
    return sluice("consume", topic, "--from-beginning", "--exit-at-end", *args)


def test_lines_come_back_as_they_went_in(sluice, directory):
    """Empty lines, blanks, carriage returns, bytes that are no text, long lines, a last line without newline."""
    random = rng("lines")
    lines = [b"", b" ", b"\r", b"\xff\x00\xfe", b"x" * 300_000, b"plain", b""]
    lines += [random.randbytes(random.randrange(200)).replace(b"\n", b"") for _ in range(5000)]
    text = b"\n".join(lines) + b"\nlast"
    (directory / "input").write_bytes(text)
    sluice("topic", "create", "t")
    sluice("produce", "t", "--file", directory / "input")
    assert read_back(sluice, "t").raw == text + b"\n"


def test_nothing_is_no_record(sluice):
    sluice("topic", "create", "t")
    sluice("produce", "t", input="")
    assert read_back(sluice, "t").raw == b""
    sluice("produce", "t", input="\n")
    assert read_back(sluice, "t").raw == b"\n"


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_codecs_and_acks(sluice, codec, acks):
    sluice("topic", "create", "t")
    # With acks=0 nobody says that the broker does not lead yet: wait until it does.
    sluice("topic", "describe", "t", "--offsets")
    text = "".join(f"line {i}\n" for i in range(2000))
    sluice("produce", "t", "--compression", codec, "--acks", acks, input=text)
    # Nobody waited for acks=0 records: they may come a little later.
    result = sluice("consume", "t", "--from-beginning", "--max-messages", "2000")
    assert result.out == text


def test_keys_partitions_and_formats(sluice):
    sluice("topic", "create", "t", "--partitions", "3")
    sluice("produce", "t", "--key-separator", ":", "--partition", "2", input="a:1\nb:\n:3\nc:4:5\n")
    result = sluice("consume", "t", "--partition", "2", "--offset", "0", "--max-messages", "4",
                    "--format", r"%T %p %o %k=%v %K/%V %%\x21\n")
    assert result.lines() == ["t 2 0 a=1 1/1 %!", "t 2 1 b= 1/0 %!", "t 2 2 =3 0/1 %!", "t 2 3 c=4:5 1/3 %!"]
    assert sluice("consume", "t", "--partition", "0", "--from-beginning", "--exit-at-end").out == ""

    no_key = sluice("produce", "t", "--key-separator", ":", input="a:1\nno key\nb:2\n", status=FAILED)
    assert "line 2" in no_key.err and "1 of 2" in no_key.err
    beyond = sluice("produce", "t", "--partition", "3", input="x\n", status=FAILED)
    assert "partitions 0 to 2" in beyond.err
    assert "partitions 0 to 2" in sluice("consume", "t", "--partition", "7", status=FAILED).err
    assert "--partition" in sluice("consume", "t", "--offset", "0", status=USAGE).err


def test_same_key_same_partition(sluice):
    sluice("topic", "create", "t", "--partitions", "8")
    for _ in range(3):
        sluice("produce", "t", "--key-separator", "=", input="".join(f"k{i}=v\n" for i in range(50)))
    places = {}
    for line in read_back(sluice, "t", "--format", r"%k %p\n").lines():
        key, partition = line.split()
        places.setdefault(key, set()).add(partition)
    assert len(places) == 50 and all(len(p) == 1 for p in places.values())
    assert len(set.union(*places.values())) > 1


def test_json_records(sluice):
    sluice("topic", "create", "t")
    sluice("produce", "t", "--key-separator", "|", input=b'k"\\|\x01\xc3\xa4\n|\xff\xfe\n')
    first, second = map(json.loads, read_back(sluice, "t", "--output", "json").lines())
    assert first["key"] == 'k"\\' and first["value"] == "\x01ä" and first["offset"] == 0 and first["headers"] == []
    assert second["key"] == "" and base64.b64decode(second["value"]["base64"]) == b"\xff\xfe"
    sluice("produce", "t", input="no key\n")
    assert json.loads(read_back(sluice, "t", "--output", "json").lines()[-1])["key"] is None


def test_places_to_begin(sluice):
    sluice("topic", "create", "t")
    sluice("produce", "t", input="a\nb\nc\n")
    stamps = [int(line) for line in read_back(sluice, "t", "--format", r"%t\n").lines()]
    assert sluice("consume", "t", "--offset", "1", "--exit-at-end").lines() == ["b", "c"]
    assert sluice("consume", "t", "--offset", "earliest", "--max-messages", "2").lines() == ["a", "b"]
    assert sluice("consume", "t", "--offset", f"time:{stamps[0]}", "--exit-at-end").lines()[0] == "a"
    assert sluice("consume", "t", "--offset", f"time:{stamps[-1] + 60000}", "--exit-at-end").lines() == []
    nothing = sluice("consume", "t", "--exit-at-end")
    assert nothing.out == "" and "--from-beginning" in nothing.err
    beyond = sluice("consume", "t", "--offset", "99", status=FAILED)
    assert "99" in beyond.err or "OFFSET_OUT_OF_RANGE" in beyond.err


def test_records_delete(sluice):
    sluice("topic", "create", "t")
    sluice("produce", "t", input="a\nb\nc\nd\n")
    delete = ["records", "delete", "--topic", "t", "--partition", "0"]
    assert "offset 2" in sluice(*delete, "--before-offset", "2").out
    assert read_back(sluice, "t").lines() == ["c", "d"]
    beyond = sluice(*delete, "--offset", "9", status=FAILED)
    assert "t" in beyond.err
    assert sluice(*delete, "--offset", "-1", "--output", "json").json() == {"topic": "t", "partition": 0, "first_offset": 4}
    assert read_back(sluice, "t").lines() == []


def test_a_record_that_is_too_large(sluice):
    sluice("topic", "create", "t")
    result = sluice("produce", "t", input=b"small\n" + b"x" * 3_000_000 + b"\nafter\n", status=FAILED)
    assert "line 2" in result.err and "3000000 bytes" in result.err
    assert "1 of 2" in result.err and "1 records acknowledged" in result.err
    assert read_back(sluice, "t").lines() == ["small"]


def test_a_topic_limit_fails_produce_and_says_how_many(sluice):
    """The broker, not the library, refuses."""
    sluice("topic", "create", "t", "--config", "max.message.bytes=2000")
    result = sluice("produce", "t", input="x" * 5000 + "\n", status=FAILED)
    assert "1 of 1 records were not acknowledged" in result.err and "max.message.bytes" in result.err


def test_produce_to_a_topic_that_is_not_there(start_broker):
    strict = start_broker({"auto.create.topics.enable": "false"})
    result = run("produce", "nope", input="x\n", bootstrap=strict.addresses["metad"])
    assert result.status == FAILED and "nope" in result.err and "sluice topic" in result.err


def test_a_missing_file(sluice):
    sluice("topic", "create", "t")
    result = sluice("produce", "t", "--file", "/no/such/file", status=FAILED)
    assert "/no/such/file" in result.err and "No such file" in result.err


# --- signals, pipes, terminals ----------------------------------------------------------------------------

def test_consume_shows_each_record_at_once_and_ends_by_ctrl_c(sluice, start):
    sluice("topic", "create", "t")
    consumer = start("consume", "t", "--from-beginning")
    for i in range(3):
        sluice("produce", "t", input=f"record {i}\n")
        assert consumer.stdout.readline() == b"record %d\n" % i
    consumer.send_signal(signal.SIGINT)
    assert consumer.wait(Deadline(10).seconds) == DONE


def test_consume_ends_quietly_when_its_reader_goes(sluice, start):
    sluice("topic", "create", "t")
    sluice("produce", "t", input="".join(f"{i}\n" for i in range(100_000)))
    consumer = start("consume", "t", "--from-beginning")
    assert consumer.stdout.readline() == b"0\n"
    consumer.stdout.close()
    assert consumer.wait(Deadline(10).seconds) == DONE
    assert consumer.stderr.read() == b""


def test_an_idle_consumer_notices_that_its_reader_went(sluice, start):
    sluice("topic", "create", "t")
    sluice("produce", "t", input="one\n")
    consumer = start("consume", "t", "--from-beginning")
    assert consumer.stdout.readline() == b"one\n"
    consumer.stdout.close()
    assert consumer.wait(Deadline(10).seconds) == DONE


def test_output_that_cannot_be_written_is_a_failure(sluice, start):
    sluice("topic", "create", "t")
    with open("/dev/full", "wb") as full:
        listing = start("topic", "list", stdout=full)
        assert listing.wait(Deadline(10).seconds) == FAILED
        assert b"cannot write to standard output: No space left" in listing.stderr.read()


def test_ctrl_c_sends_what_was_read(sluice, start):
    sluice("topic", "create", "t")
    producer = start("produce", "t")
    producer.stdin.write(b"one\ntwo\nhalf a li")
    producer.stdin.flush()
    # Seen by a reader, so it was read by the producer.
    assert sluice("consume", "t", "--from-beginning", "--max-messages", "2").lines() == ["one", "two"]
    producer.send_signal(signal.SIGINT)
    assert producer.wait(Deadline(10).seconds) == FAILED
    said = producer.stderr.read().decode()
    assert "interrupted" in said and "2 records acknowledged" in said
    assert read_back(sluice, "t").lines() == ["one", "two"]


def test_lines_of_a_slow_pipe_are_sent_without_waiting_for_its_end(sluice, start):
    sluice("topic", "create", "t")
    producer = start("produce", "t")
    for i in range(3):
        producer.stdin.write(b"%d\n" % i)
        producer.stdin.flush()
        assert len(sluice("consume", "t", "--from-beginning", "--max-messages", i + 1).lines()) == i + 1
    producer.stdin.close()
    assert producer.wait(Deadline(10).seconds) == DONE


def test_progress_on_a_terminal(sluice, start, directory):
    """A bar while a file is sent, taken away at the end; nothing of it on standard output."""
    (directory / "input").write_bytes(b"some text in a line\n" * 1_000_000)
    sluice("topic", "create", "t", "--config", "durability=page-cache")
    master, slave = pty.openpty()
    producer = start("produce", "t", "--file", directory / "input", stderr=slave)
    os.close(slave)
    said = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # EIO: the other end is closed
            break
        if not piece:
            break
        said += piece
    os.close(master)
    assert producer.wait(Deadline(60).seconds) == DONE
    assert producer.stdout.read() == b""
    assert b"1000000 records acknowledged" in said
    assert re.search(rb"\r\[[=> ]{30}\] +\d+ %", said), said


def test_broker_dies_under_produce(sluice, start, broker):
    """What was not acknowledged is said; a restart shows that everything acknowledged is there."""
    sluice("topic", "create", "t")
    producer = start("produce", "t", "--property", "delivery.timeout.ms=2000", "--property", "request.timeout.ms=1000")
    producer.stdin.write(b"first\n")
    producer.stdin.flush()
    assert sluice("consume", "t", "--from-beginning", "--max-messages", "1").lines() == ["first"]
    broker.kill()
    producer.stdin.write(b"second\n")
    producer.stdin.close()
    assert producer.wait(Deadline(30).seconds) == FAILED
    said = producer.stderr.read().decode()
    assert "1 of 2 records were not acknowledged" in said, said
    broker.restart()
    lines = run("consume", "t", "--from-beginning", "--exit-at-end", bootstrap=broker.addresses["metad"]).lines()
    assert lines[0] == "first" and len(lines) <= 2


# --- files ------------------------------------------------------------------------------------------------

def test_log_dump_and_verify(sluice, broker):
    sluice("topic", "create", "t")
    sluice("produce", "t", "--key-separator", "=", input="k1=v1\nk2=v2\n")
    sluice("produce", "t", "--compression", "zstd", input="".join(f"text {i}\n" for i in range(100)))
    assert broker.terminate() == 0
    [segment] = broker.segments("t")
    [dumped] = sluice("log", "dump", segment, "--records", "--output", "json").json()
    assert dumped["path"] == str(segment) and dumped["base_offset"] == 0 and dumped["ending"] == "end"
    batches = dumped["batches"]
    assert all(b["valid"] for b in batches)
    assert sum(b["record_count"] for b in batches) == 102
    assert [r["offset"] for b in batches for r in b["records"]] == list(range(102))
    assert batches[0]["records"][0]["key"] == "k1" and batches[0]["records"][0]["value"] == "v1"
    assert batches[-1]["codec"] == "zstd" and batches[-1]["records"][-1]["value"] == "text 99"
    assert batches[-1]["position"] + batches[-1]["size"] == dumped["end_position"]
    text = sluice("log", "dump", segment, "--records").out
    assert text.count("\nbatch offsets=") == len(batches) and text.count("\n  record offset=") == 102
    assert 'key="k2" value="v2"' in text

    well = sluice("log", "verify", broker.data)
    assert "all is well" in well.out and "102 records" in well.out
    assert sluice("log", "verify", broker.partition("t"), "--output", "json").json()["records"] == 102

    data = bytearray(segment.read_bytes())
    data[batches[-1]["position"] + batches[-1]["size"] - 1] ^= 0xFF
    segment.write_bytes(data)
    damaged = sluice("log", "dump", segment, "--output", "json", status=FAILED)
    assert "checksum" in damaged.err and damaged.json()[0]["batches"][-1]["valid"] is False
    verified = sluice("log", "verify", broker.data, "--output", "json", status=FAILED).json()
    assert verified["damages"] + verified["doubts"] >= 1
    assert any(str(segment) in f["path"] for f in verified["findings"])


def test_log_commands_on_what_is_no_log(sluice, directory):
    garbage = directory / "00000000000000000000.log"
    garbage.write_bytes(b"this is not a segment" * 10)
    assert "not a batch" in sluice("log", "dump", garbage, status=FAILED).err
    assert "no such file" in sluice("log", "dump", directory / "none.log", status=FAILED).err
    sluice("log", "dump", directory, status=FAILED)
    assert "neither" in sluice("log", "verify", directory / "none", status=FAILED).err


# --- perf ------------------------------------------------------------------------------------------------

PERF_KEYS = ["records", "bytes", "seconds", "records_per_second", "mb_per_second", "latency_ms"]
PERCENTILES = ["p50", "p95", "p99", "p99_9", "max"]


def check_perf(result, records, size):
    assert list(result) == PERF_KEYS
    assert result["records"] == records and result["bytes"] == records * size
    assert result["seconds"] > 0
    assert result["records_per_second"] == pytest.approx(records / result["seconds"], rel=0.01)
    assert result["mb_per_second"] == pytest.approx(records * size / 1e6 / result["seconds"], rel=0.01, abs=0.001)


def check_percentiles(latency):
    assert list(latency) == PERCENTILES
    values = [latency[name] for name in PERCENTILES]
    assert values == sorted(values) and values[0] > 0


def test_perf_produce_and_consume(sluice):
    sluice("topic", "create", "t", "--partitions", "4")
    made = sluice("perf", "produce", "t", "--records", "20001", "--record-size", "100", "--producers", "2",
                  "--output", "json").json()
    check_perf(made, 20001, 100)
    check_percentiles(made["latency_ms"])
    [described] = sluice("topic", "describe", "t", "--offsets", "--output", "json").json()
    assert sum(p["end_offset"] for p in described["partitions"]) == 20001

    read = sluice("perf", "consume", "t", "--records", "20001", "--consumers", "3", "--output", "json").json()
    check_perf(read, 20001, 100)
    assert read["latency_ms"] is None
    some = sluice("perf", "consume", "t", "--records", "5000", "--output", "json").json()
    check_perf(some, 5000, 100)

    line = sluice("perf", "produce", "t", "--records", "10", "--compression", "lz4", "--acks", "1").out
    assert re.fullmatch(r"10 records, 0\.0 MB in [\d.]+ s: \d+ records/s, [\d.]+ MB/s; latency ms p50 [\d.]+, "
                        r"p95 [\d.]+, p99 [\d.]+, p99\.9 [\d.]+, max [\d.]+\n", line)
    many = sluice("perf", "consume", "t", "--consumers", "5", status=USAGE)
    assert "4 partitions" in many.err
    short = sluice("perf", "consume", "t", "--records", "30000", "--timeout", "300", "--output", "json", status=FAILED)
    assert "20011 of 30000" in short.err and short.json()["records"] == 20011


def test_perf_rate_is_kept(sluice):
    sluice("topic", "create", "t")
    result = sluice("perf", "produce", "t", "--records", "200", "--rate", "500", "--output", "json").json()
    check_perf(result, 200, 100)
    # The last of 200 is due after 398 ms; a busy machine may be slower, never faster.
    assert result["seconds"] > 0.397


def test_perf_latency(sluice):
    sluice("topic", "create", "t", "--partitions", "2")
    sluice("produce", "t", input="not ours\n")
    result = sluice("perf", "latency", "t", "--records", "300", "--record-size", "64", "--rate", "1000",
                    "--output", "json").json()
    check_perf(result, 300, 64)
    check_percentiles(result["latency_ms"])


def test_perf_ends_by_ctrl_c_and_leaves_nobody_behind(sluice, start):
    sluice("topic", "create", "t")
    perf = start("perf", "produce", "t", "--records", "1000000000", "--rate", "2000", "--producers", "2")

    def children():
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(perf.pid)], stdout=subprocess.PIPE, check=False)
        return listed.stdout.split()

    eventually(lambda: len(children()) == 2, 10, "two workers")
    assert sluice("consume", "t", "--from-beginning", "--max-messages", "1").out
    workers = children()
    perf.send_signal(signal.SIGINT)
    out, _ = perf.communicate(timeout=Deadline(20).seconds)
    assert perf.returncode == FAILED
    assert re.match(rb"\d+ records, ", out)
    for pid in workers:
        assert not os.path.exists(f"/proc/{pid.decode()}")
