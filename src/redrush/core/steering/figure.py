"""What a figure is: one row of the table (`redrush.core.steering.figures`), and one value of it."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from redrush.core.load.histogram import Histogram

EMBEDDED: Final = "embedded"
"""Not a role but the form that has all of them in one process."""

Labels = tuple[tuple[str, str], ...]


class Kind(StrEnum):
    """How a figure behaves."""

    COUNTER = "counter"
    """Only grows, from the start of its process."""
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    """Counts of times in buckets."""
    WINDOW = "window"
    """Of the last whole second, for rules only: whoever reads metrics makes it of counters over a time of their own."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table. Call it for a value, with a text for each label, in order; without those that would tell
    nothing, as where there is one set."""

    name: str
    """That of the metric; of a `WINDOW` that of the reading."""
    kind: Kind
    help: str
    unit: str = ""
    """"" is a number of things; else "seconds", "share" or "ms"."""
    labels: tuple[str, ...] = ()
    roles: tuple[str, ...]
    """Who exports it, or tells it to rules: roles, and `EMBEDDED`."""
    reading: str | None = None
    """The name by which rules read the greatest of its values; None: they do not."""
    per_unit: float = 1.0
    """What a value is multiplied by for rules."""
    when: str = ""
    """Under which circumstances it has values at all; "": always."""

    @property
    def sample(self) -> str:
        """Return the name that it has in an exposition."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name

    def __call__(self, value: float, *labels: str) -> "Value":
        """Return a value of it."""
        return Value(self, tuple(zip(self.labels[: len(labels)], labels, strict=True)), value)

    def of(self, histogram: Histogram, *labels: str) -> "Value":
        """Return the counts of it."""
        return msgspec.structs.replace(self(0.0, *labels), histogram=histogram)


class Value(msgspec.Struct, frozen=True):
    """A figure now."""

    figure: Figure
    labels: Labels
    value: float
    histogram: Histogram | None = None

    def of_campaign(self, campaign: str) -> "Value":
        """Return it with the campaign that it is about, where a process has several."""
        return msgspec.structs.replace(self, labels=((CAMPAIGN, campaign), *self.labels))


CAMPAIGN: Final = "campaign"
"""The label that figures have besides their own where a process has several campaigns."""


def readings_of(values: Iterable[Value]) -> Mapping[str, float]:
    """Return what rules read of these values, by name: of several of a figure the greatest."""
    greatest: dict[str, float] = {}
    for one in values:
        name = one.figure.reading
        if name is not None:
            value = one.value * one.figure.per_unit
            greatest[name] = max(value, greatest.get(name, value))
    return greatest
