"""The drill `sale-on-a-stack`: the sale of the drill `sale` with its units in two sets, and a role that dies.

People ask two gates; who pays or gives back asks the role `payments`, which is killed once in the middle (SIGKILL) and
started again by the stack. The auditor reads the sets' logs in the database, bank and shop, with SQL of its own.
"""

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg

from redrush.config import load_deployment_file
from redrush.drill.audit import Verdict
from redrush.drill.demo_payments import DemoPayments
from redrush.drill.drill_report import DrillReport
from redrush.drill.rehearsal import Rehearsal, RehearsalFailed
from redrush.drill.sale import PRICE_MINOR, SHORT, Shape, play_sale
from redrush.drill.sale_audit import Units, judge, notices_to_come
from redrush.stack.stack_dir import StackDir, running_state

LEAD_S: Final = 40.0
"""A database and the servers of the sets are made first."""
READY_DEADLINE_S: Final = 120.0

USUAL: Final = Shape(users=1_500, units=150, lasts_s=30)
"""Smaller than on one server: the machine carries a dozen processes more."""
OF_BUYERS: Final = ("/v1/holds/", "/v1/orders")
CONNECT_MAX_S: Final = 5

OPEN_ORDERS: Final = """
SELECT id, state FROM sale_orders WHERE state NOT IN ('returned', 'delivered', 'refunded')
UNION ALL
SELECT 'unit ' || slot, 'held' FROM grants WHERE until_us IS NOT NULL
UNION ALL
SELECT source, state FROM bills WHERE next_us IS NOT NULL OR NOT is_told AND kind <> 'payout'
UNION ALL
SELECT notice, 'not looked into' FROM bill_inbox WHERE NOT is_seen
UNION ALL
SELECT transfer, 'on its way' FROM journal WHERE transfer LIKE 'rebalance:%' AND slots <> '[]'
 GROUP BY transfer HAVING count(*) < 2
UNION ALL
SELECT 'the log', 'not recorded'
 WHERE (SELECT count(*) FROM sale_orders WHERE state = 'delivered')
    <> (SELECT count(*) FROM journal, json_array_elements(users::json) WHERE kind = 'confirmed')
"""

LOGS: Final = """
SELECT log, kind, first_slot, count, users, slots
  FROM journal
 WHERE pot = 'sale' OR kind IN ('scattered', 'confirmed', 'released')
 ORDER BY log, seq
"""


class OnAStack:
    """`redrush stack up`; the payments role is killed. Is a `redrush.drill.sale.SaleForm`."""

    lead_s = LEAD_S

    def __init__(self, event: Rehearsal, payments: DemoPayments, path: Path) -> None:
        self._event = event
        self._stack = StackDir(event.directory)
        self._up = ("stack", "up", str(path), "--payments", str(payments.file), "--sets", "2", "--gates", "2")
        self._payments_port = 0
        self._logs: list[tuple[Any, ...]] = []
        """What was recorded of the sets' logs when it was looked last."""

    def start(self) -> None:
        """See the protocol."""
        self._event.serve(*self._up, deadline_s=READY_DEADLINE_S)
        self._payments_port = load_deployment_file(self._stack.deployment).payments.address.port

    def port_of(self, path: str) -> int:
        """See the protocol."""
        return self._payments_port if path.startswith(OF_BUYERS) else self._event.port

    def break_down(self) -> None:
        """See the protocol."""
        victim = next((one for one in running_state(self._stack).processes if one.role == "payments"), None)
        if victim is None or victim.process is None:
            raise RehearsalFailed("no payments role runs on the stack now")
        victim.process.send(signal.SIGKILL)

    def open_orders(self) -> list[tuple[str, str]]:
        """See the protocol. The auditor reads what was recorded at the same moment: records lag."""
        left, self._logs = self._of_one_moment(OPEN_ORDERS, LOGS)
        return [(str(name), str(state)) for name, state in left] + notices_to_come(self._event.directory)

    def audit(self, units: int, payers: Mapping[str, str]) -> tuple[tuple[Verdict, ...], dict[str, int]]:
        """See the protocol."""
        found = units_of_logs(self._logs, units)
        verdicts, figures = judge(found, self._event.directory, units, PRICE_MINOR, payers)
        return (*verdicts, self._event.reconcile()), figures

    def stop(self) -> None:
        """See the protocol."""
        self._event.stop_server()

    def _of_one_moment(self, *queries: str) -> list[list[tuple[Any, ...]]]:
        dsn = self._stack.records_dsn.read_text(encoding="ascii")
        try:
            with psycopg.connect(dsn, connect_timeout=CONNECT_MAX_S) as connection:
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                return [connection.execute(query.encode()).fetchall() for query in queries]
        except psycopg.Error as fault:
            raise RehearsalFailed(f"the records cannot be read: {fault}") from fault


