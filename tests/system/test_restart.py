# SPDX-License-Identifier: Apache-2.0
"""Stops, clean and not, and what is there afterwards."""

import os
import signal

import pytest

from accounting import ACKED, Reader, Writer, changes, problems
from messages import fetch_request, fill, produce_request, values
from sluice_client import Record
from support import Deadline, eventually, rng


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_everything_is_kept(start_broker, end):
    broker = start_broker()
    client = broker.client()
    cluster_id, broker_id = client.metadata().cluster_id, client.metadata().broker[0].id
    client.create_topic("a", 2, {"segment.bytes": 1 << 20})
    client.create_topic("b", 1, {"durability": "page-cache"})
    sent = fill(client, "a", 2_500_000)
    client.produce("a", 1, [Record(b"v", b"k", 1000, (("h", b"1"),))])
    client.produce("b", 0, [b"1", b"2"])
    topic_ids = {t.name: t.topic_id for t in client.metadata().topic}
    getattr(broker, end)()
    for _ in range(2):  # the second time it starts from what a restart has written
        broker.restart()
        client = broker.client()
        assert client.metadata().cluster_id == cluster_id
        assert client.metadata().broker[0].id == broker_id
        assert {t.name: t.topic_id for t in client.metadata().topic} == topic_ids
        assert values(client.read_all("a", 0)) == sent
        record, = client.read_all("a", 1)
        assert (record.key, record.value, record.timestamp, record.headers) == (b"k", b"v", 1000, (("h", b"1"),))
        assert values(client.read_all("b", 0)) == [b"1", b"2"]
        getattr(broker, end)()
    broker.restart()
    assert broker.client().produce("a", 0, [b"next"]).base_offset == len(sent)


def test_a_clean_stop_is_marked_and_says_so(broker, client, topic):
    client.produce(topic, 0, [b"v"])
    assert broker.terminate() == 0
    broker.restart()
    assert values(broker.client().read_all(topic, 0)) == [b"v"]


def test_the_incarnation_grows(broker):
    lives = [broker.connect().hello.incarnation]
    for end in ("kill", "terminate"):
        getattr(broker, end)()
        broker.restart()
        lives.append(broker.connect().hello.incarnation)
    assert lives[0] < lives[1] < lives[2]


def test_leader_epochs_grow(broker, client, topic):
    """A restarted leader leads in a new epoch: what was fenced before stays fenced."""
    client.produce(topic, 0, [b"v"])
    epochs = [client.list_offset(topic, 0, -1).leader_epoch]
    broker.kill()
    broker.restart()
    client = broker.client()
    client.produce(topic, 0, [b"w"])
    epochs.append(client.list_offset(topic, 0, -1).leader_epoch)
    assert epochs[0] <= epochs[1]
    stored = [r.leader_epoch for r in client.read_all(topic, 0)]
    assert stored == sorted(stored)


# --- SIGTERM --------------------------------------------------------------------------------


def test_sigterm_under_load(broker, client):
    """It ends soon, with status 0, and what it acknowledged is there."""
    client.create_topic("t", 2)
    for partition in range(2):
        client.list_offset("t", partition, -1)
    history = []
    for life in range(3):
        address = broker.addresses["broker"]
        writers = [Writer(f"{life}-{i}", address, "t", i % 2) for i in range(4)]
        [w.start() for w in writers]
        eventually(lambda: all(w.acked() >= 20 for w in writers), 30, "writers get going")
        deadline = Deadline(10)
        assert broker.stop() == 0
        assert not deadline.is_over()
        [w.stop() for w in writers]
        history += [batch for w in writers for batch in w.sent]
        broker.restart()
        client = broker.client()
        for partition in range(2):
            mine = [b for b in history if int(b.writer.split("-")[1]) % 2 == partition]
            assert problems(mine, client.read_all("t", partition)) == []
    assert any(b.state == ACKED for b in history)


def hold_up_a_stop(broker, client, topic):
    """A consumer that asks for much and takes nothing keeps the broker's output queued."""
    fill(client, topic, 8 << 20)
    c = broker.connect()
    for _ in range(20):
        c.send(fetch_request(topic, 0, max_bytes=8 << 20, max_wait_ms=1000))
    return c


