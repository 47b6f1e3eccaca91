"""A real Chromium against a real server: `event` runs one whose clock is in the test's hands."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.bank import Bank
from tests.browser.chromium import Chromium
from tests.browser.event import Event
from tests.browser.visitor import Visitor

Visit = Callable[..., Visitor]


@pytest.fixture(scope="session")
def running_chromium() -> Iterator[Chromium]:
    with sync_playwright() as playwright:
        running = Chromium(playwright)
        yield running
        running.browser.close()


@pytest.fixture
def browser(running_chromium: Chromium) -> Browser:
    return running_chromium.browser


@pytest.fixture
def event(tmp_path: Path) -> Iterator[Event]:
    running = Event(tmp_path / "event")
    yield running
    running.stop()


@pytest.fixture
def bank(event: Event, tmp_path: Path) -> Iterator[Bank]:
    with Bank(tmp_path) as running:
        event.payments = running.payments
        yield running


@pytest.fixture
def visit(browser: Browser, event: Event) -> Iterator[Visit]:
    """Opens the page of the event as somebody; what went wrong in their browser fails the test at its end."""
    visitors: list[Visitor] = []

    def open_page(user: str | None = "ann", **options: object) -> Visitor:
        visitor = Visitor(browser, event, user, **options)  # type: ignore[arg-type]
        visitors.append(visitor)
        return visitor

    yield open_page
    for visitor in visitors:
        visitor.leave()
