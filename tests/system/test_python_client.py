# SPDX-License-Identifier: Apache-2.0
"""The Python client without a broker: checksums, batches byte for byte, codecs, frames."""

import socket
import struct
import threading

import hello_pb2
import log_pb2
import pytest
import request_pb2

from sluice_client import CorruptData, Record, SluiceError, codecs, make_batch, read_batches, read_records, segment
from sluice_client.batch import canonical, header_crc, padded_varint, set_crcs, topic_crc
from sluice_client.connection import Connection, ConnectionLost, frame, split_address
from sluice_client.crc32c import crc32c


# --- checksums ------------------------------------------------------------------------------


@pytest.mark.parametrize("data, crc", [
    (b"", 0x00000000),
    (b"123456789", 0xE3069283),
    # RFC 3720, B.4
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
])
def test_crc32c_vectors(data, crc):
    assert crc32c(data) == crc


def test_crc32c_continues_where_it_stopped():
    assert crc32c(b"6789", crc32c(b"12345")) == 0xE3069283


# --- batches --------------------------------------------------------------------------------

# One record, key "k", value "v", at 1700000000000 ms.
RECORDS = bytes.fromhex("0a0a" "0800" "1000" "1a016b" "220176")
COVERED = bytes.fromhex("00000000" "01000000" "00000000"          # attributes, count, last offset delta
                        "0068e5cf8b010000" "0068e5cf8b010000"     # base and max timestamp
                        "ffffffffffffffff" "ffffffff" "ffffffff"  # producer id, epoch, sequence
                        "00000000") + RECORDS                      # topic crc, records


def one_record_batch(**changes):
    return make_batch([Record(b"v", b"k", 1700000000000)], **changes)


def test_batch_checksums_cover_packed_values():
    b = one_record_batch()
    assert b.records == RECORDS
    assert b.batch_crc == crc32c(COVERED)
    assert b.header_crc == crc32c(bytes(12) + struct.pack("<I", b.batch_crc))


def test_canonical_batch_byte_for_byte():
    b = one_record_batch()
    expected = bytes.fromhex("0a" "e380808000"
                             "09" "0000000000000000" "15" "00000000" "1d") + struct.pack("<I", b.header_crc) \
        + b"\x25" + struct.pack("<I", b.batch_crc) \
        + bytes.fromhex("2d00000000" "3501000000" "3d00000000" "410068e5cf8b010000" "490068e5cf8b010000"
                        "51ffffffffffffffff" "5dffffffff" "65ffffffff" "6d00000000" "7a" "8c80808000") + RECORDS
    assert canonical(b) == expected
    assert len(expected) == 93 + len(RECORDS)
    # A stock runtime reads it, and writes the same but for the two lengths.
    assert log_pb2.Segment.FromString(expected).batch[0] == b
    assert segment(b) == b"\x0a\x5f" + canonical(b)[6:87] + b"\x7a\x0c" + RECORDS


@pytest.mark.parametrize("n, text", [(0, "8080808000"), (1, "8180808000"), (300, "ac82808000"),
                                     (0x7FFFFFFF, "ffffffff07")])
def test_padded_varint(n, text):
    assert padded_varint(n).hex() == text


def test_topic_crc_is_of_id_and_partition():
    assert topic_crc(bytes(range(16)), 7) == crc32c(bytes(range(16)) + b"\x07\x00\x00\x00")


def test_records_survive_the_journey():
    sent = [Record(b"a", None, 1000), Record(None, b"gone", 990), Record(b"", b"", 1005),
            Record(b"x" * 300, b"k", 1001, (("h", b"1"), ("none", None), ("empty", b"")))]
    batch, = read_batches(segment(make_batch(sent)))
    assert (batch.base_timestamp, batch.max_timestamp, batch.last_offset_delta) == (990, 1005, 3)
    read = read_records(batch)
    assert [(r.key, r.value, r.timestamp, r.headers, r.offset) for r in read] == \
           [(s.key, s.value, s.timestamp, s.headers, i) for i, s in enumerate(sent)]


def test_log_append_time_is_the_batch_s():
    b = one_record_batch()
    b.attributes |= 1 << 3
    b.max_timestamp = 1700000009999
    assert read_records(set_crcs(b))[0].timestamp == 1700000009999


@pytest.mark.parametrize("field", [f.name for f in log_pb2.RecordBatch.DESCRIPTOR.fields])
def test_every_field_is_covered_by_a_checksum(field):
    b = one_record_batch()
    value = getattr(b, field)
    setattr(b, field, value[:-1] + b"w" if field == "records" else value ^ 1)
    with pytest.raises(CorruptData):
        read_batches(segment(b))


def test_unknown_format_version_is_refused():
    b = one_record_batch()
    b.attributes |= 1 << 24
    with pytest.raises(CorruptData, match="version"):
        read_batches(segment(set_crcs(b)))


def test_a_lie_about_the_count_is_noticed():
    b = one_record_batch()
    b.record_count = 2
    with pytest.raises(CorruptData, match="1 records, not 2"):
        read_records(set_crcs(b))


def test_half_a_segment_is_refused():
    with pytest.raises(CorruptData):
        read_batches(segment(one_record_batch())[:-1])


