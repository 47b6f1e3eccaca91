"""A `redrush serve` to be attacked from outside: a process of its own, under a limit of open files if one is given."""

import asyncio
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import msgspec

from redrush.control.control_access import load_token
from redrush.control.data_dir import DataDir
from tests.deploy.servers import CAMPAIGN, COMMAND, tickets

HOST = "127.0.0.1"
STOP_DEADLINE_S = 20.0
ANSWER_DEADLINE_S = 10.0


class Target(msgspec.Struct, frozen=True):
    """Where it answers, and its directory."""

    process: subprocess.Popen[str]
    port: int
    control_port: int
    data: DataDir
    log: Path

    def tickets(self, count: int) -> list[str]:
        """Return a ticket for each of so many users."""
        return tickets(self.data, [f"u{number}" for number in range(count)])

    def ask(
        self, port: int, method: str, path: str, token: str | None = None, body: bytes = b"", *, source: str = HOST
    ) -> tuple[int, bytes]:
        """Return status and body of one request over a connection of its own, from that address."""
        connection = HTTPConnection(HOST, port, timeout=ANSWER_DEADLINE_S, source_address=(source, 0))
        try:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            if body:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def switches(self, name: str, value: str) -> int:
        """Set a switch as an operator; returns the status."""
        body = f'{{"value":{value},"why":"attack"}}'.encode()
        return self.ask(self.control_port, "PUT", f"/v1/switches/{name}", load_token(self.data), body)[0]

    def said(self) -> str:
        """Return everything that it has written to stderr."""
        return self.log.read_text()


def command_of(directory: Path, tables: str = "", options: Sequence[str] = ()) -> list[str]:
    """Return the command that serves an event with these further tables."""
    file = directory / "event.toml"
    file.write_text(CAMPAIGN + tables, encoding="utf-8")
    ports = ["--port", "0", "--control-port", "0"]
    return [sys.executable, "-c", COMMAND, "serve", str(file), "--data", str(directory / "data"), *ports, *options]


def limited(files_max: int | None) -> Callable[[], None] | None:
    """Return what gives a child so many open files, as `ulimit -n` does."""
    if files_max is None:
        return None
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))


@contextmanager
def attacked(
    directory: Path, tables: str = "", *, files_max: int | None = None, options: Sequence[str] = ()
) -> Iterator[Target]:
    """Run it until the end of the block."""
    log = directory / "serve.log"
    with log.open("w") as said:
        process = subprocess.Popen(
            command_of(directory, tables, options),
            stdout=subprocess.PIPE, stderr=said, text=True, preexec_fn=limited(files_max),  # noqa: PLW1509 - no threads
        )  # fmt: skip
    try:
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == "ready\n", log.read_text()
        ports = dict(re.findall(r"^(gate|control) https?://.*:(\d+)$", log.read_text(), re.MULTILINE))
        yield Target(process, int(ports["gate"]), int(ports["control"]), DataDir(directory / "data"), log)
    finally:
        process.terminate()
        process.wait(STOP_DEADLINE_S)


class Crowd:
    """Connections that are held open and say nothing, or what they are given."""

    def __init__(self) -> None:
        self._writers: list[asyncio.StreamWriter] = []
        self.refused = 0

    async def come(self, port: int, count: int, *, source: str = HOST, says: bytes = b"") -> None:
        """Let so many connect at once from one address."""
        await asyncio.gather(*(self._come(port, source, says) for _ in range(count)))

    async def _come(self, port: int, source: str, says: bytes) -> None:
        try:
            _, writer = await asyncio.open_connection(HOST, port, local_addr=(source, 0))
        except OSError:
            self.refused += 1
            return
        self._writers.append(writer)
        if says:
            writer.write(says)

    async def leave(self) -> None:
        """Close every connection."""
        for writer in self._writers:
            writer.transport.abort()
        with suppress(OSError):
            await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)
