"""What people do with an answer: shake again, come back at the opening, ask twice, give up; and how their clients do.

Pure: from how a request ended and how often its user has tried, to the pause before the next request, if any. Polite
people's clients run the machine of `redrush.client.policy`, the same that the Python client runs; what people want on
top of it (to shake again, to see their packet once more) is drawn here. The other manners are what storms are made of.
All pauses come from one seeded row of numbers, so a crowd can be replayed.
"""

import random
from enum import StrEnum

import msgspec

from redrush.client.policy import RETRIED_STATUSES, Asking, Step
from redrush.core.load.client_policy import ClientPolicy
from redrush.core.rush.outcomes import Outcome
from redrush.drill.observations import Ending
from redrush.drill.schedules import think_times

THINK_TIMES = 1 << 14
"""Length of the circle of pauses: long enough that no pattern shows, short enough to make in a millisecond."""

LAST_TRY = 1 << 30
"""The `tries` of a request after which its user stops, whatever comes."""

_OUTCOMES = {ending: Outcome(ending.label) for ending in Ending if ending <= Ending.NOT_ELIGIBLE}


class Manners(StrEnum):
    """How the clients of a crowd repeat a request that was refused or never answered."""

    POLITE = "polite"
    """By the client policy."""
    NO_JITTER = "no_jitter"
    """Exponential backoff and Retry-After, kept to the millisecond: everybody comes back at the same moment."""
    NO_BACKOFF = "no_backoff"
    """A short random pause each time, whatever the answer says."""
    IMMEDIATE = "immediate"
    """At once, whatever the answer says."""
    BOT = "bot"
    """Sends what is planned, whatever comes back. See `redrush.drill.schedules.hammering`."""


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """How a crowd acts. The maxima count tries of one user in one round; shares are probabilities."""

    manners: Manners = Manners.POLITE
    policy: ClientPolicy = ClientPolicy()
    """What the polite keep to. The others take the first and the longest backoff from it."""
    shakes_max: int = 8
    """Tries after which a user who still misses gives up."""
    think_s: float = 0.7
    """Median pause between two shakes of one person."""
    early_max: int = 3
    """Tries after which a user who is told `not_open` gives up."""
    insistence_max: int = 100
    """Tries after which an impolite client stops: bounds what a storm can be."""
    repeat_share: float = 0.10
    """How many of those with a grant ask again."""
    insist_share: float = 0.05
    """How many of those who were told `empty` or `closed` ask once more."""

    @property
    def tries_max(self) -> int:
        """No user sends more requests than this for one planned request."""
        if self.manners is Manners.BOT:
            return 1
        insistent = self.policy.attempts_max if self.manners is Manners.POLITE else self.insistence_max
        return max(self.shakes_max, self.early_max, insistent) + 1


ONCE = Behaviour(manners=Manners.BOT, repeat_share=0.0, insist_share=0.0)
"""Everybody asks once, whatever comes back."""


class NextTry(msgspec.Struct, frozen=True, gc=False):
    """The user asks again after `pause_s`; `last` says that it is the last time."""

    pause_s: float
    last: bool = False


