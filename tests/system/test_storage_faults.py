# SPDX-License-Identifier: Apache-2.0
"""Disks that are full, read-only, damaged or gone; files that lie."""

import os
import pathlib
import shutil
import subprocess

import pytest

from messages import fill, refused, values
from sluice_client import CorruptData, Record, SluiceError
from support import eventually, rng

SMALL = {"segment.bytes": 1 << 20}


@pytest.fixture
def mount(directory):
    """Mounts a small tmpfs; gives its path. Root only."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    mounted = []

    def make(size, name="disk"):
        path = directory / name
        path.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount a tmpfs here: {done.stderr.strip()}")
        mounted.append(path)
        return path

    yield make
    for path in mounted:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture
def broker_on(mount, new_broker):
    """new_broker after mount: at the end brokers go first, then the mounts."""
    return new_broker


# --- full -----------------------------------------------------------------------------------


def fill_up(client, topic, record):
    """Produces until the disk is full. Gives the values that were acknowledged."""
    sent = []
    with refused("NO_SPACE") as caught:
        while len(sent) < 10_000:
            value = b"%d/" % len(sent) + record
            client.produce(topic, 0, [value], crc=False)
            sent.append(value)
    assert caught.value.class_name == "retry"
    return sent


def test_a_full_disk(mount, broker_on):
    """Produce is refused retriably and says so, reads go on, it resumes by itself, and nothing acknowledged is lost."""
    disk = mount("16m")
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(4 << 20))
    broker = broker_on({"data.dirs": str(disk / "data")}).start()
    client = broker.client()
    client.create_topic("t", 1, SMALL)
    sent = fill_up(client, "t", bytes(100_000))
    broker.says("(?i)full|no space")
    assert values(client.read_all("t", 0)) == sent
    with refused("NO_SPACE"):  # again, and still alive
        client.produce("t", 0, [bytes(100_000)], crc=False)
    assert broker.http("/health/live")[0] == 200

    ballast.unlink()

    def resumed():
        try:
            client.produce("t", 0, [b"room again"])
            return True
        except SluiceError as e:
            assert e.name == "NO_SPACE"
            return False

    eventually(resumed, what="it resumes by itself")
    sent.append(b"room again")
    assert values(client.read_all("t", 0)) == sent
    broker.kill()
    broker.restart()
    assert values(broker.client().read_all("t", 0)) == sent


def test_a_stop_and_start_on_a_full_disk(mount, broker_on):
    """It comes up again, to read, and to delete what makes room."""
    disk = mount("12m")
    broker = broker_on({"data.dirs": str(disk / "data"), "log.retention.check.interval.ms": "50"}).start()
    client = broker.client()
    client.create_topic("t", 1, {**SMALL, "file.delete.delay.ms": 0})
    sent = fill_up(client, "t", bytes(50_000))
    broker.terminate()
    broker.restart()
    client = broker.client()
    assert values(client.read_all("t", 0)) == sent
    client.delete_records("t", 0, len(sent))

    def room():
        try:
            return client.produce("t", 0, [b"next"])
        except SluiceError as e:
            assert e.name == "NO_SPACE"

    assert eventually(room, what="deleting makes room").base_offset >= len(sent)


# --- read-only and failing ------------------------------------------------------------------


def test_a_read_only_data_directory(mount, broker_on):
    disk = mount("4m")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    broker = broker_on({"data.dirs": str(disk)}).launch()
    assert broker.wait() == 1
    assert str(disk) in broker.stderr() and "ead-only" in broker.stderr()


def test_a_directory_without_permission(new_broker):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    broker = new_broker()
    broker.data.mkdir(mode=0o500)
    assert broker.launch().wait() == 1
    assert str(broker.data) in broker.stderr()


def test_one_of_two_directories_is_unusable(mount, broker_on):
    """The other serves what it has."""
    disk = mount("8m")
    broker = broker_on()
    broker.settings["data.dirs"] = f"{broker.data},{disk}/data"
    broker.start()
    client = broker.client()
    client.create_topic("t", 4)
    for partition in range(4):
        client.produce("t", partition, [b"%d" % partition])
    mine = [p for p in range(4) if broker.data in broker.partition("t", p).parents]
    assert len(mine) == 2, "partitions are spread"
    broker.terminate()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    broker.restart()
    broker.says(f"{disk}")
    client = broker.client()
    for partition in mine:
        client.produce("t", partition, [b"more"])
        assert values(client.read_all("t", partition)) == [b"%d" % partition, b"more"]
    for partition in set(range(4)) - set(mine):
        with pytest.raises(SluiceError) as caught:
            client.produce("t", partition, [b"more"], timeout=0)
        assert caught.value.class_name in ("storage", "reroute"), caught.value
    broker.terminate()  # not a clean end, and it need not say it was one


def test_partitions_spread_over_directories(new_broker):
    broker = new_broker()
    broker.settings["data.dirs"] = ",".join(str(broker.directory / f"disk{i}") for i in range(3))
    broker.start()
    client = broker.client()
    client.create_topic("t", 6)
    for partition in range(6):
        client.produce("t", partition, [b"%d" % partition])
    homes = [broker.partition("t", p).parent.name for p in range(6)]
    assert sorted(homes) == ["disk0", "disk0", "disk1", "disk1", "disk2", "disk2"]
    broker.kill()
    broker.restart()
    client = broker.client()
    assert [values(client.read_all("t", p)) for p in range(6)] == [[b"%d" % p] for p in range(6)]
    assert [broker.partition("t", p).parent.name for p in range(6)] == homes


# --- damaged segments -----------------------------------------------------------------------


def safe_read(client, topic, offset):
    """Values from the offset on, until the end or the first refusal, by the broker or by the client's own checks:
    (values, exception or None)."""
    got = []
    try:
        while True:
            fetched = client.fetch(topic, 0, offset, max_bytes=1)
            if not fetched.records:
                return got, None
            got += values(fetched.records)
            offset = fetched.next_offset
    except (SluiceError, CorruptData) as e:
        return got, e


def flip(path, position, bit):
    """Changes a bit on the disk, and lets the kernel forget what it had in memory."""
    with open(path, "r+b") as f:
        f.seek(position)
        byte = f.read(1)[0]
        f.seek(position)
        f.write(bytes([byte ^ 1 << bit]))
        f.flush()
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# Parts of a batch: its tag and length, what the leader stamps, what the producer's checksum covers, the records.
PARTS = {"frame": (0, 6), "stamped": (6, 25), "header": (25, 93), "records": (93, None)}


def ten_batches(broker, client, topic):
    """Their values, and where each begins in the one segment."""
    sent, starts = [], [0]
    for i in range(10):
        sent.append(b"batch %d " % i + bytes(50))
        client.produce(topic, 0, [sent[-1]])
        starts.append(broker.segments(topic)[0].stat().st_size)
    return sent, starts


def choose(random, starts, i, part):
    """A byte of that part of batch i, and a bit."""
    low, high = PARTS[part]
    return starts[i] + random.randrange(low, high or starts[i + 1] - starts[i]), random.randrange(8)


@pytest.mark.parametrize("part", PARTS)
def test_a_bit_that_flips_on_the_disk_is_never_served(broker, client, topic, part):
    """Goal: damage is refused and named, never taken for data, and what lies before it is served.
    Method: ten batches, of which some are hit in turn, each time with a restart and nothing in the page cache."""
    sent, starts = ten_batches(broker, client, topic)
    random = rng(f"flip/{part}")
    path, = broker.segments(topic)
    for i in (0, 4, 5, 9):
        position, bit = choose(random, starts, i, part)
        where = f"bit {bit} of byte {position - starts[i]} of batch {i}"
        assert broker.terminate() == 0
        flip(path, position, bit)
        broker.stderr_path.write_text("")
        broker.restart()
        client = broker.client()
        got, refusal = safe_read(client, topic, 0)
        assert isinstance(refusal, SluiceError) and refusal.name in ("CORRUPT", "STORAGE"), f"{where}: {refusal!r}"
        assert got == sent[:i], where
        broker.says(f"(damaged|checksum).*{path.parent.name}.* pos={starts[i]}\\b")
        broker.terminate()
        flip(path, position, bit)
    broker.restart()
    assert safe_read(broker.client(), topic, 0) == (sent, None), "healed, all is there again"


@pytest.mark.parametrize("part", PARTS)
def test_a_bit_that_flips_in_memory_is_not_taken_for_data(broker, client, topic, part):
    """Under a running broker: what the broker does not notice, the checksum in the client does."""
    sent, starts = ten_batches(broker, client, topic)
    random = rng(f"memory/{part}")
    path, = broker.segments(topic)
    for i in range(10):
        position, bit = choose(random, starts, i, part)
        for change in ("flip", "back"):
            with open(path, "r+b") as f:
                f.seek(position)
                byte = f.read(1)[0]
                f.seek(position)
                f.write(bytes([byte ^ 1 << bit]))
            got, refusal = safe_read(client, topic, 0)
            assert got == sent[:len(got)], (position - starts[i], bit)
            assert len(got) <= i if change == "flip" else refusal is None, (position - starts[i], bit)


def test_damage_above_the_flushed_point_is_cut(broker, client):
    """After kill -9 whatever recovery scans and finds damaged at the end is cut, whole batches before it stay."""
    client.create_topic("t", 1, {"durability": "page-cache"})
    sent = [b"%d" % i + bytes(200) for i in range(10)]
    for value in sent:
        client.produce("t", 0, [value], acks=1)
    path = broker.segments("t")[0]
    broker.kill()
    os.truncate(path, path.stat().st_size - 7)
    broker.restart()
    client = broker.client()
    assert values(client.read_all("t", 0)) == sent[:9]
    assert client.produce("t", 0, [b"again"]).base_offset == 9


@pytest.mark.parametrize("tail", [bytes(4096), b"\x0a", b"\x12\x80\x80\x80\x80\x00", os.urandom(300),
                                  b"\x0a\xff\xff\xff\xff\x07" + bytes(100)],
                         ids=["zeros", "tag", "padding", "noise", "promise"])
def test_a_tail_that_is_no_batch_is_cut(broker, client, topic, tail):
    client.produce(topic, 0, [b"kept"])
    path = broker.segments(topic)[0]
    broker.kill()
    with open(path, "ab") as f:
        f.write(tail)
    broker.restart()
    client = broker.client()
    assert values(client.read_all(topic, 0)) == [b"kept"]
    assert client.produce(topic, 0, [b"next"]).base_offset == 1
    broker.kill()
    broker.restart()
    assert values(broker.client().read_all(topic, 0)) == [b"kept", b"next"]


def test_a_format_of_the_future_is_not_truncated(broker, client, topic):
    client.produce(topic, 0, [b"v"])
    path = broker.segments(topic)[0]
    broker.kill()
    with open(path, "r+b") as f:
        f.seek(31 + 3)  # the last byte of attributes
        f.write(b"\x09")
    content = path.read_bytes()
    broker.restart()
    with pytest.raises(SluiceError):
        broker.client().fetch(topic, 0, 0, timeout=0)
    broker.says("format version")
    broker.terminate()
    assert path.read_bytes() == content


def test_a_segment_file_that_is_gone(broker, client):
    """What is left is served, each record at its offset; the loss is reported, not passed over."""
    client.create_topic("t", 1, SMALL)
    sent = fill(client, "t", 4 << 20)
    directory, segments = broker.partition("t"), broker.segments("t")
    first, last = int(segments[1].stem), int(segments[2].stem)
    broker.terminate()
    segments[1].unlink()
    broker.restart()
    client = broker.client()
    got, refusal = safe_read(client, "t", 0)
    assert got in (sent[:first], sent[:first] + sent[last:]) or refusal is not None and got == []
    try:
        fetched = client.fetch("t", 0, (first + last) // 2, timeout=0)
        assert [(r.offset, r.value) for r in fetched.records] == list(enumerate(sent))[last:][:len(fetched.records)]
    except SluiceError as e:
        assert e.name in ("CORRUPT", "STORAGE", "OFFSET_OUT_OF_RANGE")
    broker.says(f"(?i)(missing|gap|lost|hole).*{directory.name}|{directory.name}.*(missing|gap|lost|hole)")


def test_a_partition_directory_that_is_gone(broker, client, topic):
    """Lost, not empty: it says so; with one replica it leads all the same."""
    client.produce(topic, 0, [b"v"] * 5)
    path = broker.partition(topic)
    broker.terminate()
    shutil.rmtree(path)
    broker.restart()
    broker.says(f"(?i)(missing|lost|gone).*{topic}|{topic}.*(missing|lost|gone)")
    assert broker.client().produce(topic, 0, [b"w"]) is not None


# --- indexes --------------------------------------------------------------------------------


def empty(path):
    path.write_bytes(b"")


def halve(path):
    os.truncate(path, path.stat().st_size // 2 | 1)


def garble(path):
    path.write_bytes(os.urandom(max(64, path.stat().st_size)))


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("end", ["terminate", "kill"])
@pytest.mark.parametrize("suffixes", [("index",), ("timeindex",), ("index", "timeindex")], ids="+".join)
@pytest.mark.parametrize("harm", [empty, halve, garble, zero, pathlib.Path.unlink], ids=lambda f: f.__name__)
def test_an_index_in_doubt_is_rebuilt(broker, client, end, suffixes, harm):
    client.create_topic("t", 1, {**SMALL, "index.interval.bytes": 4096})
    for i in range(0, 300, 3):
        client.produce("t", 0, [Record(bytes(10_000), timestamp=1000 * (i + j)) for j in range(3)], acks=1, crc=False)
    directory = broker.partition("t")
    getattr(broker, end)()
    harmed = [path for suffix in suffixes for path in directory.glob(f"*.{suffix}")]
    assert len(harmed) >= 2
    for path in harmed:
        harm(path)
    broker.restart()
    client = broker.client()
    assert len(client.read_all("t", 0)) == 300
    for i in (0, 1, 150, 151, 152, 298, 299):
        assert client.fetch("t", 0, i).records[0].offset == i
        answer = client.list_offset("t", 0, 1000 * i)
        assert (answer.offset, answer.timestamp) == (i, 1000 * i)
    assert client.produce("t", 0, [b"on"]).base_offset == 300


@pytest.mark.parametrize("harm", [empty, garble, zero, pathlib.Path.unlink], ids=lambda f: f.__name__)
def test_checkpoints_in_doubt_lose_nothing(broker, client, topic, harm):
    """Every small file beside the segments, one after another, after a crash: data is in the .log files alone."""
    for i in range(20):
        client.produce(topic, 0, [b"%d" % i])
    directory = broker.partition(topic)
    count = len([path for path in directory.iterdir() if path.suffix != ".log" and path.name != "partition"])
    for i in range(count):
        broker.kill()
        others = sorted(path for path in directory.iterdir() if path.suffix != ".log" and path.name != "partition")
        if i < len(others):
            harm(others[i])
        broker.restart()
        assert values(broker.client().read_all(topic, 0)) == [b"%d" % i for i in range(20)]


@pytest.mark.parametrize("harm", [empty, garble, pathlib.Path.unlink], ids=lambda f: f.__name__)
def test_checkpoints_of_the_directory_in_doubt_lose_nothing(broker, client, topic, harm):
    """The same for the data directory's own offset checkpoints."""
    for i in range(20):
        client.produce(topic, 0, [b"%d" % i])
    broker.terminate()
    names = sorted(path.name for path in broker.data.iterdir()
                   if path.is_file() and ("checkpoint" in path.name or "offset" in path.name or "points" in path.name))
    assert names
    for name in names:
        broker.restart()
        broker.kill()
        if (broker.data / name).exists():
            harm(broker.data / name)
        broker.restart()
        assert values(broker.client().read_all(topic, 0)) == [b"%d" % i for i in range(20)], name
        broker.terminate()


def test_durable_records_that_are_gone_are_told_once(broker, client, topic):
    """Rule E2: the only replica leads all the same, names the range, and does not hold it against the log for ever."""
    for i in range(6):
        client.produce(topic, 0, [b"%d" % i + bytes(100)])
    path, = broker.segments(topic)
    broker.kill()
    os.truncate(path, path.stat().st_size // 2)
    broker.restart()
    broker.says(rf"may be lost.*topic={topic} partition=0 from=3 to=6\b")
    client = broker.client()
    assert values(client.read_all(topic, 0)) == [b"%d" % i + bytes(100) for i in range(3)]
    assert client.produce(topic, 0, [b"next"]).base_offset >= 3
    assert broker.terminate() == 0
    broker.stderr_path.write_text("")
    broker.restart()
    assert values(broker.client().read_all(topic, 0))[-1] == b"next"
    assert "may be lost" not in broker.stderr()
