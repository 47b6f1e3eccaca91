"""Somebody with a browser at the page of an event. What goes wrong in it fails the test."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from playwright.sync_api import Browser, ConsoleMessage, Request

from tests.browser.chromium import close
from tests.browser.event import Event

PHONE: Final = {"width": 390, "height": 844}
DESKTOP: Final = {"width": 1280, "height": 800}
PATIENCE_MS: Final = 20_000

NETWORK: Final = "Failed to load resource"
"""What Chromium itself writes on its console for an answer that is none, or a refusal: no error of the page."""


class Visited(Protocol):
    """Where a page is, and who may come in."""

    url: str

    def ticket(self, user: str) -> str: ...


class Visitor:
    """Opens the page as soon as it is made. `troubles`: errors of the page, and what its policy has forbidden."""

    def __init__(
        self,
        browser: Browser,
        event: Visited,
        user: str | None,
        *,
        language: str = "zh-CN",
        size: dict[str, int] = PHONE,
        dark: bool = False,
        before: Sequence[str] = (),
        ticket: str | None = None,
        opened: bool = True,
        **options: Any,
    ) -> None:
        """`before`: scripts that run before those of the page. `user` None: comes without a ticket."""
        self.context = browser.new_context(
            viewport={"width": size["width"], "height": size["height"]},
            locale=language,
            color_scheme="dark" if dark else "light",
            **options,
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.troubles: list[str] = []
        self.requests: list[Request] = []
        self._event = event
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", self._asked)
        for script in before:
            self.page.add_init_script(script)
        self.address = event.url + "/"
        if user is not None:
            self.address += f"#ticket={ticket or event.ticket(user)}"
        if opened:
            self.page.goto(self.address)

    def _asked(self, request: Request) -> None:
        self.requests.append(request)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and NETWORK not in message.text:
            self.troubles.append(message.text)

    @property
    def screen(self) -> str:
        return str(self.page.evaluate("document.body.dataset.screen"))

    def sees(self, *screens: str, within_ms: int = PATIENCE_MS) -> str:
        """Return which of the screens came to be seen."""
        wanted = ",".join(f'body[data-screen="{screen}"]' for screen in screens)
        try:
            self.page.wait_for_selector(wanted, timeout=within_ms)
        except Exception as fault:
            raise AssertionError(f"saw {self.screen}, not {screens}: {self.text}") from fault
        return self.screen

    @property
    def text(self) -> str:
        return str(self.page.inner_text("body"))

    @property
    def said(self) -> str:
        """What was told last to whoever listens instead of looking."""
        return self.page.text_content("#said") or ""

    @property
    def claims(self) -> list[Request]:
        """Claims that were sent."""
        self.page.evaluate("0")  # what has happened is heard of during a call
        return [one for one in self.requests if "/grab" in one.url]

    @property
    def states(self) -> list[Request]:
        """Looks at the state file."""
        self.page.evaluate("0")
        return [one for one in self.requests if "/state/" in one.url]

    def opens_in(self, seconds: float) -> None:
        """Let so much be left to the opening from now on, and the page look at the clock again."""
        assert isinstance(self._event, Event), "of another one the clock is the machine's"
        self._event.opens_in(seconds)
        self.page.evaluate("dispatchEvent(new Event('focus'))")

    def press(self) -> None:
        self.page.click("#go", force=True)  # it may be pressed while it says that it does nothing yet

    def act(self, name: str) -> None:
        self.page.click(f'[data-name="{name}"]')

    def picture(self, path: Path) -> None:
        self.page.screenshot(path=str(path))

    def leave(self) -> None:
        """Close the browser's window; fails the test for whatever went wrong in it."""
        close(self.context)
        assert not self.troubles, self.troubles
