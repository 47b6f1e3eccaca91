"""Trimming a log some time after it was recorded, for those who follow it besides the recorder.

Gates read the log at their own pace, and one that was just started reads it from the beginning of the round. What is
gone before they have read it they must ask the store about, loser by loser. A grant in the log takes a few bytes of the
set's memory, so keeping those of the last minutes costs little.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

KEEP_S: Final = 900.0
"""Longer than from the warm-up of a round to its end, as a rule: at 100 grants a second that is 2 MB, at 10,000 it is
150 MB."""

GRAIN_S: Final = 1.0
"""Instants that are told apart: bounds what is remembered to KEEP_S / GRAIN_S entries, and spares the set calls."""


class LateTrim:
    """Stands for `trim` of a store: trims up to what was recorded `keep_s` ago, when something new is recorded."""

    def __init__(
        self, trim: Callable[[int], Awaitable[object]], now_s: Callable[[], float], keep_s: float = KEEP_S
    ) -> None:
        self._trim = trim
        self._now_s = now_s
        self._keep_s = keep_s
        self._recorded: deque[tuple[float, int]] = deque()

    async def __call__(self, seq: int) -> None:
        """The records hold everything up to `seq`. Raises what `trim` raises; it is then made good for next time."""
        now_s = self._now_s()
        if not self._recorded or now_s - self._recorded[-1][0] >= GRAIN_S:
            self._recorded.append((now_s, seq))
        while self._recorded and now_s - self._recorded[0][0] >= self._keep_s:
            upto = self._recorded[0][1]
            if len(self._recorded) == 1 or now_s - self._recorded[1][0] < self._keep_s:
                await self._trim(upto)
            self._recorded.popleft()
