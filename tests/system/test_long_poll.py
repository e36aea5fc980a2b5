# SPDX-License-Identifier: Apache-2.0
"""Fetches that wait: what ends the wait, and what it must not hold up."""

import time

import pytest

from messages import fetch_request, fill, list_offsets_request, produce_request, result_of, values
from sluice_client import ConnectionLost, read_batches, read_records
from support import Deadline, eventually

LONG = 60_000  # ms: no test waits that long, it would fail first


def records_of(response):
    return [r for b in read_batches(result_of(response).batches) for r in read_records(b)]


@pytest.fixture
def parked(broker, client, topic):
    """A connection with a fetch that waits at the end of the topic; (connection, correlation id)."""
    client.produce(topic, 0, [b"first"])
    client.read_all(topic, 0)
    c = broker.connect()
    fetch = c.send(fetch_request(topic, 1, max_wait_ms=LONG))
    # Requests are taken up in order: this answer says that the fetch was taken up and did not answer.
    assert c.call(list_offsets_request(topic, -1)).topic
    return c, fetch


def test_a_produce_on_another_connection_ends_it(parked, client, topic):
    c, fetch = parked
    client.produce(topic, 0, [b"second"])
    assert values(records_of(c.receive(fetch))) == [b"second"]


def test_a_produce_on_the_same_connection_is_not_blocked(parked, topic):
    c, fetch = parked
    produced = result_of(c.call(produce_request(topic, [b"second"])))
    assert produced.base_offset == 1
    assert values(records_of(c.receive(fetch))) == [b"second"]


def test_max_wait_ms_ends_it_empty(client, topic):
    began = time.monotonic()
    fetched = client.fetch(topic, 0, 0, max_wait_ms=300)
    assert time.monotonic() - began >= 0.3
    assert (fetched.records, fetched.data, fetched.high_watermark) == ([], b"", 0)


def test_no_wait_at_all(client, topic):
    assert client.fetch(topic, 0, 0, max_wait_ms=0).data == b""


def test_min_bytes_gathers(broker, client, topic):
    c = broker.connect()
    fetch = c.send(fetch_request(topic, 0, max_wait_ms=LONG, min_bytes=250_000))
    fill(client, topic, 200_000)
    eventually(lambda: c.call(list_offsets_request(topic, -1)).topic[0].partition[0].offset == 2)
    assert fetch not in c._answers, "answered with 200,000 of 250,000 bytes"
    fill(client, topic, 100_000)
    assert len(records_of(c.receive(fetch))) == 3


def test_min_bytes_over_partitions(broker, client):
    client.create_topic("two", 2)
    for partition in range(2):
        client.list_offset("two", partition, -1)
    c = broker.connect()
    request = fetch_request("two", 0, max_wait_ms=LONG, min_bytes=150_000)
    request.topic[0].partition.add(partition=1, fetch_offset=0)
    fetch = c.send(request)
    fill(client, "two", 100_000, partition=0)
    fill(client, "two", 100_000, partition=1)
    assert [len(p.batches) > 100_000 for p in c.receive(fetch).topic[0].partition] == [True, True]


def test_min_bytes_more_than_max_bytes_still_ends(client, topic):
    fill(client, topic, 300_000)
    request = fetch_request(topic, 0, max_bytes=100, max_wait_ms=LONG, min_bytes=1 << 31)
    request.max_bytes = 150_000
    assert records_of(client.leader(topic, 0).call(request))


def test_an_error_in_one_partition_ends_it_at_once(client, topic):
    request = fetch_request(topic, 0, max_wait_ms=LONG)
    request.topic[0].partition.add(partition=9, fetch_offset=0)
    response = client.leader(topic, 0).call(request)
    assert [p.error.code for p in response.topic[0].partition] == [0, 3]


def test_the_deletion_of_the_topic_ends_it(parked, client, topic):
    c, fetch = parked
    client.delete_topic(topic)
    assert result_of(c.receive(fetch)).error.code == 3


def test_a_client_that_leaves_is_forgotten(broker, client, topic):
    client.list_offset(topic, 0, -1)
    before = broker.descriptors()
    connections = [broker.connect() for _ in range(50)]
    for c in connections:
        c.send(fetch_request(topic, 0, max_wait_ms=LONG))
        c.call(list_offsets_request(topic, -1))
    assert broker.descriptors() >= before + 50
    for c in connections:
        c.close()
    eventually(lambda: broker.descriptors() <= before, what="descriptors are back")
    client.produce(topic, 0, [b"nobody waits"])
    assert values(client.read_all(topic, 0)) == [b"nobody waits"]


def test_a_stop_does_not_wait_for_it(parked, broker):
    c, fetch = parked
    deadline = Deadline(5)
    assert broker.stop() == 0
    assert not deadline.is_over()
    with pytest.raises(ConnectionLost):
        while True:  # an answer before the end is welcome too
            c.receive_any()


def test_many_wait_and_all_wake(broker, client, topic):
    """200 fetches on 20 connections, woken by one record."""
    client.list_offset(topic, 0, -1)
    connections = [broker.connect() for _ in range(20)]
    waiting = [(c, c.send(fetch_request(topic, 0, max_wait_ms=LONG))) for c in connections for _ in range(10)]
    for c in connections:
        c.call(list_offsets_request(topic, -1))
    client.produce(topic, 0, [b"news"])
    assert all(values(records_of(c.receive(fetch))) == [b"news"] for c, fetch in waiting)


def test_beyond_the_end_is_refused_not_awaited(client, topic):
    error = result_of(client.leader(topic, 0).call(fetch_request(topic, 5, max_wait_ms=LONG))).error
    assert error.code == 1