def test_a_consumer_that_does_not_read_does_not_hold_up_a_stop(broker, client, topic):
    held = hold_up_a_stop(broker, client, topic)
    deadline = Deadline(15)
    assert broker.stop() == 0
    assert not deadline.is_over()
    held.close()


def test_a_second_sigterm_ends_it_at_once(broker, client, topic):
    client.produce(topic, 0, [b"acknowledged"])
    hold_up_a_stop(broker, client, topic)
    said = len(broker.stderr())
    broker.signal(signal.SIGTERM)
    eventually(lambda: len(broker.stderr()) > said or not broker.is_running(), what="it heard the first")
    if broker.is_running():
        broker.signal(signal.SIGTERM)
    deadline = Deadline(3)
    broker.wait()
    assert not deadline.is_over()
    broker.restart()
    assert b"acknowledged" in values(broker.client().read_all(topic, 0))


def test_sigint_is_as_sigterm(broker, client, topic):
    client.produce(topic, 0, [b"v"])
    broker.signal(signal.SIGINT)
    assert broker.wait() == 0


# --- kill -9 in the middle of load ----------------------------------------------------------


@pytest.mark.parametrize("durability", ["fsync", "page-cache"])
def test_kill_in_the_middle_of_load(start_broker, durability):
    """Goal: nothing acknowledged is lost, nothing is doubled, no batch is torn, offsets are dense, and what a
    consumer has seen stays, whatever moment the kill hits.

    Method: writers with several batches under way (acks -1 and 1: a kill leaves the page cache alone) and a tailing
    reader, on two partitions whose segments roll often; kill after a random number of acknowledgements; restart,
    read everything, compare with the notes of all lives so far; again."""
    random = rng(f"kill/{durability}")
    broker = start_broker({"log.flush.offset.checkpoint.interval.ms": 100})
    broker.client().create_topic("t", 2, {"durability": durability, "segment.bytes": 1 << 20})
    history, seen = {0: [], 1: []}, {0: {}, 1: {}}
    for life in range(5):
        client = broker.client()
        ends = [client.list_offset("t", p, -1).offset for p in range(2)]
        writers = [Writer(f"{life}.{i}", broker.addresses["broker"], "t", i % 2, acks=(-1, -1, 1)[i]) for i in range(3)]
        readers = [Reader(broker.addresses["metad"], "t", p, ends[p]) for p in range(2)]
        [t.start() for t in writers + readers]
        enough = random.randrange(1, 150)
        eventually(lambda: sum(w.acked() for w in writers) >= enough, 30, f"{enough} acknowledgements")
        broker.kill()
        [t.stop() for t in writers + readers]
        for w in writers:
            history[w.partition] += w.sent
        for r in readers:
            seen[r.partition].update(r.seen)

        broker.restart()
        client = broker.client()
        for p in range(2):
            records = client.read_all("t", p)
            assert problems(history[p], records) == []
            assert changes(seen[p], records) == []
            acknowledged = [b.base_offset + b.count for b in history[p] if b.state == ACKED]
            assert client.list_offset("t", p, -1).offset >= max(acknowledged, default=0)
    assert sum(b.state == ACKED for batches in history.values() for b in batches) >= 5


def test_kill_during_recovery(start_broker):
    """Killed again while it starts, at many moments: the next start still finds everything."""
    random = rng("kill/recovery")
    broker = start_broker()
    client = broker.client()
    client.create_topic("t", 4)
    sent = [fill(client, "t", 300_000, p, value_bytes=3000) for p in range(4)]
    broker.kill()
    broker.disconnect()
    for _ in range(15):
        broker.launch()
        # Not a wait for anything: the moment is what is random.
        eventually(lambda: random.random() < 0.2, what="the dice fall")
        broker.kill()
        os.close(broker._ready_fd)
    broker.start()
    client = broker.client()
    assert [values(client.read_all("t", p)) for p in range(4)] == sent


def test_a_frozen_broker_goes_on(broker, client, topic):
    """SIGSTOP and SIGCONT: requests that came meanwhile are answered."""
    client.produce(topic, 0, [b"before"])
    c = client.leader(topic, 0)
    broker.pause()
    asked = c.send(produce_request(topic, [b"during"]))
    broker.resume()
    assert c.receive(asked).topic[0].partition[0].base_offset == 1
