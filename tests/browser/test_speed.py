"""How soon the page is there, and whether it ever keeps a slow telephone busy: figures of the browser's own trace.

Alone on the machine: `python -m pytest -m soak tests/browser/test_speed.py -s` prints them.
"""

import statistics
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.event import Event, rush
from tests.browser.trace import Noted, noting, slow_phone
from tests.browser.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.soak]

VISITS = 5
FIRST_PAINT_MAX_MS = 1_000
LONG_TASK_MS = 50


def one_visit(browser: Browser, number: int, directory: Path) -> Noted:
    """Open the page before the opening, let it open, and open what was won: the whole way on a slow telephone."""
    event = Event(directory / f"event-{number}").start(rush(total="88.00", packets=50), opens_in_s=600)
    ann = Visitor(browser, event, "ann", opened=False, has_touch=True, is_mobile=True)
    with slow_phone(ann.page), noting(browser, ann.page, directory / f"trace-{number}.json") as noted:
        ann.page.goto(ann.address)
        ann.sees("before")
        ann.opens_in(2)
        ann.sees("sealed")
        ann.press()
        ann.sees("won")
        ann.page.wait_for_timeout(1_500)  # the ceremony
    ann.leave()
    event.stop()
    return noted[0]


def test_the_first_paint_is_within_a_second_and_no_task_is_long(browser: Browser, tmp_path: Path) -> None:
    told = [one_visit(browser, number, tmp_path) for number in range(VISITS)]
    paints = [one.first_paint_ms for one in told]
    longest = [one.tasks[0] for one in told]
    sys.stdout.write(f"first paint, ms: {[round(one) for one in paints]}" + "\n")
    sys.stdout.write(f"first content, ms: {[round(one.first_content_ms) for one in told]}" + "\n")
    sys.stdout.write(f"longest tasks, ms: {[[round(ms) for ms in one.tasks[:4]] for one in told]}" + "\n")
    sys.stdout.write(
        f"the same of the processor's time, ms: {[[round(ms) for ms in one.busy[:4]] for one in told]}" + "\n"
    )
    assert statistics.median(paints) <= FIRST_PAINT_MAX_MS
    assert statistics.median(longest) <= LONG_TASK_MS
