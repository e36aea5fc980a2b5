# SPDX-License-Identifier: Apache-2.0
"""Every codec, from a client through the broker to a client; and what compressed bytes may not do."""

import gzip

import pytest

from messages import refused, values
from sluice_client import Record, batch, codecs, make_batch, read_batches, segment
from support import rng

CODECS = range(1, 5)
LINES = [b"%d: the quick brown fox jumps over the lazy dog" % i for i in range(500)]


@pytest.mark.parametrize("codec", CODECS, ids=codecs.NAMES[1:])
def test_a_codec_passes_untouched(client, topic, codec):
    sent = make_batch([Record(v) for v in LINES], codec)
    client.produce_bytes(topic, 0, segment(sent))
    fetched = client.fetch(topic, 0, 0, max_wait_ms=1000)
    assert values(fetched.records) == LINES
    stored, = read_batches(fetched.data)
    assert stored.records == sent.records, "the producer's bytes"
    assert len(fetched.data) < sum(map(len, LINES)) / 2


@pytest.mark.parametrize("codec", CODECS, ids=codecs.NAMES[1:])
def test_a_compressed_batch_needs_a_checksum(client, topic, codec):
    with refused("CORRUPT", "batch_crc"):
        client.produce(topic, 0, [b"v"], codec=codec, crc=False)


def recompressed(codec, data):
    """A batch of one record whose `records` are these bytes."""
    b = make_batch([Record(b"v")], codec)
    b.records = data
    return segment(batch.set_crcs(b))


def bomb(codec, size):
    """Records of one record of `size` zeros, compressed as well as the codec can."""
    plain = make_batch([Record(bytes(size))], crc=False).records
    return gzip.compress(plain, 9) if codec == codecs.GZIP else codecs.compress(codec, plain)


@pytest.mark.parametrize("codec", [codecs.GZIP, codecs.LZ4, codecs.ZSTD], ids=["gzip", "lz4", "zstd"])
def test_a_bomb_is_refused(broker, client, topic, codec):
    size = 200 << 20
    data = bomb(codec, size)
    assert len(data) < 1 << 20 < codecs.limit_of(len(data)) < size
    client.produce(topic, 0, [b"before"])
    before = broker.status("VmHWM")
    with refused("MESSAGE_TOO_LARGE", "decodes"):
        client.produce_bytes(topic, 0, recompressed(codec, data))
    # What the decoder may make, the frame, and allocators' habits; far from the 200 MiB.
    assert broker.status("VmHWM") - before < codecs.limit_of(len(data)) + (24 << 20)
    assert values(client.read_all(topic, 0)) == [b"before"]


def test_a_snappy_header_that_claims_4_gib(client, topic):
    with refused("MESSAGE_TOO_LARGE"):
        client.produce_bytes(topic, 0, recompressed(codecs.SNAPPY, b"\xff\xff\xff\xff\x0f" + b"\0" * 50))


@pytest.mark.parametrize("codec", CODECS, ids=codecs.NAMES[1:])
def test_just_within_the_bound(client, topic, codec):
    """What compresses well but honestly is accepted: the bound is 16 times and a mebibyte."""
    client.produce(topic, 0, [bytes(1 << 19), bytes(1 << 18)], codec=codec)
    assert [len(v) for v in values(client.read_all(topic, 0))] == [1 << 19, 1 << 18]


HARM = {
    "garbage": lambda data: b"\xde\xad\xbe\xef" * 20,
    "nothing": lambda data: b"",
    "cut": lambda data: data[:-1],
    "half": lambda data: data[:len(data) // 2],
    "trailing": lambda data: data + b"\x00",
    "twice": lambda data: data + data,
}


@pytest.mark.parametrize("codec", CODECS, ids=codecs.NAMES[1:])
@pytest.mark.parametrize("harm", HARM)
def test_what_is_not_one_frame_is_refused(client, topic, codec, harm):
    good = make_batch([Record(v) for v in LINES[:50]], codec)
    good.records = HARM[harm](good.records)
    with refused("CORRUPT", "decoded"):
        client.produce_bytes(topic, 0, segment(batch.set_crcs(good)))
    assert client.list_offset(topic, 0, -1).offset == 0


@pytest.mark.parametrize("codec", CODECS, ids=codecs.NAMES[1:])
def test_random_damage_under_a_right_checksum(client, topic, codec):
    """Goal: no compressed bytes, however broken, hurt the broker. Method: flip bytes, recompute the checksum,
    send; each time it is refused or, if the damage was harmless, stored and readable."""
    random = rng(f"damage/{codec}")
    good = make_batch([Record(v) for v in LINES[:60]], codec)
    stored = 0
    for _ in range(100):
        damaged = bytearray(good.records)
        for _ in range(random.randrange(1, 4)):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        b = make_batch([Record(v) for v in LINES[:60]], codec)
        b.records = bytes(damaged)
        request = segment(batch.set_crcs(b))
        try:
            client.produce_bytes(topic, 0, request)
            stored += 1
        except Exception as e:
            assert getattr(e, "name", None) in ("CORRUPT", "INVALID_RECORD", "MESSAGE_TOO_LARGE",
                                                "INVALID_TIMESTAMP"), e
    assert len(client.read_all(topic, 0)) == stored * 60


@pytest.mark.parametrize("codec", range(5), ids=codecs.NAMES)
@pytest.mark.parametrize("demanded", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_a_topic_that_demands_a_codec(client, codec, demanded):
    client.create_topic("demanding", 1, {"compression.type": demanded})
    client.produce("demanding", 0, [Record(v, b"k") for v in LINES[:100]], codec=codec)
    fetched = client.fetch("demanding", 0, 0, max_wait_ms=1000)
    stored, = read_batches(fetched.data)
    assert codecs.NAMES[stored.attributes & batch.CODEC_MASK].replace("none", "uncompressed") == demanded
    assert values(fetched.records) == LINES[:100]


def test_an_unknown_codec(client, topic):
    for unknown in (5, 6, 7):
        b = make_batch([Record(b"v")])
        b.attributes = unknown
        with refused("UNSUPPORTED_COMPRESSION"):
            client.produce_bytes(topic, 0, segment(batch.set_crcs(b)))
