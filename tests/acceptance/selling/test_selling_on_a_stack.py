"""A sale on a stack: units in two sets, orders in the payments role, and processes that die in between."""

import asyncio
import json
import random
from pathlib import Path

import pytest

from tests.acceptance.paying.stage import until
from tests.acceptance.selling.stack_stage import StackStage
from tests.acceptance.selling.stage import PRICE_MINOR
from tests.acceptance.selling.test_selling import FAULTS, Crowd, notices_to_come
from tests.commands import redrush

TERMS = 'units = {units}\nhold = "{hold}"\nreturn_every = "500ms"\nshop = "bank"\nsecret_url = true\n'
MORTAL = ("payments", "gate-1", "s1-a", "recorder-s2", "control", "postgres", "gate-2", "s2-a", "settle")


async def play(root: Path, seed: int, *, units: int, people: int, kills: int) -> dict[str, int]:
    """Play a sale in which processes of the stack, and the sandbox, are killed; return the counts, audited."""
    lots = random.Random(seed)
    terms = TERMS.format(units=units, hold="4s")
    async with StackStage(root, terms, "--sets", 2, "--gates", 2, sandbox=("--seed", str(seed))) as sale:
        await sale.bank("PUT", "/faults", FAULTS)
        crowd, waves = Crowd(sale, seed), kills + 1
        for wave in range(waves):
            users = [f"u{number:04}" for number in range(wave, people, waves)]
            coming = asyncio.gather(*(crowd.come(user) for user in users))
            if wave < kills:
                await asyncio.sleep(lots.uniform(0.1, 1.0))
                await sale.kill(MORTAL[(seed + wave) % len(MORTAL)])
            await coming
            for order in crowd.late:  # their holds are over, or nearly
                await crowd.pays(order)
        await sale.bank("PUT", "/faults", dict.fromkeys(FAULTS, 0.0))
        await until(lambda: not (notices_to_come(root) or sale.still_open()), sale.still_open)
        assert crowd.told["granted"] >= units / 2, crowd.told
        report = await asyncio.to_thread(redrush, "reconcile", "--data", sale.data, "--json")
        assert report.code == 0, report.out + report.err
        assert json.loads(report.out)["books"]["orders"] >= units / 2
        return sale.audit(units, PRICE_MINOR)


@pytest.mark.soak
async def test_units_sold_and_left_are_the_stock_on_a_stack_whose_processes_die(tmp_path: Path) -> None:
    """The payments role dies in the middle; half go away, some pay too late, the shop refuses one in twenty."""
    counts = await play(tmp_path, 9, units=24, people=60, kills=1)
    assert counts["sold"] >= 6
    assert counts["sold"] == counts["paid"] - counts["back"]


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
async def test_so_it_is_on_a_stack_whatever_dies_when(seed: int, tmp_path: Path) -> None:
    await play(tmp_path, seed, units=60, people=300, kills=8)
