"""Standing in the line of a round: a pass, then the state that is the same for all, and in when it is one's turn.

A gate is asked for the pass once, and once to be let in; meanwhile only the public state is read, which caches give. A
turn that was missed is no end: there is another place, further behind.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec

from redrush.client.answers import LineAnswer, read_line, read_round
from redrush.client.exchanging import Request, ask_until_told
from redrush.client.policy import Asking, Showing, Step
from redrush.core.rush.outcomes import Outcome

LOOK_AGAIN_S: Final = 1.0
"""Between two looks at the state, at least: it is as fresh as that."""


Found = str | Outcome | Step
"""The ticket that lets claim; or the outcome that ended the waiting; or, if no answer could be had, the step with which
the asking ended."""


class InLine:
    """Somebody in the line of a round."""

    def __init__(
        self,
        request: Request,
        asking: Asking,
        wait: Callable[[Step], Awaitable[None]],
        failed: Callable[[Exception], Step],
        draw: Callable[[], float],
        round_id: str,
    ) -> None:
        """`draw` gives lots in [0, 1); the others are those of `redrush.client.exchanging.exchange_ticket`."""
        self._ask = partial(ask_until_told, request, asking, wait, failed)
        self._wait = wait
        self._draw = draw
        self._path = f"/v1/rounds/{round_id}"

    async def stand(self) -> Found:
        """Stand in it until one is let in, or nobody will be."""
        while True:
            place = await self._join()
            if not isinstance(place, LineAnswer):
                return place
            found = await self._until_let_in(place)
            if found is not None:
                return found

    async def _join(self) -> LineAnswer | Outcome | Step:
        """Return one's place, waiting for the line to open; or why there is none."""
        while True:
            joined = await self._ask("POST", f"{self._path}/line", None, read_line)
            if isinstance(joined, Step) or joined.pass_ is not None:
                return joined
            if joined.outcome is not Outcome.NOT_OPEN:
                return joined.outcome
            await self._pause(joined)

    async def _until_let_in(self, place: LineAnswer) -> Found | None:
        """Return what came of standing at a place; None: its turn is over, and one may join again."""
        while True:
            state = await self._ask("GET", self._path, None, read_round)
            if isinstance(state, Step):
                return state
            if state.line is None or state.line.serving >= (place.place or 0):
                body = msgspec.json.encode({"pass": place.pass_})
                entered = await self._ask("POST", f"{self._path}/enter", body, read_line)
                if isinstance(entered, Step):
                    return entered
                if entered.outcome is Outcome.PASSED and entered.pass_ is not None:
                    place = entered
                elif entered.outcome is not Outcome.WAITING:
                    return None if entered.outcome is Outcome.PASSED else entered.ticket or entered.outcome
            await self._pause(place)

    async def _pause(self, answer: LineAnswer) -> None:
        least_s = max(LOOK_AGAIN_S, (answer.interval_ms or 0) / 1e3)
        await self._wait(Step(least_s * (1 + self._draw() / 2), Showing.WAITING))
