"""Whether a *disturbance* beside a steady crowd costs the crowd anything: windows without it and with it, in one run.

A machine is faster one minute and slower the next, so a figure from before is no measure for one from after. Here each
window with it is held against the one right before it, and the median of these ratios is the figure; a stall of the
machine spoils one pair. How far the windows without it differ among themselves stands beside it: a bar within that
spread can be missed, or met, by chance.
"""

from statistics import median
from typing import Final

import msgspec
import numpy as np

from redrush.drill.drill_report import Figure
from redrush.drill.schedules import Seconds
from redrush.drill.time_plot import TimePlot

QUANTILE: Final = 0.99
PLOT_BUCKETS: Final = 150


class Windows(msgspec.Struct, frozen=True, kw_only=True):
    """When the disturbance is there: after `settle_s`, `pairs` times a window without it and a window with it.

    The first `skip_s` and the last `leave_s` of each window do not count: the disturbance comes then, or goes."""

    pairs: int
    window_s: float
    skip_s: float
    settle_s: float
    leave_s: float = 0.0

    @property
    def lasts_s(self) -> float:
        """How long the whole takes."""
        return self.settle_s + 2 * self.pairs * self.window_s

    @property
    def without(self) -> list[tuple[float, float]]:
        """The windows without the disturbance, from and to in seconds."""
        starts = [self.settle_s + 2 * pair * self.window_s for pair in range(self.pairs)]
        return [(start_s, start_s + self.window_s) for start_s in starts]

    @property
    def beside(self) -> list[tuple[float, float]]:
        """The windows with the disturbance, from and to in seconds."""
        return [(from_s + self.window_s, to_s + self.window_s) for from_s, to_s in self.without]

    def is_beside(self, now_s: float) -> bool:
        """Whether the disturbance is to be there now."""
        return any(from_s <= now_s < to_s for from_s, to_s in self.beside)


class Comparison(msgspec.Struct, frozen=True):
    """The p99 of each window, in ms."""

    without_ms: tuple[float, ...]
    beside_ms: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median, over the pairs, of the p99 with the disturbance over the p99 without it."""
        return median(beside / without for without, beside in zip(self.without_ms, self.beside_ms, strict=True))

    @property
    def spread(self) -> float:
        """The worst window without the disturbance over the best one: what the machine does by itself."""
        return max(self.without_ms) / min(self.without_ms)

    def figures(self) -> dict[str, Figure]:
        """Return the figures, with units in their names."""
        return {
            "p99_without_ms": round(median(self.without_ms), 3),
            "p99_beside_ms": round(median(self.beside_ms), 3),
            "p99_ratio": round(self.ratio, 3),
            "p99_ratio_of_each_pair": ", ".join(
                f"{beside / without:.2f}" for without, beside in zip(self.without_ms, self.beside_ms, strict=True)
            ),
            "windows_without_spread": round(self.spread, 3),
        }


def compare(windows: Windows, sent_s: Seconds, latency_s: Seconds) -> Comparison:
    """Return the comparison of requests sent at these times. Raises ValueError for a window that nobody came to."""

    def p99_ms(from_s: float, to_s: float) -> float:
        counted = latency_s[(sent_s >= from_s + windows.skip_s) & (sent_s < to_s - windows.leave_s)]
        if not len(counted):
            raise ValueError(f"nobody was answered who came between {from_s:g} s and {to_s:g} s")
        return float(np.quantile(counted, QUANTILE, method="higher")) * 1e3

    return Comparison(
        tuple(p99_ms(*window) for window in windows.without), tuple(p99_ms(*window) for window in windows.beside)
    )


def latency_plot(title: str, windows: Windows, sent_s: Seconds, latency_s: Seconds) -> TimePlot:
    """Return the p50 and p99 over time, with the windows of the disturbance shaded."""
    bucket_s = windows.lasts_s / PLOT_BUCKETS
    edges = np.linspace(0.0, windows.lasts_s, PLOT_BUCKETS + 1)
    return TimePlot(
        title=title,
        note="From the send to the complete answer. Shaded: they were there.",
        bucket_s=bucket_s,
        unit="milliseconds",
        series={
            "p99": quantile_over_time(sent_s, latency_s * 1e3, edges, QUANTILE),
            "p50": quantile_over_time(sent_s, latency_s * 1e3, edges, 0.5),
        },
        broken=tuple(windows.beside),
    )


def quantile_over_time(times_s: Seconds, values: Seconds, edges_s: Seconds, quantile: float) -> list[float]:
    """Return the quantile of the values of each bucket, NaN for an empty one."""
    order = np.argsort(times_s, kind="stable")
    parts = np.split(values[order], np.searchsorted(times_s[order], edges_s))[1:-1]
    return [float(np.quantile(part, quantile)) if len(part) else float("nan") for part in parts]
