# SPDX-License-Identifier: Apache-2.0
"""Bytes that nobody should send: the daemon answers or closes, stays up, and stays small.

Every test ends with the same question: does an honest client still get what it asks for?
"""

import select
import socket
import struct

import fetch_pb2
import metadata_pb2
import pytest
import request_pb2

from messages import fetch_request, fill, list_offsets_request, produce_request, refused, result_of, values
from sluice_client import ConnectionLost, SluiceError
from sluice_client.connection import frame, split_address
from support import SANITIZED, Deadline, eventually, rng

BOTH = pytest.mark.parametrize("listener", ["broker", "metad"])
MIB = 1 << 20


@pytest.fixture(autouse=True)
def honest_clients_are_served(broker, topic):
    yield
    with broker.client() as client:
        said = client.produce(topic, 0, [b"honest"])
        assert values(client.fetch(topic, 0, said.base_offset, max_wait_ms=1000).records) == [b"honest"]


def raw(broker, listener):
    s = socket.create_connection(split_address(broker.addresses[listener]), 10)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def is_closed(s, seconds=10):
    """The server closes it within the time; what it says before is read and dropped."""
    s.settimeout(Deadline(seconds).seconds)
    try:
        while s.recv(65536):
            pass
        return True
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def exchange(c, message):
    """Sends a Request as it is; the Response, or None if the connection is closed instead."""
    try:
        c.send_bytes(frame(message))
        return c.receive_any()
    except ConnectionLost:
        return None


# --- before hello ---------------------------------------------------------------------------


GARBAGE = {
    "zeros": bytes(64),
    "noise": rng("garbage").randbytes(4000),
    "length 0": struct.pack(">I", 0),
    "length 1": struct.pack(">I", 1) + b"\x08",
    "length 2^31-1": struct.pack(">I", 0x7FFFFFFF) + b"\x08\x01",
    "length 2^32-1": b"\xff\xff\xff\xff" + b"\x08\x01",
    "length 4097": struct.pack(">I", 4097) + bytes(4097),
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "kafka": bytes.fromhex("00000023001200030000000100077264") + bytes(30),
    "a group": struct.pack(">I", 4) + bytes.fromhex("0b080114"),
    "deep": struct.pack(">I", 400) + b"\x52\xff\x02" * 100 + bytes(100),
    "a long varint": struct.pack(">I", 12) + b"\x08" + b"\xff" * 10 + b"\x01",
}


@BOTH
@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_closes_the_connection(broker, listener, what):
    s = raw(broker, listener)
    s.sendall(GARBAGE[what])
    s.shutdown(socket.SHUT_WR)
    assert is_closed(s)


@BOTH
@pytest.mark.parametrize("what", ["http", "tls", "noise", "length 2^31-1", "a group"])
def test_garbage_is_not_waited_for(broker, listener, what):
    """The same without an end: the server decides by what it sees, within the time that hello has."""
    s = raw(broker, listener)
    s.sendall(GARBAGE[what])
    assert is_closed(s, 12)


@BOTH
def test_a_request_before_hello(broker, listener):
    request = fetch_request("topic", 0) if listener == "broker" else metadata_pb2.MetadataRequest()
    with broker.connect(listener, hello=False) as c:
        with refused("NO_HELLO"):
            c.call(request)
        with pytest.raises(ConnectionLost):
            c.call(request)


@BOTH
def test_half_a_frame_and_gone(broker, listener):
    hello = frame(request_pb2.Request(correlation_id=1, hello={"min_version": 1, "max_version": 1}))
    for cut in range(len(hello)):
        s = raw(broker, listener)
        s.sendall(hello[:cut])
        s.close()


@BOTH
def test_a_frame_in_single_bytes(broker, listener):
    with broker.connect(listener, hello=False) as c:
        for byte in frame(request_pb2.Request(correlation_id=9, hello={"min_version": 1, "max_version": 1})):
            c.send_bytes(bytes([byte]))
        assert c.receive(9).version == 1


@BOTH
def test_versions_without_overlap(broker, listener):
    with broker.connect(listener, hello=False) as c:
        answer = exchange(c, request_pb2.Request(correlation_id=1, hello={"min_version": 2, "max_version": 9}))
        assert answer.error.code == 35
    with broker.connect(listener, hello=False) as c:
        answer = exchange(c, request_pb2.Request(correlation_id=1, hello={"min_version": 1, "max_version": 9}))
        assert answer.hello.version == 1, "a newer client is met half-way"
    with broker.connect(listener, hello=False) as c:
        answer = exchange(c, request_pb2.Request(correlation_id=1, hello={"min_version": 3, "max_version": 2}))
        assert answer.error.code in (35, 42)


