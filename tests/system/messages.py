# SPDX-License-Identifier: Apache-2.0
"""Request bodies for one partition, for tests that talk to a connection themselves; and batches by the dozen."""

import contextlib

import fetch_pb2
import list_offsets_pb2
import produce_pb2
import pytest

from support import eventually
from sluice_client import LATEST, Record, SluiceError, make_batch, segment


def produce_request(topic, data, partition=0, acks=-1, **fields):
    """data: a serialized Segment, or a list of values for one batch."""
    request = produce_pb2.ProduceRequest(acks=acks, **fields)
    data = data if isinstance(data, bytes) else segment(make_batch([Record(v) for v in data]))
    request.topic.add(name=topic).partition.add(partition=partition, batches=data)
    return request


def fetch_request(topic, offset, partition=0, max_bytes=1 << 20, **fields):
    request = fetch_pb2.FetchRequest(**fields)
    request.topic.add(name=topic).partition.add(partition=partition, fetch_offset=offset, max_bytes=max_bytes)
    return request


def list_offsets_request(topic, timestamp, partition=0):
    request = list_offsets_pb2.ListOffsetsRequest()
    request.topic.add(name=topic).partition.add(partition=partition, timestamp=timestamp)
    return request


def result_of(response):
    """Of the one partition that was asked about."""
    return response.topic[0].partition[0]


@contextlib.contextmanager
def refused(name, text=""):
    """Within it a SluiceError of that name, whose message has the text, must be raised."""
    with pytest.raises(SluiceError) as caught:
        yield caught
    assert caught.value.name == name, caught.value
    assert text in caught.value.message, caught.value
    assert caught.value.message, "every error says what was wrong"


def fill(client, topic, size_bytes, partition=0, value_bytes=100_000, **record):
    """Appends at least that many bytes of zeros, a record a batch, each with its number in front. Gives their values
    when all can be read."""
    values = []
    while sum(map(len, values)) < size_bytes:
        value = b"%08d " % len(values) + bytes(value_bytes - 9)
        last = client.produce(topic, partition, [Record(value, **record)], acks=1, crc=False).last_offset
        values.append(value)
    eventually(lambda: client.list_offset(topic, partition, LATEST).offset > last, what="all can be read")
    return values


def values(records):
    return [r.value for r in records]

