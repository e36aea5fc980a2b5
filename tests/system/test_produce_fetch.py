# SPDX-License-Identifier: Apache-2.0
"""Records go in and come out: acknowledgements, checksums, encodings, limits, refusals."""

import log_pb2
import metadata_pb2
import pytest

from messages import fetch_request, fill, produce_request, refused, result_of, values
from sluice_client import Record, batch, make_batch, read_batches, read_records, segment
from support import eventually


@pytest.mark.parametrize("acks", [-1, 1])
def test_acknowledged_records_are_there(client, topic, acks):
    first = client.produce(topic, 0, [b"a", b"b", b"c"], acks=acks)
    second = client.produce(topic, 0, [b"d"], acks=acks)
    assert (first.base_offset, first.last_offset) == (0, 2)
    assert (second.base_offset, second.last_offset) == (3, 3)
    assert first.log_start_offset == 0
    records = eventually(lambda: (r := client.read_all(topic, 0)) and len(r) == 4 and r)
    assert values(records) == [b"a", b"b", b"c", b"d"]
    assert [r.offset for r in records] == [0, 1, 2, 3]


def test_acks_0_has_no_answer(client, topic):
    client.produce(topic, 0, [b"quiet"], acks=0)
    # Answers come in order of completion, so an unasked-for answer would come before this one's.
    c = client.leader(topic, 0)
    asked = c.send(fetch_request(topic, 0, max_wait_ms=10000))
    assert c.receive_any().correlation_id == asked
    assert values(client.read_all(topic, 0)) == [b"quiet"]


def test_acks_0_that_is_refused_closes_the_connection(client, topic):
    c = client.leader(topic, 0)
    c.send(produce_request("no-such-topic", [b"x"], acks=0))
    eventually(lambda: c.socket.recv(1) == b"", what="the connection is closed")


@pytest.mark.parametrize("acks", [-2, 2, 1 << 30])
def test_other_acks_are_refused(client, topic, acks):
    with refused("INVALID_REQUIRED_ACKS"):
        client.produce(topic, 0, [b"x"], acks=acks)


def test_everything_of_a_record_comes_back(client, topic):
    sent = [Record(b"v", b"k", 1700000000000, (("h", b"1"), ("h", b"2"), ("none", None), ("empty", b""))),
            Record(None, b"tombstone", 1700000000001), Record(b"", b"", 1700000000001),
            Record(b"no key", None, 1699999999999)]
    client.produce(topic, 0, sent)
    read = client.read_all(topic, 0)
    assert [(r.key, r.value, r.timestamp, r.headers) for r in read] == \
           [(s.key, s.value, s.timestamp, s.headers) for s in sent]


def test_several_batches_in_one_request(client, topic):
    data = segment(*(make_batch([Record(b"%d" % i), Record(b"%d+" % i)]) for i in range(20)))
    result = client.produce_bytes(topic, 0, data)
    assert (result.base_offset, result.last_offset) == (0, 39)
    assert values(client.read_all(topic, 0)) == [v for i in range(20) for v in (b"%d" % i, b"%d+" % i)]


def test_several_topics_and_partitions_in_one_request(client):
    client.create_topic("a", 3)
    client.create_topic("b", 1)
    for name, partition in (("a", 0), ("a", 1), ("a", 2), ("b", 0)):
        client.list_offset(name, partition, -1)
    request = produce_request("a", [b"a2"], partition=2)
    request.topic[0].partition.add(partition=0, batches=segment(make_batch([Record(b"a0")])))
    request.topic.add(name="b").partition.add(partition=0, batches=segment(make_batch([Record(b"b0")])))
    request.topic[0].partition.add(partition=7, batches=segment(make_batch([Record(b"nowhere")])))
    response = client.leader("a", 0).call(request)
    assert [(t.name, [p.partition for p in t.partition]) for t in response.topic] == [("a", [2, 0, 7]), ("b", [0])]
    assert [p.error.code for t in response.topic for p in t.partition] == [0, 0, 3, 0]

    request = fetch_request("a", 0, partition=2)
    request.topic[0].partition.add(partition=0, fetch_offset=0)
    request.topic.add(name="b").partition.add(partition=0, fetch_offset=0)
    response = client.leader("a", 0).call(request)
    got = [(t.name, p.partition, read_records(read_batches(p.batches)[0])[0].value)
           for t in response.topic for p in t.partition]
    assert got == [("a", 2, b"a2"), ("a", 0, b"a0"), ("b", 0, b"b0")]


