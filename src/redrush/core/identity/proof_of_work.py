"""Proof of work: what a ticket may cost before the opening, so that a thousand accounts cost more than one.

With it on, a ticket says who somebody is but claims nothing: it is exchanged, against work, for a *proven* ticket of
the same user, with the same expiry (`redrush.core.identity.tickets`). The work is ALTCHA's: find the number whose
SHA-256, with the salt before it, is the challenge. Its widget and libraries solve it; checking costs one hash and one
MAC.

Nothing is kept anywhere. A user's challenge is derived from the keys, the user and the time, so every gate gives the
same one meanwhile, and asking often is no lottery. One solution buys one ticket: exchanged again, at any gate, it gives
the same ticket byte for byte, so a lost answer can be asked for again and a replay is worth nothing. The user stands in
the salt, so a solution is worthless to others.

The MAC covers the salt, where ALTCHA's own covers the challenge alone: there a salt that ends with 1 and the number 23
are the same hash as one that ends with 12 and the number 3, so digits of the number can stretch a salt, its expiry for
one. The `&` at the salt's end, by which ALTCHA tells them apart, is there for its libraries.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated, Final

import msgspec

from redrush.core.identity.tickets import KeyRing, Ticket, keyed_mac, mac_state
from redrush.core.identity.user_ids import escaped

_NUMBERS: Final = b"redrush.number"
_SIGNATURES: Final = b"redrush.work"

ALGORITHM: Final = "SHA-256"

MAX_NUMBER: Final = 100_000
"""The default: on average half as many hashes. A tenth of what ALTCHA's libraries take: whoever comes late pays it in a
hurry, maybe on an old telephone, and a browser's script hashes fifty times slower than native code."""

SOLUTION_BYTES_MAX: Final = 2_048
"""As base64; a solution with the longest user id, every byte of it escaped, takes three quarters of it."""

NUMBER_MAX: Final = (1 << 53) - 1
"""What JavaScript counts exactly."""


class ProofOfWork(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. Not sealed: it may be another one at the next start, like the client policy."""

    max_number: int = MAX_NUMBER
    challenge_lasts_s: int = 600
    """A challenge can be solved for at least so long, and at most twice as long."""
    exchanges_per_s: int = 2_000
    """What one gate checks at most, until it is switched; who comes beyond that is asked to come again."""
    rest_us: int = 2_000_000
    """From so long before each opening to so long after it a gate gives no challenges and checks nothing."""


class Challenge(msgspec.Struct, frozen=True):
    """As ALTCHA's widget and libraries read it; `signature` means nothing to them."""

    algorithm: str
    challenge: str
    maxnumber: int
    salt: str
    signature: str


class _Solution(msgspec.Struct, frozen=True):
    """What the widget sends, as JSON in base64. It sends more, such as how long it took."""

    algorithm: str
    challenge: str
    number: Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
    salt: str
    signature: str


class Verdict(StrEnum):
    """What a solution is worth."""

    ACCEPTED = "accepted"
    UNREADABLE = "unreadable"
    FORGED = "forged"
    """The challenge is not one that these keys have signed, or was changed."""
    FOREIGN = "foreign"
    """It was given to another user."""
    EXPIRED = "expired"
    WRONG = "wrong"
    """The number does not solve it."""


class Challenger:
    """Gives challenges and judges solutions; a few microseconds each. Two with the same keys are as one."""

    def __init__(self, ring: KeyRing, terms: ProofOfWork) -> None:
        """`ring` is that of the tickets; its keys serve here under other names."""
        self._terms = terms
        self._key_id = ring.current
        self._numbers = mac_state(ring.keys[ring.current], _NUMBERS)
        self._signatures = {key_id: mac_state(key, _SIGNATURES) for key_id, key in ring.keys.items()}

    def challenge(self, user: str, now_s: int) -> Challenge:
        """Return the user's challenge: the same one until about `challenge_lasts_s` before it expires."""
        terms = self._terms
        expires_s = (now_s // terms.challenge_lasts_s + 2) * terms.challenge_lasts_s
        user = escaped(user)
        drawn = keyed_mac(f"{expires_s}.{user}".encode("ascii"), self._numbers)
        number = int(drawn[16:], 16) % (terms.max_number + 1)
        salt = f"{drawn[:16]}?expires={expires_s}&user={user}&"
        challenge = _hash(salt, number)
        signature = f"{self._key_id}.{keyed_mac(_signed(challenge, salt), self._signatures[self._key_id])}"
        return Challenge(ALGORITHM, challenge, terms.max_number, salt, signature)

    def judge(self, solution: str, ticket: Ticket, now_s: int) -> Verdict:
        """Return what the solution is worth to the holder of the ticket, whatever the text is."""
        read = _read(solution)
        if read is None:
            return Verdict.UNREADABLE
        key_id, _, mac = read.signature.partition(".")
        state = self._signatures.get(key_id)
        if state is None or not _same(keyed_mac(_signed(read.challenge, read.salt), state), mac):
            return Verdict.FORGED
        stated = _SALT.fullmatch(read.salt)
        assert stated is not None, "only salts of this form are signed"
        if stated["user"] != escaped(ticket.user):
            return Verdict.FOREIGN
        if int(stated["expires"]) <= now_s:
            return Verdict.EXPIRED
        return Verdict.ACCEPTED if _same(_hash(read.salt, read.number), read.challenge) else Verdict.WRONG


_SALT: Final = re.compile(r"[0-9a-f]{16}\?expires=(?P<expires>[0-9]+)&user=(?P<user>[^&]+)&", re.ASCII)


def tries(challenge: Challenge, chunk: int) -> Iterator[str | None]:
    """Look for the number; yield None after each `chunk` of tries, and in the end the solution, as it is to be sent.

    Ends without a solution if no number up to `maxnumber` is one. A generator, so that the caller chooses what happens
    between chunks: hashing short texts holds the interpreter, and a thread would not set an event loop free.
    """
    salted = sha256(challenge.salt.encode())
    wanted = challenge.challenge
    for number in range(challenge.maxnumber + 1):
        tried = salted.copy()
        tried.update(b"%d" % number)
        if tried.hexdigest() == wanted:
            yield _written(challenge, number)
            return
        if number % chunk == chunk - 1:
            yield None


def _written(challenge: Challenge, number: int) -> str:
    solution = _Solution(challenge.algorithm, challenge.challenge, number, challenge.salt, challenge.signature)
    return binascii.b2a_base64(msgspec.json.encode(solution), newline=False).decode("ascii")


def _read(solution: str) -> _Solution | None:
    if len(solution) > SOLUTION_BYTES_MAX:
        return None
    try:
        read = msgspec.json.decode(b64decode(solution, validate=True), type=_Solution)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None
    return read if read.algorithm == ALGORITHM else None


def _hash(salt: str, number: int) -> str:
    return sha256(f"{salt}{number}".encode()).hexdigest()


def _signed(challenge: str, salt: str) -> bytes:
    return f"{challenge}.{salt}".encode()


def _same(ours: str, theirs: str) -> bool:
    return compare_digest(ours.encode(), theirs.encode())
