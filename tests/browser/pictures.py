"""Pictures for the documents, of the participants' page and of the console, as both look now.

`python -m tests.browser.pictures` makes all of them anew in docs/pictures (some minutes); with `page` or `console`,
those alone.
"""

import contextlib
import datetime
import math
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from redrush.control.keys import load_keys
from redrush.core.identity.tickets import sign_ticket
from redrush.operate.drafts import Drafts
from tests.browser.chromium import chromium
from tests.browser.event import QUICK, Event, rush
from tests.browser.kinds import SOUNDS, draw, line, sale
from tests.browser.test_console import Console, Operator
from tests.browser.visitor import DESKTOP, PHONE, Visitor
from tests.campaigns import OFF, a_round, campaign, lucky

PICTURES: Final = Path(__file__).parents[2] / "docs/pictures"
THEMES: Final = Path(__file__).parents[2] / "examples/themes"
THEMES_SHOWN: Final[list[tuple[str, str, dict[str, Any]]]] = [
    ("mid-autumn", "2027-09-15T10:20:00Z", {"dark": True}),
    ("anniversary", "2027-05-20T11:23:00Z", {"language": "en-GB"}),
]
SETTLED_MS: Final = 1_800
OPENS_S: Final = datetime.datetime.fromisoformat("2027-02-05T20:00:00+08:00").timestamp()
"""The evening before the Year of the Goat."""
OPENS_IN_S: Final = 8_054

ZONE: Final = 'timezone = "Asia/Shanghai"\n'
TITLE: Final = '[page]\ntitle = { zh = "羊年大吉 · 春节红包", en = "Year of the Goat" }\n'
NAMES: Final = '[page.names]\nr1 = "第一场"\nr2 = "第二场"\n'
LOOKS: Final = ZONE + QUICK + TITLE + SOUNDS


def of_the_page(browser: Browser, directory: Path, scratch: Path) -> None:
    """Make those of the participants' page."""

    def event_of(name: str, *rounds: str, opens_in_s: float, tables: str = "") -> Event:
        event = Event(scratch / name, OPENS_S)
        return event.start(*rounds, tables=LOOKS + tables, opens_in_s=opens_in_s)

    def show(event: Event, name: str, user: str, *screens: str, **how: Any) -> None:
        visitor = Visitor(browser, event, user, timezone_id="Asia/Shanghai", **how)
        for number, screen in enumerate(screens):
            if number:
                visitor.press()
            visitor.sees(screen)
            visitor.page.wait_for_timeout(SETTLED_MS)
        visitor.picture(directory / f"page-{name}.png")
        visitor.leave()

    rounds = [
        rush("r1", total="2888.00", packets=50, opens_s=OPENS_S),
        rush("r2", total="888.00", packets=50, opens_s=OPENS_S + 3_600),
    ]
    event = event_of("packets", *rounds, tables=NAMES, opens_in_s=OPENS_IN_S)
    show(event, "before", "ann", "before")
    show(event, "before-dark", "ann", "before", dark=True, language="en-GB", size=DESKTOP)
    event.opens_in(-60)
    show(event, "sealed", "ann", "sealed")
    show(event, "won", "bob", "sealed", "won")
    event.stop()
    event = event_of("empty", rush(packets=1, total="8.88", opens_s=OPENS_S), opens_in_s=-60)
    event.grab("carl")
    show(event, "empty", "ann", "empty")
    event.stop()
    event = event_of("draw", draw(name="旗舰手机", count=3, opens_s=OPENS_S), opens_in_s=-60)
    show(event, "draw", "ann", "ready")
    event.stop()
    wares = sale(units=500, price="4999.00", secret=False, opens_s=OPENS_S)
    event = event_of("sale", wares, tables='[page.names]\ns = "旗舰手机"\n', opens_in_s=-60)
    show(event, "sale", "ann", "ready", "held")
    event.stop()
    many = rush(total="8888.00", packets=5_000, opens_s=OPENS_S) + line(pace=5)
    event = event_of("line", many, tables=OFF, opens_in_s=300)
    for number in range(200):
        event.ask("/v1/rounds/r1/line", event.ticket(f"user-{number}"), "POST")
    event.opens_in(0)
    show(event, "line", "ann", "inline")
    event.stop()
    for theme, now, how in THEMES_SHOWN:
        event = Event(scratch / theme).serve(THEMES / f"{theme}.toml", now)
        show(event, theme, "ann", "before", **how)
        event.stop()


