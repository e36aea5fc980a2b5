# SPDX-License-Identifier: Apache-2.0
"""Many connections: what they cost, how many may come, who is turned away."""

import resource
import socket
import struct

import pytest
import request_pb2

from messages import fetch_request, list_offsets_request, refused, values
from sluice_client.connection import frame, split_address
from support import SANITIZED, eventually

COUNT = 5000
NEEDED = COUNT + 500


@pytest.fixture
def many_descriptors():
    """This process and the daemons it starts may open enough files, or the test is skipped."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < NEEDED:
        pytest.skip(f"needs {NEEDED} descriptors, the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, NEEDED), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_five_thousand_idle_connections(many_descriptors, start_broker):
    """Each said hello and is silent: it costs at most 8 KiB, and nobody else notices."""
    broker = start_broker()
    client = broker.client()
    client.create_topic("t", 1)
    client.produce("t", 0, [b"v"])
    before = broker.memory()
    idle = [broker.connect() for _ in range(COUNT)]
    assert broker.descriptors() >= COUNT
    each = (broker.memory() - before) / COUNT
    if not SANITIZED:
        assert each <= 8192, f"{each:.0f} bytes a connection"
    assert values(client.read_all("t", 0)) == [b"v"]
    client.produce("t", 0, [b"w"])
    # All are alive.
    for c in idle[::50]:
        assert c.call(list_offsets_request("t", -1)).topic[0].partition[0].offset == 2
    [c.close() for c in idle]
    eventually(lambda: broker.descriptors() < 100, what="descriptors are back")


def test_a_thousand_parked_fetches(many_descriptors, start_broker):
    """One record wakes them all."""
    broker = start_broker()
    client = broker.client()
    client.create_topic("t", 1)
    client.list_offset("t", 0, -1)
    waiting = [broker.connect() for _ in range(1000)]
    asked = [c.send(fetch_request("t", 0, max_wait_ms=60_000)) for c in waiting]
    for c in waiting:
        c.call(list_offsets_request("t", -1))
    client.produce("t", 0, [b"wake up"])
    for c, fetch in zip(waiting, asked):
        assert c.receive(fetch).topic[0].partition[0].batches


HELLO = frame(request_pb2.Request(correlation_id=1, hello={"min_version": 1, "max_version": 1}))


def is_refused(broker, source="127.0.0.1"):
    """Whether a connection from that source address is turned away instead of greeted."""
    with socket.socket() as s:
        s.settimeout(10)
        s.bind((source, 0))
        s.connect(split_address(broker.addresses["broker"]))
        try:
            s.sendall(HELLO)
            size, = struct.unpack(">I", s.recv(4, socket.MSG_WAITALL))
            answer = request_pb2.Response.FromString(s.recv(size, socket.MSG_WAITALL))
            assert answer.error.code == 1002 if answer.HasField("error") else answer.hello.version == 1  # OVERLOADED
            return answer.HasField("error")
        except (ConnectionResetError, BrokenPipeError, struct.error):
            return True


def test_a_limit_for_all(start_broker):
    broker = start_broker({"max.connections": 20})
    held = []
    with refused("OVERLOADED"):
        for _ in range(30):
            held.append(broker.connect())
    assert len(held) in range(15, 21)
    held.pop().close()
    eventually(lambda: not is_refused(broker), what="room for one more")


def test_a_limit_per_address(start_broker):
    broker = start_broker({"max.connections.per.ip": 10})
    held = []
    with refused("OVERLOADED", "address"):
        for _ in range(30):
            held.append(broker.connect())
    assert len(held) in range(8, 11)
    # Another address is not affected.
    assert not is_refused(broker, "127.0.0.2")
    assert is_refused(broker)
    [c.close() for c in held]
    eventually(lambda: not is_refused(broker), what="room again")
    broker.says("(?i)connection")


def test_out_of_descriptors(start_broker):
    """A hard limit of 200: beyond it connections wait or are closed, and those that are there go on."""
    broker = start_broker(preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)))
    client = broker.client()
    client.create_topic("t", 1)
    client.produce("t", 0, [b"v"])
    held = []
    for _ in range(250):
        held.append(socket.create_connection(split_address(broker.addresses["broker"]), 10))
    client.produce("t", 0, [b"w"])
    assert values(client.read_all("t", 0)) == [b"v", b"w"]
    [s.close() for s in held]
    eventually(lambda: not is_refused(broker), what="it accepts again")
