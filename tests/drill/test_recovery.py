"""When a service counts as itself again."""

import numpy as np
import pytest

from redrush.drill.recovery import recovered_after_s

USUAL_S = 0.1
PLANNED_S = np.arange(0.0, 20.0, 0.01)
"""Ten people in each tenth of a second; what was broken ends at second 5."""


def slow_in(*spans: tuple[float, float]) -> float:
    """Return when the service is found to be itself again, if people who came in these spans waited too long."""
    delays = np.full(len(PLANNED_S), 0.01)
    for from_s, to_s in spans:
        first, end = np.searchsorted(PLANNED_S, (from_s - 1e-9, to_s - 1e-9))
        delays[first:end] = 1.0
    return recovered_after_s(PLANNED_S, delays, 5.0, USUAL_S)


def test_a_service_that_was_never_slow_afterwards_is_itself_at_once() -> None:
    assert slow_in() == 0.0
    assert slow_in((0, 5)) == 0.0


def test_it_is_itself_when_the_last_slow_moment_of_the_aftermath_is_over() -> None:
    assert slow_in((5, 5.4)) == pytest.approx(0.4)
    assert slow_in((5, 5.2), (5.6, 5.7)) == pytest.approx(0.7)


def test_a_hiccup_long_after_is_another_matter_and_a_relapse_is_not() -> None:
    assert slow_in((5, 5.4), (14, 14.1)) == pytest.approx(0.4)
    assert slow_in((5, 5.4), (14, 16)) == pytest.approx(11.0)


def test_a_service_that_never_comes_back_is_told_as_the_whole_time() -> None:
    assert slow_in((5, 20)) == pytest.approx(15.0)
