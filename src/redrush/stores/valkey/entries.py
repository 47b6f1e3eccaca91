"""Log records as entries of the set's stream (`library.lua`), and back. Entries stay inside this package."""

from typing import Final

import msgspec

from redrush.core.campaign import Slots
from redrush.ports.store import Given, Granted, LogRecord, Opened, StoreCorrupt, Taken, Transfer
from redrush.stores.valkey.link import Reply

INTEGER_MAX: Final = 2**53 - 1
"""Slots and instants end here: what Lua's numbers hold exactly. In microseconds that is the year 2255."""

GRANT_INTEGER_BYTES: Final = 7
"""Of a slot, and of an instant, in the value of a grant: enough for INTEGER_MAX."""

_decode_users = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_runs = msgspec.json.Decoder(tuple[Slots, ...]).decode
_encode = msgspec.json.encode


def users_text(users: object) -> bytes:
    """Return the users as a JSON array. Raises UnicodeEncodeError for text that is not Unicode (lone surrogates)."""
    return _encode(users)


def runs_text(slots: tuple[Slots, ...]) -> bytes:
    """Return runs as JSON, `[[first,count],…]`: one text for the same runs, which the library compares."""
    return _encode(slots)


def runs_of(text: bytes) -> tuple[Slots, ...]:
    return _decode_runs(text)


def grant_of(value: bytes) -> tuple[int, int]:
    """Return slot and instant of a grant's value."""
    return int.from_bytes(value[:GRANT_INTEGER_BYTES]), int.from_bytes(value[GRANT_INTEGER_BYTES:])


def transfer_of(value: bytes) -> Transfer:
    runs, _, pot = value.partition(b" ")
    return Transfer(pot.decode(), runs_of(runs))


def record_of(entry: Reply) -> LogRecord:
    """Return what an entry of the stream says. Raises StoreCorrupt for one that the library did not write."""
    entry_id, fields = entry
    seq = int(entry_id.partition(b"-")[0])
    values: dict[bytes, bytes] = dict(zip(fields[::2], fields[1::2], strict=True))
    try:
        kind, pot = values[b"kind"], values[b"pot"].decode()
        if kind == b"granted":
            users = _decode_users(values[b"users"])
            if len(users) != int(values[b"count"]):
                raise StoreCorrupt(
                    seq, f"says that it grants {int(values[b'count'])} slots, but names {len(users)} users"
                )
            return Granted(seq, pot, int(values[b"first_slot"]), users, int(values[b"at_us"]))
        if kind == b"opened":
            return Opened(seq, pot, Slots(int(values[b"first_slot"]), int(values[b"count"])))
        if kind in {b"taken", b"given"}:
            record = Taken if kind == b"taken" else Given
            return record(seq, pot, runs_of(values[b"slots"]), values[b"transfer"].decode())
    except (KeyError, ValueError, msgspec.DecodeError) as error:
        raise StoreCorrupt(seq, f"cannot be read: {type(error).__name__} {error}") from None
    raise StoreCorrupt(seq, f"is of the unknown kind {kind!r}")