RUSH_S: Final = 75
PEOPLE_PER_S: Final = 60
WAVE_S: Final = 0.1
"""So short that a reading never falls amid two of them."""
CALM: Final = """[[playbook]]
name = "calm"
description = "fewer packets a second, no queries"
[playbook.settings]
"release.eight.per_second" = 50
sampling.non_core = 0
"""
NEW_YEAR: Final = campaign(
    lucky("eight", "200000.00", 100_000),
    a_round("ten", "8800.00", 1_000, opens="2027-12-01T00:00:00Z", lasts="2h"),
    CALM,
    id="newyear",
    name="新年红包",
    tables=OFF,
    timezone="Asia/Shanghai",
)


def of_the_console(browser: Browser, directory: Path, scratch: Path) -> None:
    """Make those of the console, over a server with a crowd at it."""
    console = Console(scratch, NEW_YEAR)
    Drafts(console.data_dir).begin("spring", "packets")
    try:
        with ThreadPoolExecutor(1) as streets:
            streets.submit(crowd, console)
            anna = Operator(browser, console, "anna")
            anna.page.wait_for_timeout(0.7 * RUSH_S * 1_000)
            anna.page.screenshot(path=str(directory / "console-overview.png"))
            phone = Operator(browser, console, "anna", size=PHONE, dark=True, language="zh-CN")
            phone.page.wait_for_timeout(2 * SETTLED_MS)
            phone.page.screenshot(path=str(directory / "console-phone.png"))
            phone.leave()
        anna.goes_to("/drafts/spring")
        anna.page.wait_for_timeout(SETTLED_MS)
        anna.page.screenshot(path=str(directory / "console-draft.png"))
        anna.goes_to("/steer")
        anna.page.locator("article", has_text="calm").get_by_role("button", name="Apply").click()
        anna.page.locator("#confirming #confirm").wait_for()
        anna.page.set_viewport_size({"width": 1280, "height": 620})
        anna.page.wait_for_timeout(SETTLED_MS)
        anna.page.screenshot(path=str(directory / "console-confirm.png"))
        anna.leave()
    finally:
        console.stop()


def crowd(console: Console) -> None:
    """Let people come for a while, in waves; two in three of them come twice."""
    keys, expires_s = load_keys(console.data_dir).tickets, int(time.time()) + 3_600
    url, began = f"http://127.0.0.1:{console.gate}", time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        for wave in range(int(RUSH_S / WAVE_S)):
            many = int(PEOPLE_PER_S * WAVE_S * (1 + 0.6 * math.sin(wave * WAVE_S / 6)))
            users = (f"user-{wave}-{number if number % 3 else 0}" for number in range(many))
            tickets = [sign_ticket(keys, user, expires_s) for user in users]
            list(pool.map(lambda ticket: asked(url, ticket), tickets))
            time.sleep(max(0.0, began + (wave + 1) * WAVE_S - time.monotonic()))


def asked(url: str, ticket: str) -> None:
    """Let somebody claim; whatever is answered is on the console."""
    request = urllib.request.Request(
        f"{url}/v1/rounds/eight/grab", method="POST", headers={"Authorization": f"Bearer {ticket}"}
    )
    with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


def small(paths: Iterable[Path]) -> None:
    """Let pictures have 128 colours: a fifth of the bytes, to no eye's regret."""
    for path in paths:
        Image.open(path).quantize(128).save(path, optimize=True)


KINDS: Final = {"page": of_the_page, "console": of_the_console}


def make(directory: Path, kinds: Iterable[str]) -> None:
    """Make those of these kinds in the directory."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as scratch:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        for kind in kinds:
            (Path(scratch) / kind).mkdir()
            KINDS[kind](browser, directory, Path(scratch) / kind)
            small(sorted(directory.glob(f"{kind}-*.png")))
        browser.close()


if __name__ == "__main__":
    make(PICTURES, sys.argv[1:] or KINDS)
