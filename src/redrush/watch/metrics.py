"""Metrics of every role in the Prometheus text format, collected from plain integers when scraped."""

from collections.abc import Callable, Iterator, Sequence

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Reading(msgspec.Struct, frozen=True):
    """One figure now. `kind` is "counter" or "gauge"; `labels` are name and value pairs."""

    name: str
    help: str
    kind: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Exposition:
    """Renders readings; each source is asked at every scrape."""

    def __init__(self, sources: Sequence[Callable[[], Iterator[Reading]]]) -> None:
        self._sources = sources
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the families, readings of one name together (called by the registry)."""
        families: dict[str, Metric] = {}
        for source in self._sources:
            for reading in source():
                family = families.get(reading.name)
                if family is None:
                    family_type = CounterMetricFamily if reading.kind == "counter" else GaugeMetricFamily
                    labels = [name for name, _ in reading.labels]
                    family = families[reading.name] = family_type(reading.name, reading.help, labels=labels)
                family.add_metric([value for _, value in reading.labels], reading.value)  # type: ignore[attr-defined]  # both family types have it, their common base has not
        yield from families.values()

    def render(self) -> bytes:
        """Return the whole exposition."""
        return generate_latest(self._registry)
