"""A log record as one flat row of plain columns, and back: how a journal in a database keeps it.

`users` and `slots` are JSON. What `slots` says depends on the kind: of an opening its limit and hold, where they are
not the usual ones (its note, if it has one, is in `transfer`); of single grants and of holds, by column, `[pots,
slots]` or `[pots, slots, requests, numbers, until_us]` (their users are in `users`); else runs. A row about many pots
names none.

One form for every journal (SQLite's own, PostgreSQL's copy), so that what was copied can be compared and read alike.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec

from redrush.core.rush.campaign import Slots, shared_slots
from redrush.ports.store import (
    Confirmed,
    Given,
    Grant,
    Granted,
    LogRecord,
    Offered,
    Opened,
    Released,
    Scattered,
    StoreCorrupt,
    Taken,
)

Row = tuple[
    int, str, str, int | None, int | None, int | None, str | None, str | None, str | None
]  # seq, kind, pot, first_slot, count, at_us, users, slots, transfer


class _Columns(msgspec.Struct, array_like=True):
    """What `slots` says of single grants and holds, by column."""

    pots: list[str]
    slots: list[int]
    requests: list[str] | None = None
    numbers: list[int] | None = None
    until_us: list[int | None] | None = None


class _Pots(msgspec.Struct, array_like=True):
    """The first of these columns."""

    pots: list[str]


_decode_pots = msgspec.json.Decoder(_Pots).decode
_decode_columns = msgspec.json.Decoder(_Columns).decode
_decode_terms = msgspec.json.Decoder(tuple[int, int | None]).decode
_decode_users = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_slots = msgspec.json.Decoder(tuple[Slots, ...]).decode


_OF_MANY: Final[dict[str, type[Scattered | Confirmed | Released]]] = {
    "scattered": Scattered,
    "confirmed": Confirmed,
    "released": Released,
}

CHAIN_DIGITS: Final = 16

_sha1 = partial(hashlib.sha1, usedforsecurity=False)


def fingerprint(text: str) -> str:
    """Return the first hexadecimal digits of the text's SHA-1."""
    return _sha1(text.encode()).hexdigest()[:CHAIN_DIGITS]


def chain_after(chain: str, row: Row) -> str:
    """Return the fingerprint of a log up to this record, `chain` being that of all before it, "" before the first."""
    _, kind, pot, first_slot, count, at_us, users, slots, transfer = row
    if users is not None and slots is None:  # a grant: each commit has one, so it is spelled out
        return fingerprint(f"{chain} {kind} {pot} {first_slot} {count} {at_us} {users}")
    columns = (pot, first_slot, count, at_us, users, slots, transfer)
    return fingerprint(" ".join([chain, kind, *[str(column) for column in columns if column is not None]]))


def chain_over(chain: str, records: Sequence[LogRecord]) -> str:
    """Return the fingerprint of a set's log up to the last of these records, `chain` being that before the first.

    Users stand in it by the fingerprint of their text: a gate makes it, and the set's server need not.
    """
    for record in records:
        if isinstance(record, Granted):
            row = granted_row(record, fingerprint(users_text(record.users)))
        else:
            row = row_of(record)
        chain = chain_after(chain, row)
    return chain


def users_text(users: Sequence[str]) -> str:
    """Return the users as a JSON array. Raises UnicodeEncodeError for text that is not Unicode (lone surrogates)."""
    return msgspec.json.encode(users).decode()


def granted_row(record: Granted, users: str) -> Row:
    """Return the row of a grant whose users are already written as JSON."""
    return (
        record.seq,
        "granted",
        record.pot,
        record.first_slot,
        len(record.users),
        record.at_us,
        users,
        None,
        None,
    )


def scattered_row(record: Scattered, users: str) -> Row:
    """Return the row of single grants whose users are already written as JSON."""
    return _row_of_many(record.seq, "scattered", record.grants, record.at_us, users)


