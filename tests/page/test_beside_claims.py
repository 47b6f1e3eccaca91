"""The page, served by the process that grants: a crowd that opens it does not slow those who claim.

Alone on the machine: `python -m pytest -m soak tests/page/test_beside_claims.py -s` prints the figures.
"""

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import pytest

from tests.browser.event import REPOSITORY, Event, rush
from tests.page.loads import Connection

pytestmark = pytest.mark.soak

PAGES_PER_S: Final = 1_000
CLAIMS_PER_S: Final = 200
TURN_S: Final = 8.0
TURNS: Final = 5
"""Of each kind, one after the other."""
SLOWER_MAX: Final = 1.2
CONNECTIONS: Final = 20
FREE: Final = '[limits]\nuser_per_second = "off"\n'


async def claims(port: int, tickets: Iterator[str]) -> list[float]:
    """Return how long each claim of one turn took, in ms, from the moment at which it was due."""
    connections = [await Connection.open(port) for _ in range(CONNECTIONS)]
    began, took = time.monotonic(), list[float]()

    async def one(connection: Connection, number: int) -> None:
        while (due_s := began + number / CLAIMS_PER_S) < began + TURN_S:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            head = f"POST /v1/rounds/r1/grab HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {next(tickets)}\r\n"
            request = f"{head}Content-Length: 0\r\n\r\n".encode()
            while (answer := await connection.ask(request))[0] == 503:
                await asyncio.sleep(0.02)  # not decided yet, or too many at once: it counts as what it takes
            assert (answer[0], b'"granted"' in answer[1]) == (200, True), answer
            took.append((time.monotonic() - due_s) * 1_000)
            number += CONNECTIONS

    await asyncio.gather(*(one(connection, number) for number, connection in enumerate(connections)))
    for connection in connections:
        connection.close()
    return took


def p99(took: list[float]) -> float:
    return quantiles(took, n=100)[98]


def test_a_thousand_pages_a_second_do_not_slow_a_claim(tmp_path: Path) -> None:
    event = Event(tmp_path / "event")
    event.start(rush(packets=50_000, total="5000.00"), tables=FREE, opens_in_s=-60)
    port = int(event.url.rpartition(":")[2])
    tickets = (event.ticket(f"user-{number}") for number in itertools.count())
    alone, beside = list[float](), list[float]()
    try:
        asyncio.run(claims(port, tickets))  # what is used for the first time is warm then
        for _ in range(TURNS):
            alone.append(p99(asyncio.run(claims(port, tickets))))
            words = [sys.executable, "-m", "tests.page.loads", str(port), str(PAGES_PER_S), str(TURN_S + 2)]
            crowd = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
            time.sleep(1)  # the crowd is there
            beside.append(p99(asyncio.run(claims(port, tickets))))
            told, _ = crowd.communicate(timeout=60)
            assert int(told) >= 0.95 * PAGES_PER_S * (TURN_S + 2), "the machine is too slow for what is to be measured"
    finally:
        event.stop()
    ratio = median(beside) / median(alone)
    sys.stdout.write(
        f"p99 of a claim, ms: alone {[round(one, 1) for one in alone]}, beside {PAGES_PER_S} pages a second "
        f"{[round(one, 1) for one in beside]}: {ratio:.2f} times\n"
    )
    assert ratio <= SLOWER_MAX
