# SPDX-License-Identifier: Apache-2.0
"""Four network loops and everything at once: the broker under a sanitizer, if one is built.

Goal: find races between loops, flushers and workers, and lost or doubled completions of what waits.
Method: for some seconds, many connections produce to and follow the same few partitions with long polls, while
topics come and go, configs change and somebody scrapes; then the end, clean or not. What was
acknowledged must be there, whoever waits must be answered, and no sanitizer may have anything to say
(daemon.py looks at the end of each test).

Runs against SLUICE_BUILD, and against build/tsan and build/asan where they are there and not older
than the sources.
"""

import contextlib
import threading
import urllib.error

import configs_pb2
import pytest

from accounting import ACKED, Writer, problems
from daemon import Broker
from messages import fetch_request, list_offsets_request, produce_request, result_of
from sluice_client import Client, Connection, ConnectionLost, Record, SluiceError, make_batch, read_batches, segment
from sluice_client.errors import check
from support import BUILD, ROOT, SLOW, Deadline, eventually

SECONDS = 3  # of load
PARTITIONS = 3
LOOPS = "4"
# A connection that is closed under a request, or a request that comes at the end: nothing else is expected.
AT_THE_END = ("SHUTTING_DOWN", "TIMED_OUT", "NOT_LEADER", "NOT_READY", "COORDINATION", "NOT_CONTROLLER",
              "UNKNOWN_TOPIC_OR_PARTITION", "LEADER_NOT_AVAILABLE")


@contextlib.contextmanager
def refused_only(name):
    """Either way, but no other error."""
    try:
        yield
    except SluiceError as e:
        if e.name != name:
            raise


def newest_source():
    return max(path.stat().st_mtime for room in ("proto", "metad", "broker")
               for path in (ROOT / room).rglob("*.[ch]"))


def is_current(build):
    program = build / "bin/sluice-broker"
    return program.exists() and program.stat().st_mtime >= newest_source()


BUILDS = [BUILD, *(ROOT / "build" / name for name in ("tsan", "asan")
                   if name != BUILD.name and is_current(ROOT / "build" / name))]


class SanitizedBroker(Broker):
    def __init__(self, build, directory, settings):
        super().__init__(directory, settings, env={
            "TSAN_OPTIONS": "second_deadlock_stack=1:history_size=4",
            "ASAN_OPTIONS": "detect_stack_use_after_return=1",
            "UBSAN_OPTIONS": "print_stacktrace=1"})
        self.build = build

    def command(self):
        program, *words = super().command()
        return [str(self.build / "bin/sluice-broker"), *words]

    def wait(self, seconds=20):
        return super().wait(seconds if self.build == BUILD else seconds * 10)


@pytest.fixture(params=BUILDS, ids=[b.name for b in BUILDS])
def threaded(request, directory):
    broker = SanitizedBroker(request.param, directory / "broker", {"num.network.threads": LOOPS})
    yield broker.launch().ready(60)
    try:
        broker.finish()
    except BaseException:
        broker.kill()
        raise


class Actor(threading.Thread):
    """Does `step` over and over until the load ends. What goes wrong before that fails the test."""

    def __init__(self, load, step):
        super().__init__(name=step.__name__)
        self.load, self.step, self.steps, self.problem = load, step, 0, None

    def run(self):
        try:
            while not self.load.is_over():
                self.step()
                self.steps += 1
        except (ConnectionLost, urllib.error.URLError, OSError) as e:
            if not self.load.is_over():
                self.problem = e
        except SluiceError as e:
            if not self.load.is_over() or e.name not in AT_THE_END:
                self.problem = e
        except Exception as e:
            self.problem = e


