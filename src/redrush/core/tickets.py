"""Tickets: who a user is, signed, so that a gate knows it without asking anybody.

A ticket is ASCII text, `<key id>.<expiry>.<user>.<mac>`: expiry in seconds since the epoch as hex; the user's id, which
may have dots, escaped as in URLs where it is not plain (`redrush.core.user_ids`); the MAC keyed BLAKE2b (RFC 7693) of
everything before its dot, 128 bits as 32 hex digits. The key id lets keys rotate: new tickets
are signed with the current key, old ones verify as long as their key is in the ring. Text and not base64 of a record,
because nothing has to be decoded before the MAC is known to be right, and because hex has one spelling: no bit of a
ticket can change without changing the ticket. Keys belong to one data directory, so a ticket of another event fails.

A *proven* ticket says besides that work was done for it (`redrush.core.proof_of_work`). Behind its key id stands a `+`,
which no key id contains, and its MAC is keyed for that purpose alone: neither can be made from the other.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from hmac import compare_digest

import msgspec

from redrush.core.user_ids import ESCAPED_BYTES_MAX, checked_user, escaped, unescaped

_MAC_BYTES = 16
_PERSON = b"redrush.ticket"
_PERSON_PROVEN = b"redrush.proven"
_PROVEN = "+"
TICKET_BYTES_MAX = 96 + ESCAPED_BYTES_MAX
"""No valid ticket is longer: key id 16 and its +, expiry 16, MAC 32, three dots, and room, beside the user."""

KEY_ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,16}", re.ASCII)


class KeyRing(msgspec.Struct, frozen=True):
    """Secret keys by id, and which of them signs. Keys are 32 random bytes each."""

    current: str
    keys: Mapping[str, bytes]

    def __post_init__(self) -> None:
        for key_id in self.keys:
            if KEY_ID_PATTERN.fullmatch(key_id) is None:
                raise ValueError(f'"{key_id}" is not a key id: 1 to 16 letters, digits, - and _')
        if self.current not in self.keys:
            raise ValueError(f'the signing key "{self.current}" is not among the keys')


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


def is_proven(ticket: str) -> bool:
    """Whether a genuine ticket is a proven one, for whoever has no keys."""
    return ticket.partition(".")[0].endswith(_PROVEN)


class TicketVerifier:
    """Checks tickets against a key ring; one call costs about a microsecond."""

    def __init__(self, ring: KeyRing, *, plain: bool = True, proven: bool = True) -> None:
        """Tickets are genuine only if they are of a kind that is wanted: `plain` ones, `proven` ones, or either."""
        kinds = [("", _PERSON)] * plain + [(_PROVEN, _PERSON_PROVEN)] * proven
        self._states = {
            f"{key_id}{mark}".encode("ascii"): mac_state(key, person)
            for key_id, key in ring.keys.items()
            for mark, person in kinds
        }

    def verify(self, ticket: bytes) -> Ticket | None:
        """Return what the ticket states if it was signed with one of the keys, else None, whatever the bytes are."""
        body, _, mac = ticket.rpartition(b".")
        key_id, _, statement = body.partition(b".")
        state = self._states.get(key_id)
        if state is None or not compare_digest(keyed_mac(body, state).encode(), mac):
            return None
        expires, _, user = statement.partition(b".")
        name = user.decode()
        return Ticket(unescaped(name), int(expires, 16))


def mac_state(key: bytes, person: bytes) -> blake2b:
    """Return BLAKE2b with the key taken in already: copying it costs less than keying it again for each MAC."""
    return blake2b(digest_size=_MAC_BYTES, key=key, person=person)


def keyed_mac(body: bytes, state: blake2b) -> str:
    """Return the MAC of `body` as 32 hex digits; `state` is from `mac_state` and stays as it is."""
    mac = state.copy()
    mac.update(body)
    return mac.hexdigest()
