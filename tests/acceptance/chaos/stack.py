"""A `redrush stack` of one's own: brought up from prepared database files, looked at, broken, and taken down."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[3]
UP_DEADLINE_S: Final = 120.0
DOWN_DEADLINE_S: Final = 120.0
KILLED_BY_US: Final = -9


@dataclass(frozen=True)
class Process:
    """A process as `processes.json` has it: named, so that a signal never reaches another one."""

    name: str
    role: str
    set: str | None
    port: int
    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b") ")[2].split()
        except FileNotFoundError:
            return False
        return stat[0] not in {b"Z", b"X"} and int(stat[19]) == self.started

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal; return whether it still was there."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.alive:
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True


class StackDied(AssertionError):
    """The stack did not come up, or ended by itself."""


class Stack:
    """One stack on one directory. `up` may be called again after `kill`."""

    def __init__(self, file: Path, directory: Path, *, sets: int, replicas: int, gates: int) -> None:
        self.directory = directory
        self.port = 0
        self._file = file
        self._shape = ["--sets", str(sets), "--replicas", str(replicas), "--gates", str(gates)]
        self._log = directory.with_name("stack.log")
        self._process: asyncio.subprocess.Process | None = None

    def use_database(self, prepared: Path) -> None:
        """Take over database files that were never started: making them takes seconds of a core."""
        self.directory.mkdir(mode=0o700, parents=True)
        subprocess.run(["cp", "--archive", str(prepared), str(self.directory / "postgres")], check=True)

    async def up(self) -> None:
        """Start it and return when it can grant. Raises StackDied with its own words."""
        options = [*self._shape, "--port", str(self.port), "--control-port", "0"]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "redrush", "stack", "up", str(self._file), "--data", str(self.directory),
                *options, cwd=REPOSITORY, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(UP_DEADLINE_S):
                said = await self._process.stdout.readline()
        except TimeoutError:
            said = b""
        if said != b"ready\n":
            raise StackDied(f"the stack does not come up: {self.said()[-1_500:]}")
        self.port = int(
            next(line for line in reversed(self.said().splitlines()) if line.startswith("gate http")).rpartition(":")[2]
        )

    def said(self) -> str:
        """Return what the supervisor wrote to stderr so far."""
        return self._log.read_text(encoding="utf-8")

    def processes(self) -> list[Process]:
        """Return who runs now, nobody while the stack is down."""
        try:
            state = json.loads((self.directory / "processes.json").read_bytes())
        except FileNotFoundError:
            return []
        return [
            Process(
                entry["name"], entry["role"], entry["set"], int(entry["address"].rpartition(":")[2]),
                entry["process"]["pid"], entry["process"]["started"],
            )
            for entry in state["processes"] if entry["process"] is not None
        ]  # fmt: skip

    def kill(self) -> None:
        """End the supervisor as `kill -9` does; the kernel ends everybody else."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def hold(self) -> None:
        """Let the supervisor do nothing until `go_on`: whoever ends is not started again."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """See `hold`."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGCONT)

    async def gone(self) -> None:
        """Return when no process of it is left."""
        if self._process is not None:
            await self._process.wait()
        everyone = self.processes()
        deadline_s = time.monotonic() + DOWN_DEADLINE_S
        while any(process.alive for process in everyone):
            if time.monotonic() > deadline_s:
                raise StackDied(f"processes outlive the stack: {everyone}")
            await asyncio.sleep(0.05)

    async def down(self) -> None:
        """End it in order. Raises StackDied if it does not end, or with a fault."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            code = await asyncio.wait_for(self._process.wait(), DOWN_DEADLINE_S)
        except TimeoutError:
            raise StackDied("the stack does not end") from None
        if code != 0:
            raise StackDied(f"the stack ended with {code}: {self.said()[-1_500:]}")

    def surprises(self) -> list[str]:
        """Return the deaths of children that nobody killed, as the supervisor told them."""
        found = []
        for line in self.said().splitlines():
            if not line.startswith("{"):
                continue
            told = json.loads(line)
            event = str(told.get("event", ""))
            if event.startswith("ended with code") and event != f"ended with code {KILLED_BY_US}":
                found.append(f"{told['child']} {event}: {told['said']}")
        return found
