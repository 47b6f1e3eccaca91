"""The auditor of many sets finds what is wrong: a small event over two sets whose evidence is right, and tampering."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.acceptance.chaos.auditor import keep_books
from tests.acceptance.chaos.evidence import SetEvidence
from tests.acceptance.crash.evidence import LogRow, Seal, SealedRound

AT_US = 1_000_005
AMOUNTS = [100, 250, 50, 75]
SEAL = Seal("c1", "CNY", {"a": SealedRound(0, 4, 475, 1_000_000, 1_001_000)}, AMOUNTS, "seal")
Sets = dict[str, SetEvidence]


def right() -> Sets:
    return {
        "s1": SetEvidence(
            last_seq=3,
            log=[
                LogRow(1, "opened", "a", 0, 2),
                LogRow(2, "granted", "a", 0, 1, AT_US, ("ann",)),
                LogRow(3, "taken", "a", slots=((1, 1),), transfer="rebalance:a:x:s2"),
            ],
            holders={"a": {"ann": (0, AT_US)}},
            counts={"a": (0, 1)},
        ),
        "s2": SetEvidence(
            last_seq=4,
            log=[
                LogRow(1, "opened", "a", 2, 2),
                LogRow(2, "granted", "a", 2, 2, AT_US, ("bob", "eve")),
                LogRow(3, "given", "a", slots=((1, 1),), transfer="rebalance:a:x:s2"),
                LogRow(4, "granted", "a", 1, 1, AT_US, ("joe",)),
            ],
            holders={"a": {"bob": (2, AT_US), "eve": (3, AT_US), "joe": (1, AT_US)}},
            counts={"a": (0, 3)},
        ),
    }


def row(sets: Sets, set_id: str, index: int, **changes: object) -> None:
    sets[set_id].log[index] = replace(sets[set_id].log[index], **changes)  # type: ignore[arg-type]  # by name


def hold(sets: Sets, set_id: str, user: str, slot: int) -> None:
    sets[set_id].holders["a"][user] = (slot, AT_US)


TAMPERINGS: dict[str, tuple[Callable[[Sets], None], str]] = {
    "a user has grants in both sets": (lambda sets: row(sets, "s2", 3, users=("ann",)), "DOUBLE"),
    "a slot was granted in both sets": (lambda sets: row(sets, "s2", 3, first_slot=0), "DOUBLE"),
    "a slot was given that was not taken": (lambda sets: row(sets, "s2", 2, slots=((0, 1),)), "other slots than"),
    "a share was opened in both sets": (lambda sets: row(sets, "s2", 0, first_slot=1), "another set's share"),
    "a share is missing": (lambda sets: row(sets, "s2", 0, count=1), "other slots than the campaign"),
    "a taken slot never arrived": (lambda sets: sets["s2"].log.__delitem__(2), "does not have slot 1"),
    "a move took twice": (lambda sets: sets["s1"].log.append(sets["s1"].log[2]), "second time"),
    "a move gave twice": (lambda sets: sets["s2"].log.append(sets["s2"].log[2]), "second time"),
    "the store has another holder than its log": (lambda sets: hold(sets, "s1", "ann", 1), "the holders"),
    "the store has a holder whom no log has": (lambda sets: hold(sets, "s1", "zoe", 1), "the holders"),
    "the store counts otherwise": (lambda sets: sets["s1"].counts.update(a=(1, 1)), "says left, claimed"),
    "a grant came after the close": (lambda sets: row(sets, "s1", 1, at_us=2_000_000), "outside the hours"),
    "a record is missing": (lambda sets: sets["s1"].problems.append("missing {2}"), "missing {2}"),
}


def test_right_books_have_nothing_wrong() -> None:
    books, problems = keep_books(SEAL, right())
    assert problems == []
    assert books.granted == {
        ("a", "ann"): (0, AT_US), ("a", "bob"): (2, AT_US), ("a", "eve"): (3, AT_US), ("a", "joe"): (1, AT_US)
    }  # fmt: skip
    assert books.last_seq == 7


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found(name: str) -> None:
    tamper, sentence = TAMPERINGS[name]
    sets = right()
    tamper(sets)
    _, problems = keep_books(SEAL, sets)
    assert any(sentence in problem for problem in problems), problems


def test_slots_on_their_way_are_neither_lost_nor_doubled() -> None:
    sets = right()
    del sets["s2"].log[2:]
    sets["s2"].holders["a"].pop("joe")
    sets["s2"].counts["a"] = (0, 2)
    books, problems = keep_books(SEAL, sets)
    assert problems == []
    assert books.in_transit == {"rebalance:a:x:s2": {1}}
