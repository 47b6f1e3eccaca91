"""Bodies of every kind, on every port: a 4xx or an answer, never a 5xx, and not a word in the log. From outside."""

import json
import random
import secrets
import socket
from pathlib import Path
from typing import BinaryIO

import pytest

from redrush.control.control_access import load_token
from tests.acceptance.attack.target import HOST, attacked

BODIES = 10_000
AT_ONCE = 50

WORK = '[tickets]\nproof_of_work = true\nmax_number = 100\nrest = "0s"\n'
NUMBERS = (
    "1e999",
    "-1e999",
    "1e-999",
    "1" * 400,
    "-0",
    "0.1",
    "9223372036854775808",
    "1E400",
    "NaN",
    "Infinity",
    "1e308",
)
NAMES = ("value", "why", "who", "version", "source", "readings", "altcha", "\\u0000", "play", "")
TEXTS = ('"x"', '"\\ud800"', '"\\u0000"', '"\\uZZZZ"', '"off"', '"', "null", "true", '"' + "x" * 3_000 + '"', '"红包"')


def _value(draw: random.Random, depth: int) -> str:
    kind = draw.randrange(6 if depth else 4)
    if kind < 2:
        return draw.choice(NUMBERS)
    if kind < 4:
        return draw.choice(TEXTS)
    inner = [_value(draw, depth - 1) for _ in range(draw.randrange(3))]
    if kind == 4:
        return f"[{','.join(inner)}]"
    return "{" + ",".join(f'"{draw.choice(NAMES)}":{one}' for one in inner) + "}"


def _body(draw: random.Random) -> bytes:
    kind = draw.randrange(10)
    if kind == 0:
        return draw.randbytes(draw.randrange(1, 200))
    if kind == 1:
        return b"[" * 4_000
    if kind == 2:
        return b'{"a":' * 700
    fields = ",".join(f'"{name}":{_value(draw, 3)}' for name in draw.sample(NAMES, draw.randrange(1, 5)))
    body = f"{{{fields}}}".encode()
    if kind == 3:
        body = body[: draw.randrange(len(body))]
    if kind == 4:
        position = draw.randrange(len(body))
        body = body[:position] + draw.randbytes(1) + body[position + 1 :]
    return body[:4_096]


def _request(method: str, path: str, token: str, body: bytes) -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _status(stream: BinaryIO) -> int:
    status = int(stream.readline().split()[1])
    length = 0
    while (line := stream.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    stream.read(length)
    return status


@pytest.mark.parametrize("port", ["gate", "control"])
def test_fuzzed_bodies_leave_a_port_and_its_log_calm(tmp_path: Path, port: str) -> None:
    seed = secrets.randbits(32)
    draw = random.Random(seed)
    with attacked(tmp_path, f'{WORK}[limits]\nuser_per_second = "off"\n') as target:
        before = target.said()
        (ticket,) = target.tickets(1)
        if port == "gate":
            number, token = target.port, ticket
            asked = [("POST", "/v1/rounds/r1/grab"), ("POST", "/v1/ticket"), ("GET", "/v1/rounds/r1")]
        else:
            number, token = target.control_port, load_token(target.data)
            _, listed = target.ask(number, "GET", "/v1/switches", token)
            # Not the switches themselves: whatever is set well is written down, which is no silence.
            asked = [("PUT", f"/v1/switches/{json.loads(listed)['switches'][0]['name']}"), ("POST", "/v1/readings")]
            asked += [("GET", "/metrics"), ("POST", "/v1/playbooks/x/apply")]
        seen: set[int] = set()
        with socket.create_connection((HOST, number), timeout=20) as connection, connection.makefile("rb") as stream:
            for _ in range(BODIES // AT_ONCE):
                wanted = [_request(*draw.choice(asked), token, _body(draw)) for _ in range(AT_ONCE)]
                connection.sendall(b"".join(wanted))
                seen.update(_status(stream) for _ in wanted)
        assert max(seen) < 500, f"REDRUSH seed {seed}: {seen}"
        assert {200, 400} & seen
        assert target.said() == before, f"REDRUSH seed {seed}"


NAMED = {
    "localhost": 200, "LOCALHOST:81": 200, "127.0.0.1": 200, "[::1]:9100": 200, "10.1.2.3:9100": 200,
    "control.internal": 200, "elsewhere.example": 421, "127.0.0.1.elsewhere.example": 421, "": 200,
}  # fmt: skip


def test_the_control_port_refuses_numbers_that_nothing_holds_and_names_that_are_not_its_own(tmp_path: Path) -> None:
    with attacked(tmp_path, options=("--control-name", "control.internal")) as target:
        before, token = target.said(), load_token(target.data)
        for number in ("1e999", "-1e999", "1" * 5_000):
            assert target.switches("flow.gate.connections_max", number) in {400, 413}
        for host, status in NAMED.items():
            for path in ("/livez", "/v1/switches"):
                assert _status_under(host, target.control_port, path, token) == status, (host, path)
        assert target.said() == before


def _status_under(host: str, port: int, path: str, token: str) -> int:
    """Return the status of a request that says it was sent to this host; to none, as HTTP/1.0 may, if it is empty."""
    line = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n" if host else f"GET {path} HTTP/1.0\r\n"
    with socket.create_connection((HOST, port), timeout=10) as connection:
        connection.sendall(f"{line}Authorization: Bearer {token}\r\nConnection: close\r\n\r\n".encode())
        with connection.makefile("rb") as stream:
            return _status(stream)
