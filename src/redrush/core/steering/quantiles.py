"""How long answers took lately: quantiles of the last whole second, from histograms that only grow."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from redrush.core.load.histogram import NO_COUNTS, Histogram, quantile_us
from redrush.core.steering.figure import Value
from redrush.core.steering.figures import QUANTILE_OF, QUANTILES, Interface

WINDOW_S: Final = 1.0
"""What rates and quantiles are taken over: long enough to count in, short next to the seconds that a rule waits."""


class LatelyTook:
    """Call it for the quantiles of the last whole window, several times a window or once."""

    def __init__(self, histograms: Callable[[], Mapping[Interface, Histogram]], now_s: Callable[[], float]) -> None:
        self._histograms = histograms
        self._now_s = now_s
        self._began_s = now_s()
        self._before = {name: tuple(one.counts) for name, one in histograms().items()}
        self._values: list[Value] = []

    def __call__(self) -> list[Value]:
        """Return them; none before the first window is over."""
        now_s = self._now_s()
        if now_s - self._began_s >= WINDOW_S:
            self._began_s = now_s
            self._values = list(self._turn())
        return self._values

    def _turn(self) -> Iterator[Value]:
        for interface, one in self._histograms().items():
            counts, before = tuple(one.counts), self._before.get(interface, NO_COUNTS)
            self._before[interface] = counts
            lately = [now - then for now, then in zip(counts, before, strict=True)]
            for name, share in QUANTILES.items():
                yield QUANTILE_OF[interface, name](quantile_us(lately, share) / 1e3)
