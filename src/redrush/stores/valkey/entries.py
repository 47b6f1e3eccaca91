"""What a set holds in Valkey (`library.lua`) as typed values, and back. Its forms stay inside this package."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from redrush.core.rush.campaign import REST_PREFIX, Slots
from redrush.ports.log_rows import record_of
from redrush.ports.noted_pots import NotedPot
from redrush.ports.store import Claimed, Held, LogRecord, PotState, StoreCorrupt, Transfer, Transfers
from redrush.stores.valkey.link import Reply

_REST: Final = REST_PREFIX.encode()

INTEGER_MAX: Final = 2**53 - 1
"""Slots and instants end here: what Lua's numbers hold exactly. In microseconds that is the year 2255."""

GRANT_INTEGER_BYTES: Final = 7
"""Of a slot, and of an instant, in the value of a grant: enough for INTEGER_MAX."""

SHORT_STATE: Final = 3
"""How many values the state of a small pot has where nothing but claims has happened; see `pots.lua`, small_pot."""

BIG_STATE: Final = 5
"""How many values `noted` says of a big pot."""

_decode_states = msgspec.msgpack.Decoder(list[list[Any] | None]).decode
_decode_notes = msgspec.msgpack.Decoder(list[str]).decode
_decode_state = msgspec.msgpack.Decoder(list[Any]).decode
_decode_runs = msgspec.json.Decoder(tuple[Slots, ...]).decode


def runs_text(slots: tuple[Slots, ...]) -> bytes:
    """Return runs as JSON, `[[first,count],…]`: one text for the same runs, which the library compares."""
    return msgspec.json.encode(slots)


def runs_of(text: bytes) -> tuple[Slots, ...]:
    return _decode_runs(text)


SMALL_STATE: Final = b"\xff"
"""The field of a small pot's hash that has all of it but its grants."""

STATE_FIELDS: Final = ("left", "claimed", "returned", "held", "waits", SMALL_STATE)
"""What `state_of` reads of a pot's hash: of a big pot, and of a small one."""


def state_of(fields: Sequence[bytes | None]) -> PotState | None:
    """Return the counts of the pot, None if it was never opened."""
    left, claimed, returned, held, waits, packed = fields
    if packed is not None:
        return _state_in(_decode_state(packed))
    if left is None or claimed is None:
        return None
    return PotState(int(left), int(claimed), int(returned or 0), int(held or 0), int(waits or 0))


def _state_in(state: list[Any]) -> PotState:
    if len(state) == SHORT_STATE:
        return PotState(state[1] - state[2], state[2])
    return PotState(state[7], state[2], state[8], state[9], len(state[12]))


def noted_of(states: bytes, notes: bytes) -> list[NotedPot | None]:
    """Return what the library's `noted` says of each pot."""
    return [
        None if state is None else NotedPot(note, _noted_state(state))
        for state, note in zip(_decode_states(states), _decode_notes(notes), strict=True)
    ]


def _noted_state(state: list[Any]) -> PotState:
    return PotState(*state) if len(state) == BIG_STATE else _state_in(state)


def field_of(user: str, request: str) -> bytes:
    """Return under which name a pot's hash keeps the grant: no text in UTF-8 has the byte between the two."""
    return user.encode() if not request else user.encode() + b"\xff" + request.encode()


def is_plain(field: bytes) -> bool:
    """Whether a field of a small pot's hash is a grant to a request without a name."""
    return b"\xff" not in field and not field.startswith(b"\xfe")


def grant_of(value: bytes) -> tuple[int, int]:
    """Return slot and instant of a grant's value."""
    return int.from_bytes(value[:GRANT_INTEGER_BYTES]), int.from_bytes(value[GRANT_INTEGER_BYTES:])


def known_grant_of(value: bytes) -> Claimed:
    """Return the grant of this value as a repeat: a hold where it has a number, which then has a deadline or none."""
    slot, at_us = grant_of(value[: 2 * GRANT_INTEGER_BYTES])
    if len(value) == 2 * GRANT_INTEGER_BYTES:
        return Claimed(slot, at_us, True)
    number, until_us = grant_of(value[2 * GRANT_INTEGER_BYTES :])
    return Held(slot, at_us, True, until_us or None, number)


def transfer_of(value: bytes) -> Transfer:
    runs, _, pot = value.partition(b" ")
    return Transfer(pot.decode(), runs_of(runs))


def transfers_of(taken: Mapping[bytes, bytes], given: Mapping[bytes, bytes]) -> Transfers:
    """Return what the two hashes say of moves."""
    return Transfers(
        taken={name.decode(): transfer_of(value) for name, value in taken.items() if not name.startswith(_REST)},
        given={name.decode(): transfer_of(value) for name, value in given.items()},
    )


def before_of(entry: Reply) -> str | None:
    """Return the fingerprint of all that comes before this entry of the stream, None where it does not say."""
    _, fields = entry
    before = dict(zip(fields[::2], fields[1::2], strict=True)).get(b"before")
    return None if before is None else before.decode()


def chain_of(log_end: bytes | None) -> tuple[str, int]:
    """Return the fingerprint and how many grants there are, of the field `chain` in a set's `meta`; None: no record."""
    chain, _, granted = (log_end or b"").decode().partition(" ")
    return chain, int(granted or 0)


def log_record_of(entry: Reply) -> LogRecord:
    """Return what an entry of the stream says. Raises StoreCorrupt for one that the library did not write."""
    entry_id, fields = entry
    seq = int(entry_id.partition(b"-")[0])
    try:
        values = {name: value.decode() for name, value in zip(fields[::2], fields[1::2], strict=True)}
        first_slot, count, at_us = (
            int(values[name]) if name in values else None for name in (b"first_slot", b"count", b"at_us")
        )
        kind, pot = values[b"kind"], values[b"pot"]
    except (KeyError, ValueError) as error:
        raise StoreCorrupt(seq, f"cannot be read: {type(error).__name__} {error}") from None
    texts = (values.get(name) for name in (b"users", b"slots", b"transfer"))
    return record_of((seq, kind, pot, first_slot, count, at_us, *texts))