@BOTH
def test_a_second_hello(broker, listener):
    """Refused or answered alike, but it changes nothing."""
    with broker.connect(listener) as c:
        exchange(c, request_pb2.Request(correlation_id=5, hello={"min_version": 1, "max_version": 1}))


# --- after hello ----------------------------------------------------------------------------


@BOTH
def test_unknown_and_missing_bodies(broker, listener):
    for body in (b"", bytes.fromhex("fa7d00")):
        with broker.connect(listener) as c:
            data = b"\x08\x07" + body
            c.send_bytes(struct.pack(">I", len(data)) + data)
            answer = c.receive_any()
            assert answer.correlation_id == 7 and answer.error.code == 42
            # Nothing was misunderstood: the connection goes on.
            assert c.call(list_offsets_request("topic", -1) if listener == "broker" else metadata_pb2.MetadataRequest())


@BOTH
def test_correlation_ids_are_the_client_s(broker, listener):
    """0, the largest, the same twice: each is echoed."""
    with broker.connect(listener) as c:
        for correlation_id in (0, (1 << 64) - 1, 7, 7):
            request = list_offsets_request("topic", -1) if listener == "broker" else metadata_pb2.MetadataRequest()
            name = "list_offsets" if listener == "broker" else "metadata"
            answer = exchange(c, request_pb2.Request(correlation_id=correlation_id, **{name: request}))
            assert answer.correlation_id == correlation_id and not answer.HasField("error")


@BOTH
def test_client_ids(broker, listener):
    name, request = (("list_offsets", list_offsets_request("topic", -1)) if listener == "broker"
                     else ("metadata", metadata_pb2.MetadataRequest()))
    for client_id, fine in (("", True), ("x" * 255, True), ("x" * 256, False), ("esc\x1b new\n", True), ("nul\0", False)):
        with broker.connect(listener) as c:
            answer = exchange(c, request_pb2.Request(correlation_id=1, client_id=client_id, **{name: request}))
            assert (answer is not None and not answer.HasField("error")) == fine, repr(client_id)
    assert "\x1b" not in broker.stderr()


def field(number, data):
    """A length-delimited field."""
    def varint(n):
        out = b""
        while n > 0x7F:
            out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
        return out + bytes([n])
    return varint(number << 3 | 2) + varint(len(data)) + data