class People:
    """A crowd's decisions, drawn from one seed. `person` is the round and the user as one number.

    Most people get a final answer to their first request and never need a machine; who does has one until the end of
    their asking.
    """

    def __init__(self, behaviour: Behaviour, seed: int) -> None:
        self._behaviour = behaviour
        self._polite = behaviour.manners is Manners.POLITE
        self._random = random.Random(seed)  # noqa: S311 - a simulated person, replayable by its seed
        self._pauses = think_times(THINK_TIMES, median_s=behaviour.think_s, seed=seed).tolist()
        self._next_pause = 0
        self._askings: dict[int, Asking] = {}
        self.held_back = 0
        """Requests that the adaptive throttle of the clients kept from being sent."""

    def sending(self, person: int, now_s: float) -> NextTry | None:
        """A repeated request is about to be sent; return None if it goes out, or when to try again."""
        asking = self._askings.get(person)
        if asking is None:
            return None
        step = asking.sending(now_s)
        if step is None:
            return None
        self.held_back += 1
        return _next(step)

    def after_answer(self, person: int, ending: Ending, tries: int, now_s: float) -> NextTry | None:
        """Return what follows the `tries`-th try, answered by an outcome other than `not_open`."""
        behaviour = self._behaviour
        if ending is Ending.MISSED:
            return self._shake(person, tries, now_s)
        if self._askings:
            self._askings.pop(person, None)
        if tries >= LAST_TRY or behaviour.manners is Manners.BOT:
            return None
        share = behaviour.repeat_share if ending is Ending.GRANTED else behaviour.insist_share
        if ending is Ending.NOT_ELIGIBLE or self._random.random() >= share:
            return None
        return NextTry(self._pause(), last=True)

    def _shake(self, person: int, tries: int, now_s: float) -> NextTry | None:
        if tries >= self._behaviour.shakes_max or self._behaviour.manners is Manners.BOT:
            self._askings.pop(person, None)
            return None
        pause_s = self._pause()
        if not self._polite:
            return NextTry(pause_s)
        step = self._asking(person, now_s).answered(_OUTCOMES[Ending.MISSED])
        return NextTry(max(pause_s, step.pause_s or 0.0))

    def after_not_open(self, person: int, opens_in_s: float, tries: int, now_s: float) -> NextTry | None:
        """Return what follows `not_open` when the round opens in `opens_in_s`."""
        if tries >= self._behaviour.early_max or self._behaviour.manners is Manners.BOT:
            self._askings.pop(person, None)
            return None
        if not self._polite:
            return NextTry(max(0.0, opens_in_s))
        return _next(self._asking(person, now_s).answered(_OUTCOMES[Ending.NOT_OPEN], opens_in_s=opens_in_s))

    def after_refusal(
        self, person: int, status: int, retry_after_s: int | None, tries: int, now_s: float
    ) -> NextTry | None:
        """Return what follows an answer that is not 200."""
        if not self._polite:
            return self._rude(tries, retry_after_s or 0) if status in RETRIED_STATUSES else None
        return self._stepped(person, tries, self._asking(person, now_s).refused(status, retry_after_s=retry_after_s))

    def after_fault(self, person: int, tries: int, now_s: float) -> NextTry | None:
        """Return what follows a broken connection or no answer."""
        if not self._polite:
            return self._rude(tries, 0)
        return self._stepped(person, tries, self._asking(person, now_s).failed())

    def _asking(self, person: int, now_s: float) -> Asking:
        """Return the person's machine; a new one has sent the one request that its person comes from."""
        asking = self._askings.get(person)
        if asking is None:
            asking = self._askings[person] = Asking(self._behaviour.policy, self._random.random)
            asking.sending(now_s)
        return asking

    def _stepped(self, person: int, tries: int, step: Step) -> NextTry | None:
        next_try = _next(step) if tries < self._behaviour.tries_max - 1 else None
        if next_try is None:
            self._askings.pop(person, None)
        return next_try

    def _rude(self, tries: int, retry_after_s: int) -> NextTry | None:
        manners, policy = self._behaviour.manners, self._behaviour.policy
        if manners is Manners.BOT or tries >= self._behaviour.insistence_max:
            return None
        if manners is Manners.IMMEDIATE:
            return NextTry(0.0)
        if manners is Manners.NO_BACKOFF:
            return NextTry(self._random.random() * policy.backoff_first_ms / 1e3)
        backoff_ms = min(policy.backoff_max_ms, policy.backoff_first_ms << min(tries - 1, 20))
        return NextTry(max(backoff_ms / 1e3, float(retry_after_s)))

    def _pause(self) -> float:
        self._next_pause = (self._next_pause + 1) % THINK_TIMES
        pause_s: float = self._pauses[self._next_pause]
        return pause_s


def _next(step: Step) -> NextTry | None:
    return None if step.pause_s is None else NextTry(step.pause_s)
