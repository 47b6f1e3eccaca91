"""Group packets, as the rules see them: what one may be, who may have a share, and what it tells of itself.

A packet is a pot outside of the rounds. It exists for others from the moment at which it is *paid*: that its pot was
opened is the payment, one record of the log, from the sender's balance into the pot. So a packet can be neither split
nor grabbed before, it is paid once whatever fails in between, and no state of it is kept besides: what is left and who
has how much says the store, when it ends says its deadline. What was not claimed by then goes back to who paid, by
another single record.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

import msgspec

from redrush.core.identity.tickets import KeyRing
from redrush.core.rush.campaign import REST_PREFIX, Kind

POT_PREFIX: Final = "packet:"
"""What the names of packets' pots begin with; no round has a colon in its id."""
_PREFIX_SIGNS: Final = len(POT_PREFIX)

ID_SIGNS: Final = 32
"""Of a packet's id: 128 bits in hex. Whoever has the link may grab, so nobody may guess one."""

GREETING_SIGNS_MAX: Final = 200
WORD_SIGNS_MIN: Final = 4
"""Of a word that keeps others out; one for named people may be shorter, for it only adds fun."""
WORD_SIGNS_MAX: Final = 64
REQUEST_SIGNS_MAX: Final = 64
NAMED_MAX: Final = 1_000
"""People that a packet may be for by name."""

BALANCE: Final = "balance"
"""`pay`: from what the sender has won, less what was spent."""

_ID_SIGNS: Final = bytes(code if code in b"0123456789abcdef" else 0x30 for code in range(256))
"""Turns an id into itself, and what has other signs into something else."""


class GroupTerms(msgspec.Struct, frozen=True, kw_only=True):
    """`[group]`: packets between people, and what is allowed of them. Amounts are minor units."""

    kinds: tuple[Kind, ...] = (Kind.LUCKY, Kind.EQUAL)
    count_max: int = 100
    share_minor_max: int = 20_000
    sender_day_minor_max: int = 2_000_000
    expires_us: int = 86_400_000_000
    pay: str = BALANCE
    """From where a packet is paid: the balance, or a provider of the deployment by its name."""
    followers: str | None = None
    """Where it is asked who follows whom: a file, or an http(s) address; None: packets for followers cannot be."""


class For(StrEnum):
    """Whom a packet is for, beside named people."""

    EVERYBODY = "everybody"
    FOLLOWERS = "followers"


