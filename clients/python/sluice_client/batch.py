# SPDX-License-Identifier: Apache-2.0
"""Record batches: made from records, and read back with every check a client owes itself.

A batch is an ordinary protobuf message. Only its checksums need code of their own,
because they cover values in a fixed packing and not an encoding.
"""

import dataclasses
import struct
import time

import log_pb2

from . import codecs
from .crc32c import crc32c
from .errors import CorruptData

CODEC_MASK = 0x7
LOG_APPEND_TIME = 1 << 3
VERSION_SHIFT = 24
HEADER_SIZE = 93  # of a canonical batch: everything in front of the records


@dataclasses.dataclass
class Record:
    value: bytes | None = b""
    key: bytes | None = None
    timestamp: int | None = None  # ms since the epoch; None when sending: now
    headers: tuple = ()  # of (name, bytes or None)
    offset: int | None = None  # set by reading
    leader_epoch: int | None = None  # set by reading


def now_ms():
    return time.time_ns() // 1_000_000


# --- checksums ------------------------------------------------------------------------------


def batch_crc(b):
    """Fields 5 to 13 as packed little-endian values, then the records as they are."""
    fixed = struct.pack("<IIIqqqiiI", b.attributes, b.record_count, b.last_offset_delta,
                        b.base_timestamp, b.max_timestamp, b.producer_id, b.producer_epoch,
                        b.base_sequence, b.topic_crc)
    return crc32c(b.records, crc32c(fixed))


def header_crc(b):
    """Fields 1, 2 and 4 as packed little-endian values."""
    return crc32c(struct.pack("<QII", b.base_offset, b.leader_epoch, b.batch_crc))


def topic_crc(topic_id, partition):
    """What ties a batch to its partition: the 16 bytes of the topic id, then the number."""
    return crc32c(topic_id + struct.pack("<I", partition))


def set_crcs(b):
    b.batch_crc = batch_crc(b)
    b.header_crc = header_crc(b)
    return b


# --- making ---------------------------------------------------------------------------------


def make_batch(records, codec=codecs.NONE, crc=True, topic_crc=0):
    """A RecordBatch of at least one record. Without `crc` the broker fills the checksums in,
    which it does for uncompressed batches only."""
    now = now_ms()
    times = [now if r.timestamp is None else r.timestamp for r in records]
    base = min(times)
    body = log_pb2.Records()
    for delta, (r, timestamp) in enumerate(zip(records, times)):
        one = body.record.add(offset_delta=delta, timestamp_delta=timestamp - base)
        if r.key is not None:
            one.key = r.key
        if r.value is not None:
            one.value = r.value
        for name, value in r.headers:
            one.header.add(key=name, value=value)
    batch = log_pb2.RecordBatch(
        base_offset=0, leader_epoch=0, attributes=codec, record_count=len(records),
        last_offset_delta=len(records) - 1, base_timestamp=base, max_timestamp=max(times),
        producer_id=-1, producer_epoch=-1, base_sequence=-1, topic_crc=topic_crc,
        records=codecs.compress(codec, body.SerializeToString()))
    return set_crcs(batch) if crc else batch


def segment(*batches):
    """What ProducePartition.batches carries: a serialized Segment."""
    return log_pb2.Segment(batch=batches).SerializeToString()


def canonical(b):
    """The batch as the log writes it: all fixed-width fields, both lengths as five-byte varints."""
    fixed = struct.pack("<BQBIBIBIBIBIBIBqBqBqBiBiBI", 0x09, b.base_offset, 0x15, b.leader_epoch,
                        0x1D, b.header_crc, 0x25, b.batch_crc, 0x2D, b.attributes,
                        0x35, b.record_count, 0x3D, b.last_offset_delta, 0x41, b.base_timestamp,
                        0x49, b.max_timestamp, 0x51, b.producer_id, 0x5D, b.producer_epoch,
                        0x65, b.base_sequence, 0x6D, b.topic_crc)
    body = fixed + b"\x7a" + padded_varint(len(b.records)) + b.records
    return b"\x0a" + padded_varint(len(body)) + body


def padded_varint(n):
    return bytes((n >> shift & 0x7F) | 0x80 for shift in (0, 7, 14, 21)) + bytes([n >> 28])


# --- reading --------------------------------------------------------------------------------


def read_batches(data):
    """The batches of a serialized Segment, each with both checksums verified."""
    try:
        parsed = log_pb2.Segment.FromString(data)
    except Exception as e:  # protobuf's DecodeError, whichever runtime raises it
        raise CorruptData(f"not a Segment: {e}") from e
    for b in parsed.batch:
        if b.attributes >> VERSION_SHIFT:
            raise CorruptData(f"batch at offset {b.base_offset} is of an unknown format version")
        if b.header_crc != header_crc(b):
            raise CorruptData(f"batch at offset {b.base_offset}: its header does not match its checksum")
        if b.batch_crc != batch_crc(b):
            raise CorruptData(f"batch at offset {b.base_offset}: it does not match its checksum")
    return list(parsed.batch)


def read_records(b):
    """The records of one batch. Under log append time all have the batch's max_timestamp."""
    body = log_pb2.Records.FromString(codecs.decompress(b.attributes & CODEC_MASK, b.records))
    if len(body.record) != b.record_count:
        raise CorruptData(f"batch at offset {b.base_offset}: {len(body.record)} records, not {b.record_count}")
    stamped = b.attributes & LOG_APPEND_TIME
    return [Record(value=r.value if r.HasField("value") else None,
                   key=r.key if r.HasField("key") else None,
                   timestamp=b.max_timestamp if stamped else b.base_timestamp + r.timestamp_delta,
                   headers=tuple((h.key, h.value if h.HasField("value") else None) for h in r.header),
                   offset=b.base_offset + r.offset_delta,
                   leader_epoch=b.leader_epoch) for r in body.record]
