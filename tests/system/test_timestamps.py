# SPDX-License-Identifier: Apache-2.0
"""Create time, log append time, and finding offsets by time."""

import pytest

from messages import refused, values
from sluice_client import EARLIEST, LATEST, MAX_TIMESTAMP, Record, codecs, make_batch, segment
from sluice_client.batch import now_ms, read_batches
from support import eventually

HOUR = 3_600_000


def test_create_time_is_the_producer_s(client, topic):
    produced = client.produce(topic, 0, [Record(b"old", timestamp=1000), Record(b"older", timestamp=500)])
    assert produced.log_append_time_ms is None
    assert [r.timestamp for r in client.read_all(topic, 0)] == [1000, 500]


def test_log_append_time_is_the_broker_s(client):
    client.create_topic("stamped", 1, {"message.timestamp.type": "LogAppendTime"})
    before = now_ms()
    produced = client.produce("stamped", 0, [Record(b"a", timestamp=1000), Record(b"b", timestamp=2000)])
    after = now_ms()
    assert before <= produced.log_append_time_ms <= after
    fetched = client.fetch("stamped", 0, 0, max_wait_ms=1000)
    assert [r.timestamp for r in fetched.records] == [produced.log_append_time_ms] * 2
    assert read_batches(fetched.data)[0].attributes & 1 << 3


@pytest.mark.parametrize("codec", range(5), ids=codecs.NAMES)
def test_log_append_time_leaves_the_records_alone(client, codec):
    client.create_topic("stamped", 1, {"message.timestamp.type": "LogAppendTime"})
    sent = make_batch([Record(b"a", timestamp=1000)], codec)
    client.produce_bytes("stamped", 0, segment(sent))
    stored, = read_batches(client.fetch("stamped", 0, 0, max_wait_ms=1000).data)
    assert stored.records == sent.records


