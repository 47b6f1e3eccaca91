"""The fault matrix on a stack: winners are paid while the sandbox errs, and payments, database and sandbox are killed.

In the end everything is calm, and an auditor that reads both books with SQL alone holds them against what people won
and what they were told.
"""

import asyncio
import json
import random
import sqlite3
import urllib.request
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import psycopg

from redrush.ports.bill_book import FINAL
from redrush.sandbox.faults import CALLS, NOTICES
from tests.acceptance.paying.paying_stack import PayingStack, paying_stack
from tests.acceptance.paying.stage import Process
from tests.acceptance.paying.stage import until as it_came_to
from tests.acceptance.stack.running_stack import kill
from tests.commands import redrush, run_command

WINNERS_A_RUN: Final = 4
VICTIMS: Final = ("payments", "postgres", "sandbox")


class StackMatrix:
    """One event. `run` as often as wanted, then `end`."""

    def __init__(self, root: Path, stack: PayingStack, bank: Process, seed: int) -> None:
        self._root = root
        self._stack = stack
        self._bank = bank
        self._won: Counter[str] = Counter()
        self._told: defaultdict[str, set[str]] = defaultdict(set)
        self._draw = random.Random(seed)
        self._number = 0
        self.killed: Counter[str] = Counter()

    async def run(self) -> None:
        """Let people win while faults happen, and kill somebody."""
        self._number += 1
        self._set_faults()
        users = [f"u{self._number}-{k}" for k in range(WINNERS_A_RUN)]
        winning = asyncio.create_task(asyncio.to_thread(self._stack.grab, users))
        await asyncio.sleep(self._draw.uniform(0.0, 0.5))
        for victim in self._draw.sample(VICTIMS, self._draw.choice([0, 1, 1, 2, 3])):
            self.killed[victim] += 1
            if victim == "sandbox":
                await self._bank.kill()
                await self._bank.start()
            else:
                await asyncio.to_thread(self._kill, victim)
        self._won.update(await winning)
        await asyncio.to_thread(self._look, users)

    def _kill(self, name: str) -> None:
        found = [one for one in self._stack.running.processes() if one["name"] == name and one["pid"]]
        if found:  # it may be on its way up from the last time
            kill(found[0]["pid"])

    async def end(self) -> None:
        """Let everything come to its end without faults, and audit."""
        self._set_faults(calm=True)
        await it_came_to(self._database_is_back)
        await it_came_to(lambda: self._open() == [] and self._count() == len(self._won), self._open)
        if self._failed():
            code, out, err = await run_command("payout", "retry", "--failed", "--deploy", str(self._stack.deployment))
            assert code == 0, (out, err)
            await it_came_to(lambda: not self._open() and not self._failed(), self._open)
        await asyncio.to_thread(self._look, sorted(self._won))
        for command in (
            ("bills", "compare", "--deploy", self._stack.deployment, "--payments", self._stack.payments),
            ("reconcile", "--data", self._stack.data),
        ):
            ran = await asyncio.to_thread(redrush, *command)
            assert ran.code == 0, ran.out + ran.err
        self._audit()

    def _audit(self) -> None:
        twofold = {number: states for number, states in self._told.items() if len(states) > 1}
        assert not twofold, f"told two different things as final: {twofold}"
        with closing(sqlite3.connect(self._root / "bank.db")) as bank:
            paid = dict(
                bank.execute(
                    "SELECT party, sum(amount_minor) FROM bills WHERE kind = 'payout' AND state = 'done' GROUP BY party"
                )
            )
            numbers = {row[0] for row in bank.execute("SELECT number FROM bills WHERE state = 'done'")}
        assert paid == dict(self._won), "nobody twice, nobody unpaid, to the cent"
        cleared = self._sql(
            b"SELECT sum(CASE WHEN credit_account = 'clearing:bank' THEN amount_minor ELSE -amount_minor END)::bigint"
            b" FROM bill_postings WHERE 'clearing:bank' IN (credit_account, debit_account)"
        )
        assert cleared == [(sum(paid.values()),)], "the ledger is the provider's own book"
        sums = self._sql(b"SELECT credits_minor - debits_minor FROM bill_accounts WHERE account = 'clearing:bank'")
        assert sums == cleared, "what is kept of an account is the sum of its postings"
        done = self._sql(b"SELECT number FROM bills WHERE state IN ('done', 'paid_late')")
        assert {number for (number,) in done} == numbers

    def _set_faults(self, *, calm: bool = False) -> None:
        shares: dict[str, float] = dict.fromkeys([*CALLS, *NOTICES, "transfer_fails", "slow"], 0.0)
        if not calm:
            for name in self._draw.sample(sorted(CALLS), 3) + self._draw.sample(sorted(NOTICES), 2):
                shares[name] = self._draw.uniform(0.1, 0.4)
            shares |= {"transfer_fails": 0.1, "slow": 0.1}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._stack.bank_port}/faults", json.dumps(shares).encode(), method="PUT"
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def _look(self, users: list[str]) -> None:
        """Write down what users are told as final."""
        for user in users:
            try:
                told = self._stack.get(user, "/v1/payouts")["payouts"]
            except (AssertionError, OSError, EOFError):
                continue  # it is on its way up, or its database is
            for payout in told:
                if payout["state"] in ("paid", "returned"):
                    self._told[payout["payout"]].add(payout["state"])

    def _database_is_back(self) -> bool:
        try:
            return bool(self._sql(b"SELECT 1"))
        except psycopg.OperationalError:
            return False

    def _open(self) -> list[Any]:
        states = ", ".join(f"'{state}'" for state in FINAL)
        return self._sql(f'SELECT "user", number, state, detail FROM bills WHERE state NOT IN ({states})'.encode())

    def _failed(self) -> list[Any]:
        return self._sql(b"SELECT number FROM bills WHERE state = 'failed'")

    def _count(self) -> int:
        ((count,),) = self._sql(b"SELECT count(*) FROM bills")
        return int(count)

    def _sql(self, query: bytes) -> list[Any]:
        with psycopg.connect((self._stack.data / "records.dsn").read_text()) as connection:
            return connection.execute(query).fetchall()


async def _play(matrix: StackMatrix, runs: int) -> None:
    for _ in range(runs):
        await matrix.run()
    await matrix.end()


def play(root: Path, seed: int, runs: int) -> Counter[str]:
    """Play so many runs on one event; return how often who was killed."""
    packets = WINNERS_A_RUN * runs
    options = ("--sets", 1, "--gates", 1)
    sandbox = ("--seed", str(seed))
    with (
        asyncio.Runner() as runner,
        paying_stack(
            root, packets=packets, total=f"{packets * 2}.00", sandbox=sandbox, options=options, runner=runner
        ) as (stack, bank),
    ):
        matrix = StackMatrix(root, stack, bank, seed)
        runner.run(_play(matrix, runs))
        return matrix.killed
