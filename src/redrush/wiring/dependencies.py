"""The figures of what a process depends on: for its metrics, alike for all."""

from collections.abc import Iterator

from redrush.core.load.breaker import Breaker
from redrush.dependency import Bulkhead, Dependency
from redrush.watch.metrics import Reading


def dependency_readings(dependency: Dependency) -> Iterator[Reading]:
    """Yield the figures of a dependency with bulkhead and breaker."""
    yield from breaker_readings(dependency.name, dependency.breaker, dependency.away_s)
    yield from bulkhead_readings(dependency.bulkhead)


def breaker_readings(name: str, breaker: Breaker, away_s: float) -> Iterator[Reading]:
    """Yield how long it has been away, and what that has cost. `name` is that of the dependency."""
    labels = (("dependency", name),)
    yield Reading(
        "redrush_dependency_away_seconds", "How long it has answered nobody; 0: is up", "gauge", labels, away_s
    )
    yield Reading("redrush_dependency_failures", "Calls that failed or were late", "counter", labels, breaker.failures)
    refused = (*labels, ("why", "away"))
    yield Reading(
        "redrush_dependency_refused", "Calls that were not made, or late", "counter", refused, breaker.refused
    )


def bulkhead_readings(bulkhead: Bulkhead) -> Iterator[Reading]:
    """Yield the places taken of a bulkhead, and how many calls found none or were late."""
    labels = (("dependency", bulkhead.name),)
    yield Reading("redrush_dependency_under_way", "Calls under way", "gauge", labels, bulkhead.under_way)
    yield Reading("redrush_dependency_waiting", "Calls that wait for a place", "gauge", labels, bulkhead.waiting)
    for why, count in bulkhead.refused.items():
        refused = (*labels, ("why", str(why)))
        yield Reading("redrush_dependency_refused", "Calls that were not made, or late", "counter", refused, count)
