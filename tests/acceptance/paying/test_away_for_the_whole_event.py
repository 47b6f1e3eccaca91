"""A provider that is down, or takes every call and answers none, for the whole event: claims are as fast as beside one
that pays, and everybody is paid once it is back."""

import asyncio
import statistics
import sys
from pathlib import Path
from typing import Final

import pytest

from redrush.ports.bill_book import BillState
from tests.acceptance.paying.stage import Stage
from tests.acceptance.rushing import p99_ms

SLOWER_MAX: Final = 1.05
TURNS: Final = 8
CONNECTIONS: Final = 32
WINNERS_A_TURN: Final = 1_600
PAID_MAX_S: Final = 300.0


async def nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Hear everything and say nothing."""
    while await reader.read(65_536):
        pass


async def rush(stage: Stage, users: list[str]) -> float:
    """Let each of these win; return the slowest hundredth of the answers, in ms."""
    tickets = [stage.ticket(user) for user in users]
    errands = [("/v1/rounds/r1", tickets[number::CONNECTIONS]) for number in range(CONNECTIONS)]
    slowest_ms, answers = await p99_ms(stage.port, errands)
    assert {answer.outcome for answer in answers} == {"granted"}
    return slowest_ms


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
    seen_ms: dict[str, list[float]] = {name: [] for name in stages}
    try:
        for turn in range(TURNS):
            users = [f"u{turn}-{number}" for number in range(WINNERS_A_TURN)]
            for name, stage in stages.items():
                seen_ms[name].append(await rush(stage, users))
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
    medians = {name: statistics.median(found) for name, found in seen_ms.items()}
    sys.stdout.write(f"p99 of claims in ms, {'hanging' if hangs else 'down'}: {seen_ms}\n")
    assert medians["away"] <= SLOWER_MAX * medians["paying"], seen_ms
