"""The system's Chromium: where it is, and what to do if it is not there."""

import os
import shutil
from typing import Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
INSTALL: Final = "apt-get install --yes --no-install-recommends chromium fonts-noto-cjk"


def chromium() -> str:
    """Return the path of a Chromium. Fails, with the command that installs one, if there is none."""
    found = os.environ.get("REDRUSH_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise AssertionError(f"these tests drive a Chromium, and there is none: {INSTALL}; or set REDRUSH_CHROMIUM")
    return found
