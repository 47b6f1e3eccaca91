"""What stands between a process and something that it asks and that may hang: a bulkhead, and a breaker where needed.

A *bulkhead* is a maximum share: of the calls of one dependency at once, of those that wait, and a deadline over both.
 A stuck dependency then holds its own places and nothing else. Beyond the maximum is a refusal, a value, at once.

A *dependency* adds a breaker (`redrush.core.load.breaker`): when it answers nobody, nobody is sent to it but a trial
now and then. What has a breaker of its own already gets a bulkhead only: the sets (lanes, and the link to the primary,
which is searched for in the background while calls fail at once).

A new one costs a line where it is made, and one where it is used:

    wallet = Dependency("wallet", Share(at_once_max=8, waiting_max=64, deadline_s=2.0), RULE, loop.time)
    paid = await wallet.ask(lambda: provider.pay(...))    # what it answered, or a Unanswered
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from redrush.core.load.breaker import Breaker, Rule, State
from redrush.errors import RedrushError

_T = TypeVar("_T")


class Unanswered(StrEnum):
    """Why there is no answer. Whether the call had an effect is unknown if it is LATE, and never otherwise."""

    FULL = "full"
    """There was no place, or not in time."""
    AWAY = "away"
    """It has answered nobody lately, and was not asked."""
    LATE = "late"
    """It was asked and did not answer in time."""


BEGINS_WITH_S: Final = 0.005
"""Of its deadline, what a call must have left to be begun: with less it could only be late."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """The most that one dependency may take of a process."""

    at_once_max: int
    waiting_max: int
    deadline_s: float
    """For waiting and being answered, together."""


class Bulkhead:
    """See the module. Not thread-safe: it lives on the event loop."""

    def __init__(self, name: str, share: Share) -> None:
        self.name = name
        self.share = share
        self.under_way = 0
        self.waiting = 0
        self.refused: Counter[Unanswered] = Counter()
        self._places = asyncio.Semaphore(share.at_once_max)

    @property
    def full(self) -> bool:
        """Whether nobody more may even wait."""
        return self.waiting >= self.share.waiting_max and self._places.locked()

    async def ask(self, call: Callable[[], Awaitable[_T]]) -> _T | Unanswered:
        """Return what the call returns, or FULL or LATE; a call that is late is cancelled. Raises what it raises."""
        if self.full:
            return self._refuse(Unanswered.FULL)
        asked = False
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + self.share.deadline_s
        try:
            async with asyncio.timeout_at(ends_s) as deadline:
                await self._enter()
                try:
                    if ends_s - loop.time() < BEGINS_WITH_S:
                        return self._refuse(Unanswered.FULL)
                    asked = True
                    return await call()
                finally:
                    self.under_way -= 1
                    self._places.release()
        except TimeoutError:
            if not deadline.expired():
                raise
            return self._refuse(Unanswered.LATE if asked else Unanswered.FULL)

    async def _enter(self) -> None:
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        self.under_way += 1

    def _refuse(self, why: Unanswered) -> Unanswered:
        self.refused[why] += 1
        return why


USUAL_RULE: Final = Rule(failures=5, window_s=10.0, pause_s=0.5, pause_max_s=5.0, trial_max_s=5.0)
"""For what has no reason of its own: five failures within seconds are no accident, and a service is soon back."""


class Dependency:
    """A bulkhead with a breaker. `now_s` is the clock of the loop that it lives on."""

    def __init__(self, name: str, share: Share, rule: Rule, now_s: Callable[[], float]) -> None:
        self.name = name
        self.bulkhead = Bulkhead(name, share)
        self.breaker = Breaker(rule)
        self._now_s = now_s

    @property
    def away_s(self) -> float:
        """For how long it has been away; 0 while it is up."""
        return self.breaker.away_s(self._now_s())

    def refusal(self) -> Unanswered | None:
        """Return what `ask` would certainly return now, and count it: to refuse somebody without any work."""
        if self.breaker.state is not State.UP and self.breaker.retry_in_s(self._now_s()):
            self.breaker.refused += 1
            return Unanswered.AWAY
        if self.bulkhead.full:
            self.bulkhead.refused[Unanswered.FULL] += 1
            return Unanswered.FULL
        return None

    async def ask(self, call: Callable[[], Awaitable[_T]]) -> _T | Unanswered:
        """Return what the call returns, or why there is no answer. Raises what it raises; of that a RedrushError, like
        a late answer, counts against the dependency."""
        if (refusal := self.refusal()) is not None:
            return refusal
        began_s = self._now_s()
        permit = self.breaker.admit(began_s)
        if permit is None:
            return Unanswered.AWAY
        try:
            answer = await self.bulkhead.ask(call)
        except RedrushError:
            self.breaker.failed(self._now_s(), permit, began_s=began_s)
            raise
        if answer is Unanswered.LATE or (answer is Unanswered.FULL and self.breaker.state is State.TRYING):
            self.breaker.failed(self._now_s(), permit, began_s=began_s)
        elif answer is not Unanswered.FULL:
            self.breaker.succeeded(permit)
        return answer