# --- checksums and encodings ----------------------------------------------------------------


def read_one(client, topic):
    """The one batch of a topic, its checksums verified, as the broker stores it: canonical."""
    fetched = client.fetch(topic, 0, 0, max_wait_ms=1000)
    stored, = read_batches(fetched.data)
    assert fetched.data == batch.canonical(stored)
    return stored


@pytest.mark.parametrize("encode", [segment, batch.canonical], ids=["stock", "canonical"])
@pytest.mark.parametrize("crc", [True, False], ids=["crc", "no-crc"])
def test_both_encodings_with_and_without_checksum(client, topic, encode, crc):
    # A canonical encoding has all fields: "without" is a stock runtime's privilege.
    if encode is batch.canonical and not crc:
        return
    sent = make_batch([Record(b"v", b"k", 1700000000000)], crc=crc)
    client.produce_bytes(topic, 0, encode(sent))
    stored = read_one(client, topic)
    assert stored.batch_crc == batch.batch_crc(sent)
    assert stored.records == sent.records
    assert read_records(stored)[0].timestamp == 1700000000000


def test_fields_in_any_order(client, topic):
    sent = make_batch([Record(b"v")])
    pieces = [log_pb2.RecordBatch(**{f.name: v}).SerializeToString() for f, v in sent.ListFields()]
    body = b"".join(reversed(pieces))
    client.produce_bytes(topic, 0, b"\x0a" + batch.padded_varint(len(body)) + body)
    assert read_one(client, topic).batch_crc == sent.batch_crc


def test_the_least_a_client_may_send(client, topic):
    """No checksum, none of the fields that have a natural "none"."""
    records = make_batch([Record(b"v", None, 1700000000000)]).records
    least = log_pb2.RecordBatch(record_count=1, last_offset_delta=0, base_timestamp=1700000000000,
                                max_timestamp=1700000000000, records=records)
    client.produce_bytes(topic, 0, segment(least))
    stored = read_one(client, topic)
    assert (stored.producer_id, stored.producer_epoch, stored.base_sequence) == (-1, -1, -1)
    assert values(read_records(stored)) == [b"v"]


def test_a_wrong_checksum_is_refused(client, topic):
    for field in ("batch_crc", "max_timestamp", "record_count"):
        bad = make_batch([Record(b"a"), Record(b"b")])
        setattr(bad, field, getattr(bad, field) ^ 1)
        with refused("CORRUPT", "batch_crc"):
            client.produce_bytes(topic, 0, segment(bad))
    flipped = bytearray(segment(make_batch([Record(b"payload")])))
    flipped[-1] ^= 1
    with refused("CORRUPT"):
        client.produce_bytes(topic, 0, bytes(flipped))
    assert client.list_offset(topic, 0, -1).offset == 0


def test_offset_and_epoch_are_the_leader_s(client, topic):
    sent = make_batch([Record(b"v")])
    sent.base_offset, sent.leader_epoch = 12345, 77
    client.produce_bytes(topic, 0, segment(batch.set_crcs(sent)))
    stored = read_one(client, topic)
    assert stored.base_offset == 0
    assert stored.leader_epoch == client.list_offset(topic, 0, -1).leader_epoch


def test_topic_check(client, topic):
    right = batch.topic_crc(client.topic_id(topic), 0)
    client.produce_bytes(topic, 0, segment(make_batch([Record(b"v")], topic_crc=right)))
    for wrong in (batch.topic_crc(client.topic_id(topic), 1), batch.topic_crc(bytes(16), 0)):
        with refused("WRONG_PARTITION"):
            client.produce_bytes(topic, 0, segment(make_batch([Record(b"v")], topic_crc=wrong)))
    assert read_one(client, topic).topic_crc == right


