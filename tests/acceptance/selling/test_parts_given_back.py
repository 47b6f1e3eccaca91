"""A part of what was paid goes back at a real bank, by a command that is killed at any point, on one server and on a
stack; then the campaign is cancelled, and what is left goes back, to the cent."""

import asyncio
import json
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.selling.stack_stage import StackStage
from tests.acceptance.selling.stage import PRICE_MINOR, SaleStage
from tests.commands import run_command
from tests.patience import PATIENCE_S

TERMS = 'units = 2\nhold = "1m"\nreturn_every = "300ms"\nshop = "bank"\n'
PART_MINOR = 1_250
KILLS = 8


def stage(form: str, root: Path) -> SaleStage:
    return SaleStage(root, TERMS) if form == "one server" else StackStage(root, TERMS, "--sets", 2, "--gates", 1)


async def killed(after_s: float, *arguments: object) -> None:
    """Give an order, and kill whoever carries it out so long after it has begun."""
    command = [sys.executable, "-m", "redrush", *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    await asyncio.sleep(after_s)
    if process.returncode is None:
        process.send_signal(signal.SIGKILL)
    await process.wait()


async def told(*arguments: object) -> dict[str, Any]:
    code, out, err = await run_command(*arguments, "--json")
    assert code == 0, out + err
    fields: dict[str, Any] = json.loads(out)
    return fields


async def bank_has(sale: SaleStage, refunds: int, amount_minor: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await sale.bank_sums()).get(("refund", "done")) != (refunds, amount_minor):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("form", ["one server", pytest.param("a stack", marks=pytest.mark.soak)])
async def test_a_part_goes_back_once_and_the_rest_with_the_campaign(tmp_path: Path, form: str) -> None:
    lots = random.Random(1)
    async with stage(form, tmp_path) as sale:
        event = ("--data", sale.data)
        grant = (await sale.grab("ann"))["grant"]["id"]
        await sale.pays_at_the_bank(await sale.pay("ann", grant))
        order = await sale.ends("ann", grant, "delivered")
        part = ("refund", *event, "--order", order["order"], "--amount", "12.50", "--why", "a scratch")
        assert (await told(*part))["left_minor"] == PRICE_MINOR
        for _ in range(KILLS):
            await killed(lots.uniform(0.2, 2.0), *part, "--yes", 1)
        assert (await told(*part, "--yes", 1))["left_minor"] == PRICE_MINOR - PART_MINOR
        await bank_has(sale, 1, PART_MINOR)
        code, _, said = await run_command(*part[:-4], "--amount", "37.50", "--why", "too much", "--yes", 2)
        assert (code, "37.49 of 49.99 CNY is left" in said) == (1, True), said
        assert (await sale.order("ann", grant))["state"] == "delivered", "it stays the buyer's"
        reconciled = await told("reconcile", *event)
        assert reconciled["ok"], reconciled

        cancelled = await told("refund", *event)
        assert (cancelled["orders"], cancelled["paid_total_minor"]) == (1, PRICE_MINOR - PART_MINOR)
        await told("refund", *event, "--yes", 1)
        await sale.ends("ann", grant, "refunded")
        await bank_has(sale, 2, PRICE_MINOR)
        shown = await told(*part)
        assert (shown["left_minor"], [one["state"] for one in shown["parts"]]) == (0, ["done"])
        compared = await told("bills", "compare", *event, "--payments", sale.payments)
        assert (compared["ok"], compared["differences"]) == (True, []), compared
        reconciled = await told("reconcile", *event)
        assert reconciled["ok"], reconciled