def test_header_crc_follows_offset_and_epoch():
    b = one_record_batch()
    before = b.header_crc
    b.base_offset, b.leader_epoch = 1 << 40, 3
    assert header_crc(b) != before
    assert header_crc(b) == crc32c(struct.pack("<QII", 1 << 40, 3, b.batch_crc))


# --- codecs ---------------------------------------------------------------------------------

ALL = range(5)
PACKED = range(1, 5)
TEXT = b"the same line again and again\n" * 3000


@pytest.mark.parametrize("codec", ALL, ids=codecs.NAMES)
@pytest.mark.parametrize("data", [b"", b"x", TEXT, bytes(range(256)) * 900])
def test_codec_round_trip(codec, data):
    assert codecs.decompress(codec, codecs.compress(codec, data)) == data


@pytest.mark.parametrize("codec", PACKED, ids=codecs.NAMES[1:])
def test_codec_compresses(codec):
    assert len(codecs.compress(codec, TEXT)) < len(TEXT) / 10


def test_gzip_is_rfc_1952():
    assert codecs.compress(codecs.GZIP, b"x")[:3] == b"\x1f\x8b\x08"


@pytest.mark.parametrize("codec", [codecs.GZIP, codecs.LZ4, codecs.ZSTD], ids=["gzip", "lz4", "zstd"])
def test_bombs_stop_at_the_bound(codec):
    # snappy cannot exceed the bound: it makes at most 22 of 1, and says so first.
    bomb = codecs.compress(codec, bytes(64 << 20))
    assert codecs.limit_of(len(bomb)) < 64 << 20
    with pytest.raises(CorruptData, match="more than"):
        codecs.decompress(codec, bomb)


def test_snappy_lies_about_its_size():
    with pytest.raises(CorruptData, match="more than"):
        codecs.decompress(codecs.SNAPPY, b"\xff\xff\xff\xff\x0f")


@pytest.mark.parametrize("codec", PACKED, ids=codecs.NAMES[1:])
@pytest.mark.parametrize("harm", [lambda d: d[:-1], lambda d: d + b"\0", lambda d: d + d, lambda d: b"",
                                  lambda d: b"\xff" * 40], ids=["short", "long", "twice", "empty", "garbage"])
def test_codec_refuses_what_is_not_one_frame(codec, harm):
    with pytest.raises(CorruptData):
        codecs.decompress(codec, harm(codecs.compress(codec, TEXT)))


# --- connection -----------------------------------------------------------------------------


class Scripted:
    """A server that answers each request with the next of `answers` (functions of the request)."""

    def __init__(self, answers):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, args=(answers,))
        self.thread.start()

    def run(self, answers):
        with self.listener, self.listener.accept()[0] as s, s.makefile("rb") as stream:
            for answer in answers:
                size, = struct.unpack(">I", stream.read(4))
                for data in answer(request_pb2.Request.FromString(stream.read(size))):
                    s.sendall(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join()


def answer_hello(request):
    yield frame(request_pb2.Response(correlation_id=request.correlation_id,
                                     hello=hello_pb2.HelloResponse(version=1, role="broker")))


def test_frames_are_length_and_message():
    request = request_pb2.Request(correlation_id=1, hello=hello_pb2.HelloRequest(min_version=1))
    assert frame(request).hex() == "00000006" "0801" "52020801"


def test_answers_are_matched_by_id_and_arrive_in_pieces():
    held = []

    def hold(request):
        held.append(request)
        return ()

    def answer_both_reversed(request):
        for r in (request, held[0]):
            data = frame(request_pb2.Response(correlation_id=r.correlation_id,
                                              hello=hello_pb2.HelloResponse(broker_id=r.correlation_id)))
            yield from (data[i:i + 1] for i in range(len(data)))

    with Scripted([answer_hello, hold, answer_both_reversed]) as server, Connection(server.address) as c:
        first, second = c.send(hello_pb2.HelloRequest()), c.send(hello_pb2.HelloRequest())
        assert c.receive(first).broker_id == first
        assert c.receive(second).broker_id == second


def test_refusals_have_number_class_and_text():
    def refuse(request):
        response = request_pb2.Response(correlation_id=request.correlation_id)
        response.error.code, response.error.message = 7001, "of the future"
        setattr(response.error, "class", 1)
        yield frame(response)

    with Scripted([answer_hello, refuse]) as server, Connection(server.address) as c:
        with pytest.raises(SluiceError) as caught:
            c.call(hello_pb2.HelloRequest())
        assert (caught.value.code, caught.value.name, caught.value.class_name) == (7001, "UNKNOWN", "retry")
        assert "of the future" in str(caught.value)


def test_a_closed_connection_is_said_so():
    with Scripted([answer_hello, lambda request: [frame(request_pb2.Response())[:3]]]) as server, \
            Connection(server.address) as c:
        with pytest.raises(ConnectionLost, match="closed by the server"):
            c.call(hello_pb2.HelloRequest())


@pytest.mark.parametrize("text, parts", [("localhost:9290", ("localhost", 9290)), ("[::1]:1", ("::1", 1))])
def test_addresses(text, parts):
    assert split_address(text) == parts