class Packet(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A group packet as it was created, and, once it is paid, what its slots hold."""

    id: str
    sender: str
    kind: Kind
    total_minor: int
    count: int
    greeting: str = ""
    word: str | None = None
    """The word that has to be said, hashed (`hashed_word`); None: none."""
    named: tuple[str, ...] = ()
    """Whom it is for, by name; empty: see `whom`."""
    whom: For = For.EVERYBODY
    created_us: int = 0
    paid_us: int | None = None
    """When it was split to be paid; None: it never was."""
    closes_us: int = 0
    """From when on nobody gets anything of it."""
    amounts: tuple[int, ...] = ()
    """By slot, once it was split."""
    sponsored: bool = False
    """Paid by the sponsor, not by the sender: what winners of a round share."""
    lasts_us: int | None = None
    """How long it can be grabbed once it is paid; None: as the terms say then."""
    request: str = ""
    """What the sender's client calls the creation: the same again is the same packet. Empty: it has no name."""

    @property
    def pot(self) -> str:
        """The name of its pot."""
        return POT_PREFIX + self.id


def packet_of(pot: str) -> str | None:
    """Return the id of the packet whose pot has this name; None: it is no packet's."""
    return pot[_PREFIX_SIGNS:] if pot.startswith(POT_PREFIX) else None


def place_in_words(pot: str) -> str:
    """Return what people call a pot that somebody has won in: `round r1`, or `packet 5f…`."""
    packet = packet_of(pot)
    return f"round {pot}" if packet is None else f"packet {packet}"


def packet_id(segment: bytes) -> str | None:
    """Return the id that these bytes spell; None if no packet could have it."""
    return segment.decode("ascii") if len(segment) == ID_SIGNS and segment.translate(_ID_SIGNS) == segment else None


def rest_transfer(packet: str) -> str:
    """Return the id under which what is left of a packet goes back to who paid: once, whoever does it."""
    return f"{REST_PREFIX}{packet}"


def payment_of(campaign: str, packet: str) -> str:
    """Return what payments part and packets call the payment of a packet."""
    return f"{POT_PREFIX}{campaign}:{packet}"


def rest_of_payment(payment: str) -> str:
    """Return the id under which what is left of the packet goes back that was paid so; "": it pays for no packet."""
    packet = payment.rpartition(":")[2]
    return rest_transfer(packet) if payment.startswith(POT_PREFIX) else ""


class Unfit(Exception):
    """A packet that somebody wants to create cannot be; the sentence is for them, `field` says where."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


def check_packet(packet: Packet, terms: GroupTerms, text_of: Callable[[int], str]) -> None:
    """Raise Unfit unless the terms allow the packet. `text_of` returns an amount of minor units as text."""
    if packet.kind not in terms.kinds:
        raise Unfit("kind", f"packets here are {' or '.join(terms.kinds)}")
    if not 1 <= packet.count <= terms.count_max:
        raise Unfit("count", f"a packet has from 1 to {terms.count_max} shares")
    if packet.total_minor < packet.count:
        raise Unfit("total", f"each share holds at least {text_of(1)}: {packet.count} need {text_of(packet.count)}")
    most = terms.share_minor_max * packet.count
    if packet.total_minor > most:
        raise Unfit(
            "total",
            f"a share is at most {text_of(terms.share_minor_max)}: with {packet.count} the total is at most "
            f"{text_of(most)}",
        )
    if packet.total_minor > terms.sender_day_minor_max:
        raise Unfit("total", f"a sender may give {text_of(terms.sender_day_minor_max)} a day")
    if len(packet.greeting) > GREETING_SIGNS_MAX or not packet.greeting.isprintable():
        raise Unfit("greeting", f"a greeting is up to {GREETING_SIGNS_MAX} signs that can be seen")
    if len(packet.request) > REQUEST_SIGNS_MAX or not packet.request.isprintable():
        raise Unfit("request", f"the name of a request is up to {REQUEST_SIGNS_MAX} signs that can be seen")
    if packet.whom is For.FOLLOWERS and terms.followers is None:
        raise Unfit("for", "packets for followers are not offered here; name people, or leave it out")
    if len(packet.named) > NAMED_MAX:
        raise Unfit("for", f"a packet is for up to {NAMED_MAX} people by name")


# -- the word


def folded_word(text: str) -> str:
    """Return a word as it is compared: the same for full and half width, any case, and whatever white space."""
    folded = "".join(unicodedata.normalize("NFKC", text).casefold().split())
    # What was apart may join now, and a sign that joined may have another small form: until nothing changes.
    return folded if folded == text else folded_word(folded)


def checked_word(text: str, *, named: bool) -> str:
    """Return a word, folded. Raises Unfit for one that protects nothing; `named`: other things keep others out."""
    word = folded_word(text)
    least = 1 if named else WORD_SIGNS_MIN
    if not least <= len(word) <= WORD_SIGNS_MAX or not word.isprintable():
        raise Unfit("word", f"a word has from {least} to {WORD_SIGNS_MAX} signs, white space not counted")
    return word


def hashed_word(word: str, packet: str, keys: KeyRing) -> str:
    """Return what is kept of a folded word, with the id of the key: keyed, so that a file of hashes without the keys of
    the event lets nobody try words against it; and the packet's own, so that a word looks different in each."""
    return f"{keys.current}:{_digest(word, packet, keys.keys[keys.current])}"


def is_word(said: str, packet: str, keys: KeyRing, kept: str) -> bool:
    """Whether what somebody said is the packet's word. Takes as long for a wrong one."""
    key_id, _, digest = kept.partition(":")
    key = keys.keys.get(key_id)
    if key is None:
        return False
    return compare_digest(_digest(folded_word(said[: 4 * WORD_SIGNS_MAX]), packet, key), digest)


def _digest(word: str, packet: str, key: bytes) -> str:
    salt = blake2b(packet.encode(), digest_size=16).digest()
    return blake2b(word.encode(), key=key, salt=salt, person=b"redrush.word", digest_size=16).hexdigest()


# -- what it tells


class Left(StrEnum):
    """How many shares are left, as others are told: never the number, which would tell when to grab for the best."""

    ALL = "all"
    MANY = "many"
    FEW = "few"
    NONE = "none"


def coarsely(left: int, count: int) -> Left:
    """Return how many of the shares are left, in words: few is a quarter of them or less."""
    if left <= 0:
        return Left.NONE
    if left >= count:
        return Left.ALL
    return Left.FEW if 4 * left <= count else Left.MANY


def best_luck(amounts: Sequence[int], slots: Mapping[str, int]) -> str | None:
    """Return the user whose slot holds most, of those that were granted, the lower slot where several do; None where
    nobody has any. Tell it only once nothing can be granted any more: while shares are left it says what they hold."""
    return min(slots, key=lambda user: (-amounts[slots[user]], slots[user]), default=None)
