"""What stands behind a proxy here: real `redrush serve` processes, or a listener that writes down what it is sent."""

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from redrush.control.data_dir import DataDir
from redrush.control.issuing import plan_tickets
from tests.campaigns import a_round, campaign

COMMAND = "from redrush.cli.main import main; main()"
STOP_DEADLINE_S = 20.0
FAR_S = 4_000_000_000

CAMPAIGN = campaign(a_round("r1", "1000.00", 1000), id="proxied", name="behind a proxy")


class Gate:
    """A `redrush serve` of its own. `port` and `control_port` answer once it was started."""

    def __init__(self, process: subprocess.Popen[str], port: int, control_port: int) -> None:
        self.process = process
        self.port = port
        self.control_port = control_port

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.wait(STOP_DEADLINE_S)


@contextmanager
def serving(directory: Path, count: int, tables: str = "") -> Iterator[tuple[list[Gate], DataDir]]:
    """Start that many gates of one campaign, with further `tables`: the same keys and amounts, each with a store of its
    own, so that a test can tell by the grants which one has answered. Yields them and a data directory to issue tickets
    from."""
    file = directory / "event.toml"
    file.write_text(CAMPAIGN + tables, encoding="utf-8")
    gates: list[Gate] = []
    first = directory / "gate0"
    try:
        for number in range(count):
            data = directory / f"gate{number}"
            if number:
                data.mkdir(mode=0o700)
                for name in ("campaign.json", "amounts.i64", "keys.json"):
                    shutil.copy(first / name, data / name)
            gates.append(_start(file, data))
        yield gates, DataDir(first)
    finally:
        for gate in gates:
            gate.kill()


def _start(file: Path, data: Path) -> Gate:
    return start(
        ["serve", str(file), "--data", str(data), "--port", "0", "--control-port", "0"],
        data.parent / f"{data.name}.log",
    )


def start(command: list[str], log_path: Path) -> Gate:
    """Start a `redrush` command that serves participants, and return when it does. To be killed by the caller."""
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *command], stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
    said = log_path.read_text()
    if line != "ready\n":
        process.kill()
        process.wait()
        raise AssertionError(f"the gate did not start: {said}")
    ports = dict(re.findall(r"^(gate|control) http://.*:(\d+)$", said, re.MULTILINE))
    return Gate(process, int(ports["gate"]), int(ports["control"]))


def tickets(data: DataDir, users: list[str]) -> list[str]:
    """Return a ticket for each user."""
    lines = plan_tickets(data, users, None, "1h", FAR_S).lines()
    return [line.partition("\t")[2] for line in lines]


class Witness:
    """A gate that decides nothing and writes down every request's bytes. It answers, or hangs up where a gate would
    have answered: so a gate looks that dies with the request in its hands. It is always ready when asked for that."""

    def __init__(self, *, hangs_up: bool = False, cache_control: str = "no-store", status: str = "200 OK") -> None:
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self._hangs_up = hangs_up
        body = json.dumps({"outcome": "missed"}).encode()
        self._answer = (
            b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nCache-Control: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (status.encode(), cache_control.encode(), len(body), body)
        )
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Listen no more, and end every connection. Does nothing the second time."""
        if self._listener.fileno() < 0:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while (request := _read_request(stream)) is not None:
                    head, body = request
                    if not head.startswith((b"GET /readyz", b"GET /livez")):
                        self.heads.append(head)
                        self.bodies.append(body)
                        if self._hangs_up:
                            return
                        connection.sendall(self._answer)
                    else:
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            pass  # the proxy has gone, or the test is over
        finally:
            self._connections.discard(connection)


def _read_request(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    head = b""
    body_bytes = 0
    while line := stream.readline():
        head += line
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            body_bytes = int(value)
        if line == b"\r\n":
            return head, stream.read(body_bytes)
    return None