def padded(unit, size=MIB - 100):
    return unit * (size // len(unit))


METADATA, CREATE, CONFIGS, PRODUCE, FETCH, OFFSETS = 14, 15, 18, 11, 12, 13
HOSTILE = {
    "a million empty names": ("metad", METADATA, padded(field(1, b""))),
    "a million empty ids": ("metad", METADATA, padded(field(2, b""))),
    "many empty topics": ("metad", CREATE, padded(field(1, b""))),
    "a topic of empty configs": ("metad", CREATE, field(1, field(1, b"t") + padded(field(4, b"")))),
    "many assignments": ("metad", CREATE, field(1, field(1, b"t") + padded(field(5, b"\x0a\x01\x00")))),
    "packed numbers": ("metad", CREATE, field(1, field(5, field(1, bytes(MIB - 200))))),
    "unknown fields": ("metad", METADATA, padded(b"\xf8\x07\x01")),
    "unknown strings": ("metad", METADATA, padded(field(100, b""))),
    "a singular message again and again": ("metad", CONFIGS, field(1, field(1, b"")) + padded(field(1, padded(field(1, b""), 50)))),
    "a singular string again and again": ("metad", CREATE, field(1, padded(field(1, b"x")))),
    "the body again and again": ("metad", None, padded(field(METADATA, b""))),
    "the body merged from pieces": ("broker", None, padded(field(FETCH, field(4, field(1, b"t"))))),
    "nested garbage": ("metad", METADATA, padded(field(1, field(1, field(1, field(1, b"")))))),
    "many produce topics": ("broker", PRODUCE, padded(field(3, b""))),
    "many produce partitions": ("broker", PRODUCE, field(3, field(1, b"topic") + padded(field(3, b"\x08\x00")))),
    "many fetch topics": ("broker", FETCH, padded(field(4, b""))),
    "many fetch partitions": ("broker", FETCH, field(4, field(1, b"topic") + padded(field(3, b"\x08\x00")))),
    "many list offsets": ("broker", OFFSETS, field(1, field(1, b"topic") + padded(field(3, b"\x08\x00")))),
    "groups": ("metad", METADATA, padded(b"\x0b\x0c")),
    "invalid UTF-8": ("metad", METADATA, padded(field(1, b"\xff\xfe\x80\xc0"))),
    "random": ("metad", METADATA, rng("hostile").randbytes(MIB - 100)),
    "random to the broker": ("broker", OFFSETS, rng("hostile2").randbytes(MIB - 100)),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_mebibyte(broker, what):
    """It is refused, costs no more memory than a few times its size, and leaves nothing behind."""
    listener, body_field, body = HOSTILE[what]
    data = b"\x08\x01" + (field(body_field, body) if body_field else body)
    assert MIB - 5000 < len(data) < MIB
    with broker.connect(listener) as warm_up:
        warm_up.send_bytes(frame(request_pb2.Request(correlation_id=1, client_id="x" * 4000)))
    before = broker.status("VmHWM")
    with broker.connect(listener) as c:
        for _ in range(3):
            try:
                c.send_bytes(struct.pack(">I", len(data)) + data)
                answer = c.receive_any()
            except ConnectionLost:
                break
            if answer.HasField("error"):
                assert answer.error.code in (42, 1002), answer.error  # INVALID_REQUEST, OVERLOADED
            else:
                # Legal after all: then each of its parts was refused, politely.
                assert what in ("many fetch partitions", "many produce partitions", "many list offsets",
                                "packed numbers"), what
    if not SANITIZED:
        assert broker.status("VmHWM") - before < 16 * MIB


def test_a_control_frame_over_its_limit(broker):
    with broker.connect("metad") as c:
        answer = exchange(c, request_pb2.Request(correlation_id=1, metadata={"topic": ["x" * (MIB + 1)]}))
        assert answer is None or answer.error.code == 42


def test_an_announced_length_is_not_allocated(broker):
    """A hundred connections announce 90 MiB each and send a little of it."""
    before = broker.status("VmHWM")
    held = []
    for _ in range(100):
        c = broker.connect()
        c.send_bytes(struct.pack(">I", 90 * MIB) + b"\x08\x01" + bytes(1000))
        held.append(c)
    with broker.connect() as c:
        c.call(list_offsets_request("topic", -1))
    if not SANITIZED:
        assert broker.status("VmHWM") - before < 24 * MIB
    [c.close() for c in held]


def test_a_frame_longer_than_the_limit_closes(broker):
    with broker.connect() as c:
        limit = c.hello.frame_bytes_max
        assert limit == 100 * MIB
        c.send_bytes(struct.pack(">I", limit + 1))
        assert is_closed(c.socket)


def test_unfinished_frames_share_a_budget(start_broker):
    """Incomplete frames of many connections are bounded together: beyond it they are not read."""
    broker = start_broker({"queued.max.request.bytes": 8 * MIB, "socket.request.max.bytes": 4 * MIB})
    before = broker.status("VmHWM")
    held = []
    for _ in range(20):
        c = broker.connect()
        c.socket.setblocking(False)
        data = memoryview(struct.pack(">I", 4 * MIB - 1) + b"\x08\x01" + bytes(3 * MIB))
        while data and select.select([], [c.socket], [], 0.2)[1]:
            data = data[c.socket.send(data):]
        held.append(c)
    if not SANITIZED:
        assert broker.status("VmHWM") - before < 8 * MIB + 24 * MIB
    [c.close() for c in held]
    client = broker.client()
    client.create_topic("t", 1)
    client.produce("t", 0, [bytes(500_000)], crc=False)


# --- semantics ------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [
    {"max_wait_ms": 0xFFFFFFFF, "min_bytes": 0}, {"min_bytes": 0xFFFFFFFF, "max_wait_ms": 0},
    {"max_bytes": 0, "max_wait_ms": 0}, {"max_bytes": 0xFFFFFFFF, "max_wait_ms": 0},
])
def test_extreme_fetches(client, topic, fields):
    client.produce(topic, 0, [b"v"])
    client.read_all(topic, 0)
    request = fetch_pb2.FetchRequest(**fields)
    request.topic.add(name=topic).partition.add(partition=0, fetch_offset=0)
    assert not result_of(client.leader(topic, 0).call(request)).HasField("error")


@pytest.mark.parametrize("timeout_ms", [0, 1, 0xFFFFFFFF])
def test_extreme_produce_timeouts(client, topic, timeout_ms):
    result = result_of(client.leader(topic, 0).call(produce_request(topic, [b"v"], timeout_ms=timeout_ms)))
    assert result.error.code in (0, 7)  # done, or unknown


