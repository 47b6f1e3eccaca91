"""The auditor of a waiting room: what people were told, what was public, and what was written down, held together.

It shares no code with what it audits: places are worked out here once more, from the key that is published when the
round is over, and which must be the one that the commitment has promised from the first.
"""

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final, TypeVar

import msgspec

from redrush.drill.audit import Verdict, none_wrong

JOIN: Final = "line"
ENTER: Final = "enter"
CLAIM: Final = "claim"
AROUND: Final = "around"
"""What people ask: for a place, to be let in, for a packet; and for a packet without having been let in."""

FINAL: Final = frozenset({"granted", "empty", "closed"})
"""Outcomes after which nobody asks again."""

WINDOW_S: Final = 5.0
"""Over so long the pace is judged."""
SAVED_S: Final = 1.0
"""So much of the pace may go in at once after an empty line, or a gap."""
MOST: Final = 1.02
_DRAWN: Final = 1 << 40
"""Places of those who came before the start are below, and instants in µs above."""
_STALE_US: Final = 1_500_000
"""How old what is public may be: it is the same for all, and renewed every second."""
_CLOCKS_US: Final = 50_000
"""How far the clocks of the crowd and of the server may be apart: they run on one machine."""
_SENT_TO_THE_LINE: Final = 409
_SENT_AWAY: Final = frozenset({"empty", "closed", "not_open"})

_T = TypeVar("_T")


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """One answer: who was told what, when, µs since the epoch. `sent_us` is when they first asked, `asked_us` when they
    asked what was answered. `place` is theirs, `serving` how far the line was by that answer."""

    user: str
    what: str
    sent_us: int
    asked_us: int
    heard_us: int
    status: int
    outcome: str
    place: int | None = None
    serving: int | None = None
    grant: Mapping[str, Any] | None = None


class Public(msgspec.Struct, frozen=True):
    """The public state of the line, as it was asked for at an instant, µs since the epoch."""

    asked_us: int
    serving: int
    commitment: str | None
    key: str | None


def audit_line(
    heard: Sequence[Heard],
    public: Sequence[Public],
    exported: Sequence[Mapping[str, Any]],
    opens_us: int,
    died_us: int,
    packets: int,
    pace: int,
) -> tuple[Verdict, ...]:
    """Return the verdicts, in order of how bad a failure would be. The server died once."""
    joined = [one for one in heard if one.outcome == "in_line"]
    let_in = [one for one in heard if one.outcome == "admitted"]
    granted = [one for one in heard if one.outcome == "granted"]
    around = [one for one in heard if one.what == AROUND]
    return (
        none_wrong("lost", _lost(granted, exported), "{wrong} of {all} grants that were told", len(granted)),
        none_wrong("oversold", _oversold(exported, packets), "{wrong} of {all} grants beyond the stock", len(exported)),
        none_wrong("the key", _keys(public), "{wrong} of {all} states deny the key that was promised", len(public)),
        none_wrong("places", _misplaced(joined, public, opens_us), "{wrong} of {all} places are wrong", len(joined)),
        none_wrong(
            "turns",
            _too_early(heard, public, opens_us, died_us),
            "{wrong} of {all} went in before their turn",
            len(let_in),
        ),
        none_wrong(
            "never back", _went_back(public, died_us), "{wrong} of {all} states are behind earlier ones", len(public)
        ),
        none_wrong(
            "pace", _too_fast(let_in, pace), f"{{wrong}} of {{all}} went in beyond {pace} a second", len(let_in)
        ),
        none_wrong("through the line", _around(around, let_in, granted), "{wrong} of {all} came around it", len(heard)),
        none_wrong("an end", _endless(heard, let_in), "{wrong} of {all} who went in were told no end", len(let_in)),
    )


def _lost(granted: Iterable[Heard], exported: Iterable[Mapping[str, Any]]) -> list[str]:
    written = {row["grant"]: row["user"] for row in exported}
    return [one.user for one in granted if one.grant is None or written.get(one.grant["id"]) != one.user]


def _oversold(exported: Sequence[Mapping[str, Any]], packets: int) -> list[str]:
    slots = Counter(row["slot"] for row in exported)
    users = Counter(row["user"] for row in exported)
    twice = [str(one) for counter in (slots, users) for one, times in counter.items() if times > 1]
    return twice + [str(slot) for slot in slots if not 0 <= slot < packets]


def _digest(key: str, text: bytes, person: bytes, size: int) -> bytes:
    return hashlib.blake2b(text, key=bytes.fromhex(key), person=person, digest_size=size).digest()


