"""What a browser itself noted while a page was used on a slow telephone: first paint, and how busy it was at once.

A page is used through `Hands`: what Playwright puts into a page to find and press things would be work of the page's
own thread, and among its longest tasks.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from playwright.sync_api import Browser, CDPSession, Page

CATEGORIES: Final = ["loading", "toplevel", "devtools.timeline", "blink.user_timing", "rail", "v8", "__metadata"]
SLOWER: Final = 4
"""Times: a telephone of the middle, as Lighthouse has it."""
NETWORK: Final = {
    "offline": False,
    "latency": 150,
    "downloadThroughput": 1_600_000 / 8,
    "uploadThroughput": 750_000 / 8,
}
"""Lighthouse's slow 4G: 150 ms there and back, 1.6 Mbit/s down, 750 kbit/s up."""
COMMIT: Final = "DocumentLoader::CommitNavigation"
PARTS: Final = frozenset({
    "ParseHTML", "v8.compileModule", "v8.evaluateModule", "EvaluateScript", "FunctionCall", "UpdateLayoutTree",
    "Layout", "PrePaint", "Paint", "Layerize", "Commit", COMMIT,
})  # fmt: skip
"""What may be told to lie within a task; of two that lie in each other both are told."""
TASKS: Final = frozenset({"RunTask", "ThreadControllerImpl::RunTask"})
LOOKED_INTO_US: Final = 4_000
"""Of shorter tasks nobody wants to know more."""
MARK: Final = "moment "
PATIENCE_S: Final = 30


class Task(msgspec.Struct, frozen=True):
    """A task of the page's main thread. Milliseconds."""

    moment: str
    """After which mark of `Hands` it began."""
    clock_ms: float
    busy_ms: float
    """In time of the processor, which does not count what else runs on this machine."""
    parts: dict[str, float]
    """Time of the processor by what lies within; a function with its place in the document."""

    def told(self, times: float = 1) -> str:
        """Return it in words, its times multiplied."""
        parts = (f"{name} {ms * times:.0f}" for name, ms in sorted(self.parts.items(), key=lambda part: -part[1]))
        return f"{self.busy_ms * times:.0f} ({self.moment}: {', '.join([*parts][:5])})"


class Noted(msgspec.Struct, frozen=True):
    """Milliseconds. `tasks` are those of the page's main thread, the busiest first."""

    first_paint_ms: float
    first_content_ms: float
    tasks: list[Task]

    def longest(self, part: str) -> float:
        """Return how long the processor was busy with the longest of this name."""
        return max(task.parts.get(part, 0) for task in self.tasks)


class Hands:
    """Uses a page as a person with a telephone does, and leaves no script in it."""

    def __init__(self, page: Page, slower: float) -> None:
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._session.send("Network.enable")
        self._session.send("Network.emulateNetworkConditions", NETWORK)
        self._session.send("Emulation.setCPUThrottlingRate", {"rate": slower})

    def visit(self, address: str) -> None:
        self._session.send("Page.navigate", {"url": address})

    def value(self, expression: str) -> Any:
        told = self._session.send("Runtime.evaluate", {"expression": expression, "returnByValue": True})
        return told["result"].get("value")

    def mark(self, moment: str) -> None:
        """Let what begins from now on be told as of this moment."""
        self.value(f"performance.mark({json.dumps(MARK + moment)}) && null")

    def sees(self, screen: str) -> None:
        """Wait for a screen."""
        until = time.monotonic() + PATIENCE_S
        while (shown := self.value("document.body?.dataset.screen")) != screen:
            assert time.monotonic() < until, f"saw {shown}, not {screen}"
            time.sleep(0.02)

    def tap(self, element: str) -> None:
        box = f"document.getElementById({json.dumps(element)}).getBoundingClientRect()"
        x, y = self.value(f"(({{ x, y, width, height }}) => [x + width / 2, y + height / 2])({box})")
        self._session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        self._session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


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
    process, began = starts[-1]["pid"], starts[-1]["ts"]

    def after(name: str) -> float:
        of_it = [one["ts"] - began for one in events if one["name"] == name and one["pid"] == process]
        return float(min(us for us in of_it if us > 0)) / 1_000

    [main] = {
        one["tid"]
        for one in events
        if one["name"] == "thread_name" and one["pid"] == process and one["args"]["name"] == "CrRendererMain"
    }
    of_page = [one for one in events if one["pid"] == process and one["ts"] >= began]
    moments = [(one["ts"], one["name"].removeprefix(MARK)) for one in of_page if one["name"].startswith(MARK)]
    on_main = [one for one in of_page if one["tid"] == main and "dur" in one]
    tasks = [_task(one, on_main, moments) for one in on_main if one["name"] in TASKS]
    return Noted(
        after("firstPaint"), after("firstContentfulPaint"), sorted(tasks, key=lambda task: task.busy_ms, reverse=True)
    )


def _task(task: dict[str, Any], on_main: list[dict[str, Any]], moments: list[tuple[int, str]]) -> Task:
    begins, ends = task["ts"], task["ts"] + task["dur"]
    parts: dict[str, float] = {}
    for one in on_main if task["dur"] > LOOKED_INTO_US else ():
        if begins <= one["ts"] < ends and one["name"] in PARTS:
            name = one["name"] + _place(one)
            parts[name] = parts.get(name, 0) + one.get("tdur", 0) / 1_000
    moment = next((name for at, name in sorted(moments, reverse=True) if at <= begins), "loading")
    return Task(moment, task["dur"] / 1_000, task.get("tdur", 0) / 1_000, parts)


def _place(event: dict[str, Any]) -> str:
    """Return where a function stands in the document."""
    data = event.get("args", {}).get("data", {})
    return f" {data.get('functionName') or ''}:{data['lineNumber']}" if event["name"] == "FunctionCall" else ""
