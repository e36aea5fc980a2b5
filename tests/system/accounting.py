# SPDX-License-Identifier: Apache-2.0
"""Bookkeeping for load that is cut off: what was sent, what was acknowledged, what must be there afterwards.

Goal: after any number of kill -9 and restarts, prove from the outside that nothing acknowledged
was lost, nothing was doubled, no batch was torn, and offsets are dense.

Method: every record's value is unique and can be computed again from its writer and number, so one
look at a value tells who sent it in which batch and whether a byte of it changed. A writer
notes each batch before it sends it and what came of it: acked with its offset, refused, or unknown.
problems() compares the notes with all that can be read afterwards. It is itself tested, with one
forged history for each problem it must find (test_accounting.py).
"""

import collections
import dataclasses
import random
import threading

from messages import produce_request, result_of
from sluice_client import Client, Connection, ConnectionLost, Record, make_batch, segment

ACKED, REFUSED, UNKNOWN = "acked", "refused", "unknown"


@dataclasses.dataclass
class Sent:
    """One batch: records first .. first + count - 1 of its writer."""

    writer: str
    first: int
    count: int
    state: str = UNKNOWN
    base_offset: int | None = None

    def values(self):
        return [value_of(self.writer, self.first + i) for i in range(self.count)]


def value_of(writer, number):
    """Between 20 and 2,000 bytes that only this record has."""
    filler = random.Random(f"{writer}/{number}")
    return f"{writer}/{number}/".encode() + filler.randbytes(filler.randrange(10, 1990))


def name_of(value):
    """(writer, number) of a value; None if it is not the value of any record."""
    try:
        writer, number, _ = value.split(b"/", 2)
        name = writer.decode(), int(number)
    except ValueError:
        return None
    return name if value_of(*name) == value else None


def problems(sent, records):
    """What is wrong with `records`, all that can be read of the partition, after `sent`. A sentence each."""
    found = []
    place = {}  # (writer, number) -> offset
    for previous, r in zip([None, *records], records):
        if previous and r.offset != previous.offset + 1:
            found.append(f"hole: offset {r.offset} follows {previous.offset}")
        name = name_of(r.value)
        if name is None:
            found.append(f"alien: the value at offset {r.offset} was never sent, or was changed")
        elif name in place:
            found.append(f"duplicate: {name} is at offset {place[name]} and at {r.offset}")
        else:
            place[name] = r.offset

    last_of_writer, cut_writers = {}, {}
    for batch in sent:
        offsets = [place.pop((batch.writer, batch.first + i), None) for i in range(batch.count)]
        label = f"{batch.state} batch {batch.writer}/{batch.first}+{batch.count}"
        if offsets == [None] * batch.count:
            if batch.state == ACKED:
                found.append(f"lost: {label} at offset {batch.base_offset}")
            elif batch.state == UNKNOWN:
                cut_writers.setdefault(batch.writer, label)
            continue
        if None in offsets or offsets != list(range(offsets[0], offsets[0] + batch.count)):
            found.append(f"torn: {label} lies at {offsets}")
            continue
        if batch.state == REFUSED:
            found.append(f"ghost: {label} is at offset {offsets[0]}")
        if batch.state == ACKED and offsets[0] != batch.base_offset:
            found.append(f"moved: {label} is at offset {offsets[0]}, was acknowledged at {batch.base_offset}")
        # A connection's requests are taken up in order: what is there is a prefix, in order.
        if batch.writer in cut_writers:
            found.append(f"skipped: {label} is there, but not {cut_writers[batch.writer]} before it")
        if offsets[0] < last_of_writer.get(batch.writer, -1):
            found.append(f"order: {label} is at offset {offsets[0]}, behind a later one")
        last_of_writer[batch.writer] = offsets[-1]

    found += [f"alien: {name} is at offset {offset}, but was not sent" for name, offset in place.items()]
    return found


def changes(seen, records):
    """What a consumer has seen (offset -> value) and is no longer there as it was. A sentence each."""
    now = {r.offset: r.value for r in records}
    return [f"unread: what was read at offset {offset} is {'changed' if offset in now else 'gone'}"
            for offset, value in sorted(seen.items()) if now.get(offset) != value]


class Writer(threading.Thread):
    """Sends batches to one partition over one connection, several under way at a time, until it is
    told to stop (then it waits for the last answers) or the connection is lost. A writer's name is
    used once: a second life needs another."""

    def __init__(self, name, address, topic, partition=0, acks=-1, window=8):
        super().__init__(name=name)
        self.address, self.topic, self.partition = address, topic, partition
        self.acks, self.window = acks, window
        self.sent = []  # of Sent, in order
        self.problem = None  # an exception that is none of the expected ones
        self._rng = random.Random(name)
        self._stopping = threading.Event()
        self._underway = collections.OrderedDict()  # correlation id -> Sent

    def stop(self):
        self._stopping.set()
        self.join()
        if self.problem:
            raise self.problem

    def acked(self):
        return sum(batch.state == ACKED for batch in self.sent)

    def run(self):
        try:
            with Connection(self.address) as connection:
                while not self._stopping.is_set():
                    while len(self._underway) < self.window:
                        self._send(connection)
                    self._receive(connection)
                while self._underway:
                    self._receive(connection)
        except ConnectionLost:
            pass
        except Exception as e:
            self.problem = e

    def _send(self, connection):
        first = self.sent[-1].first + self.sent[-1].count if self.sent else 0
        batch = Sent(self.name, first, self._rng.randrange(1, 12))
        self.sent.append(batch)
        data = segment(make_batch([Record(v) for v in batch.values()]))
        self._underway[connection.send(produce_request(self.topic, data, self.partition, self.acks))] = batch

    def _receive(self, connection):
        response = connection.receive_any()
        batch = self._underway.pop(response.correlation_id)
        result = result_of(response.produce) if response.HasField("produce") else response
        if result.HasField("error"):
            # Some say that it is in the log, and may or may not stay there.
            batch.state = UNKNOWN if "outcome is unknown" in result.error.message else REFUSED
        else:
            batch.base_offset, batch.state = result.base_offset, ACKED


class Reader(threading.Thread):
    """Tails one partition from an offset on and remembers what it saw."""

    def __init__(self, metad_address, topic, partition=0, offset=0):
        super().__init__()
        self.metad_address, self.topic, self.partition, self.offset = metad_address, topic, partition, offset
        self.seen = {}  # offset -> value
        self.problem = None
        self._stopping = threading.Event()

    def stop(self):
        self._stopping.set()
        self.join()
        if self.problem:
            raise self.problem

    def run(self):
        try:
            with Client(self.metad_address) as client:
                while not self._stopping.is_set():
                    fetched = client.fetch(self.topic, self.partition, self.offset, max_wait_ms=100)
                    self.seen.update((r.offset, r.value) for r in fetched.records)
                    self.offset = fetched.next_offset
        except ConnectionLost:
            pass
        except Exception as e:
            self.problem = e