def test_the_same_partition_twice_in_one_request(client, topic):
    c = client.leader(topic, 0)
    request = produce_request(topic, [b"a"])
    request.topic[0].partition.add(partition=0, batches=request.topic[0].partition[0].batches)
    request.topic.add(name=topic).partition.add(partition=0, batches=request.topic[0].partition[0].batches)
    try:
        results = [p for t in c.call(request).topic for p in t.partition]
        stored = len([p for p in results if not p.HasField("error")])
    except SluiceError:
        stored = 0
    assert len(client.read_all(topic, 0)) == stored
    request = fetch_request(topic, 0, max_wait_ms=1)
    request.topic[0].partition.add(partition=0, fetch_offset=0)
    try:
        assert len(c.call(request).topic[0].partition) == 2
    except SluiceError as e:
        assert e.name == "INVALID_REQUEST"


@pytest.mark.parametrize("before", [-2, -(1 << 63), (1 << 63) - 1, 5])
def test_extreme_delete_records(client, topic, before):
    client.produce(topic, 0, [b"v"])
    with refused("OFFSET_OUT_OF_RANGE"):
        client.delete_records(topic, 0, before)
    assert values(client.read_all(topic, 0)) == [b"v"]


def test_names_that_are_bytes(broker):
    """Control characters, invalid UTF-8, paths: refused, and escaped where they are logged."""
    for name in (b"\0", b"a\nb", b"\x1b[31m", b"\xff\xfe", b"../../etc/passwd", b"x" * 100_000):
        with broker.connect() as c:
            body = field(FETCH, b"\x08\x00" + field(4, field(1, name) + field(3, b"\x08\x00\x10\x00")))
            c.send_bytes(struct.pack(">I", len(body) + 2) + b"\x08\x01" + body)
            try:
                c.receive_any()
            except (ConnectionLost, UnicodeDecodeError):
                pass
            except Exception as e:  # an answer that echoes invalid UTF-8 would not be a protobuf
                pytest.fail(f"{name!r}: {e!r}")
    assert "\x1b" not in broker.stderr()


def test_random_requests(broker, client, topic):
    """Goal: whatever well-formed or half-broken request comes, the daemon lives and answers or closes.
    Method: serialized honest requests with random bytes changed, cut out and put in, to both listeners."""
    random = rng("random requests")
    honest = [
        request_pb2.Request(correlation_id=1, produce=produce_request(topic, [b"v" * 20])),
        request_pb2.Request(correlation_id=1, fetch=fetch_request(topic, 0, max_wait_ms=1)),
        request_pb2.Request(correlation_id=1, list_offsets=list_offsets_request(topic, -1)),
        request_pb2.Request(correlation_id=1, delete_records={"topic": [{"name": topic, "partition": [
            {"partition": 0, "before_offset": 0}]}]}),
        request_pb2.Request(correlation_id=1, metadata={"topic": [topic], "max_wait_ms": 1}),
        request_pb2.Request(correlation_id=1, create_topics={"validate_only": True, "topic": [
            {"name": "x", "partitions": 1, "config": [{"key": "retention.ms", "value": "1"}]}]}),
        request_pb2.Request(correlation_id=1, describe_configs={"resource": [{"type": 1, "name": topic}]}),
        request_pb2.Request(correlation_id=1, alter_configs={"validate_only": True, "alteration": [
            {"resource": {"type": 1, "name": topic}, "delete": ["retention.ms"]}]}),
    ]
    connections = {}
    for _ in range(600):
        listener = random.choice(("broker", "metad"))
        data = bytearray(random.choice(honest).SerializeToString())
        for _ in range(random.randrange(1, 4)):
            at, how = random.randrange(len(data)), random.randrange(3)
            if how == 0:
                data[at] = random.randrange(256)
            elif how == 1:
                del data[at:at + random.randrange(1, 5)]
            else:
                data[at:at] = random.randbytes(random.randrange(1, 5))
            if not data:
                data = bytearray(b"\x08")
        c = connections.get(listener) or broker.connect(listener)
        connections[listener] = c
        try:
            c.send_bytes(struct.pack(">I", len(data)) + data)
            # Something honest behind it: either is answered, or the connection is closed.
            sent = c.send(list_offsets_request(topic, -1) if listener == "broker" else metadata_pb2.MetadataRequest())
            c.receive(sent, timeout=20)
        except ConnectionLost as e:
            assert "timed out" not in str(e), data.hex()
            connections.pop(listener).close()
        except SluiceError:
            pass
    # A change of one byte may have been a legal deletion or alteration: only the honest end matters.


# --- flooding -------------------------------------------------------------------------------


