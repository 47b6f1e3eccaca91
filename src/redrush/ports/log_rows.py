"""A log record as one flat row of plain columns, and back: how a journal in a database keeps it.

One form for every journal (SQLite's own, PostgreSQL's copy), so that what was copied can be compared and read alike.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec

from redrush.core.rush.campaign import Slots
from redrush.ports.store import Given, Granted, LogRecord, Opened, StoreCorrupt, Taken

Row = tuple[
    int, str, str, int | None, int | None, int | None, str | None, str | None, str | None
]  # seq, kind, pot, first_slot, count, at_us, users, slots, transfer

_decode_users = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_slots = msgspec.json.Decoder(tuple[Slots, ...]).decode


CHAIN_DIGITS: Final = 16

_sha1 = partial(hashlib.sha1, usedforsecurity=False)


def fingerprint(text: str) -> str:
    """Return the first hexadecimal digits of the text's SHA-1."""
    return _sha1(text.encode()).hexdigest()[:CHAIN_DIGITS]


def chain_after(chain: str, row: Row) -> str:
    """Return the fingerprint of a log up to this record, `chain` being that of all before it, "" before the first."""
    _, kind, pot, first_slot, count, at_us, users, slots, transfer = row
    if users is not None:  # a grant: each commit has one, so it is spelled out
        return fingerprint(f"{chain} {kind} {pot} {first_slot} {count} {at_us} {users}")
    columns = (pot, first_slot, count, at_us, slots, transfer)
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


def row_of(record: Opened | Taken | Given) -> Row:
    """Return the row of any other record."""
    if isinstance(record, Opened):
        return record.seq, "opened", record.pot, record.slots.first, record.slots.count, None, None, None, None
    kind = "taken" if isinstance(record, Taken) else "given"
    slots = msgspec.json.encode(record.slots).decode()
    return record.seq, kind, record.pot, None, None, None, None, slots, record.transfer


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
            return Opened(seq, pot, Slots(first_slot, count))
        if kind in {"taken", "given"} and transfer is not None:
            record = Taken if kind == "taken" else Given
            return record(seq, pot, _decode_slots(slots), transfer)
    except (msgspec.DecodeError, TypeError) as error:
        raise StoreCorrupt(seq, f"cannot be read: {error}") from None
    raise StoreCorrupt(seq, f"is no {kind!r} record: a column is missing")
