"""The system's Chromium: where it is, what to do if it is not there, and what is done when it hangs."""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, BrowserContext, Error, Playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
INSTALL: Final = "apt-get install --yes --no-install-recommends chromium fonts-noto-cjk"
CLOSED_MAX_S: Final = 30
"""A window that is not closed by then never will be."""
HANGS_MAX: Final = 2
"""In one run. A Chromium hangs once in thousands of windows by itself; oftener it is a page that makes it hang."""
_MARK: Final = f"--of-tests-of={os.getpid()}"


def chromium() -> str:
    """Return the path of a Chromium. Fails, with the command that installs one, if there is none."""
    found = os.environ.get("REDRUSH_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise AssertionError(f"these tests drive a Chromium, and there is none: {INSTALL}; or set REDRUSH_CHROMIUM")
    return found


class Chromium:
    """One Chromium for all tests of a run, and the next one if it hung."""

    def __init__(self, playwright: Playwright) -> None:
        self._playwright = playwright
        self._browser = self._launch()

    @property
    def browser(self) -> Browser:
        if not self._browser.is_connected():
            self._browser = self._launch()
        return self._browser

    def _launch(self) -> Browser:
        return self._playwright.chromium.launch(
            executable_path=chromium(),
            ignore_default_args=["--disable-back-forward-cache"],
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                _MARK,
            ],
        )


class Hangs:
    """How often Chromium hung in this run."""

    seen = 0

    @classmethod
    def end(cls) -> None:
        """End the Chromium of this run: what waits for it hears that it is gone."""
        cls.seen += 1
        sys.stderr.write(f"Chromium did not close a window within {CLOSED_MAX_S} s and is ended\n")
        for pid in running():
            os.kill(pid, signal.SIGKILL)


def close(context: BrowserContext) -> None:
    """Close a window of a `Chromium`. Fails if they hung too often over that.

    Chromium may never answer when it is asked to (seen where a service worker had just gone, and a page found no
    server). The page has been looked at by then, so the test is none the worse for it.
    """
    before = Hangs.seen
    patience = threading.Timer(CLOSED_MAX_S, Hangs.end)
    patience.start()
    try:
        context.close()
    except Error:
        if Hangs.seen == before:
            raise
    finally:
        patience.cancel()
    assert Hangs.seen <= HANGS_MAX, f"Chromium hung {Hangs.seen} times in this run"


def running() -> Iterator[int]:
    """Yield the first process of each Chromium that these tests have begun."""
    for said in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = said.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended meanwhile
        if _MARK in words and not any(word.startswith("--type=") for word in words):
            yield int(said.parent.name)
