"""Runs a vigil beside everything else: in a thread, at a bounded share of a processor, and out of the way of a rush."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from redrush.core.nobody import never
from redrush.errors import RedrushError
from redrush.settle.reconcile.vigil import Vigil

LOOK_S: Final = 2.0
"""How soon what was recorded is compared, and what others have changed is told."""

SWEEP_REST_S: Final = 5.0
SWEEP_REST_FACTOR: Final = 9.0
SWEEP_REST_MAX_S: Final = 600.0
"""Between two sweeps, which go through everything: this many times what the last one took, so that a server at rest
spends a hundredth of a core on it. Not where something disagrees: then it is gone through again and again, until it
does not. What others change is told at once, and swept for."""

REST_FACTOR: Final = 9.0
"""After a slice, rest this many times what it took: at most a tenth of one core goes to reconciling."""

URGENT_REST_FACTOR: Final = 1.0
"""The same after a change by others, unless there is a rush."""

FAULT_REST_S: Final = 5.0
"""After records that could not be read: the recorder has told of that."""


def sweep_rest_s(took_s: float, *, disagrees: bool) -> float:
    """Return how many seconds to rest after a sweep that took so long, rests within it included."""
    return SWEEP_REST_S if disagrees else min(max(SWEEP_REST_S, SWEEP_REST_FACTOR * took_s), SWEEP_REST_MAX_S)


class Watch:
    """See the module. `run` it as a task, and cancel it to end it."""

    def __init__(
        self,
        vigil: Vigil,
        *,
        tell: Callable[[str], object],
        busy: Callable[[], bool] = never,
    ) -> None:
        """`tell` hears of each problem once, as long as it stands. `busy` tells whether there is a rush: then only what
        is new is compared."""
        self._vigil = vigil
        self._tell = tell
        self._busy = busy
        self._told: set[str] = set()
        self._began_s = 0.0

    @property
    def stands(self) -> Sequence[str]:
        """What disagrees now, in words, the oldest first."""
        return self._vigil.problems

    @property
    def problems(self) -> int:
        """How many problems stand."""
        return len(self._vigil.problems)

    @property
    def behind(self) -> int:
        """Log records that are recorded and not compared yet."""
        return self._vigil.behind

    @property
    def compared(self) -> int:
        """Grants that were compared so far, again and again."""
        return self._vigil.compared

    @property
    def sweep_took_s(self) -> float:
        """How long the last sweep through everything took; 0 before the first is through."""
        return self._vigil.sweep_took_s

    def unswept_s(self) -> float:
        """Return how long ago the last sweep was through, or this began."""
        at_s = self._vigil.swept_at_s
        return asyncio.get_running_loop().time() - (self._began_s if at_s is None else at_s)

    async def run(self) -> None:
        """Look for ever. Raises nothing but what is a fault of this program."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="redrush-reconcile")
        self._began_s = loop.time()
        sweep_at_s = loop.time() + LOOK_S
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                more = True
                while more:
                    began_s, busy, swept_at_s = loop.time(), self._busy(), self._vigil.swept_at_s
                    if self._vigil.behind:  # first what is new
                        sweep_at_s = max(sweep_at_s, began_s + SWEEP_REST_S)
                    sweep = self._vigil.urgent or (not busy and began_s >= sweep_at_s)
                    try:
                        more = await loop.run_in_executor(thread, partial(self._vigil.look, sweep=sweep))
                    except RedrushError:
                        await asyncio.sleep(FAULT_REST_S)
                        break
                    self._tell_new()
                    if self._vigil.swept_at_s != swept_at_s:
                        sweep_at_s = loop.time() + sweep_rest_s(
                            self._vigil.sweep_took_s, disagrees=bool(self._vigil.problems)
                        )
                    urgent = self._vigil.urgent and not busy
                    factor = URGENT_REST_FACTOR if urgent else REST_FACTOR
                    await asyncio.sleep(factor * (loop.time() - began_s))
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    def _tell_new(self) -> None:
        problems = self._vigil.problems
        for problem in problems:
            if problem not in self._told:
                self._tell(problem)
        self._told = set(problems)
