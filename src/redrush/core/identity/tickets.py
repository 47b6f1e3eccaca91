"""Tickets: who a user is, signed, so that a gate knows it without asking anybody.

A ticket is ASCII text, `<key id>.<expiry>.<user>.<mac>`: expiry in seconds since the epoch as hex; the user's id, which
may have dots, escaped as in URLs where it is not plain (`redrush.core.identity.user_ids`); the MAC keyed BLAKE2b (RFC
7693) of everything before its dot, 128 bits as 32 hex digits. The key id lets keys rotate: new tickets are signed with
the current key, old ones verify as long as their key is in the ring. Text and not base64 of a record, because nothing
has to be decoded before the MAC is known to be right, and because hex has one spelling: no bit of a ticket can change
without changing the ticket. Keys belong to one data directory, so a ticket of another event fails.

A *login key* is a key of another system, the company's login, which signs tickets of the same form by itself. Its MAC
is HMAC-SHA256 (RFC 2104), cut to the same 128 bits, because the standard library of every language has it; keyed
BLAKE2b few have. Whoever holds a login key can say who somebody is, and make no receipt.

A *proven* ticket says besides that work was done for it (`redrush.core.identity.proof_of_work`). Behind its key id
stands a `+`, which no key id contains, and its MAC is keyed for that purpose alone: neither can be made from the other.

An *admission* says that its user has been let into one round, out of its line, for some minutes: behind the key id
stand `@` and the round, and the MAC is keyed for that purpose and covers the campaign. A round with a line takes no
other tickets, so a claim there checks one MAC as anywhere.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b, sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

import msgspec

from redrush.core.identity.user_ids import ESCAPED_BYTES_MAX, checked_user, escaped, unescaped

if TYPE_CHECKING:
    from _hashlib import HASH

_MAC_BYTES = 16
_DOT = ord(".")
_MAC_START = -2 * _MAC_BYTES
"""Where the MAC of a ticket begins, from its end; the dot stands before it."""
_MAC_DOT = _MAC_START - 1
_PERSON = b"redrush.ticket"
_PERSON_PROVEN = b"redrush.proven"
_PROVEN = "+"
_PERSON_ADMITTED = b"redrush.admitted"
TICKET_BYTES_MAX = 112 + ESCAPED_BYTES_MAX
"""No valid ticket is longer: key id 16, + or @ and a round 33, expiry 16, MAC 32, three dots, and room, beside the
user."""

FRONTS_MAX = 4_096
"""Fronts of genuine tickets that are remembered, half a kilobyte each: those of an hour of logins, or of one list."""

KEY_ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,16}", re.ASCII)


class KeyRing(msgspec.Struct, frozen=True):
    """Secret keys by id, and which of them signs. Keys are 32 random bytes each; `logins` are those of logins."""

    current: str
    keys: Mapping[str, bytes]
    logins: Mapping[str, bytes] = {}

    def __post_init__(self) -> None:
        for key_id in (*self.keys, *self.logins):
            check_key_id(key_id)
        if self.current not in self.keys:
            raise ValueError(f'the signing key "{self.current}" is not among the keys')
        if both := self.keys.keys() & self.logins.keys():
            raise ValueError(f'"{min(both)}" is the id of two keys')


def check_key_id(key_id: str) -> None:
    """Raise ValueError, with what would be right, if the text is no id of a key."""
    if KEY_ID_PATTERN.fullmatch(key_id) is None:
        raise ValueError(f'"{key_id}" is not a key id: 1 to 16 letters, digits, - and _')


class Ticket(msgspec.Struct, frozen=True, gc=False):
    """A ticket whose MAC was right. Whether it has expired is for the reader to compare."""

    user: str
    expires_s: int


def sign_ticket(ring: KeyRing, user: str, expires_s: int, *, proven: bool = False) -> str:
    """Return a ticket for `user`, valid before `expires_s` (seconds since the epoch). ValueError for a bad user id.

    It states the id in its normal form, whatever form it is given in.

    `proven`: for whoever has done the work, or need not.
    """
    mark, person = (_PROVEN, _PERSON_PROVEN) if proven else ("", _PERSON)
    body = f"{ring.current}{mark}.{expires_s:x}.{escaped(checked_user(user))}"
    return f"{body}.{keyed_mac(body.encode('ascii'), mac_state(ring.keys[ring.current], person))}"


class Admission(msgspec.Struct, frozen=True):
    """What an admission lets into."""

    campaign: str
    round: str

    @property
    def mark(self) -> str:
        """What stands behind the key id."""
        return f"@{self.round}"

    def state(self, key: bytes) -> blake2b:
        """Return the MAC's state, with the campaign taken in: one key may be that of several."""
        state = mac_state(key, _PERSON_ADMITTED)
        state.update(f"{self.campaign}~".encode("ascii"))
        return state


def sign_admission(ring: KeyRing, admission: Admission, user: str, expires_s: int) -> str:
    """Return the ticket of a user, in its normal form, who was let in, valid before `expires_s`."""
    body = f"{ring.current}{admission.mark}.{expires_s:x}.{escaped(user)}"
    return f"{body}.{keyed_mac(body.encode('ascii'), admission.state(ring.keys[ring.current]))}"


