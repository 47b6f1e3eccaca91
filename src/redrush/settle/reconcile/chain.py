"""The fingerprint of a log, derived anew from its records, and held against what was noted while they were written.

The store continues a fingerprint with each record, and the records note it with their cursor. So a log that was wound
back and went on otherwise, or of which a record was changed afterwards, is told from the one that was written: however
well its records fit each other.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from redrush.settle.reconcile.report import Problems

DIGITS: Final = 16
USERS: Final = 6
SLOTS: Final = 7
"""Columns of a row. The users of a run, which lists no slots, stand in the fingerprint by one of their own."""


class LogEnd(msgspec.Struct, frozen=True):
    """Where a set's own log ends, and what an operator let it go on without: `lost` grants, of which `honoured` were
    entered again by their receipts and `written_off` given up; if it `is_unsure`, maybe others besides."""

    seq: int
    chain: str
    lost: int = 0
    honoured: int = 0
    is_unsure: bool = False
    written_off: int = 0


class Mark(msgspec.Struct, frozen=True):
    """Somebody noted this fingerprint of the log up to `seq`."""

    seq: int
    chain: str
    whose: str


def linked(chain: str, row: tuple[Any, ...], *, digests_users: bool) -> str:
    """Return the fingerprint up to the row, `chain` being that of all before it.

    `digests_users`: the users of a run stand in it by a fingerprint of their own, as they do in a set's log.
    """
    columns = list(row[1:])
    if digests_users and row[USERS] is not None and row[SLOTS] is None:
        columns[USERS - 1] = _digits(row[USERS])
    return _digits(" ".join([chain, *(str(column) for column in columns if column is not None)]))


def followed(
    set_: str, rows: Iterable[tuple[Any, ...]], marks: Iterable[Mark], problems: Problems
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a log from its first record on, and tell where their fingerprint is not as it was noted."""
    waiting = [mark for mark in marks if mark.seq]
    chain, seq = "", 0
    for row in rows:
        seq = row[0]
        chain = linked(chain, row, digests_users=True)
        for mark in waiting:
            if mark.seq == seq and mark.chain != chain:
                problems.add(f"set {set_}: its log up to record {seq} is not the one that {mark.whose} noted")
        yield row
    for mark in waiting:
        if mark.seq > seq:
            problems.add(f"set {set_}: its log ends at record {seq}, and {mark.whose} noted it up to record {mark.seq}")


def _digits(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:DIGITS]


def check_losses(set_: str, end: LogEnd, problems: Problems) -> None:
    """Tell what the set went on without, by an operator's order, and nobody has shown a receipt for."""
    if end.lost > end.honoured + end.written_off:
        problems.add(
            f"set {set_} went on without {end.lost} grants that were acknowledged, {end.honoured} of them were entered "
            f"again: `redrush set honour` takes the receipts of the others, `redrush set release {set_} --why …` gives "
            "them up"
        )
    if end.is_unsure:
        problems.add(
            f"set {set_} was made anew, or went on with an older copy, and nobody is left who knows all that it had "
            "acknowledged before: `redrush set honour --receipts FILE` enters what winners have receipts of, or "
            "`redrush set honour --none --why …` says that nobody has one"
        )
