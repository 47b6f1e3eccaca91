"""One third of everything dies at the peak: a gate and a set's primary at once, of three each.

The load is steady and well below what the machine can do, because the generator shares its cores: a share of the set's
users, and what became of it, is what is measured, not the machine. A user's home is known from outside: CRC-32 of the
id modulo the number of sets.
"""

import asyncio
import signal
import sys
import time
import zlib
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import pytest

from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys
from redrush.core.identity.tickets import sign_ticket
from redrush.processes.child import HUNG_S
from tests.acceptance.chaos.stack import Process, Stack
from tests.campaigns import OFF, a_round, campaign

SETS: Final = 3
GATES: Final = 3
CONNECTIONS: Final = 48
PER_SECOND: Final = 240.0
"""Claims a second, all of new users: some tens per gate and set at a time are far from what either can do."""
ANSWER_S: Final = 2.0
SETTLING_S: Final = 4.0
"""Until what comes after the start of a stack is over."""
BEFORE_S: Final = 20.0
WINDOW_S: Final = 2.5
"""A p99 is the median of those of such windows, as in drills: one stall of the machine must not decide."""
TURMOIL_S: Final = 5.0
"""By then the rest must grant its share again."""
AFTER_S: Final = 20.0
CALM_AFTER_S: Final = {signal.SIGKILL: TURMOIL_S, signal.SIGSTOP: HUNG_S + TURMOIL_S}
"""When waiting times are looked at again. A gate that is stopped keeps its connections, and takes new ones, until it is
replaced after `HUNG_S`: whoever is on one waits, whatever their set, until their own patience ends."""
BACK_WITHIN_S: Final = 10.0
GOODPUT_MIN: Final = 0.9
P99_FACTOR_MAX: Final = 1.1
TICKET_TTL_S: Final = 3_600

CAMPAIGN: Final = campaign(
    a_round("rush", "60000.00", 60000, lasts="3600s", leftover="return"), id="third", name="One third", tables=OFF
)


@dataclass(frozen=True)
class Claim:
    """When it was asked and answered (seconds of the loop's clock), by whose set, and whether it was granted."""

    home: int
    asked_s: float
    answered_s: float
    granted: bool


