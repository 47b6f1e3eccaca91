"""Metrics of every role in the Prometheus text format, collected from plain integers when scraped."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from redrush.core.load.histogram import LAST, Histogram
from redrush.core.steering.figure import Figure, Kind, Value

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

FIRST: Final = 5
"""The least bucket that is exposed, 32 µs: what is below would be series in vain."""

Source = Callable[[], Iterator[Value]]


class Exposition:
    """Renders figures; each source is asked at every scrape."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the families, values of one figure together (called by the registry)."""
        families: dict[str, Metric] = {}
        for source in self._sources:
            for one in source():
                figure = one.figure
                if figure.kind is Kind.WINDOW:
                    continue
                family = families.get(figure.name)
                if family is None:
                    family = families[figure.name] = _family(figure)
                _add(family, one)
        yield from families.values()

    def render(self) -> bytes:
        """Return the whole exposition."""
        return generate_latest(self._registry)

    def told(self) -> list[dict[str, Any]]:
        """Return the same for a program that asks twice a second, and adds and subtracts by itself: each value with its
        labels, histograms as counts by bucket (`redrush.core.load.histogram`)."""
        rows: list[dict[str, Any]] = []
        for one in (value for source in self._sources for value in source()):
            if one.figure.kind is not Kind.WINDOW:
                row: dict[str, Any] = {"name": one.figure.name, "labels": dict(one.labels)}
                times = one.histogram
                rows.append(row | ({"value": one.value} if times is None else {"counts": list(times.counts)}))
        return rows


def _family(figure: Figure) -> Metric:
    if figure.kind is Kind.COUNTER:
        return CounterMetricFamily(figure.name, figure.help)
    if figure.kind is Kind.HISTOGRAM:
        return HistogramMetricFamily(figure.name, figure.help)
    return GaugeMetricFamily(figure.name, figure.help)


def _add(family: Metric, one: Value) -> None:
    labels = dict(one.labels)
    if one.histogram is None:
        family.add_sample(one.figure.sample, labels, one.value)
    else:
        _add_histogram(family, labels, one.histogram)


def _add_histogram(family: Metric, labels: dict[str, str], times: Histogram) -> None:
    """Add the buckets, in seconds, each with all that is below it."""
    below = sum(times.counts[:FIRST])
    for bucket in range(FIRST, LAST):
        below += times.counts[bucket]
        family.add_sample(f"{family.name}_bucket", {**labels, "le": repr((1 << bucket) / 1e6)}, below)
    everything = below + times.counts[LAST]
    family.add_sample(f"{family.name}_bucket", {**labels, "le": "+Inf"}, everything)
    family.add_sample(f"{family.name}_count", labels, everything)
    family.add_sample(f"{family.name}_sum", labels, times.sum_us / 1e6)
