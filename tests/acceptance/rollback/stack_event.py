"""One event on a stack that is wound back: who was told what, by an auditor that knows only what clients were told.

The auditor believes nobody else: two users who were both told that a slot is theirs, or a user who was told another
slot than before, is what must never be.
"""

import http.client
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from tests.acceptance.stack.running_stack import RunningStack, stack_up
from tests.campaigns import OFF, campaign, lucky
from tests.commands import Ran, redrush
from tests.patience import PATIENCE_S

PACKETS: Final = 400
BATCH: Final = 30
"""Users of one rush; a set's last records are those of the last one."""
CAMPAIGN: Final = campaign(lucky("r1", f"{PACKETS}.00", PACKETS, lasts="5h"), id="stack", tables=OFF)
ROUND: Final = "r1"
POLL_S: Final = 0.2


class Auditor:
    """Remembers every grant that a client was told, and what contradicts it."""

    def __init__(self) -> None:
        self.slot_of: dict[str, int] = {}
        self.receipts: dict[str, str] = {}
        self.problems: list[str] = []
        self._user_of: dict[int, str] = {}

    def told(self, decided: dict[str, dict[str, Any]]) -> None:
        """Take in answers by user."""
        for user, decision in decided.items():
            if decision["outcome"] != "granted":
                continue
            slot = decision["grant"]["slot"]
            other = self._user_of.setdefault(slot, user)
            if other != user:
                self.problems.append(f"slot {slot} was acknowledged to {other} and to {user}")
            if self.slot_of.setdefault(user, slot) != slot:
                self.problems.append(f"{user} was told slot {self.slot_of[user]} and then slot {slot}")
            self.receipts[user] = decision["grant"]["receipt"]

    def give_up(self, user: str) -> None:
        """An operator waits for this user's receipt no more: the slot may go to anybody."""
        del self._user_of[self.slot_of.pop(user)], self.receipts[user]


def _status(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    finally:
        connection.close()


class Wound:
    """A stack on a directory of its own whose files are wound back, while it is down or up."""

    def __init__(self, directory: Path, *options: object) -> None:
        self.auditor = Auditor()
        self.data = directory / "d"
        self.backup = directory / "backup"
        self._campaign = directory / "c.toml"
        self._campaign.write_text(CAMPAIGN)
        self._options = options
        self._users = 0

    def use_database(self, prepared: Path) -> None:
        """Take over database files that were never started."""
        self.data.mkdir(mode=0o700)
        subprocess.run(["cp", "--archive", str(prepared), str(self.data / "postgres")], check=True)

    @contextmanager
    def up(self) -> Iterator[RunningStack]:
        """Bring the stack up, and end it in order if it was not ended otherwise."""
        with stack_up(self._campaign, self.data, *self._options) as stack:
            yield stack

    def up_detached(self) -> Ran:
        """Bring the stack up in the background."""
        ports = ("--port", 0, "--control-port", 0)
        return redrush("stack", "up", self._campaign, "--data", self.data, *self._options, *ports, "--detach")

    def rush(
        self, stack: RunningStack, count: int = BATCH, home: tuple[int, int] = (0, 1)
    ) -> dict[str, dict[str, Any]]:
        """Let so many new users ask until they have a decision, and audit what they were told. `home`: at home in this
        set of so many."""
        users: list[str] = []
        while len(users) < count:
            user = f"u{self._users}"
            self._users += 1
            if crc32(user.encode()) % home[1] == home[0]:
                users.append(user)
        decided = stack.grab(stack.tickets(users), ROUND)
        self.auditor.told(decided)
        return decided

    def ask_again(self, stack: RunningStack) -> None:
        """Let everybody who was granted a slot ask again: they must be told the same."""
        self.auditor.told(stack.grab(stack.tickets(list(self.auditor.slot_of)), ROUND))

    def recorded(self) -> None:
        """Return when the records hold all that is in the logs."""
        assert self.reconcile()["behind"] == 0

    def reconcile(self) -> dict[str, Any]:
        """Return the report of `redrush reconcile`."""
        ran = redrush("reconcile", "--data", self.data, "--json")
        assert ran.code in (0, 1), ran.err
        report: dict[str, Any] = json.loads(ran.out)
        assert (ran.code == 0) == report["ok"]
        return report

    def lacking(self, stack: RunningStack, *words: str) -> str:
        """Return why the stack cannot grant, as soon as that has these words: in its status, and on `/readyz`."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            said = json.loads(redrush("stack", "status", "--data", self.data, "--json").out)["lacking"] or ""
            if all(word in said for word in words):
                assert _status(stack.control_port) == 503
                return str(said)
            assert time.monotonic() < deadline_s, f"it says {said!r} and not {words}"
            time.sleep(POLL_S)

    def withheld(self, set_id: str) -> str:
        """Return the sentence with which the set is withheld, as soon as it names a command."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            sets = json.loads(self.run("set", "list", "--json").out)["sets"]
            state = next(state for state in sets if state["set"] == set_id)
            if state["durability"] == "none" and "`redrush set " in (state["why"] or ""):
                return str(state["why"])
            assert time.monotonic() < deadline_s, state
            time.sleep(POLL_S)

    def run(self, *words: object) -> Ran:
        """Run a command about the stack, which must not fail."""
        ran = redrush(*words, "--data", self.data)
        assert ran.code == 0, ran.err
        return ran

    def lacks_nothing(self) -> None:
        """Return as soon as every set can grant."""
        deadline_s = time.monotonic() + PATIENCE_S
        while lacking := [
            state
            for state in json.loads(self.run("set", "list", "--json").out)["sets"]
            if state["durability"] == "none" or state["cannot_grant"]
        ]:
            assert time.monotonic() < deadline_s, lacking
            time.sleep(POLL_S)

    def mend(self, said: str, set_id: str = "") -> Ran:
        """Run the command that the sentence names (about this set, where it is about several). It must do what it
        says."""
        commands = re.findall(r"`redrush ([^`]*)`", said)
        command = next(each for each in commands if each.startswith((f"set rebuild {set_id}", f"set promote {set_id}")))
        ran = redrush(*command.replace("…", "mended").split(), "--data", self.data)
        assert ran.code == 0, ran.err
        return ran

    def honour(self) -> list[str]:
        """Show the receipts of everybody who was granted a slot; return what became of each."""
        path = self.data.with_suffix(".receipts")
        path.write_text("".join(f"{receipt}\n" for receipt in self.auditor.receipts.values()))
        ran = redrush("set", "honour", "--receipts", path, "--data", self.data, "--json")
        return [row["outcome"] for row in json.loads(ran.out)["receipts"]]

    def keep(self, *names: str) -> None:
        """Copy files or directories of the stack away."""
        for name in names:
            subprocess.run(["cp", "--archive", str(self.data / name), str(self.backup / name)], check=True)

    def put_back(self, *names: str) -> None:
        """Put the copies in the place of what is there."""
        for name in names:
            shutil.rmtree(self.data / name)
            subprocess.run(["cp", "--archive", str(self.backup / name), str(self.data / name)], check=True)
