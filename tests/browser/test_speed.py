"""How soon the page is there, and whether it ever keeps a slow telephone busy: figures of the browser's own trace.

Alone on the machine: `python -m pytest -m soak tests/browser/test_speed.py -s` prints them.
"""

import statistics
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import close
from tests.browser.event import QUICK, Event, rush
from tests.browser.kinds import SOUNDS
from tests.browser.trace import COMMIT, SLOWER, Hands, Noted, noting
from tests.browser.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.soak]

VISITS = 5
FIRST_PAINT_MAX_MS = 1_000
LONG_TASK_MS = 50


def one_visit(browser: Browser, directory: Path, slower: float) -> Noted:
    """Open the page before the opening, let it open, and open what was won: the whole way on a telephone."""
    directory.mkdir()
    event = Event(directory / "event").start(rush(total="88.00", packets=50), tables=QUICK + SOUNDS, opens_in_s=600)
    ann = Visitor(browser, event, "ann", opened=False, has_touch=True, is_mobile=True)
    hands = Hands(ann.page, slower)
    with noting(browser, ann.page, directory / "trace.json") as noted:
        hands.visit(ann.address)
        hands.sees("before")
        ann.page.wait_for_timeout(1_000)  # the rest of the beginning
        hands.mark("opening")
        event.opens_in(2)
        hands.value("dispatchEvent(new Event('focus')) && null")
        hands.sees("sealed")
        ann.page.wait_for_timeout(500)
        hands.mark("tap")
        hands.tap("go")
        hands.sees("won")
        hands.mark("ceremony")
        ann.page.wait_for_timeout(1_500)
    ann.leave()
    event.stop()
    return noted[0]


def told(line: str) -> None:
    sys.stdout.write(line + "\n")


def test_the_first_paint_is_within_a_second(browser: Browser, tmp_path: Path) -> None:
    noted = [one_visit(browser, tmp_path / str(number), SLOWER) for number in range(VISITS)]
    paints = [one.first_paint_ms for one in noted]
    told(f"first paint, ms: {[round(one) for one in paints]}")
    told(f"first content, ms: {[round(one.first_content_ms) for one in noted]}")
    longest = [sorted((task.clock_ms for task in one.tasks), reverse=True)[:4] for one in noted]
    told(f"longest tasks by the clock, ms: {[[round(ms) for ms in tasks] for tasks in longest]}")
    assert statistics.median(paints) <= FIRST_PAINT_MAX_MS


class Blank:
    """A page with one line of text. A context manager: its address, while it is served."""

    def __enter__(self) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = "<!doctype html><meta charset=utf-8><title>·</title><p>红包".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's name
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def blank_visit(browser: Browser, address: str, directory: Path) -> Noted:
    directory.mkdir()
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    hands = Hands(page, 1)
    with noting(browser, page, directory / "trace.json") as noted:
        hands.visit(address)
        page.wait_for_timeout(1_500)
    close(context)
    return noted[0]


def test_no_task_keeps_a_slow_telephone_busy_for_long(browser: Browser, tmp_path: Path) -> None:
    """By the processor's time of a fast visit, as many times as the telephone is slower: Chromium makes itself slower
    by the wall clock, and idles thrice as long as a piece of work took, be it that another program ran meanwhile.

    To take over a new document costs a browser the same whatever is in it. So much as that costs for a page with one
    line of text, in the same run, is not of this page.
    """
    with Blank() as address:
        blank = [blank_visit(browser, address, tmp_path / f"blank-{number}") for number in range(VISITS)]
    noted = [one_visit(browser, tmp_path / str(number), 1) for number in range(VISITS)]
    floor_ms = statistics.median(one.longest(COMMIT) for one in blank) * SLOWER
    told(f"to take over a blank page, ms: {floor_ms:.0f}")
    own = []
    for one in noted:
        told("busiest tasks, ms: " + "; ".join(task.told(SLOWER) for task in one.tasks[:4]))
        own.append(max(task.busy_ms * SLOWER - (floor_ms if COMMIT in task.parts else 0) for task in one.tasks))
    told(f"busiest of the page's own, ms: {[round(ms) for ms in own]}")
    assert statistics.median(own) <= LONG_TASK_MS