def test_too_far_in_the_future(client, topic):
    with refused("INVALID_TIMESTAMP", "message.timestamp.after.max.ms"):
        client.produce(topic, 0, [Record(b"v", timestamp=now_ms() + 2 * HOUR)])
    client.produce(topic, 0, [Record(b"v", timestamp=now_ms() + HOUR // 2)])


def test_too_far_in_the_past_if_the_topic_says_so(client):
    client.create_topic("recent", 1, {"message.timestamp.before.max.ms": HOUR})
    with refused("INVALID_TIMESTAMP", "message.timestamp.before.max.ms"):
        client.produce("recent", 0, [Record(b"v", timestamp=now_ms() - 2 * HOUR)])
    client.produce("recent", 0, [Record(b"v", timestamp=now_ms())])


@pytest.mark.parametrize("timestamp", [-1, -(1 << 62)])
def test_negative_timestamps(client, topic, timestamp):
    with refused("INVALID_TIMESTAMP"):
        client.produce(topic, 0, [Record(b"v", timestamp=timestamp)])


# --- list offsets ---------------------------------------------------------------------------


def test_the_ends(client, topic):
    assert client.list_offset(topic, 0, EARLIEST).offset == 0
    assert client.list_offset(topic, 0, LATEST).offset == 0
    client.produce(topic, 0, [b"a", b"b", b"c"])
    assert client.list_offset(topic, 0, EARLIEST).offset == 0
    assert client.list_offset(topic, 0, LATEST).offset == 3
    client.delete_records(topic, 0, 2)
    assert client.list_offset(topic, 0, EARLIEST).offset == 2


def test_by_time_in_an_empty_partition(client, topic):
    assert client.list_offset(topic, 0, 0).offset == -1
    assert client.list_offset(topic, 0, MAX_TIMESTAMP).offset == -1


@pytest.mark.parametrize("codec", range(5), ids=codecs.NAMES)
def test_by_time_is_exact_to_the_record(client, topic, codec):
    for base in range(1000, 5000, 1000):
        client.produce(topic, 0, [Record(b"v", timestamp=base + 100 * i) for i in range(5)], codec=codec)
    # 1000 1100 1200 1300 1400 | 2000 ... | 3000 ... | 4000 ... 4400
    for timestamp, offset, found in [(0, 0, 1000), (1000, 0, 1000), (1001, 1, 1100), (1400, 4, 1400), (1401, 5, 2000),
                                     (3150, 12, 3200), (4400, 19, 4400)]:
        answer = client.list_offset(topic, 0, timestamp)
        assert (answer.offset, answer.timestamp) == (offset, found), timestamp
    assert client.list_offset(topic, 0, 4401).offset == -1
    answer = client.list_offset(topic, 0, MAX_TIMESTAMP)
    assert (answer.offset, answer.timestamp) == (19, 4400)


def test_by_time_with_disorder(client, topic):
    """The first record at or after it in order of offsets, also when times go back and forth."""
    for timestamp in (500, 100, 900, 300, 900, 200):
        client.produce(topic, 0, [Record(b"v", timestamp=timestamp)])
    assert [client.list_offset(topic, 0, t).offset for t in (0, 500, 501, 900, 901)] == [0, 0, 2, 2, -1]
    answer = client.list_offset(topic, 0, MAX_TIMESTAMP)
    assert (answer.offset, answer.timestamp) == (2, 900)


def test_by_time_over_segments(broker, client):
    """Several megabytes in several segments, each record a second after the one before."""
    client.create_topic("long", 1, {"segment.bytes": 1 << 20, "index.interval.bytes": 4096})
    count = 400
    for first in range(0, count, 4):
        client.produce("long", 0, [Record(bytes(10_000), timestamp=1_000_000 + 1000 * (first + i)) for i in range(4)],
                       acks=1, crc=False)
    assert len(broker.segments("long")) >= 4
    eventually(lambda: client.list_offset("long", 0, LATEST).offset == count, what="all can be read")
    for i in (0, 1, 2, 3, 99, 100, 101, 102, 103, 250, 398, 399):
        answer = client.list_offset("long", 0, 1_000_000 + 1000 * i)
        assert (answer.offset, answer.timestamp) == (i, 1_000_000 + 1000 * i)
        assert client.list_offset("long", 0, 1_000_000 + 1000 * i - 999).offset == i
    assert client.list_offset("long", 0, 1_000_000 + 1000 * count).offset == -1


def test_by_time_under_log_append_time(client):
    client.create_topic("stamped", 1, {"message.timestamp.type": "LogAppendTime"})
    first = client.produce("stamped", 0, [Record(b"a", timestamp=5), Record(b"b", timestamp=6)]).log_append_time_ms
    eventually(lambda: now_ms() > first, what="the clock moves on")
    second = client.produce("stamped", 0, [Record(b"c", timestamp=7)]).log_append_time_ms
    assert client.list_offset("stamped", 0, 0).offset == 0
    assert client.list_offset("stamped", 0, first).offset == 0
    assert client.list_offset("stamped", 0, first + 1).offset == 2
    assert client.list_offset("stamped", 0, second).offset == 2
    assert client.list_offset("stamped", 0, second + 1).offset == -1


def test_by_time_below_the_start(client, topic):
    client.produce(topic, 0, [Record(b"a", timestamp=100), Record(b"b", timestamp=200)])
    client.produce(topic, 0, [Record(b"c", timestamp=300)])
    client.delete_records(topic, 0, 1)
    assert client.list_offset(topic, 0, 0).offset == 1
    client.delete_records(topic, 0, 3)
    assert client.list_offset(topic, 0, 0).offset == -1
    assert values(client.read_all(topic, 0)) == []


@pytest.mark.parametrize("timestamp", [-4, -100, -(1 << 63)])
def test_unknown_special_times(client, topic, timestamp):
    with refused("INVALID_REQUEST"):
        client.list_offset(topic, 0, timestamp)
