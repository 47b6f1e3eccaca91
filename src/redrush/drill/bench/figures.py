"""The figures, their bars and aims, and what a measured value means for them. Pure: nothing here measures.

A figure has one number. It is kept with the samples it is the median of, so that whoever doubts it can look.
"""

from collections.abc import Sequence
from enum import StrEnum
from statistics import median

import msgspec


class Better(StrEnum):
    """Which way a figure is better."""

    HIGHER = "higher"
    LOWER = "lower"


class Unit(StrEnum):
    """What a figure counts."""

    RATIO = "×"
    KB = "KB"
    SECONDS = "s"
    MILLISECONDS = "ms"
    PERCENT = "%"
    PER_SECOND = "/s"


class Verdict(StrEnum):
    """What a value means. Anything but `AIM` and `BAR` fails the benchmark."""

    AIM = "aim reached"
    BAR = "bar reached"
    MISSED = "bar missed"
    NOT_MEASURED = "not measured"

    @property
    def passed(self) -> bool:
        """Whether the figure is good enough."""
        return self in (Verdict.AIM, Verdict.BAR)


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be measured, and how good it has to be. `aim` is None where the bar is all that is asked."""

    name: str
    title: str
    unit: Unit
    better: Better
    bar: float
    aim: float | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its value, the median of `samples`; or with the reason why there is none. Where it came from runs
    under load: what an answer of ours took of CPU time, and how many there were a second, as medians."""

    figure: Figure
    samples: tuple[float, ...] = ()
    reason: str | None = None
    cpu_us: float | None = None
    rate_per_s: float | None = None

    @property
    def value(self) -> float | None:
        """The median of the samples, in the unit of the figure; None if it could not be measured."""
        return median(self.samples) if self.samples else None

    @property
    def verdict(self) -> Verdict:
        """What the value means."""
        return judge(self.figure, self.value)


def judge(figure: Figure, value: float | None) -> Verdict:
    """Return the verdict on a value; values equal to the bar or the aim reach it."""
    if value is None:
        return Verdict.NOT_MEASURED
    if figure.aim is not None and _reaches(figure.better, value, figure.aim):
        return Verdict.AIM
    return Verdict.BAR if _reaches(figure.better, value, figure.bar) else Verdict.MISSED


def pairwise(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Return ours/theirs, pair by pair: what was measured close in time is compared, so that drift cancels.

    Raises ValueError if the rows differ in length, or a divisor is not positive.
    """
    if any(their <= 0 for their in theirs):
        raise ValueError("a peer that answers nothing is no peer")
    return tuple(our / their for our, their in zip(ours, theirs, strict=True))


def turns(names: Sequence[str], runs: int) -> list[str]:
    """Return who runs when: `runs` rounds with every name once, forwards and backwards in turn (A B, B A, A B …).

    With a fixed order a machine that slows down steadily favours whoever goes first; this way it favours nobody.
    """
    return [name for k in range(runs) for name in (names if k % 2 == 0 else reversed(names))]


def _reaches(better: Better, value: float, mark: float) -> bool:
    return value >= mark if better is Better.HIGHER else value <= mark