def changed(**fields):
    b = make_batch([Record(b"a"), Record(b"b")])
    for name, value in fields.items():
        setattr(b, name, value)
    return segment(batch.set_crcs(b))


def with_records(*records, count=None):
    body = log_pb2.Records(record=[log_pb2.Record(**r) for r in records]).SerializeToString()
    return changed(records=body, record_count=count or len(records), last_offset_delta=(count or len(records)) - 1)


INVALID = {
    "empty": b"",
    "garbage": b"\xff" * 100,
    "cut": changed()[:-1],
    "trailing": changed() + b"\x00\x01",
    "another message": b"\x0a\x03\x08\x01\x10",
    "no records announced": changed(record_count=0),
    "more announced": changed(record_count=3, last_offset_delta=2),
    "fewer announced": changed(record_count=1, last_offset_delta=0),
    "wrong last delta": changed(last_offset_delta=5),
    "count overflows": changed(record_count=0xFFFFFFFF, last_offset_delta=0xFFFFFFFE),
    "format version": changed(attributes=1 << 24),
    "control": changed(attributes=1 << 5),
    "transactional": changed(attributes=1 << 4),
    "delete horizon": changed(attributes=1 << 6),
    "unknown attribute": changed(attributes=1 << 12),
    "deltas": with_records({"offset_delta": 0, "timestamp_delta": 0}, {"offset_delta": 2, "timestamp_delta": 0}),
    "deltas from 1": with_records({"offset_delta": 1, "timestamp_delta": 0}),
    "same delta": with_records({"offset_delta": 0, "timestamp_delta": 0}, {"offset_delta": 0, "timestamp_delta": 0}),
    "before base": with_records({"offset_delta": 0, "timestamp_delta": -1}),
    "behind max": with_records({"offset_delta": 0, "timestamp_delta": 1 << 40}),
    "producer id": changed(producer_id=7, producer_epoch=0, base_sequence=0),
    "not records": changed(records=b"\x12\x02hi"),
    "record length": changed(records=b"\x0a\x7f\x08\x00"),
}


@pytest.mark.parametrize("what", INVALID)
def test_an_invalid_batch_is_refused(client, topic, what):
    with refused("INVALID_RECORD"):
        client.produce_bytes(topic, 0, INVALID[what])
    # Nothing of it was appended, nor of a good batch beside it.
    with refused("INVALID_RECORD"):
        client.produce_bytes(topic, 0, changed() + INVALID[what] if INVALID[what] else b"")
    assert client.list_offset(topic, 0, -1).offset == 0


# --- limits ---------------------------------------------------------------------------------


def test_a_too_large_record(client, topic):
    with refused("MESSAGE_TOO_LARGE", "max.message.bytes"):
        client.produce(topic, 0, [bytes(2 << 20)], crc=False)
    client.produce(topic, 0, [bytes(1 << 20)[:-100]], crc=False)


def test_the_limit_is_that_of_the_topic(client):
    client.create_topic("small", 1, {"max.message.bytes": 1000})
    with refused("MESSAGE_TOO_LARGE", "1000"):
        client.produce("small", 0, [bytes(1000)])
    client.produce("small", 0, [bytes(800)])


def test_a_batch_larger_than_the_fetch_is_returned_all_the_same(client, topic):
    sent = fill(client, topic, 300_000)
    offset = 0
    while offset < len(sent):
        fetched = client.fetch(topic, 0, offset, max_bytes=10, max_wait_ms=1000)
        assert values(fetched.records) == [sent[offset]], "the first batch, and only that"
        offset = fetched.next_offset


def test_a_fetch_is_cut_at_a_batch(client, topic):
    sent = fill(client, topic, 500_000)
    fetched = client.fetch(topic, 0, 0, max_bytes=250_000, max_wait_ms=1000)
    assert values(fetched.records) == sent[:2]
    assert len(fetched.data) <= 250_000


