"""What a browser itself noted while a page was used on a slow telephone: first paint, and how busy it was at once."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from playwright.sync_api import Browser, Page

CATEGORIES: Final = ["loading", "toplevel", "devtools.timeline", "blink.user_timing", "rail", "__metadata"]
SLOWER: Final = 4
"""Times: a telephone of the middle, as Lighthouse has it."""
NETWORK: Final = {
    "offline": False,
    "latency": 150,
    "downloadThroughput": 1_600_000 / 8,
    "uploadThroughput": 750_000 / 8,
}
"""Lighthouse's slow 4G: 150 ms there and back, 1.6 Mbit/s down, 750 kbit/s up."""


class Noted(msgspec.Struct, frozen=True):
    """Milliseconds. `tasks` are those of the page's main thread, the longest first."""

    first_paint_ms: float
    first_content_ms: float
    tasks: list[float]
    busy: list[float]
    """The same in time of the processor, which does not count what else runs on this machine."""


@contextmanager
def slow_phone(page: Page) -> Iterator[None]:
    """Let the page have a slow network and a slow processor."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", NETWORK)
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    yield
    session.detach()


@contextmanager
def noting(browser: Browser, page: Page, into: Path) -> Iterator[list[Noted]]:
    """Note what happens within; the list has it afterwards."""
    noted: list[Noted] = []
    browser.start_tracing(page=page, categories=CATEGORIES)
    yield noted
    trace = browser.stop_tracing()
    into.write_bytes(trace)
    noted.append(read(json.loads(trace)["traceEvents"], page.url))


def read(events: list[dict[str, Any]], url: str) -> Noted:
    """Return what a trace says of the page whose main frame loaded from this address."""
    address = url.partition("#")[0]
    starts = [
        one
        for one in events
        if one["name"] == "navigationStart"
        and one.get("args", {}).get("data", {}).get("isOutermostMainFrame", True)
        and one.get("args", {}).get("data", {}).get("documentLoaderURL", "").partition("#")[0] == address
    ]
    start = starts[-1]
    process, began = start["pid"], start["ts"]

    def after(name: str) -> float:
        of_it = [one["ts"] - began for one in events if one["name"] == name and one["pid"] == process]
        return float(min(us for us in of_it if us > 0)) / 1_000

    [main] = {
        one["tid"]
        for one in events
        if one["name"] == "thread_name" and one["pid"] == process and one["args"]["name"] == "CrRendererMain"
    }
    tasks = [
        (one["dur"] / 1_000, one.get("tdur", 0) / 1_000)
        for one in events
        if one["name"] in {"RunTask", "ThreadControllerImpl::RunTask"}
        and (one["pid"], one["tid"]) == (process, main)
        and one["ts"] >= began
        and "dur" in one
    ]
    return Noted(
        after("firstPaint"),
        after("firstContentfulPaint"),
        *(sorted(times, reverse=True) for times in zip(*tasks, strict=True)),
    )
