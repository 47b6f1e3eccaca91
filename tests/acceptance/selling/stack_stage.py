"""A sale on a stack, with a bank and a shop at a sandbox, and an auditor that reads database, bank and shop by SQL."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg

from tests.acceptance.selling.audit import audit_money
from tests.acceptance.selling.stage import SaleStage
from tests.acceptance.stack.running_stack import RunningStack, stack_up

OF_BUYERS = ("/v1/holds/", "/v1/orders")


class StackStage(SaleStage):
    """See the module."""

    def __init__(self, root: Path, terms: str, *options: object, sandbox: Sequence[str] = ()) -> None:
        """`options` are those of `stack up`."""
        super().__init__(root, terms, sandbox=sandbox)
        self.root = root
        self._up: AbstractContextManager[RunningStack] = stack_up(
            self.campaign, self.data, "--payments", self.payments, *options
        )

    async def __aenter__(self) -> "StackStage":
        await self.sandbox.start()
        self.stack = await asyncio.to_thread(self._up.__enter__)
        self.port, self.payments_port = self.stack.port, self.stack.payments_port
        return self

    async def __aexit__(self, *fault: Any) -> None:
        self._fetcher.close()
        await asyncio.to_thread(self._up.__exit__, *fault)
        if self.sandbox.runs:
            await self.sandbox.kill()

    def port_of(self, path: str) -> int:
        return self.payments_port if path.startswith(OF_BUYERS) else self.port

    async def kill(self, name: str) -> None:
        """End a process of the stack as `kill -9` does; the supervisor starts it again."""
        found = {one["name"]: one["pid"] for one in await asyncio.to_thread(self.stack.processes)}
        assert name in found, f"{name} is none of {sorted(found)}"
        if found[name]:  # else it is being started again
            os.kill(found[name], signal.SIGKILL)

    # -- what is left

    def still_open(self) -> list[tuple[Any, ...]]:
        """Return what is not settled by what is recorded: orders, units that are only held, moves that are half done,
        and orders of which the log says less; what the database says while it is on its way up again after its kill.
        Remember what is recorded of the logs at this moment: records lag."""
        try:
            return self._still_open()
        except psycopg.OperationalError as fault:
            return [("the database", str(fault))]

    def _still_open(self) -> list[tuple[Any, ...]]:
        with psycopg.connect((self.data / "records.dsn").read_text(), connect_timeout=5) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            found = connection.execute(
                "SELECT id, state FROM sale_orders WHERE state NOT IN ('returned', 'delivered', 'refunded')"
                " UNION ALL SELECT source, state FROM bills"
                " WHERE next_us IS NOT NULL OR NOT is_told AND kind <> 'payout'"
                " UNION ALL SELECT notice, 'not looked into' FROM bill_inbox WHERE NOT is_seen"
                " UNION ALL SELECT slot::text, 'held' FROM grants WHERE until_us IS NOT NULL"
                " UNION ALL SELECT transfer, 'half done' FROM journal"
                " WHERE transfer LIKE 'rebalance:%' AND slots <> '[]' GROUP BY transfer HAVING count(*) < 2"
            ).fetchall()
            [(delivered, sold)] = connection.execute(
                "SELECT (SELECT count(*) FROM sale_orders WHERE state = 'delivered'),"
                " (SELECT count(*) FROM journal, json_array_elements(users::json) WHERE kind = 'confirmed')"
            ).fetchall()
            self._logs = connection.execute(
                "SELECT log, kind, first_slot, count, users, slots, transfer FROM journal"
                " WHERE pot = 's' OR kind IN ('scattered', 'confirmed', 'released') ORDER BY log, seq"
            ).fetchall()
        return found + [("log", f"{sold} of {delivered} sold")] * (delivered != sold)

    def audit(self, units: int, price_minor: int) -> dict[str, int]:
        """Return the counts of the sale, when nothing was open. Raises unless units and money are as they must be."""
        return audit_money(self.root, units_of_logs(self._logs, units), price_minor)


def units_of_logs(rows: Sequence[tuple[Any, ...]], units: int) -> dict[int, str]:
    """Return to whom each unit was sold, by the logs of the sets. Raises if a unit is ever in two places, or two
    people's, if one is held still, or if not all units are sold or left."""
    has: dict[str, set[int]] = {}
    holders: dict[tuple[str, int], tuple[str, int]] = {}
    sold: dict[int, str] = {}
    ended: set[tuple[str, int]] = set()
    moves: dict[str, Counter[tuple[str, int]]] = {}
    opened: Counter[int] = Counter()
    for log, kind, first_slot, count, users_text, columns, transfer in rows:
        own = has.setdefault(log, set())
        if kind == "opened":
            own.update(range(first_slot, first_slot + count))
            opened.update(range(first_slot, first_slot + count))
        elif kind in {"taken", "given"}:
            moved = [slot for first, many in json.loads(columns) for slot in range(first, first + many)]
            moves.setdefault(transfer, Counter()).update((kind, slot) for slot in moved)
            for slot in moved:
                assert (slot in own) == (kind == "taken"), f"{log}: unit {slot} is {kind}"
                assert (log, slot) not in holders, f"{log}: unit {slot} is {kind} while it is {holders[log, slot]}'s"
            own.symmetric_difference_update(moved)
        elif kind in {"scattered", "confirmed", "released"}:
            _, slots, _, numbers, *_ = json.loads(columns)
            for user, slot, number in zip(json.loads(users_text), slots, numbers, strict=True):
                if kind == "scattered":
                    assert slot in own, f"{log}: unit {slot} is granted, and is not there"
                    assert (log, slot) not in holders, f"{log}: unit {slot} is {holders[log, slot]}'s and {user}'s"
                    holders[log, slot] = user, number
                    continue
                assert holders[log, slot] == (user, number), f"{log}: unit {slot} of {user} is {holders[log, slot]}'s"
                assert (log, slot) not in ended, f"{log}: unit {slot} was sold to {sold[slot]}"
                if kind == "confirmed":
                    assert slot not in sold, f"unit {slot} was sold to {sold[slot]}, and to {user}"
                    sold[slot] = user
                    ended.add((log, slot))
                else:
                    del holders[log, slot]
    assert opened == Counter(range(units)), "the sets were opened with other units than there are"
    for transfer, halves in moves.items():
        taken = {slot for half, slot in halves if half == "taken"}
        assert taken == {slot for half, slot in halves if half == "given"}, f"{transfer} is half done"
        assert set(halves.values()) <= {1}, f"{transfer} was done twice"
    assert {slot for _, slot in holders} == sold.keys(), "a unit is held still"
    assert sum(map(len, has.values())) == units, "units sold and left are not all"
    return sold