def sign_login_ticket(key_id: str, key: bytes, user: str, expires_s: int) -> str:
    """Return a ticket as a login signs it with its own key. ValueError for a bad user id."""
    body = f"{key_id}.{expires_s:x}.{escaped(checked_user(user))}"
    return f"{body}.{_login_mac(*_login_states(key), body.encode('ascii'))}"


def is_proven(ticket: str) -> bool:
    """Whether a genuine ticket is a proven one, for whoever has no keys."""
    return ticket.partition(".")[0].endswith(_PROVEN)


class TicketVerifier:
    """Checks tickets against a key ring; one call costs about a microsecond.

    Tickets of one list, and of one second of a login, share all before their user: their *front*. What a front says is
    remembered with the MAC's state after it, so the next ticket has only its user to be looked at.
    """

    def __init__(
        self, ring: KeyRing, *, plain: bool = True, proven: bool = True, admitted: Admission | None = None
    ) -> None:
        """Tickets are genuine only if they are of a kind that is wanted: `plain` ones, `proven` ones, or either; with
        `admitted` only those that let into that round."""
        kinds = [("", _PERSON)] * plain + [(_PROVEN, _PERSON_PROVEN)] * proven
        self._states = {
            f"{key_id}{mark}".encode("ascii"): mac_state(key, person)
            for key_id, key in ring.keys.items()
            for mark, person in kinds
        }
        if admitted is not None:
            self._states = {
                f"{key_id}{admitted.mark}".encode("ascii"): admitted.state(key) for key_id, key in ring.keys.items()
            }
        logins = ring.logins if plain and admitted is None else {}
        self._logins = {key_id.encode("ascii"): _login_states(key) for key_id, key in logins.items()}
        self._fronts: dict[bytes, tuple[blake2b, int]] = {}
        self._front_bytes = 0  # of the last one, as a guess at that of the next

    def verify(self, ticket: bytes) -> Ticket | None:
        """Return what the ticket states if it was signed with one of the keys, else None, whatever the bytes are."""
        start = self._front_bytes
        front = self._fronts.get(ticket[:start])
        user = ticket[start:_MAC_DOT]
        if front is None or not user or ticket[_MAC_DOT] != _DOT:
            return self._verify_whole(ticket)
        # As `_mac_by` does: a crowd's tickets are all verified here.
        state = front[0].copy()
        state.update(user)
        if not compare_digest(state.hexdigest().encode(), ticket[_MAC_START:]):
            return None
        name = user.decode()
        return Ticket(unescaped(name) if "%" in name else name, front[1])

    def _verify_whole(self, ticket: bytes) -> Ticket | None:
        """The same for a ticket with a front that is not known, or none at all."""
        body, _, mac = ticket.rpartition(b".")
        key_id, _, statement = body.partition(b".")
        state = self._states.get(key_id)
        if state is not None:
            right = _mac_by(state, body)
        elif (login := self._logins.get(key_id)) is not None:
            right = _login_mac(*login, body)
        else:
            return None
        if not compare_digest(right.encode(), mac):
            return None
        expires, _, name = statement.decode().partition(".")
        expires_s = int(expires, 16)
        if state is not None:
            self._learn(body[: len(key_id) + len(expires) + 2], state, expires_s)
        return Ticket(unescaped(name) if "%" in name else name, expires_s)

    def _learn(self, front: bytes, state: blake2b, expires_s: int) -> None:
        """Remember the front of a genuine ticket."""
        if len(self._fronts) >= FRONTS_MAX:
            self._fronts.clear()
        state = state.copy()
        state.update(front)
        self._fronts[front] = state, expires_s
        self._front_bytes = len(front)


def mac_state(key: bytes, person: bytes) -> blake2b:
    """Return BLAKE2b with the key taken in already: copying it costs less than keying it again for each MAC."""
    return blake2b(digest_size=_MAC_BYTES, key=key, person=person)


def keyed_mac(body: bytes, state: blake2b) -> str:
    """Return the MAC of `body` as 32 hex digits; `state` is from `mac_state` and stays as it is."""
    return _mac_by(state, body)


def _mac_by(state: blake2b, body: bytes) -> str:
    mac = state.copy()
    mac.update(body)
    return mac.hexdigest()


def _login_states(key: bytes) -> "tuple[HASH, HASH]":
    """Return HMAC-SHA256's inner and outer hash with the key taken in already (RFC 2104, section 4)."""
    padded = key.ljust(sha256().block_size, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in padded)), sha256(bytes(byte ^ 0x5C for byte in padded))


def _login_mac(inner: "HASH", outer: "HASH", body: bytes) -> str:
    """Return HMAC-SHA256 of `body`, its first 128 bits as 32 hex digits."""
    inner, outer = inner.copy(), outer.copy()
    inner.update(body)
    outer.update(inner.digest())
    return outer.hexdigest()[: 2 * _MAC_BYTES]
