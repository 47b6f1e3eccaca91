"""A provider that is down, or takes every call and answers none, for the whole event: claims are as fast as beside one
that pays, and everybody is paid once it is back."""

import asyncio
import statistics
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from redrush.ports.bill_book import BillState
from tests.acceptance.paying.stage import Stage
from tests.acceptance.rushing import asked, slowest_hundredth_ms

SLOWER_MAX: Final = 1.05
TURNS: Final = 8
SLICES: Final = 16
"""Of a turn: first the one server, then the other, and the next time the other way round, some hundredths of a second
each. What else the machine does meanwhile lasts longer, and so meets both."""
CONNECTIONS: Final = 32
WINNERS_A_TURN: Final = 1_600
CALM_S: Final = 1.5
"""Between turns: payouts go at full pace then, where there is somebody to pay by."""
PAID_MAX_S: Final = 300.0


async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hear everything and say nothing."""
    with closing(writer):
        while await reader.read(65_536):
            pass


async def p99_ms(stages: Sequence[Stage], turn: int) -> list[float]:
    """Let the same people win at each of these servers, by turns; return the slowest hundredth of the answers of each,
    in ms."""
    users = [f"u{turn}-{number}" for number in range(WINNERS_A_TURN)]
    tickets = [[stage.ticket(user) for user in users] for stage in stages]
    took_s: list[list[float]] = [[] for _ in stages]
    for number in range(SLICES):
        for which in (0, 1) if number % 2 else (1, 0):
            mine = tickets[which][number::SLICES]
            errands = [("/v1/rounds/r1", mine[one::CONNECTIONS]) for one in range(CONNECTIONS)]
            found_s, answers = await asked(stages[which].port, errands)
            refused = [answer.raw for answer in answers if answer.status != 200 or answer.outcome != "granted"]
            assert not refused, f"this machine is too busy to tell: {refused[0]!r}"
            took_s[which] += found_s
    return [slowest_hundredth_ms(found_s) for found_s in took_s]


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("hangs", [False, True], ids=["down", "hanging"])
async def test_claims_are_as_fast_and_everybody_is_paid_afterwards(tmp_path: Path, hangs: bool) -> None:
    winners = TURNS * WINNERS_A_TURN
    stages: dict[str, Stage] = {}
    for name in ("paying", "away"):
        (tmp_path / name).mkdir()
        stages[name] = Stage(tmp_path / name, packets=winners, total=f"{winners}.00")
        await stages[name].server.start()
    away = stages["away"]
    await stages["paying"].sandbox.start()
    silent = await asyncio.start_server(nothing, "127.0.0.1", away.bank_port) if hangs else None
    seen_ms: list[list[float]] = []
    try:
        for turn in range(TURNS):
            seen_ms.append(await p99_ms([stages["paying"], away], turn))
            await asyncio.sleep(CALM_S)
        assert not away.bills(BillState.DONE), "nobody could be paid so far"
        if silent is not None:
            silent.close()
        await away.sandbox.start()
        async with asyncio.timeout(PAID_MAX_S):
            while (await away.bank_sums()).get(("payout", "done"), (0, 0)) != (winners, winners * 100):
                await asyncio.sleep(0.2)
            while len(away.bills(BillState.DONE)) < winners:
                await asyncio.sleep(0.2)
    finally:
        for stage in stages.values():
            await stage.__aexit__()
    slower = statistics.median(without / paying for paying, without in seen_ms)
    sys.stdout.write(f"p99 of claims in ms, paying and {'hanging' if hangs else 'down'}, {slower:.3f}x: {seen_ms}\n")
    assert slower <= SLOWER_MAX, seen_ms