class Load:
    """Everything at once against one broker; `end` is when the broker is about to go."""

    def __init__(self, broker, life):
        self.broker, self.life = broker, life
        self._over = threading.Event()
        self.address = broker.addresses["broker"]
        self.writers = [Writer(f"{life}-{p}-{i}", self.address, "t", p, window=16)
                        for p in range(PARTITIONS) for i in range(2)]
        steps = [self.followers(), self.followers(), self.floods(), self.floods(), self.several_partitions(),
                 self.short_lives(), self.topics_that_go(0), self.topics_that_go(1), self.configs(),
                 self.searches(), self.scrapes]
        self.actors = [Actor(self, step) for step in steps]

    def is_over(self):
        return self._over.is_set()

    def start(self):
        for thread in self.writers + self.actors:
            thread.start()
        return self

    def run(self):
        """Lets it run, and longer if somebody has not got going."""
        deadline = Deadline(SECONDS)
        eventually(lambda: self.troubled() or deadline.is_over(), SECONDS + 5, "time passes")
        eventually(lambda: self.troubled() or all(a.steps for a in self.actors), 60, "all have done something")
        assert not self.troubled()
        return self

    def troubled(self):
        return [f"{a.name}: {a.problem!r}" for a in self.actors if a.problem]

    def end(self):
        """Before the broker goes: from now on it may be gone."""
        self._over.set()

    def join(self):
        """What the writers have sent, by partition."""
        for actor in self.actors:
            actor.join(60 * SLOW)
            assert not actor.is_alive(), f"{actor.name} still waits for an answer"
        assert not self.troubled()
        for w in self.writers:
            w.stop()
        return [[b for w in self.writers if w.partition == p for b in w.sent] for p in range(PARTITIONS)]

    # --- the actors ---

    def followers(self):
        """Twenty connections, each with a long poll at the end of a partition; answered ones ask again."""
        connections = [Connection(self.address) for _ in range(20)]
        waiting, offsets = {}, {}

        def ask(i):
            wanted = fetch_request("t", offsets.get(i, 0), i % PARTITIONS, max_wait_ms=200 + 10 * i,
                                   min_bytes=1 + i * 500)
            waiting[i] = connections[i].send(wanted)

        def follow():
            for i, c in enumerate(connections):
                if i not in waiting:
                    ask(i)
            for i, c in enumerate(connections):
                result = result_of(c.receive(waiting.pop(i)))
                check(result)
                for batch in read_batches(result.batches):
                    assert batch.base_offset <= offsets.get(i, 0) or i not in offsets or \
                        batch.base_offset == offsets[i], "a hole"
                    offsets[i] = batch.base_offset + batch.last_offset_delta + 1
        return follow

    def floods(self):
        """Many small produces of all kinds of acks in one write: runs of several requests."""
        c = Connection(self.address)
        data = segment(make_batch([Record(b"x" * 50)] * 5))

        def flood():
            asked = [c.send(produce_request("flood", data, i % PARTITIONS, acks=(1, -1)[i % 2])) for i in range(60)]
            for id in asked:
                check(result_of(c.receive(id)))
        return flood

    def several_partitions(self):
        """One request for all partitions, and one fetch of all of them."""
        c = Connection(self.address)
        data = segment(make_batch([Record(b"y" * 20)]))

        def several():
            produce = produce_request("flood", data)
            fetch = fetch_request("flood", 0, max_wait_ms=50, max_bytes=5000)
            for p in range(1, PARTITIONS):
                produce.topic[0].partition.add(partition=p, batches=data)
                fetch.topic[0].partition.add(partition=p, fetch_offset=0, max_bytes=5000)
            asked = c.send(fetch)
            for p in c.call(produce).topic[0].partition:
                check(p)
            assert len(c.receive(asked).topic[0].partition) == PARTITIONS
        return several

    def short_lives(self):
        """Connections that leave in the middle of everything."""
        data = segment(make_batch([Record(b"z")] * 3))

        def live_shortly():
            c = Connection(self.address)
            for p in range(PARTITIONS):
                c.send(fetch_request("t", 1 << 40 if p == 2 else 0, p, max_wait_ms=60_000, min_bytes=1 << 30))
                c.send(produce_request("flood", data, p))
                c.send(list_offsets_request("t", 1, p))
            c.close()
        return live_shortly

    def topics_that_go(self, number):
        """A topic is created, written to, waited for and deleted under those who wait."""
        client = Client(self.broker.addresses["metad"], timeout=60)
        count = 0

        def come_and_go():
            nonlocal count
            count += 1
            name = f"gone-{self.life}-{number}-{count}"
            client.create_topic(name, 2)
            client.produce(name, 0, [b"v"])
            with Connection(self.address, timeout=60) as c:
                fetch = c.send(fetch_request(name, 1, max_wait_ms=60_000))
                produces = [c.send(produce_request(name, [b"w"])) for _ in range(3)]
                client.delete_topic(name)
                for id in (*produces, fetch):
                    with refused_only("UNKNOWN_TOPIC_OR_PARTITION"):
                        check(result_of(c.receive(id)))
        return come_and_go

    def configs(self):
        """Durability and limits of the topics that are written to."""
        client = Client(self.broker.addresses["metad"], timeout=60)
        count = 0

        def configure():
            nonlocal count
            count += 1
            client.alter_configs("flood", {"durability": ("page-cache", "fsync")[count % 2],
                                           "max.message.bytes": 100_000 + count,
                                           "retention.bytes": 1 << 20, "segment.bytes": 1 << 20})
            client.alter_configs("1", {"log.retention.ms": str(3_600_000 + count)}, resource=configs_pb2.RESOURCE_BROKER)
        return configure

    def searches(self):
        """By time, on workers; and the starts of partitions rise."""
        c = Connection(self.address)
        client = Client(self.broker.addresses["metad"], timeout=60)

        def search():
            asked = [c.send(list_offsets_request(topic, timestamp, p)) for topic in ("t", "flood")
                     for timestamp in (-3, 1, 1 << 50) for p in range(PARTITIONS)]
            for id in asked:
                c.receive(id)
            client.delete_records("flood", 0, -1)
        return search

    def scrapes(self):
        self.broker.metrics()
        self.broker.http("/health/ready")


def compare(broker, history):
    client = broker.client(timeout=120)
    for p in range(PARTITIONS):
        assert problems(history[p], client.read_all("t", p)) == []
        assert any(batch.state == ACKED for batch in history[p])


def test_everything_at_once(threaded):
    """Three lives: a clean stop under load, a kill under load, and a clean stop again."""
    client = threaded.client(timeout=60)
    client.create_topic("t", PARTITIONS, {"segment.bytes": 1 << 20})
    client.create_topic("flood", PARTITIONS)
    for topic in ("t", "flood"):
        for p in range(PARTITIONS):
            client.list_offset(topic, p, -1)
    history = [[] for _ in range(PARTITIONS)]
    for life, end in enumerate(("stop", "kill", "stop")):
        load = Load(threaded, life).start().run()
        load.end()
        if end == "stop":
            assert threaded.stop() == 0
        else:
            threaded.kill()
        history = [before + new for before, new in zip(history, load.join())]
        threaded.disconnect()
        threaded.launch().ready(60)
        compare(threaded, history)
