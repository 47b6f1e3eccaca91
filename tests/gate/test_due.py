"""What is due, in its order, however often it is said."""

import random

from redrush.gate.knowledge.due import Due

SEED = 20270206


def test_what_is_due_comes_in_its_order_and_once() -> None:
    pairs = [(number // 3, f"p{number}") for number in range(300)]
    random.Random(SEED).shuffle(pairs)
    due = Due(pairs[:100])
    for pair in pairs + pairs:
        due.add(*pair)
    assert len(due) == 300
    came = []
    while (first := due.first()) is not None:
        assert due.pop() == first
        came.append(first)
    assert came == sorted(pairs), SEED
    assert len(due) == 0


def test_what_is_tried_again_and_again_takes_no_more_place() -> None:
    due = Due([(1, "away"), (2, "later")])
    for _ in range(1_000):
        due.add(*due.pop())
    assert due.first() == (1, "away")
    assert len(due._heap) == len(due) == 2


class Named(str):
    """The name of a pot that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Named.compared += 1
        return str.__eq__(self, str(other))

    def __hash__(self) -> int:
        return str.__hash__(self)


def test_all_are_added_again_without_a_search() -> None:
    pairs = [(7, Named(f"p{number}")) for number in range(1_000)]
    due = Due(pairs)
    Named.compared = 0
    for at_us, pot in pairs:
        due.add(at_us, Named(pot))
    assert len(due) == 1_000
    assert Named.compared < 10 * len(pairs)
