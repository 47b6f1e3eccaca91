"""The fault matrix in both directions: people pay packets in and winners are paid, while everything goes wrong.

Each run draws faults, has people win and pay, kills the server or the sandbox with SIGKILL, and starts it again. In the
end everything is calm, and an auditor that reads both files with SQL alone holds them against what people were told.
"""

import asyncio
import random
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

from redrush.http.fetch import Unfetched
from redrush.sandbox.faults import CALLS, NOTICES
from tests.acceptance.paying.stage import Stage, until
from tests.commands import run_command
from tests.patience import PATIENCE_S

GROUP: Final = """policy = "auto"
[group]
pay = "bank"
expires = "1h"
"""
WINNERS_A_RUN: Final = 4
FINAL_STATES: Final = {"done", "paid_late", "closed", "failed", "cancelled"}


class Matrix:
    """One event. `run` as often as wanted, then `end`."""

    def __init__(self, root: Path, seed: int, runs: int) -> None:
        self.root = root
        self.stage = Stage(
            root, payout=GROUP, packets=WINNERS_A_RUN * runs, total=f"{WINNERS_A_RUN * runs * 2}.00",
            sandbox=("--seed", str(seed)),
        )  # fmt: skip
        self.won: Counter[str] = Counter()
        self.packets: dict[str, str] = {}
        """By id, who sent it."""
        self.told: defaultdict[str, set[str]] = defaultdict(set)
        """What was told as final of each payout, by its number."""
        self._draw = random.Random(seed)
        self._number = 0

    async def run(self) -> None:
        """Let people win and pay while faults happen, and kill somebody."""
        self._number += 1
        await self._set_faults()
        users = [f"u{self._number}-{k}" for k in range(WINNERS_A_RUN)]
        at_work = asyncio.gather(*(self._win(user) for user in users), self._send(f"s{self._number}"))
        await asyncio.sleep(self._draw.uniform(0.0, 0.3))
        both = [self.stage.server, self.stage.sandbox]
        victims = self._draw.choice([both, both[:1], both[1:], []])
        for victim in victims:
            await victim.kill()
        await asyncio.gather(*(victim.start() for victim in victims))
        await at_work
        await asyncio.gather(*(self._look(user) for user in users))

    async def end(self) -> None:
        """Let everything come to its end without faults, and audit."""
        await self._set_faults(calm=True)
        for packet in self.packets:
            await until(partial(self._is_open, packet), partial(str, packet))
            for k in range(2):
                user = f"p{packet[-6:]}-{k}"
                fields = await self._told(user, "POST", f"/v1/packets/{packet}/grab", {})
                assert fields["outcome"] == "granted", fields
                self.won[user] += minor(fields["grant"]["amount"])
        await until(lambda: len(self.stage.bills()) >= len(self.won) and self._all_final(), self._open_bills)
        if self._in_state("failed"):
            code, out, err = await run_command("payout", "retry", "--failed", "--data", str(self.stage.data))
            assert code == 0, (out, err)
            await until(lambda: self._all_final() and not self._in_state("failed"), self._open_bills)
        for user in self.won:
            await self._look(user)
        code, out, err = await run_command(
            "bills", "compare", "--data", str(self.stage.data), "--payments", str(self.stage.payments)
        )
        assert code == 0, (out, err)
        code, out, err = await run_command("reconcile", "--data", str(self.stage.data))
        assert code == 0, (out, err)
        await self.stage.server.stop()
        await self.stage.sandbox.stop()
        self._audit()

    def _audit(self) -> None:
        twofold = {number: states for number, states in self.told.items() if len(states) > 1}
        assert not twofold, f"told two different things as final: {twofold}"
        with (
            closing(sqlite3.connect(self.root / "bank.db")) as bank,
            closing(sqlite3.connect(self.stage.data / "payments.db")) as book,
        ):
            paid = dict(
                bank.execute(
                    "SELECT party, sum(amount_minor) FROM bills WHERE kind = 'payout' AND state = 'done' GROUP BY party"
                )
            )
            assert paid == dict(self.won), "nobody twice, nobody unpaid, to the cent"
            ((theirs,),) = bank.execute(
                "SELECT sum(CASE kind WHEN 'payin' THEN fee_minor - amount_minor ELSE amount_minor END)"
                "  FROM bills WHERE state IN ('paid', 'done')"
            )
            ((ours,),) = book.execute(
                "SELECT sum(CASE WHEN credit_account = 'clearing:bank' THEN amount_minor ELSE -amount_minor END)"
                "  FROM postings WHERE 'clearing:bank' IN (credit_account, debit_account)"
            )
            assert ours == theirs, "the ledger is the provider's own book"
            numbers = {row[0] for row in bank.execute("SELECT number FROM bills WHERE state IN ('paid', 'done')")}
            done = {row[0] for row in book.execute("SELECT number FROM bills WHERE state IN ('done', 'paid_late')")}
            assert numbers == done
            ((payins,),) = bank.execute("SELECT count(*) FROM bills WHERE kind = 'payin' AND state = 'paid'")
            assert payins == len(self.packets)

    async def _set_faults(self, *, calm: bool = False) -> None:
        shares: dict[str, float] = dict.fromkeys([*CALLS, *NOTICES, "transfer_fails", "slow", "pays"], 0.0)
        if not calm:
            for name in self._draw.sample(sorted(CALLS), 3) + self._draw.sample(sorted(NOTICES), 2):
                shares[name] = self._draw.uniform(0.1, 0.4)
            shares |= {"transfer_fails": 0.1, "slow": 0.1}
        shares["pays"] = 1.0 if calm else 0.05
        await self.stage.bank("PUT", "/faults", shares)

    async def _win(self, user: str) -> None:
        fields = await self.stage.grab_until_told(user)
        assert fields["outcome"] == "granted", fields
        self.won[user] += minor(fields["grant"]["amount"])

    async def _send(self, user: str) -> None:
        wish = {"kind": "equal", "total": "2.00", "count": 2, "greeting": "hi", "request": "one"}
        packet = (await self._told(user, "POST", "/v1/packets", wish))["id"]
        self.packets[packet] = user

    async def _is_open(self, packet: str) -> bool:
        status, fields = await self.stage.ask(self.packets[packet], "POST", f"/v1/packets/{packet}/pay", {})
        status, fields = await self.stage.ask(self.packets[packet], "GET", f"/v1/packets/{packet}")
        return status == 200 and fields["state"] == "open"

    async def _told(self, user: str, method: str, path: str, fields: Any) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    status, answer = await self.stage.ask(user, method, path, fields)
                    if status == 200:
                        return answer
                except (Unfetched, ValueError):
                    pass
                await asyncio.sleep(0.05)

    async def _look(self, user: str) -> None:
        """Write down what the user is told as final."""
        try:
            status, fields = await self.stage.ask(user, "GET", "/v1/payouts")
        except Unfetched:
            return
        if status == 200:
            for payout in fields["payouts"]:
                if payout["state"] in ("paid", "returned"):
                    self.told[payout["payout"]].add(payout["state"])

    def _all_final(self) -> bool:
        return all(str(bill.state) in FINAL_STATES for bill in self.stage.bills())

    def _in_state(self, state: str) -> bool:
        return any(bill.state == state for bill in self.stage.bills())

    def _open_bills(self) -> object:
        return [
            (bill.kind, bill.source, str(bill.state), bill.detail, bill.looks)
            for bill in self.stage.bills()
            if str(bill.state) not in FINAL_STATES
        ], self.stage.server.said[-5:]


def minor(text: str) -> int:
    return int(Decimal(text) * 100)


async def play(root: Path, seed: int, runs: int) -> None:
    """Play so many runs on one event."""
    matrix = Matrix(root, seed, runs)
    async with matrix.stage:
        for _ in range(runs):
            await matrix.run()
        await matrix.end()