def test_max_bytes_is_of_all_partitions_together(client):
    client.create_topic("three", 3)
    for partition in range(3):
        fill(client, "three", 200_000, partition)
    request = fetch_request("three", 0, max_bytes=1 << 20)
    request.max_bytes = 250_000
    for partition in (1, 2):
        request.topic[0].partition.add(partition=partition, fetch_offset=0)
    response = client.leader("three", 0).call(request)
    assert sum(len(p.batches) for p in response.topic[0].partition) <= 250_000
    assert response.topic[0].partition[0].batches


def test_the_batch_that_holds_the_offset_is_the_first(client, topic):
    client.produce(topic, 0, [b"0", b"1", b"2", b"3"])
    client.produce(topic, 0, [b"4"])
    fetched = client.fetch(topic, 0, 2, max_wait_ms=1000)
    assert read_batches(fetched.data)[0].base_offset == 0
    assert values(fetched.records) == [b"2", b"3", b"4"]


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [-1, 2, 1 << 62])
def test_an_offset_out_of_range_brings_the_range(client, topic, offset):
    client.produce(topic, 0, [b"only"])
    with refused("OFFSET_OUT_OF_RANGE", str(offset)) as caught:
        client.fetch(topic, 0, offset)
    assert (caught.value.answer.log_start_offset, caught.value.answer.high_watermark) == (0, 1)


def test_an_unknown_topic_or_partition(client, topic):
    for name, partition in (("nowhere", 0), (topic, 1), (topic, (1 << 32) - 1), ("", 0), ("x" * 500, 0)):
        c = client.leader(topic, 0)
        for request in (produce_request(name, [b"x"], partition), fetch_request(name, 0, partition)):
            error = result_of(c.call(request)).error
            assert error.code in (3, 17, 42), error
            assert getattr(error, "class") in (2, 3), error
            assert str(partition) in error.message or "topic" in error.message, error


def test_topics_by_id(client, topic):
    c, topic_id = client.leader(topic, 0), client.topic_id(topic)
    request = produce_request(topic, [b"v"])
    request.topic[0].ClearField("name")
    request.topic[0].topic_id = topic_id
    response = c.call(request)
    assert response.topic[0].topic_id == topic_id and not result_of(response).HasField("error")

    request.topic[0].name = topic
    assert not result_of(c.call(request)).HasField("error")
    request.topic[0].name = "another"
    assert result_of(c.call(request)).error.code == 103
    request.topic[0].ClearField("name")
    request.topic[0].topic_id = bytes(16)
    assert result_of(c.call(request)).error.code == 100
    request.topic[0].topic_id = b"short"
    answer = c.receive_any() if c.send(request) else None
    assert (answer.error.code or result_of(answer.produce).error.code) in (42, 100)


def test_leader_epochs_are_checked(client, topic):
    epoch = client.list_offset(topic, 0, -1).leader_epoch
    c = client.leader(topic, 0)
    for request in (produce_request(topic, [b"v"]), fetch_request(topic, 0)):
        request.topic[0].partition[0].leader_epoch = epoch
        assert not result_of(c.call(request)).HasField("error")
        request.topic[0].partition[0].leader_epoch = epoch + 1
        assert result_of(c.call(request)).error.code == 75  # UNKNOWN_LEADER_EPOCH
        if epoch > 0:
            request.topic[0].partition[0].leader_epoch = epoch - 1
            assert result_of(c.call(request)).error.code == 74  # FENCED_LEADER_EPOCH


def test_an_empty_request_is_answered(client, topic):
    c = client.leader(topic, 0)
    request = produce_request(topic, [b"v"])
    request.ClearField("topic")
    assert not c.call(request).topic
    request = fetch_request(topic, 0)
    request.ClearField("topic")
    assert not c.call(request).topic


def test_roles(broker, client):
    """Each listener says what it does not do."""
    with refused("WRONG_ROLE", "metad"):
        broker.connect("metad").call(fetch_request("topic", 0))
    with refused("WRONG_ROLE"):
        broker.connect("broker").call(metadata_pb2.MetadataRequest())
