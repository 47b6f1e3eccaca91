"""One event on one machine, and what its clients were told: the auditor of the rollback matrix knows nothing else.

The event is made once: served, ended in good order, served again and killed, so that its WAL is not empty. Each case
gets that directory, with one file damaged, serves it (the real server, in this process), and does as it is told.
"""

import asyncio
import gc
import json
import re
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from redrush.cli.main import main
from redrush.config import load_campaign_file
from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys
from redrush.core.identity.tickets import sign_ticket
from redrush.errors import RedrushError
from redrush.wiring.embedded import Embedded, Ports
from tests.campaigns import OFF, campaign, lucky
from tests.raw_files import copy_as_killed

CAMPAIGN = campaign(
    lucky("r", "100.00", 200, lasts="86400s", leftover="return"), id="back", name="Back in time", tables=OFF
)
COMMAND = re.compile(r"`redrush ([^`]+)`")
ROUNDS_MAX = 4
"""Commands that are followed one after the other; then the sentences go round in circles."""


@dataclass
class Told:
    """What clients were told: slot, amount and receipt by user."""

    grants: dict[str, tuple[int, str, str]] = field(default_factory=dict)

    def hear(self, user: str, answer: dict[str, Any]) -> None:
        """Take in an answer. Nothing that was acknowledged may change, no slot may be anybody else's."""
        assert answer["outcome"] == "granted", answer
        grant = answer["grant"]
        told = (int(grant["slot"]), str(grant["amount"]), str(grant["receipt"]))
        before = self.grants.get(user)
        assert before is None or before == told, f"{user} was told {before}, and now {told}"
        owners = [other for other, (slot, _, _) in self.grants.items() if slot == told[0] and other != user]
        assert not owners, f"slot {told[0]} was acknowledged to {owners} and to {user}"
        self.grants[user] = told


async def claim(port: int, ticket: str) -> dict[str, Any]:
    """Ask once, over HTTP."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST /v1/rounds/r/grab HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ticket}\r\nContent-Length: 0\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    body = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    answer: dict[str, Any] = json.loads(body)
    return answer


class Machine:
    """The campaign file, and the data directory that is served."""

    def __init__(self, file: Path, data: Path) -> None:
        self.file = file
        self.data = data
        self.keys = data / "keys.json"

    def serve(self, users: Sequence[str], told: Told, *, amid: Callable[[], None] | None = None) -> None:
        """Serve until these users were answered. Raises RedrushError with the sentence if it cannot be."""

        async def life() -> None:
            embedded = Embedded(load_campaign_file(self.file), DataDir(self.data), Ports("127.0.0.1", 0, None))
            port = (await embedded.start())["gate"]
            try:
                ring = load_keys(DataDir(self.data)).tickets
                for user in users:
                    told.hear(user, await claim(port, sign_ticket(ring, user, 4_000_000_000)))
                if amid is not None:
                    amid()
            finally:
                await embedded.stop()

        try:
            asyncio.run(life())
        finally:
            gc.unfreeze()


def run(*arguments: str, monkeypatch: Any) -> tuple[int, str]:
    """Run a command in this process; return its exit code and all that it said."""
    said = StringIO()
    monkeypatch.setattr("sys.argv", ["redrush", *arguments])
    with redirect_stdout(said), redirect_stderr(said):
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, said.getvalue()


@dataclass
class Template:
    """The event as it was ended, an older state of it, a backup of that, and what clients were told in all."""

    file: Path
    now: Path
    old: Path
    backup: Path
    told: Told

    def copy(self, to: Path) -> Machine:
        """Return the event, moved to another place."""
        shutil.copytree(self.now, to)
        return Machine(self.file, to)


def make_template(directory: Path, monkeypatch: Any) -> Template:
    """Hold the event. The directories are moved away in the end, so that what is copied of them counts as moved."""
    file = directory / "campaign.toml"
    file.write_text(CAMPAIGN, encoding="utf-8")
    machine = Machine(file, directory / "data")
    told = Told()
    machine.serve([f"early{k}" for k in range(12)], told)
    switch(machine, "0.5", monkeypatch)
    shutil.copytree(machine.data, directory / "old")
    code, said = run("backup", str(directory / "backup"), "--data", str(machine.data), monkeypatch=monkeypatch)
    assert code == 0, said

    switch(machine, "0.25", monkeypatch)

    def killed() -> None:
        copy_as_killed(machine.data, directory / "now")

    machine.serve([f"user{k}" for k in range(40)], told, amid=killed)
    shutil.rmtree(machine.data)
    return Template(file, directory / "now", directory / "old", directory / "backup", told)


def switch(machine: Machine, share: str, monkeypatch: Any) -> None:
    """Change something that grants do not depend on."""
    code, said = run("switch", "set", "sampling.non_core", share, "--data", str(machine.data), monkeypatch=monkeypatch)
    assert code == 0, said


def follow(refusal: str, words: Mapping[str, str], monkeypatch: Any) -> list[str]:
    """Give the commands that a sentence says, with these words in the place of what it leaves open; return them. Raises
    AssertionError if there is none, or one does not work."""
    commands = COMMAND.findall(refusal)
    assert commands, f"refused without a command that helps: {refusal}"
    for command in commands:
        arguments = [words.get(word, word) for word in shlex.split(command)]
        code, said = run(*arguments, monkeypatch=monkeypatch)
        if code == 2 and "--yes" in said:
            code, said = run(*arguments, "--yes", monkeypatch=monkeypatch)
        assert code == 0, f"{command} ended with {code}: {said}"
    return commands


def go_on(machine: Machine, template: Template, receipts: Path, monkeypatch: Any) -> list[str]:
    """Serve the directory, following whatever the sentences say; return the commands that were needed.

    Every user of before asks again, and new ones come. Raises AssertionError where somebody gets another's slot, or
    another grant than before.
    """
    followed: list[str] = []
    told = Told(dict(template.told.grants))
    newcomers = [f"new{k}" for k in range(8)]
    for _ in range(ROUNDS_MAX):
        try:
            machine.serve([*newcomers, *template.told.grants], told)
        except RedrushError as refusal:
            if "delete it and start the server again" in str(refusal):
                Path(str(refusal).partition(": ")[0]).unlink()
                continue
            words = {"…": "a test", "BACKUP": str(template.backup), "FILE": str(receipts)}
            followed += follow(str(refusal), words, monkeypatch)
            continue
        code, said = run("reconcile", "--data", str(machine.data), monkeypatch=monkeypatch)
        assert code == 0, said
        return followed
    raise AssertionError(f"still not served after {followed}")