def units_of_logs(rows: Iterable[tuple[Any, ...]], units: int) -> Units:
    """Return whose each unit is by the logs of all sets, each read by itself: a unit is granted, taken or sold only
    where it is, and that is one set at a time."""
    logs: dict[str, _Log] = {}
    opened: Counter[int] = Counter()
    moved: Counter[int] = Counter()
    for log, kind, first_slot, count, users, columns in rows:
        one = logs.setdefault(log, _Log())
        if kind == "opened":
            slots = range(first_slot, first_slot + count)
            one.has.update(slots)
            opened.update(slots)
        elif kind in {"taken", "given"}:
            slots_moved = [slot for first, many in json.loads(columns) for slot in range(first, first + many)]
            one.move(slots_moved, there=kind == "given")
            moved.update(slots_moved) if kind == "given" else moved.subtract(slots_moved)
        elif kind in {"scattered", "confirmed", "released"}:
            _, slots_named, _, numbers, *_ = json.loads(columns)
            one.take(kind, list(zip(json.loads(users), slots_named, numbers, strict=True)))
    wrong = [unit for one in logs.values() for unit in one.wrong]
    wrong += [f"unit {slot}" for slot in range(units) if opened[slot] != 1]
    wrong += [f"unit {slot}" for slot, balance in moved.items() if balance > 0]
    sold: dict[int, str] = {}
    for one in logs.values():
        wrong += [f"unit {slot}" for slot in one.sold if slot in sold]
        sold |= one.sold
    held = {slot: user for one in logs.values() for slot, (user, _) in one.holders.items() if slot not in one.sold}
    return Units(sold, held, wrong)


class _Log:
    """What one set's log says."""

    def __init__(self) -> None:
        self.has: set[int] = set()
        self.holders: dict[int, tuple[str, int]] = {}
        self.sold: dict[int, str] = {}
        self.wrong: list[str] = []

    def move(self, slots: Sequence[int], *, there: bool) -> None:
        self.wrong += [f"unit {slot}" for slot in slots if (slot in self.has) is there or slot in self.holders]
        self.has = self.has.union(slots) if there else self.has.difference(slots)

    def take(self, kind: str, named: Sequence[tuple[str, int, int]]) -> None:
        for user, slot, number in named:
            if kind == "scattered":
                if slot in self.holders or slot not in self.has:
                    self.wrong.append(f"unit {slot}")
                self.holders[slot] = user, number
            elif self.holders.get(slot) != (user, number) or slot in self.sold:
                self.wrong.append(f"unit {slot}")
            elif kind == "confirmed":
                self.sold[slot] = user
            else:
                del self.holders[slot]


def sale_on_a_stack(directory: Path, redrush: Sequence[str], short: bool, tell: Callable[[str], None]) -> DrillReport:
    """Play the drill; see the module."""
    shape = SHORT if short else USUAL
    return play_sale(
        directory,
        redrush,
        shape,
        OnAStack,
        tell,
        name="sale-on-a-stack",
        title=f"A flash sale over two sets: {shape.units:,} units, {shape.users:,} people, and a role that dies",
        died="the payments role was killed once. The auditor reads the sets' logs, bank and shop",
    )
