"""Twenty browsers at one opening: nobody is early, and when they ask follows the start window."""

import pytest

from tests.browser.conftest import Visit
from tests.browser.event import QUICK, Event, rush
from tests.browser.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.soak]

WINDOW_S = 8.0
PEOPLE = 20
KOLMOGOROV_SMIRNOV = 0.294
"""The bound for twenty at 5 %; see any table of the test."""


def test_twenty_browsers_ask_once_each_and_spread_over_the_start_window(event: Event, visit: Visit) -> None:
    event.start(rush(packets=100), tables=QUICK.replace("600ms", f"{int(WINDOW_S)}s"), opens_in_s=900)
    crowd: list[Visitor] = [visit(f"user-{number}") for number in range(PEOPLE)]
    for one in crowd:
        one.sees("before")
    event.opens_in(20)
    opens_ms = event.opens_at_s * 1_000
    for one in crowd:
        one.page.evaluate("dispatchEvent(new Event('focus'))")
    for one in crowd:
        one.sees("sealed", within_ms=60_000)
    claims = [one.claims for one in crowd]
    assert [len(its) for its in claims] == [1] * PEOPLE, "nobody was told that it is not open"
    after_s = sorted((its[0].timing["startTime"] - opens_ms) / 1_000 for its in claims)
    assert after_s[0] >= 0
    assert after_s[-1] <= WINDOW_S + 1
    furthest = max(abs(at / WINDOW_S - (rank + part) / PEOPLE) for rank, at in enumerate(after_s) for part in (0, 1))
    assert furthest <= KOLMOGOROV_SMIRNOV, after_s