def flood(c, data, limit):
    """Sends without ever reading, until the server stops taking it, or `limit` bytes went. Bytes sent."""
    c.socket.setblocking(False)
    sent, view = 0, memoryview(data)
    while sent < limit and select.select([], [c.socket], [], 1.0)[1]:
        sent += c.socket.send(view[sent % len(view):][:1 << 18])
    return sent


@BOTH
def test_pipelining_without_reading(broker, listener):
    """A client that asks and never reads is stopped; what it was sent is not kept in memory."""
    c = broker.connect(listener)
    if listener == "broker":
        request = request_pb2.Request(correlation_id=1, list_offsets=list_offsets_request("topic", -1))
    else:
        request = request_pb2.Request(correlation_id=1, describe_configs={"resource": [{"type": 1, "name": "topic"}]})
    before = broker.status("VmHWM")
    sent = flood(c, frame(request) * 20_000, limit=64 * MIB)
    assert sent < 64 * MIB, "it is stopped"
    if not SANITIZED:
        assert broker.status("VmHWM") - before < 32 * MIB
    c.close()


def test_asking_for_data_without_reading(broker, client, topic):
    """The same with answers of a mebibyte each."""
    fill(client, topic, 4 * MIB)
    client.read_all(topic, 0)
    before = broker.status("VmHWM")
    connections = [broker.connect() for _ in range(10)]
    for c in connections:
        flood(c, frame(request_pb2.Request(correlation_id=1, fetch=fetch_request(topic, 0))) * 1000, limit=1000 * 50)
    if not SANITIZED:
        # The file is mapped once; beyond it nothing grows with what was asked for.
        assert broker.status("VmHWM") - before < 32 * MIB
    [c.close() for c in connections]


def test_a_hundred_thousand_requests_are_all_answered(broker, topic):
    """Pipelined by a client that does read, in lumps: each is answered once."""
    c = broker.connect()
    count, one = 100_000, list_offsets_request(topic, -1)
    data = b"".join(frame(request_pb2.Request(correlation_id=i, list_offsets=one)) for i in range(count))
    view, seen = memoryview(data), set()
    c.socket.setblocking(False)
    deadline = Deadline(60)
    received = bytearray()
    while len(seen) < count:
        assert not deadline.is_over(), f"{len(seen)} of {count} answers"
        readable, writable, _ = select.select([c.socket], [c.socket] if view else [], [], 5)
        if writable:
            view = view[c.socket.send(view[:1 << 18]):]
        if readable:
            received += c.socket.recv(1 << 20)
            at = 0
            while len(received) - at >= 4:
                size = int.from_bytes(received[at:at + 4], "big")
                if len(received) - at < 4 + size:
                    break
                seen.add(request_pb2.Response.FromString(bytes(received[at + 4:at + 4 + size])).correlation_id)
                at += 4 + size
            del received[:at]
    assert seen == set(range(count))


def test_connecting_and_leaving(broker):
    """A thousand connections that say nothing, half of them reset."""
    before = broker.descriptors()
    for i in range(1000):
        s = raw(broker, "broker")
        if i % 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    eventually(lambda: broker.descriptors() <= before + 1, what="descriptors are back")


def test_slow_hellos_are_cut_off(broker):
    """Silence, a length without a frame, a byte now and then: hello has a deadline, whatever dribbles."""
    hello = frame(request_pb2.Request(correlation_id=1, hello={"min_version": 1, "max_version": 1}))
    slow = [raw(broker, listener) for listener in ("broker", "metad") for _ in range(3)]
    for i, s in enumerate(slow):
        s.sendall(hello[:(0, 4, 6)[i % 3]])
    deadline = Deadline(12)
    waiting = list(slow)
    while waiting:
        assert not deadline.is_over(), f"{len(waiting)} are still open"
        readable, _, _ = select.select(waiting, [], [], 0.5)
        for s in readable:
            try:
                open_still = s.recv(4096)
            except ConnectionResetError:
                open_still = b""
            if not open_still:
                waiting.remove(s)
        for s in waiting[2::3]:
            try:
                s.send(b"\x1a")  # dribbling on
            except OSError:
                pass
    [s.close() for s in slow]


def test_idle_connections_are_closed(start_broker):
    broker = start_broker({"connections.max.idle.ms": "300"})
    client = broker.client()
    client.create_topic("t", 1)
    client.list_offset("t", 0, -1)
    idle, parked = broker.connect(), broker.connect()
    fetch = parked.send(fetch_request("t", 0, max_wait_ms=2000))
    assert is_closed(idle.socket)
    # Whoever waits for an answer is not idle.
    assert not result_of(parked.receive(fetch)).HasField("error")