class SteadyLoad:
    """New users claim at a fixed rate, each once, over connections that are made again when they break."""

    def __init__(self, stack: Stack) -> None:
        self.claims: list[Claim] = []
        self._port = stack.port
        self._ring = load_keys(DataDir(stack.directory)).tickets
        self._next_user = 0
        self._began_s = 0.0
        self._ending = False

    async def run(self) -> None:
        """Claim until `end`. Who is late through an answer that does not come does not make up for it in a burst."""
        self._began_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as connections:
            for number in range(CONNECTIONS):
                connections.create_task(self._connection(number))

    def end(self) -> None:
        """Let `run` end."""
        self._ending = True

    def between(self, from_s: float, to_s: float, homes: set[int]) -> list[Claim]:
        """Return the claims that were asked in this time and belong to these sets."""
        return [claim for claim in self.claims if from_s <= claim.asked_s < to_s and claim.home in homes]

    async def _connection(self, number: int) -> None:
        every_s = CONNECTIONS / PER_SECOND
        due_s = self._began_s + number / PER_SECOND
        now_s = asyncio.get_running_loop().time
        while not self._ending:
            writer = None
            with suppress(OSError, EOFError, TimeoutError):
                try:
                    async with asyncio.timeout(ANSWER_S):
                        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                    while not self._ending:
                        await asyncio.sleep(due_s - now_s())
                        due_s = max(due_s + every_s, now_s())
                        await self._claim(reader, writer)
                finally:
                    if writer is not None:
                        writer.transport.abort()
            due_s = max(due_s, now_s())

    async def _claim(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        user = f"u{self._next_user}"
        self._next_user += 1
        ticket = sign_ticket(self._ring, user, int(time.time()) + TICKET_TTL_S)
        now_s = asyncio.get_running_loop().time
        asked_s = now_s()
        granted = False
        try:
            async with asyncio.timeout(ANSWER_S):
                head = f"POST /v1/rounds/rush/grab HTTP/1.1\r\nHost: redrush\r\nAuthorization: Bearer {ticket}\r\n"
                writer.write(f"{head}Content-Length: 0\r\n\r\n".encode("ascii"))
                answered = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").lower()
                size = int(answered.partition("\r\ncontent-length: ")[2].partition("\r\n")[0])
                granted = b'"granted"' in await reader.readexactly(size)
        finally:
            home = zlib.crc32(user.encode()) % SETS
            self.claims.append(Claim(home, asked_s, now_s(), granted))


@dataclass(frozen=True)
class Figures:
    """What the rest did, as a part of what it did before; and when the set that was hit was back."""

    goodput_in_turmoil: float
    goodput: float
    p99_before_ms: float
    p99_in_turmoil_ms: float
    p99_ms: float
    calm_after_s: float
    back_after_s: float

    def __str__(self) -> str:
        return (
            f"the rest grants {self.goodput:.0%} of its share after {TURMOIL_S:g} s, {self.goodput_in_turmoil:.0%} "
            f"until then; its p99 is {self.p99_before_ms:.1f} ms before, {self.p99_in_turmoil_ms:.1f} ms in the first "
            f"{TURMOIL_S:g} s, {self.p99_ms:.1f} ms from {self.calm_after_s:g} s on; "
            f"the set that was hit is back in {self.back_after_s:.1f} s "
            f"({PER_SECOND:g} claims/s over {CONNECTIONS} connections, well below saturation)"
        )


async def _measure(stack: Stack, number: signal.Signals) -> Figures:
    load = SteadyLoad(stack)
    running = asyncio.create_task(load.run())
    now_s = asyncio.get_running_loop().time
    try:
        await asyncio.sleep(SETTLING_S + BEFORE_S)
        hit_s = now_s()
        victims = _victims(stack)
        for victim in victims:
            victim.send(number)
        await asyncio.sleep(CALM_AFTER_S[number] + AFTER_S)
        if number is signal.SIGSTOP:
            for victim in victims:
                victim.send(signal.SIGCONT)
    finally:
        load.end()
        await running
    hit = next(index for index in range(SETS) if victims[1].set == f"s{index + 1}")
    rest = set(range(SETS)) - {hit}
    before = load.between(hit_s - BEFORE_S, hit_s, rest)
    turmoil = load.between(hit_s, hit_s + TURMOIL_S, rest)
    after = load.between(hit_s + TURMOIL_S, hit_s + TURMOIL_S + AFTER_S, rest)
    calm_s = hit_s + CALM_AFTER_S[number]
    calm = load.between(calm_s, calm_s + AFTER_S, rest)
    share_per_s = _granted(before) / BEFORE_S
    back = [claim.answered_s for claim in load.claims if claim.home == hit and claim.granted and claim.asked_s > hit_s]
    return Figures(
        goodput_in_turmoil=_granted(turmoil) / TURMOIL_S / share_per_s,
        goodput=_granted(after) / AFTER_S / share_per_s,
        p99_before_ms=_p99_ms(before),
        p99_in_turmoil_ms=_p99_ms(turmoil),
        p99_ms=_p99_ms(calm),
        calm_after_s=CALM_AFTER_S[number],
        back_after_s=min(back, default=float("inf")) - hit_s,
    )


def _victims(stack: Stack) -> tuple[Process, Process]:
    """Return a gate and a set's primary."""
    running = stack.processes()
    gate = next(process for process in running if process.role == "gate")
    store = next(process for process in running if process.role == "store")
    return gate, store


def _granted(claims: list[Claim]) -> int:
    return sum(claim.granted for claim in claims)


def _p99_ms(claims: list[Claim]) -> float:
    windows: dict[int, list[float]] = defaultdict(list)
    for claim in claims:
        windows[int(claim.asked_s / WINDOW_S)].append(claim.answered_s - claim.asked_s)
    return median(sorted(took)[int(len(took) * 0.99)] for took in windows.values()) * 1_000


async def _lose_a_third(directory: Path, prepared: Path, number: signal.Signals) -> Figures:
    file = directory / "campaign.toml"
    file.write_text(CAMPAIGN, encoding="utf-8")
    stack = Stack(file, directory / "data", sets=SETS, replicas=1, gates=GATES)
    stack.use_database(prepared)
    try:
        await stack.up()
        figures = await _measure(stack, number)
        await stack.down()
    finally:
        stack.kill()
        await stack.gone()
    return figures


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped for good"])
def test_losing_a_gate_and_a_primary_of_three_leaves_the_rest_its_share(
    tmp_path: Path, prepared_postgres: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = asyncio.run(_lose_a_third(tmp_path, prepared_postgres, number))
    with capsys.disabled():
        sys.stdout.write(f"\n{number.name}: {figures}\n")
    assert figures.goodput >= GOODPUT_MIN
    assert figures.back_after_s <= BACK_WITHIN_S
    assert figures.p99_ms <= P99_FACTOR_MAX * figures.p99_before_ms
