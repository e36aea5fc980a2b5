# SPDX-License-Identifier: Apache-2.0
"""The bookkeeping finds each problem it is there to find, and none in a faultless history."""

import dataclasses

import pytest

from accounting import ACKED, REFUSED, UNKNOWN, Sent, changes, name_of, problems, value_of
from sluice_client import Record


def a_history():
    """Two writers; of b's last two batches the answer never came, and the first of them was stored."""
    sent = [Sent("a", 0, 2, ACKED, 0), Sent("a", 2, 1, ACKED, 4), Sent("a", 3, 1, REFUSED),
            Sent("b", 0, 2, ACKED, 2), Sent("b", 2, 2, UNKNOWN), Sent("b", 4, 1, UNKNOWN)]
    order = [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("a", 2), ("b", 2), ("b", 3)]
    return sent, [Record(value_of(*name), offset=i) for i, name in enumerate(order)]


def put(records, at, writer, number):
    records[at] = dataclasses.replace(records[at], value=value_of(writer, number))


def append(records, writer, number):
    records.append(Record(value_of(writer, number), offset=records[-1].offset + 1))


def test_a_faultless_history_has_no_problem():
    assert problems(*a_history()) == []


def test_values_tell_who_sent_them():
    assert name_of(value_of("a", 7)) == ("a", 7)
    damaged = bytearray(value_of("a", 7))
    damaged[-1] ^= 1
    assert name_of(bytes(damaged)) is None
    assert name_of(b"something else") is None


def lose_the_end(sent, records):
    del records[4:]


def lose_an_acknowledged_batch(sent, records):
    del records[4]


def leave_a_hole(sent, records):
    for r in records[5:]:
        r.offset += 1


def store_twice(sent, records):
    append(records, "a", 2)


def tear_a_batch(sent, records):
    del records[-1]


def mix_a_batch(sent, records):
    put(records, 5, "b", 3)
    put(records, 6, "b", 2)


def change_a_byte(sent, records):
    records[0].value = records[0].value[:-1] + bytes([records[0].value[-1] ^ 1])


def store_a_refused_batch(sent, records):
    append(records, "a", 3)


def move_a_batch(sent, records):
    sent[1].base_offset = 3


def skip_a_batch(sent, records):
    del records[5:]
    append(records, "b", 4)


def swap_two_batches(sent, records):
    for at, name in enumerate([("b", 2), ("b", 3), ("a", 2), ("b", 0), ("b", 1), ("a", 0), ("a", 1)]):
        put(records, at, *name)
    sent[0].base_offset, sent[1].base_offset, sent[3].base_offset = 5, 2, 3


def store_what_nobody_sent(sent, records):
    append(records, "c", 0)


@pytest.mark.parametrize("forge, found", [
    (lose_the_end, "lost"), (lose_an_acknowledged_batch, "lost"), (leave_a_hole, "hole"), (store_twice, "duplicate"),
    (tear_a_batch, "torn"), (mix_a_batch, "torn"), (change_a_byte, "alien"), (store_a_refused_batch, "ghost"),
    (move_a_batch, "moved"), (skip_a_batch, "skipped"), (swap_two_batches, "order"), (store_what_nobody_sent, "alien"),
], ids=lambda p: getattr(p, "__name__", p))
def test_a_problem_is_found(forge, found):
    sent, records = a_history()
    forge(sent, records)
    assert found in [problem.split(":")[0] for problem in problems(sent, records)]


def test_what_was_read_stays():
    _, records = a_history()
    seen = {r.offset: r.value for r in records}
    assert changes(seen, records) == []
    assert changes(seen, records[:-1]) == ["unread: what was read at offset 6 is gone"]
    change_a_byte(None, records)
    assert changes(seen, records) == ["unread: what was read at offset 0 is changed"]
