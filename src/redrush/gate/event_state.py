"""The tiny state file of a campaign, `GET /state/{campaign}.json`: all that a waiting page needs, for everybody alike.

An edge may keep it for a second; a browser never keeps it, for its time sets the page's clock, and each look has the
second in its address. It tells how much is left in classes: exact stock would feed programs and help nobody.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from redrush.core.rush.phase import Phase
from redrush.errors import RedrushError
from redrush.gate.answer_times import AnswerTimes
from redrush.gate.rush.line import WaitingRoom
from redrush.gate.rush.rush import TIME_FRESH_US, Rush
from redrush.gate.switches import Notice
from redrush.http import answers
from redrush.http.route import Waiter

VERSION: Final = 1
ROUNDS_TOLD_MAX: Final = 8
"""Rounds in the file: those that are open, and the next ones."""
FEW_SHARE: Final = 0.1
"""Of a round's slots: with fewer left there are few."""
LOOK_US: Final = 1_000_000
"""How often stores are asked what is left, while somebody wants to know."""

CACHING: Final = "Cache-Control: public, max-age=0, s-maxage=1, stale-if-error=10\r\n"

_PHASES: Final = {Phase.NOT_OPEN: "before", Phase.OPEN: "open", Phase.CLOSED: "closed"}


class Stock:
    """How much is left of one round, in classes; looked up when somebody asks, once a second."""

    def __init__(self, rush: Rush, now_us: Callable[[], int]) -> None:
        self._rush = rush
        self._now_us = now_us
        self._left: int | None = None
        self._look_again_us = 0
        self._looking: asyncio.Task[None] | None = None

    def told(self) -> str:
        """Return "plenty", "few", "held" or "none", as of the last look, and begin another one if that is long ago."""
        rush, now_us = self._rush, self._now_us()
        if rush.sold_out:
            return "none"
        if rush.held_out:
            return "held"
        looking = self._looking is not None and not self._looking.done()
        if rush.phase() is Phase.OPEN and now_us >= self._look_again_us and not looking:
            self._look_again_us = now_us + LOOK_US
            self._looking = asyncio.create_task(self._look(), name=f"stock of {rush.round.id}")
        if self._left is None:
            return "plenty"
        if not self._left:
            # Another gate's store may be about to be given slots: nothing final before the round was found sold out.
            return "none" if rush.knows.COMPLETE and rush.knows.pot.hold_us is None else "few"
        return "few" if self._left < FEW_SHARE * rush.knows.slots else "plenty"

    async def _look(self) -> None:
        try:
            states = [await pot.lane.store.state(pot.id) for pot in self._rush.pots]
        except RedrushError:
            return  # of the store: it tells others too, and what was seen last stands
        self._left = sum(state.left for state in states)


class EventState:
    """The route. Built when asked for, once in TIME_FRESH_US, or when something has changed."""

    def __init__(
        self,
        rounds: Sequence[Rush],
        rooms: Sequence[WaitingRoom],
        now_us: Callable[[], int],
        interval_ms: Callable[[], int],
        times: AnswerTimes,
        notice: Notice,
    ) -> None:
        """`rounds` and their waiting `rooms` may grow; `interval_ms` is the client policy's, what is advised under
        overload goes before it."""
        self._rounds = rounds
        self._rooms = rooms
        self._now_us = now_us
        self._interval_ms = interval_ms
        self._times = times
        self._notice = notice
        self._stocks: dict[str, Stock] = {}
        self._fresh_until_us = 0
        self._seen: tuple[Any, ...] = ()
        self._answer = b""

    def serve(self, waiter: Waiter, user: str) -> bytes:
        """Return the state, as of TIME_FRESH_US ago at most, and never past an opening or a close."""
        self._times.states_told += 1
        now_us = self._now_us()
        seen = (
            self._notice.told,
            *((one.phase(), one.sold_out, one.open_key, one.round.opens_us, one.advised_ms) for one in self._rounds),
        )
        if now_us >= self._fresh_until_us or seen != self._seen:
            self._fresh_until_us, self._seen = now_us + TIME_FRESH_US, seen
            self._answer = answers.json_answer(self._fields(now_us), CACHING)
        return self._answer

    def _fields(self, now_us: int) -> dict[str, Any]:
        told = self._told(now_us)
        rounds = [self._round(rush, now_us) for rush in told]
        notice = {} if self._notice.told is None else {"notice": self._notice.told}
        return {"v": VERSION, "now": now_us // 1_000, **rounds[0], **notice, "rounds": rounds}

    def _told(self, now_us: int) -> list[Rush]:
        """Return the rounds to tell of, the current one first: that which is open, else the next, else the last."""
        there = [rush for rush in self._rounds if rush.phase() is not Phase.CLOSED]
        there.sort(key=lambda rush: rush.round.opens_us)
        return there[:ROUNDS_TOLD_MAX] or [max(self._rounds, key=lambda rush: rush.round.closes_us)]

    def _round(self, rush: Rush, now_us: int) -> dict[str, Any]:
        round_ = rush.round
        stock = self._stocks.setdefault(round_.id, Stock(rush, self._now_us))
        told = {
            "round": round_.id,
            "phase": _PHASES[rush.phase()],
            "opens": round_.opens_us // 1_000,
            "closes": round_.closes_us // 1_000,
            "interval_ms": rush.advised_ms or self._interval_ms(),
            "left": stock.told(),
            "key": rush.open_key,
        }
        for room in self._rooms:
            if room.rush is rush:
                told["serving"] = room.state.serving
        return told | rush.state_fields(now_us)
