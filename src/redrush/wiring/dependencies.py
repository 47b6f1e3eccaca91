"""The figures of what a process depends on: for its metrics, alike for all."""

from collections.abc import Iterator

from redrush.core.load.breaker import Breaker
from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.dependency import Bulkhead, Dependency


def dependency_figures(dependency: Dependency) -> Iterator[Value]:
    """Yield the figures of a dependency with bulkhead and breaker."""
    yield from breaker_figures(dependency.name, dependency.breaker, dependency.away_s)
    yield from bulkhead_figures(dependency.bulkhead)


def breaker_figures(name: str, breaker: Breaker, away_s: float) -> Iterator[Value]:
    """Yield how long it has been away, and what that has cost. `name` is that of the dependency."""
    yield figures.DEPENDENCY_AWAY(away_s, name)
    yield figures.DEPENDENCY_FAILURES(breaker.failures, name)
    yield figures.DEPENDENCY_REFUSED(breaker.refused, name, "away")


def bulkhead_figures(bulkhead: Bulkhead) -> Iterator[Value]:
    """Yield the places taken of a bulkhead, and how many calls found none or were late."""
    yield figures.DEPENDENCY_UNDER_WAY(bulkhead.under_way, bulkhead.name)
    yield figures.DEPENDENCY_WAITING(bulkhead.waiting, bulkhead.name)
    for why, count in bulkhead.refused.items():
        yield figures.DEPENDENCY_REFUSED(count, bulkhead.name, str(why))