def _keys(public: Sequence[Public]) -> list[str]:
    """Return the states whose commitment is not that of the key; all, if it was never told."""
    key = next((one.key for one in public if one.key is not None), None)
    if key is None:
        return [str(one.asked_us) for one in public] or ["there are none"]
    promised = hashlib.blake2b(bytes.fromhex(key), person=b"redrush.line.key", digest_size=32).hexdigest()
    return [str(one.asked_us) for one in public if one.commitment != promised or one.key not in {None, key}]


def _misplaced(joined: Iterable[Heard], public: Sequence[Public], opens_us: int) -> list[str]:
    """Return who has another place than the key draws, or than the instant at which they came."""
    key = next((one.key for one in public if one.key is not None), "")
    wrong, places = [], dict[str, int | None]()
    for one in joined:
        place = one.place if one.place is not None else -1
        drawn = int.from_bytes(_digest(key, one.user.encode(), b"redrush.line", 8), "big") >> 24
        is_early = place < _DRAWN
        right = place == drawn if is_early else one.sent_us - _CLOCKS_US <= place <= one.heard_us + _CLOCKS_US
        in_time = one.sent_us < opens_us + _CLOCKS_US if is_early else one.heard_us > opens_us - _CLOCKS_US
        if not right or not in_time or places.setdefault(one.user, place) != place:
            wrong.append(one.user)
    return wrong


def _too_early(heard: Sequence[Heard], public: Sequence[Public], opens_us: int, died_us: int) -> list[str]:
    """Return who was let in while a later answer of the same life still had the line before their place, or before the
    opening; and who was told to wait by an answer that said that it was their turn."""
    told = [(one.asked_us, one.serving) for one in public]
    told += [(one.asked_us, one.serving) for one in heard if one.outcome == "waiting" and one.serving is not None]
    lives = [_Life(part) for part in _by_life(told, died_us, lambda one: one[0])]
    wrong = []
    for one in heard:
        if one.place is None:
            continue
        if one.outcome == "admitted":
            least = lives[one.asked_us >= died_us].least_after(one.heard_us + _STALE_US)
            if one.heard_us < opens_us or (least is not None and one.place > least):
                wrong.append(one.user)
        elif one.outcome == "waiting" and one.serving is not None:
            was_their_turn = one.place <= one.serving and one.asked_us > opens_us + _CLOCKS_US
            if was_their_turn:
                wrong.append(one.user)
    return wrong


class _Life:
    """How far the line was said to be from one start of the server to its end."""

    def __init__(self, told: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(told)
        self._at_us = [at_us for at_us, _ in ordered]
        self._least = list(accumulate((serving for _, serving in reversed(ordered)), min))[::-1]

    def least_after(self, at_us: int) -> int | None:
        """Return the least that was said from then on; None if nothing was."""
        first = bisect_left(self._at_us, at_us)
        return self._least[first] if first < len(self._least) else None


def _by_life(all_: Iterable[_T], died_us: int, at_us: Callable[[_T], int]) -> tuple[list[_T], list[_T]]:
    """Return what was before the server died, and what after. A line that is taken up again stands where it was written
    down last, which may be a moment before what it had shown."""
    before: list[_T] = []
    after: list[_T] = []
    for one in all_:
        (after if at_us(one) >= died_us else before).append(one)
    return before, after


def _went_back(public: Sequence[Public], died_us: int) -> list[str]:
    lives = _by_life(public, died_us, lambda one: one.asked_us)
    pairs = (pair for life in lives for pair in pairwise(life))
    return [str(later.asked_us) for earlier, later in pairs if later.serving < earlier.serving]


def _too_fast(let_in: Iterable[Heard], pace: int) -> list[str]:
    """Return who went in as one too many within some window; each person counts once."""
    first: dict[str, int] = {}
    for one in let_in:
        first.setdefault(one.user, one.heard_us)
    instants = sorted((at_us, user) for user, at_us in first.items())
    times = [at_us for at_us, _ in instants]
    most = pace * (WINDOW_S + SAVED_S) * MOST
    return [
        user
        for number, (at_us, user) in enumerate(instants)
        if number + 1 - bisect_left(times, at_us - int(WINDOW_S * 1e6)) > most
    ]


def _around(around: Iterable[Heard], let_in: Iterable[Heard], granted: Iterable[Heard]) -> list[str]:
    """Return who claimed without having been let in and was not sent to the line, and who won so."""
    through = {one.user for one in let_in}
    return [one.user for one in around if one.status != _SENT_TO_THE_LINE and one.outcome not in _SENT_AWAY] + [
        one.user for one in granted if one.user not in through
    ]


def _endless(heard: Iterable[Heard], let_in: Iterable[Heard]) -> list[str]:
    ended = {one.user for one in heard if one.what == CLAIM and one.outcome in FINAL}
    return sorted({one.user for one in let_in} - ended)
