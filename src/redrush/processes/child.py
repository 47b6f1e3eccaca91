"""A supervised process: started, watched, started again when it dies, and ended in good order.

A role that is alive but answers nothing for HUNG_S is killed, and so started again: it keeps its connections, and its
share of new ones, and nobody else can take them. Servers are left alone: a warden decides who is primary.

A child that dies is started again after a pause that doubles up to RESTART_MAX_S, for ever: what keeps it from
running (a full disk, a database that is away) may pass at any time, and trying costs little. From DEATHS_FAILING deaths
in a row on it is called `failing` in the status and in the log. Only while the stack starts are the deaths counted out:
then a child that cannot live is the answer to the person who started it.

Children write to a log file of their own, cut when it has grown to LOG_BYTES_MAX; the part before is kept once.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.errors import RedrushError
from redrush.processes.failure import ProcessFailed, last_line
from redrush.processes.lowered import command_as
from redrush.processes.names import ProcessName, process_name
from redrush.resting import next_question_s, rest

RESTART_FIRST_S: Final = 0.1
RESTART_MAX_S: Final = 5.0
STEADY_S: Final = 10.0
"""Who has lived this long has started well: the next death is the first in a row."""
DEATHS_FAILING: Final = 5
DEATHS_AT_START_MAX: Final = 3
START_MAX_S: Final = 90.0
"""Longest from the first start to the first answer: creating a database takes seconds, reading a long log more."""
POLL_S: Final = 0.05
POLL_MAX_S: Final = 1.0
"""From one question to the next whether a child is ready: of one that starts, and of one that cannot be for long."""
HUNG_S: Final = 15.0
"""Silence after which a role is beyond help: an overloaded loop still answers its control port in tenths."""
LOG_BYTES_MAX: Final = 8_000_000


class State(StrEnum):
    """The state of a child, as the status shows it."""

    STARTING = "starting"
    READY = "ready"
    NOT_READY = "not ready"
    RESTARTING = "restarting"
    FAILING = "failing"
    STOPPED = "stopped"


class ChildFailed(ProcessFailed):
    """A child does not live, in its own last words."""


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A process to run. `name` is also the name of its log; `address` is where it is found."""

    name: str
    role: str
    set_id: str | None
    is_server: bool = False
    """Whether it is a server of its set, whose role may change."""
    address: str
    command: Callable[[], Awaitable[Sequence[str]]]
    """Asked at every start: what a server should be may have changed meanwhile."""
    lacking: Callable[[], Awaitable[str | None]]
    """Why it is not ready, None if it is."""
    alive: Callable[[], Awaitable[bool]] | None = None
    """Whether it answers at all; None for servers."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_max_s: float


class Child:
    """One supervised process. `run` it as a task; `stop` ends it and then `run`."""

    def __init__(self, spec: ChildSpec, log_dir: Path, log: Any, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.role = spec.role
        """As shown: a store and its replica change places."""
        self.state = State.STARTING
        self.why: str | None = None
        """What it lacks, while it is not ready."""
        self._log_path = log_dir / f"{spec.name}.log"
        self._log = log
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._name: ProcessName | None = None
        self._deaths = 0
        self._deaths_ever = 0
        self._answered_s = 0.0
        self._stopping = asyncio.Event()
        self._first_ready = asyncio.Event()

    @property
    def process(self) -> ProcessName | None:
        """The process that runs now, if one does."""
        return self._name

    async def run(self) -> None:
        """Keep the process running until `stop`."""
        while not self._stopping.is_set():
            began_s = asyncio.get_running_loop().time()
            try:
                await self._start()
                await self._watch()
            except (OSError, RedrushError) as fault:
                self._write(f"cannot be started: {fault}")
            if self._stopping.is_set():
                break
            self._deaths_ever += 1
            self._deaths = 1 if asyncio.get_running_loop().time() - began_s >= STEADY_S else self._deaths + 1
            await self._rest()
        self._name = None
        self._show(State.STOPPED)

    async def started(self, *, until_ready: bool = True) -> None:
        """Return when it was ready for the first time, or answers if that will do. ChildFailed if it is not so in
        START_MAX_S, or keeps dying."""
        deadline_s = asyncio.get_running_loop().time() + START_MAX_S
        while not self._first_ready.is_set() and (until_ready or self.process is None or not await self._alive()):
            if self._deaths_ever >= DEATHS_AT_START_MAX:
                raise ChildFailed(f"{self.spec.name} does not start: {self.last_words()}")
            if asyncio.get_running_loop().time() > deadline_s:
                raise ChildFailed(f"{self.spec.name} was not ready after {START_MAX_S:g} s: {self.last_words()}")
            await rest(POLL_S, self._first_ready)

    async def stop(self) -> None:
        """End the process in good order, or at once after `stop_max_s`. Return when it has ended."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self.spec.stop_signal)
        try:
            async with asyncio.timeout(self.spec.stop_max_s):
                await process.wait()
        except TimeoutError:
            self._log.error("did not end in time and was killed", child=self.spec.name)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def look(self) -> None:
        """Renew `state`, keep the log within its bound, and kill what hangs. Every second."""
        self._bound_log()
        if self.state in (State.READY, State.NOT_READY):
            process = self._process
            why, alive = await asyncio.gather(self.spec.lacking(), self._alive())
            if process is not self._process or self.state not in (State.READY, State.NOT_READY):
                return  # it died meanwhile, and another one begins
            self._show(State.READY if why is None else State.NOT_READY, why)
            self._judge_silence(answered=why is None or alive)

    async def _alive(self) -> bool:
        return self.spec.alive is None or await self.spec.alive()

    def _judge_silence(self, *, answered: bool) -> None:
        now_s = asyncio.get_running_loop().time()
        if answered:
            self._answered_s = now_s
        elif now_s - self._answered_s >= HUNG_S and self._process is not None:
            self._log.error(f"has answered nothing for {HUNG_S:g} s and was killed", child=self.spec.name)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def last_words(self) -> str:
        """Return the end of what it wrote, on one line."""
        return last_line(self._log_path)

    async def _start(self) -> None:
        command = await self.spec.command()
        if self._stopping.is_set():
            return
        log = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        finally:
            os.close(log)
        self._name = process_name(self._process.pid)
        self._show(State.STARTING if self._deaths < DEATHS_FAILING else State.FAILING)
        if self._stopping.is_set():
            # `stop` came while the process was being made, and did not see it.
            await self.stop()

    async def _watch(self) -> None:
        """Return when the process has ended."""
        process = self._process
        if process is None:
            return
        becoming_ready = asyncio.create_task(self._become_ready())
        try:
            code = await process.wait()
        finally:
            becoming_ready.cancel()
        if not self._stopping.is_set():
            self._name = None
            self._write(f"ended with code {code}")

    async def _become_ready(self) -> None:
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        while (why := await self.spec.lacking()) is not None:
            self._show(self.state, why)
            await asyncio.sleep(next_question_s(now_s() - began_s, POLL_S, POLL_MAX_S))
        self._first_ready.set()
        self._answered_s = asyncio.get_running_loop().time()
        self._show(State.READY)

    async def _rest(self) -> None:
        failing = self._deaths >= DEATHS_FAILING
        self._show(State.FAILING if failing else State.RESTARTING)
        pause_s = min(RESTART_FIRST_S * 2 ** min(self._deaths - 1, 10), RESTART_MAX_S)
        await rest(pause_s, self._stopping)

    def _write(self, what: str) -> None:
        if self._stopping.is_set():
            return
        note = self._log.error if self._deaths + 1 >= DEATHS_FAILING else self._log.warning
        note(what, child=self.spec.name, said=self.last_words(), times=self._deaths + 1)

    def _show(self, state: State, why: str | None = None) -> None:
        if (self.state, self.why) != (state, why):
            self.state, self.why = state, why
            self._changed()

    def _bound_log(self) -> None:
        with contextlib.suppress(OSError):
            if self._log_path.stat().st_size > LOG_BYTES_MAX:
                # The child has it open for appending, so it goes on at the new end. What it writes between the two
                # calls is lost, and only that.
                shutil.copyfile(self._log_path, self._log_path.with_suffix(".log.1"))
                os.truncate(self._log_path, 0)


def ending_with_us(arguments: Sequence[str]) -> list[str]:
    """Return the command of a redrush role that is killed when this process ends, however that happens."""
    command = [sys.executable, "-m", "redrush", *arguments]
    return command_as(None, signal.SIGKILL, Path("/"), command)
