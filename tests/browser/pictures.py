"""Pictures of the page for the documents: `python -m tests.browser.pictures` makes them anew in docs/pictures."""

import tempfile
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.chromium import chromium
from tests.browser.event import QUICK, Event, rush
from tests.browser.visitor import DESKTOP, PHONE, Visitor

PICTURES: Final = Path(__file__).parents[2] / "docs/pictures"
TITLE: Final = '[page]\ntitle = { zh = "羊年大吉 · 春节红包", en = "Year of the Goat" }\n'
NAMES: Final = '[page.names]\nr1 = "第一场"\nr2 = "第二场"\n'
THEMES: Final = Path(__file__).parents[2] / "examples/themes"
SETTLED_MS: Final = 1_800


def make(directory: Path) -> None:
    """Make all of them."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])

        def show(name: str, user: str, press: bool = False, **how: Any) -> None:
            visitor = Visitor(browser, event, user, timezone_id="Asia/Shanghai", **how)
            visitor.page.wait_for_timeout(SETTLED_MS)
            if press:
                visitor.press()
                visitor.page.wait_for_timeout(SETTLED_MS)
            path = directory / f"page-{name}.png"
            visitor.picture(path)
            visitor.leave()

        with tempfile.TemporaryDirectory() as scratch:
            event = Event(Path(scratch) / "event")
            zone = 'timezone = "Asia/Shanghai"\n'
            rounds = rush(total="2888.00", packets=50), rush("r2", 7_200)
            event.start(*rounds, tables=zone + QUICK + TITLE + NAMES, opens_in_s=8_054)
            show("before", "ann")
            show("before-dark", "ann", dark=True, language="en-GB", size=DESKTOP)
            event.opens_in(-60)
            show("sealed", "ann")
            show("won", "bob", press=True)
            event.stop()
            event = Event(Path(scratch) / "other")
            event.start(rush(packets=1, total="8.88"), tables=zone + QUICK + TITLE, opens_in_s=-60)
            event.grab("carl")
            show("empty", "ann", size=PHONE)
            event.stop()
            for theme in ("mid-autumn", "anniversary"):
                event = Event(Path(scratch) / theme)
                event.serve(THEMES / f"{theme}.toml", "2027-02-01T12:00:00Z")
                show(theme, "ann", dark=theme == "mid-autumn", language="zh-CN" if theme == "mid-autumn" else "en-GB")
                event.stop()
        browser.close()
    for path in sorted(directory.glob("page-*.png")):
        small(path)


def small(path: Path) -> None:
    """Let a picture have 128 colours: a fifth of the bytes, to no eye's regret."""
    Image.open(path).quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    make(PICTURES)
