from collections.abc import Callable, Iterator

import pytest

from redrush.core.rush.campaign import Kind, Leftover, Round, Slots
from redrush.core.rush.phase import Phase, SteadyClock, phase_of

OPENS_US = 1_800_000_000_000_000
CLOSES_US = OPENS_US + 60_000_000

ROUND = Round(
    id="r20",
    opens_us=OPENS_US,
    closes_us=CLOSES_US,
    kind=Kind.EQUAL,
    total_minor=100,
    min_minor=1,
    max_minor=1,
    slots=Slots(0, 100),
    leftover=Leftover.RETURN,
)


@pytest.mark.parametrize(
    ("now_us", "phase"),
    [
        (0, Phase.NOT_OPEN),
        (OPENS_US - 1, Phase.NOT_OPEN),
        (OPENS_US, Phase.OPEN),
        (OPENS_US + 1, Phase.OPEN),
        (CLOSES_US - 1, Phase.OPEN),
        (CLOSES_US, Phase.CLOSED),
        (CLOSES_US + 1, Phase.CLOSED),
    ],
)
def test_a_round_opens_and_closes_on_the_microsecond(now_us: int, phase: Phase) -> None:
    assert phase_of(ROUND, now_us) is phase


def ticking(*instants_ns: int) -> Callable[[], int]:
    ticks: Iterator[int] = iter(instants_ns)
    return lambda: next(ticks)


def test_the_clock_adds_what_passed_on_the_monotonic_clock_to_its_anchor() -> None:
    clock = SteadyClock(ticking(7_000_000_500, 7_000_000_500, 7_000_001_499, 7_000_001_500, 8_000_000_500), OPENS_US)
    assert [clock.now_us() for _ in range(4)] == [OPENS_US, OPENS_US, OPENS_US + 1, OPENS_US + 1_000_000]


def test_a_wall_clock_that_jumps_after_the_start_opens_nothing_early_and_closes_nothing_late() -> None:
    wall_us = OPENS_US - 10_000_000
    monotonic_ns = 0
    clock = SteadyClock(lambda: monotonic_ns, wall_us)

    wall_us += 3_600_000_000
    assert phase_of(ROUND, clock.now_us()) is Phase.NOT_OPEN
    monotonic_ns = 10_000_000_000 - 1
    assert phase_of(ROUND, clock.now_us()) is Phase.NOT_OPEN
    monotonic_ns = 10_000_000_000
    assert phase_of(ROUND, clock.now_us()) is Phase.OPEN

    wall_us -= 7_200_000_000
    monotonic_ns = 70_000_000_000 - 1
    assert phase_of(ROUND, clock.now_us()) is Phase.OPEN
    monotonic_ns = 70_000_000_000
    assert phase_of(ROUND, clock.now_us()) is Phase.CLOSED


def test_the_clock_asks_the_monotonic_clock_once_at_the_start_and_once_per_reading() -> None:
    asked = 0

    def monotonic_ns() -> int:
        nonlocal asked
        asked += 1
        return asked * 1_000

    clock = SteadyClock(monotonic_ns, OPENS_US)
    assert [clock.now_us(), clock.now_us()] == [OPENS_US + 1, OPENS_US + 2]
    assert asked == 3
