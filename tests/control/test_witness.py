"""What the witness counts: pots by name while there are not too many, and all others together."""

from pathlib import Path

import pytest

from redrush.control.witness import MARKS, OTHERS, PAGE_BYTES, POT_BYTES, POTS_MAX, Witness, read_witness
from redrush.core.rush.campaign import Slots
from redrush.ports.journal import Identity
from redrush.ports.log_rows import Row, row_of
from redrush.ports.store import Grant, Granted, Opened, Released, Scattered

IDENTITY = Identity(journal="journal")


def names_of(count: int) -> list[str]:
    return [f"packet{number:05d}" for number in range(count)]


def granted_in(path: Path) -> dict[str, int]:
    witnessed = read_witness(path)
    assert witnessed is not None
    return witnessed.mark.granted


def opened_rows(names: list[str]) -> list[Row]:
    return [row_of(Opened(seq, name, Slots(10 * seq, 10), hold_us=1_000)) for seq, name in enumerate(names, 1)]


def test_so_many_pots_are_counted_by_name_and_the_rest_together(tmp_path: Path) -> None:
    names = names_of(POTS_MAX + 3)
    witness = Witness(tmp_path / "witness", IDENTITY, 0, "", {})
    witness.note(opened_rows(names), "a")
    assert granted_in(tmp_path / "witness") == {**dict.fromkeys(names[:POTS_MAX], 0), OTHERS: 0}
    seq = len(names) + 1
    last_by_name, first_of_others, *_, last = names[POTS_MAX - 1 :]
    grants = [Grant(pot, f"u{number}", number, number=1) for number, pot in enumerate(names)]
    witness.note([row_of(Scattered(seq, tuple(grants), 1))], "b")
    witness.note([row_of(Granted(seq + 1, last, 9_000, ("x", "y"), 1))], "c")
    assert granted_in(tmp_path / "witness") == {**dict.fromkeys(names[:POTS_MAX], 1), OTHERS: 3 + 2}
    back = tuple(grant for grant in grants if grant.pot in {last_by_name, first_of_others, last})
    witness.note([row_of(Released(seq + 2, back, 2))], "d")
    witness.close()
    granted = granted_in(tmp_path / "witness")
    assert granted[last_by_name] == 0
    assert granted[OTHERS] == 3 + 2 - 2
    assert sum(granted.values()) == len(grants) + 2 - len(back)


def test_a_witness_that_is_made_anew_counts_the_same_pots_together(tmp_path: Path) -> None:
    names = names_of(3 * POTS_MAX)
    witness = Witness(tmp_path / "witness", IDENTITY, 7, "a", dict.fromkeys(names, 2))
    witness.close()
    assert granted_in(tmp_path / "witness") == {
        **dict.fromkeys(names[:POTS_MAX], 2),
        OTHERS: 2 * 2 * POTS_MAX,
    }


@pytest.mark.parametrize("pots", [2 * POTS_MAX, 100 * POTS_MAX])
def test_a_mark_is_no_longer_whatever_the_number_of_small_pots(pots: int, tmp_path: Path) -> None:
    """A mark is written at every commit, so its length is a part of what a claim costs."""
    path = tmp_path / "witness"
    witness = Witness(path, IDENTITY, 0, "", {})
    for start in range(0, pots, 1_000):
        witness.note(opened_rows(names_of(pots)[start : start + 1_000]), "a")
    witness.close()
    pages = -(-(POTS_MAX + 2) * POT_BYTES // PAGE_BYTES) * 2
    assert path.stat().st_size <= pages * PAGE_BYTES * (1 + MARKS)
