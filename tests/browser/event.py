"""An event for a browser: a server of its own, whose clock the test sets; ended with the test."""

import datetime
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys
from redrush.core.identity.tickets import sign_ticket
from tests.campaigns import a_round, campaign

REPOSITORY: Final = Path(__file__).parents[2]
OPENS_IN_S: Final = 86_400
"""When rounds open, from the start of the tests; the server's clock is set to whatever is before or after it."""
OPENS_S: Final = int(time.time()) + OPENS_IN_S

QUICK: Final = '[client]\nstart_window = "600ms"\nbackoff_first = "100ms"\nbackoff_max = "200ms"\ncome_back = "1s"\n'
"""A page that waits a second where another one would wait ten."""


def instant(at_s: float) -> str:
    """Return the instant as TOML has it."""
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def rush(
    id: str = "r1",  # noqa: A002 - the key's name
    after_s: float = 0,
    *,
    opens_s: float = OPENS_S,
    **more: Any,
) -> str:
    """Return a round that opens so long after the opening."""
    return a_round(id, opens=instant(opens_s + after_s), **more)


class Event:
    """Runs with the first `start`. `stop` and `start` again is a restart on the same port."""

    def __init__(self, directory: Path, opens_s: float = OPENS_S) -> None:
        """`opens_s`: when its first round opens; its server starts on the day before."""
        self.directory = directory
        self.file = directory.with_suffix(".toml")
        self.url = ""
        self.payments: Path | None = None
        """A payments file; None: nobody takes or pays money."""
        self._port = 0
        self._opens_s = opens_s
        self._ahead_ns = int((opens_s - OPENS_S) * 1e9)
        self._process: subprocess.Popen[str] | None = None

    def start(self, *rounds: str, tables: str = QUICK, head: str = "", opens_in_s: float | None = None) -> "Event":
        """Serve a campaign of these rounds, a plain one, or the same as before; its clock then shows that so much is
        left to the opening (negative: that it was so long ago)."""
        if rounds or not self.file.exists():
            self.file.write_text(campaign(*(rounds or (rush(),)), tables=head + tables))
        words = [sys.executable, "-m", "tests.browser.server", self.file, self.directory, self._port, self._ahead_ns]
        words += [] if self.payments is None else [self.payments]
        self._process = subprocess.Popen(
            [*map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        self._port = int(self._line())
        self.url = f"http://127.0.0.1:{self._port}"
        if opens_in_s is not None:
            self.opens_in(opens_in_s)
        return self

    def serve(self, file: Path, now: str) -> "Event":
        """Serve this campaign file, at this time."""
        self.file = file
        self._ahead_ns = int((datetime.datetime.fromisoformat(now).timestamp() - time.time()) * 1e9)
        return self.start()

    def _line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def opens_in(self, seconds: float) -> None:
        """Set the server's clock: so much is left to the opening from now on."""
        self._set_clock(int((self._opens_s - seconds - time.time()) * 1e9))

    def later(self, seconds: float) -> None:
        """Let the server's clock leap ahead."""
        self._set_clock(self._ahead_ns + int(seconds * 1e9))

    def _set_clock(self, ahead_ns: int) -> None:
        self._ahead_ns = ahead_ns
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self._ahead_ns}\n")
        self._process.stdin.flush()
        assert self._line().strip() == str(self._ahead_ns)

    @property
    def now_s(self) -> float:
        """What the server's clock shows."""
        return time.time() + self._ahead_ns / 1e9

    @property
    def opens_at_s(self) -> float:
        """When it opens, by the clock of this machine."""
        return self._opens_s - self._ahead_ns / 1e9

    def ticket(self, user: str, lasts_s: float = 36_000) -> str:
        """Return a ticket for somebody."""
        return sign_ticket(load_keys(DataDir(self.directory)).tickets, user, int(self.now_s + lasts_s))

    def redrush(self, *words: object) -> str:
        """Run a command; returns what it prints."""
        command = [sys.executable, "-m", "redrush", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, path: str, ticket: str | None = None, method: str = "GET", body: Any = None) -> Any:
        """Return the JSON of an answer."""
        headers = {"Authorization": f"Bearer {ticket}"} if ticket else {}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        asked = urllib.request.Request(self.url + path, data, method=method, headers=headers)
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.load(answer)

    def text(self, path: str) -> str:
        """Return what stands there."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return str(answer.read().decode())

    def has_grants(self, user: str) -> bool:
        """Whether the server says so; one that is too busy to look (503) does not."""
        try:
            return bool(self.ask("/v1/grants", self.ticket(user))["grants"])
        except urllib.error.HTTPError as refused:
            if refused.code != 503:
                raise
            return False

    def grab(self, user: str, round_id: str = "r1") -> Any:
        return self.ask(f"/v1/rounds/{round_id}/grab", self.ticket(user), "POST")

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()
        self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=60)
            self._process = None


def wait_until(holds: Callable[[], bool], what: str, within_s: float = 20.0) -> None:
    """Return as soon as it holds."""
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends, what
        time.sleep(0.02)