def row_of(record: LogRecord) -> Row:
    """Return the row of the record."""
    if isinstance(record, Granted):
        return granted_row(record, users_text(record.users))
    if isinstance(record, Opened):
        opened = record.seq, "opened", record.pot, record.slots.first, record.slots.count
        return *opened, None, None, terms_text(record.limit_per_user, record.hold_us), record.note or None
    if isinstance(record, Scattered):
        return scattered_row(record, _users_of(record.grants))
    if isinstance(record, Confirmed | Released):
        kind = "confirmed" if isinstance(record, Confirmed) else "released"
        return _row_of_many(record.seq, kind, record.holds, record.at_us, _users_of(record.holds))
    slots = msgspec.json.encode(record.slots).decode()
    if isinstance(record, Offered):
        return record.seq, "offered", record.pot, None, None, None, None, slots, None
    kind = "taken" if isinstance(record, Taken) else "given"
    return record.seq, kind, record.pot, None, None, None, None, slots, record.transfer


def terms_text(limit_per_user: int, hold_us: int | None) -> str | None:
    """Return what `slots` says of an opening; None where the terms are the usual ones."""
    if limit_per_user == 1 and hold_us is None:
        return None
    return msgspec.json.encode((limit_per_user, hold_us)).decode()


def _users_of(grants: Sequence[Grant]) -> str:
    return users_text([grant.user for grant in grants])


def _row_of_many(seq: int, kind: str, grants: Sequence[Grant], at_us: int, users: str) -> Row:
    columns: list[list[Any]] = [[grant.pot for grant in grants], [grant.slot for grant in grants]]
    requests, numbers = [grant.request for grant in grants], [grant.number for grant in grants]
    if any(requests) or any(numbers):
        columns += [requests, numbers, [grant.until_us for grant in grants]]
    return seq, kind, "", None, len(grants), at_us, users, msgspec.json.encode(columns).decode(), None


def _grants_of(seq: int, count: int, users: str, slots: str) -> tuple[Grant, ...]:
    names, columns = _decode_users(users), _decode_columns(slots)
    requests, numbers, until_us = columns.requests, columns.numbers, columns.until_us
    if requests is None or numbers is None or until_us is None:
        requests, numbers, until_us = [""] * count, [0] * count, [None] * count
    by_column = columns.pots, names, columns.slots, requests, numbers, until_us
    if any(len(column) != count for column in by_column):
        raise StoreCorrupt(seq, f"is about {count} grants, but does not name as many")
    return tuple(map(Grant, *by_column))


def pots_of(row: Row) -> list[str]:
    """Return the pot of each grant or hold of a row about many, in their order, for whoever needs no more of it."""
    slots = row[7]
    assert slots is not None
    return _decode_pots(slots).pots


def record_of(row: tuple[Any, ...]) -> LogRecord:
    """Return what the row says. Raises StoreCorrupt for a row that no store wrote."""
    seq, kind, pot, first_slot, count, at_us, users, slots, transfer = row
    try:
        if kind == "granted":
            names = _decode_users(users)
            if len(names) != count or first_slot is None or at_us is None:
                raise StoreCorrupt(seq, f"says that it grants {count} slots, but names {len(names)} users")
            return Granted(seq, pot, first_slot, names, at_us)
        if kind == "opened" and first_slot is not None and count is not None:
            limit, hold_us = (1, None) if slots is None else _decode_terms(slots)
            return Opened(seq, pot, shared_slots(first_slot, count), limit, hold_us, transfer or "")
        if kind in _OF_MANY and at_us is not None:
            return _OF_MANY[kind](seq, _grants_of(seq, count, users, slots), at_us)
        if kind == "offered":
            return Offered(seq, pot, _decode_slots(slots))
        if kind in {"taken", "given"} and transfer is not None:
            record = Taken if kind == "taken" else Given
            return record(seq, pot, _decode_slots(slots), transfer)
    except (msgspec.DecodeError, TypeError) as error:
        raise StoreCorrupt(seq, f"cannot be read: {error}") from None
    raise StoreCorrupt(seq, f"is no {kind!r} record: a column is missing")
