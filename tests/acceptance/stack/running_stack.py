"""A `redrush stack up` of its own, and a person's view of it: commands, requests, and the pids that status tells."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.commands import COMMAND_MAX_S, REPOSITORY, redrush
from tests.gate.world import Answer, read_answer, request, to_this_machine

READY_MAX_S: Final = 90.0
POLL_S: Final = 0.1
CONNECTIONS: Final = 32
ASKED_AGAIN_MAX: Final = 100
"""Answers that are no decision (missed, or a set that is away) before a test gives up on a user."""


class RunningStack:
    """A stack that was brought up on `data`."""

    def __init__(self, process: subprocess.Popen[str], data: Path, said: str) -> None:
        self.process = process
        self.data = data
        self.port = _port(said, "gate")
        self.control_port = _port(said, "control")
        self.query_port = _port(said, "query")
        self._said = said

    @property
    def payments_port(self) -> int:
        """Where participants ask of their money. Only of a stack whose campaign has any."""
        return _port(self._said, "payments")

    def processes(self) -> list[dict[str, Any]]:
        """Return what `stack status --json` tells."""
        ran = redrush("stack", "status", "--data", self.data, "--json")
        assert ran.out, ran.err
        status = json.loads(ran.out)
        assert ran.code == bool(status["withheld"]), ran.err
        found: list[dict[str, Any]] = status["processes"]
        return found

    def pids(self) -> list[int]:
        """Return the ids of all that belongs to it, the supervisor first."""
        return [self.process.pid, *(process["pid"] for process in self.processes() if process["pid"])]

    def cpu_shares(self, measured_s: float) -> dict[str, float]:
        """Return which share of a core each process takes, by name, over this time."""
        pids = {process["name"]: process["pid"] for process in self.processes() if process["pid"]}
        pids["supervisor"] = self.process.pid
        began_s, before_s = time.monotonic(), {name: _cpu_s(pid) for name, pid in pids.items()}
        time.sleep(measured_s)
        after_s, lasted_s = {name: _cpu_s(pid) for name, pid in pids.items()}, time.monotonic() - began_s
        return {name: (after_s[name] - before_s[name]) / lasted_s for name in pids}

    def wait_until(self, holds: Callable[[dict[str, dict[str, Any]]], bool]) -> dict[str, dict[str, Any]]:
        """Return the processes, by name, as soon as it is so."""
        deadline_s = time.monotonic() + READY_MAX_S
        while not holds(found := {process["name"]: process for process in self.processes()}):
            assert time.monotonic() < deadline_s, f"it is still {found}"
            time.sleep(POLL_S)
        return found

    @contextmanager
    def kept_down(self, names: Sequence[str]) -> Iterator[None]:
        """Kill these processes, again and again, as the supervisor starts them, so that none does anything."""
        ended = threading.Event()

        def keep_killing() -> None:
            while not ended.is_set():
                for one in self.processes():
                    if one["name"] in names and one["pid"]:
                        with suppress(ProcessLookupError):
                            kill(one["pid"])

        killing = threading.Thread(target=keep_killing)
        killing.start()
        try:
            yield
        finally:
            ended.set()
            killing.join()

    def tickets(self, users: Sequence[str]) -> dict[str, str]:
        """Return a ticket for each user."""
        path = self.data.with_suffix(".users")
        path.write_text("".join(f"{user}\n" for user in users))
        ran = redrush("ticket", "--data", self.data, "--users", path)
        assert ran.code == 0, ran.err
        return dict(line.split("\t") for line in ran.out.splitlines())

    def grab(self, tickets: dict[str, str], round_id: str) -> dict[str, dict[str, Any]]:
        """Let every user ask until there is a decision; return the decisions by user."""
        return asyncio.run(_grab_all(self.port, tickets, round_id))

    def get(self, port: int, path: str, ticket: str | None = None) -> Answer:
        """Return the answer to a GET."""
        return self.ask(port, "GET", path, ticket)

    def ask(self, port: int, method: str, path: str, ticket: str | None = None, **fields: Any) -> Answer:
        """Return the answer to a request, whose body has these fields."""
        body = json.dumps(fields).encode() if fields else b""
        asked = request(method, path, ticket, body, ("Content-Type: application/json",) if body else ())

        async def once() -> Answer:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answer = await _ask(reader, writer, to_this_machine(asked))
            writer.close()
            await writer.wait_closed()
            return answer

        return asyncio.run(once())

    def down(self) -> None:
        """End it in good order."""
        ran = redrush("stack", "down", "--data", self.data)
        assert (ran.code, ran.err) == (0, "")
        assert self.process.wait(COMMAND_MAX_S) == 0


@contextmanager
def stack_up(campaign: Path, data: Path, *options: object) -> Iterator[RunningStack]:
    """Bring a stack up, and end it in the end, if need be with force."""
    ports = ("--port", 0, "--control-port", 0)
    log = data.with_suffix(".log")
    with log.open("a") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "redrush", "stack", "up", campaign, "--data", data, *map(str, (*ports, *options))],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n", log.read_text()
        yield RunningStack(process, data, log.read_text())
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(COMMAND_MAX_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()


def _cpu_s(pid: int) -> float:
    """Return the processor time of all threads of a process, as the scheduler counts it."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def alive(pid: int) -> bool:
    """Whether a process runs; its corpse does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_end(pids: Sequence[int]) -> None:
    """Return when none of the processes runs."""
    deadline_s = time.monotonic() + COMMAND_MAX_S
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < deadline_s, f"{left} still run"
        time.sleep(POLL_S)


def kill(pid: int) -> None:
    """End a process as `kill -9` does."""
    os.kill(pid, signal.SIGKILL)


def _port(said: str, name: str) -> int:
    """Return the last port that was told under this name."""
    lines = [line for line in said.splitlines() if line.startswith(f"{name} http://")]
    return int(lines[-1].rpartition(":")[2])


async def _grab_all(port: int, tickets: dict[str, str], round_id: str) -> dict[str, dict[str, Any]]:
    decided: dict[str, dict[str, Any]] = {}
    waiting = list(tickets.items())

    async def come() -> None:
        while waiting:
            user, ticket = waiting.pop()
            decided[user] = await _grab(port, ticket, round_id)

    async with asyncio.TaskGroup() as crowd:
        for _ in range(CONNECTIONS):
            crowd.create_task(come())
    return decided


async def _grab(port: int, ticket: str, round_id: str) -> dict[str, Any]:
    """Return the decision. A gate that dies, a set that is away and a miss are no decisions."""
    for _ in range(ASKED_AGAIN_MAX):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answer = await _ask(reader, writer, request("POST", f"/v1/rounds/{round_id}/grab", ticket))
            writer.close()
            await writer.wait_closed()
        except OSError:
            answer = None
        if answer is not None and answer.status == 200 and answer.outcome != "missed":
            decision: dict[str, Any] = answer.json
            return decision
        assert answer is None or answer.status in (200, 503), answer.raw
        await asyncio.sleep(POLL_S)
    raise AssertionError(f"no decision after {ASKED_AGAIN_MAX} requests, at last {answer}")


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytes) -> Answer:
    writer.write(asked)
    received = b""
    while (answer := read_answer(received)) is None:
        data = await reader.read(65_536)
        if not data:
            raise ConnectionResetError("the gate closed the connection")
        received += data
    return answer[0]
