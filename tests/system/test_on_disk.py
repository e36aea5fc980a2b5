# SPDX-License-Identifier: Apache-2.0
"""What lies on disk is protobuf all the way down: stock tools read it."""

import re
import subprocess

import log_pb2

from messages import fill, values
from sluice_client import Record, batch, codecs, read_batches, read_records
from support import SCHEMA, eventually


def decode(path):
    """`protoc --decode` of a segment, as the manual says."""
    with open(path, "rb") as f:
        done = subprocess.run(["protoc", "--decode=sluice.Segment", f"-I{SCHEMA}", "log.proto"], stdin=f,
                              capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_protoc_prints_a_segment(broker, client, topic):
    client.produce(topic, 0, [Record(b"hello", b"key", 1700000000000), Record(b"world", b"key2", 1700000000007)])
    client.produce(topic, 0, [Record(b"again", None, 1700000000009)])
    path, = broker.segments(topic)
    assert path.name == "00000000000000000000.log"
    text = decode(path)
    assert text.count("batch {") == 2
    assert re.findall(r"base_offset: (\d+)", text) == ["0", "2"]
    assert re.findall(r"max_timestamp: (\d+)", text) == ["1700000000007", "1700000000009"]
    assert "hello" in text and "again" in text
    assert not re.search(r"^\s*\d+:", text, re.M), "no field that the schema does not know"


def test_a_file_while_it_is_written_and_after_a_crash(broker, client, topic):
    client.produce(topic, 0, [b"v"])
    path, = broker.segments(topic)
    assert decode(path).count("batch {") == 1
    broker.kill()
    assert decode(path).count("batch {") == 1


def test_a_preallocated_segment(broker, client):
    """Its tail is zeros or padding: still a Segment where the tools meet it closed."""
    client.create_topic("t", 1, {"preallocate": "true", "segment.bytes": 1 << 20})
    sent = fill(client, "t", 2_500_000)
    assert values(client.read_all("t", 0)) == sent
    for path in broker.segments("t")[:-1]:
        assert decode(path).count("batch {") >= 5
    broker.kill()
    broker.restart()
    assert values(broker.client().read_all("t", 0)) == sent
    broker.terminate()
    for path in broker.segments("t"):
        decode(path)


def test_stock_runtimes_read_what_a_fetch_reads(broker, client, topic):
    """Python's protobuf on the file gives the same batches, bytes and records as the wire."""
    for codec in range(5):
        client.produce(topic, 0, [Record(b"%d" % i, timestamp=1000 + i) for i in range(10)], codec=codec)
    path, = broker.segments(topic)
    data = path.read_bytes()
    fetched = client.fetch(topic, 0, 0, max_wait_ms=1000)
    assert data.startswith(fetched.data) and not data[len(fetched.data):].strip(b"\0")
    batches = read_batches(fetched.data)
    assert [codecs.NAMES[b.attributes & batch.CODEC_MASK] for b in batches] == list(codecs.NAMES)
    assert [r.offset for b in batches for r in read_records(b)] == list(range(50))
    assert b"".join(batch.canonical(b) for b in batches) == fetched.data
    assert log_pb2.Segment.FromString(fetched.data).SerializeToString() != fetched.data, "lengths are padded on disk"


def test_the_names_of_a_partition(broker, client):
    client.create_topic("My.topic_1", 2, {"segment.bytes": 1 << 20})
    sent = fill(client, "My.topic_1", 2_500_000, partition=1)
    short_id = client.topic_id("My.topic_1").hex()[:8]
    directory = broker.data / f"My.topic_1-1.{short_id}"
    assert directory.is_dir()
    bases = [int(path.stem) for path in sorted(directory.glob("*.log"))]
    assert bases[0] == 0 and len(bases) >= 3
    for base in bases[:-1]:
        for suffix in ("log", "index", "timeindex"):
            assert (directory / f"{base:020d}.{suffix}").exists(), f"{base}.{suffix}"
    # Segments hold consecutive offsets: each begins where the one before ends.
    ends = []
    for path in sorted(directory.glob("*.log")):
        batches = read_batches(path.read_bytes())
        assert batches[0].base_offset == int(path.stem)
        ends.append(batches[-1].base_offset + batches[-1].last_offset_delta + 1)
    assert ends == bases[1:] + [len(sent)]


def test_names_with_dashes_and_digits(broker, client):
    """A topic whose name looks like a partition's directory."""
    for name in ("a-0", "a", "a-0.deadbeef", "0"):
        client.create_topic(name, 2)
        for partition in range(2):
            client.produce(name, partition, [f"{name}/{partition}".encode()])
    broker.kill()
    broker.restart()
    client = broker.client()
    for name in ("a-0", "a", "a-0.deadbeef", "0"):
        for partition in range(2):
            assert values(client.read_all(name, partition)) == [f"{name}/{partition}".encode()]


def test_a_clean_marker_comes_last_and_goes_first(broker, client, topic):
    client.produce(topic, 0, [b"v"])
    running = {path.name for path in broker.data.iterdir() if path.is_file()}
    broker.terminate()
    marker = {path.name for path in broker.data.iterdir() if path.is_file()} - running
    assert len(marker) == 1, marker
    broker.restart()
    eventually(lambda: not (broker.data / next(iter(marker))).exists(), what="the marker is gone")
