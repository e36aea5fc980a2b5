# SPDX-License-Identifier: Apache-2.0
"""What goes, when, and that nothing else goes: retention by time, size and start offset; rolling."""

import pytest

from messages import fill, refused, values
from sluice_client import EARLIEST, LATEST, Record
from sluice_client.batch import now_ms
from support import eventually

SEGMENT = 1 << 20
KEEP = {"segment.bytes": SEGMENT, "retention.ms": -1, "file.delete.delay.ms": 0}


@pytest.fixture
def broker(start_broker):
    return start_broker({"log.retention.check.interval.ms": 50})


def start_of(client, topic="t"):
    return client.list_offset(topic, 0, EARLIEST).offset


def test_segments_roll_by_size(broker, client):
    client.create_topic("t", 1, KEEP)
    sent = fill(client, "t", 3_500_000)
    segments = broker.segments("t")
    assert len(segments) >= 3
    assert all(path.stat().st_size <= SEGMENT for path in segments)
    assert values(client.read_all("t", 0)) == sent
    # A file is called by its first offset: read from exactly there.
    for path in segments[1:]:
        assert client.fetch("t", 0, int(path.stem), max_wait_ms=1000).records[0].value == sent[int(path.stem)]


def test_segments_roll_by_time(broker, client):
    client.create_topic("t", 1, {**KEEP, "segment.ms": 100})
    client.produce("t", 0, [b"first"])

    def rolled():
        client.produce("t", 0, [b"another"])
        return len(broker.segments("t")) >= 3

    eventually(rolled, what="segments roll by time")


def test_by_time_only_what_is_old(broker, client):
    """Old is what its records' timestamps say, once its file is at rest for as long."""
    client.create_topic("t", 1, KEEP)
    old = fill(client, "t", 3 * SEGMENT, timestamp=1000)
    ahead = now_ms() + 1_800_000
    young = [client.produce("t", 0, [Record(bytes(600_000), timestamp=ahead)], crc=False) for _ in range(4)]
    assert start_of(client) == 0
    client.alter_configs("t", {"retention.ms": 300})
    start = eventually(lambda: start_of(client), what="the start moves")
    eventually(lambda: len(broker.segments("t")) <= 4, what="files are gone")
    assert start <= len(old)
    assert client.list_offset("t", 0, LATEST).offset == len(old) + len(young)
    # Every young record is there; the files of the old ones are not.
    read = client.read_all("t", 0)
    assert [r.offset for r in read] == list(range(start, len(old) + len(young)))
    assert min(int(path.stem) for path in broker.segments("t")) >= start
    with refused("OFFSET_OUT_OF_RANGE"):
        client.fetch("t", 0, 0)


def test_by_time_the_closed_segments_all_go(broker, client):
    """Old records only: what remains is at most the segment that is written to."""
    client.create_topic("t", 1, {**KEEP, "retention.ms": 1000})
    sent = fill(client, "t", 3 * SEGMENT, timestamp=1000)
    eventually(lambda: len(broker.segments("t")) == 1, what="one segment is left")
    assert client.list_offset("t", 0, LATEST).offset == len(sent)
    assert client.produce("t", 0, [b"goes on"]).base_offset == len(sent)


def test_by_size(broker, client):
    client.create_topic("t", 1, {**KEEP, "retention.bytes": 2 * SEGMENT})
    sent = fill(client, "t", 6 * SEGMENT)

    def size():
        return sum(path.stat().st_size for path in broker.segments("t"))

    eventually(lambda: size() <= 3 * SEGMENT, what="the partition shrinks")
    start = start_of(client)
    assert 0 < start < len(sent)
    assert size() >= 2 * SEGMENT, "no more goes than must"
    assert values(client.read_all("t", 0)) == sent[start:]


def test_by_start_offset(broker, client):
    """records delete."""
    client.create_topic("t", 1, KEEP)
    sent = fill(client, "t", 3_500_000)
    cut = int(broker.segments("t")[2].stem) + 1  # inside the third segment
    assert client.delete_records("t", 0, cut) == cut
    with refused("OFFSET_OUT_OF_RANGE"):
        client.fetch("t", 0, cut - 1)
    assert values(client.read_all("t", 0)) == sent[cut:]
    eventually(lambda: int(broker.segments("t")[0].stem) == cut - 1, what="whole segments below go")
    # It never falls, and ends at the high watermark.
    assert client.delete_records("t", 0, 1) == cut
    with refused("OFFSET_OUT_OF_RANGE"):
        client.delete_records("t", 0, len(sent) + 1)
    assert client.delete_records("t", 0, -1) == len(sent)
    assert client.read_all("t", 0) == []
    assert client.produce("t", 0, [b"next"]).base_offset == len(sent)


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_the_start_survives(broker, client, end):
    client.create_topic("t", 1, KEEP)
    for i in range(10):
        client.produce("t", 0, [b"%d" % i])
    client.delete_records("t", 0, 7)
    getattr(broker, end)()
    broker.restart()
    client = broker.client()
    assert start_of(client) == 7
    assert values(client.read_all("t", 0)) == [b"7", b"8", b"9"]


def test_deleted_files_are_renamed_first(broker, client):
    client.create_topic("t", 1, {**KEEP, "file.delete.delay.ms": 600_000, "retention.bytes": SEGMENT})
    fill(client, "t", 4 * SEGMENT)
    eventually(lambda: list(broker.partition("t").glob("*.deleted")), what="renamed files")
    assert start_of(client) > 0
    # What was renamed is not taken for data after a crash.
    start = start_of(client)
    broker.kill()
    broker.restart()
    assert start_of(broker.client()) >= start
