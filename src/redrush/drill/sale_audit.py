"""The auditor of a sale: journal, bank and shop, each read with SQL of its own, no code of what wrote them.

What has to hold: no unit is somebody's twice, no more are sold than there were, every hold has ended, every payment has
a unit or went back, and the shop has what was sold and nothing else.
"""

import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

from redrush.drill.audit import Verdict, verdict

SETTLED: Final = frozenset({"returned", "delivered", "refunded"})
EXAMPLES_MAX: Final = 3


class Units(NamedTuple):
    """Whose each unit is, and what the log says that cannot be."""

    sold: dict[int, str]
    held: dict[int, str]
    wrong: list[str]


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def open_orders(directory: Path) -> list[tuple[str, str]]:
    """Return id and state of the orders that are not settled, and holds that stand in no order."""
    orders = [(str(id_), str(state)) for id_, state in _rows(directory / "sales.db", "SELECT id, state FROM orders")]
    left = [one for one in orders if one[1] not in SETTLED]
    return left + [(f"unit {slot}", "held") for slot in _units(directory / "journal.db").held]


def _units(journal: Path) -> Units:
    holders: dict[int, tuple[str, int]] = {}
    sold: dict[int, str] = {}
    wrong: list[str] = []
    query = "SELECT kind, users, slots FROM log WHERE kind IN ('scattered', 'confirmed', 'released') ORDER BY seq"
    for kind, users_text, columns in _rows(journal, query):
        users, (_, slots, _, numbers, *_) = json.loads(users_text), json.loads(columns)
        for user, slot, number in zip(users, slots, numbers, strict=True):
            if kind == "scattered":
                if slot in holders:
                    wrong.append(f"unit {slot}")
                holders[slot] = user, number
            elif holders.get(slot) != (user, number) or slot in sold:
                wrong.append(f"unit {slot}")
            elif kind == "confirmed":
                sold[slot] = user
            else:
                del holders[slot]
    return Units(sold, {slot: user for slot, (user, _) in holders.items() if slot not in sold}, wrong)


def audit_sale(directory: Path, units: int, price_minor: int) -> tuple[tuple[Verdict, ...], dict[str, int]]:
    """Return the verdicts, and the counts of the books."""
    return judge(_units(directory / "journal.db"), directory, units, price_minor)


def judge(found: Units, directory: Path, units: int, price_minor: int) -> tuple[tuple[Verdict, ...], dict[str, int]]:
    """Return the verdicts about units by their logs, and about money. The bank's book is `sandbox.db`, the shop's
    beside it."""
    bank = directory / "sandbox.db"
    bills = _rows(bank, "SELECT kind, state, number, amount_minor, party FROM bills")
    paid = {number: amount for kind, state, number, amount, _ in bills if (kind, state) == ("payin", "paid")}
    back = {of: amount for kind, state, _, amount, of in bills if (kind, state) == ("refund", "done")}
    shop = _rows(bank.with_name(f"{bank.name}.shop"), "SELECT taken, body FROM orders")
    taken = Counter(str(json.loads(body)["user"]) for is_taken, body in shop if is_taken)
    sums = sum(paid.values()) - sum(back.values()), price_minor * len(found.sold)
    strange = [number for number in back if number not in paid or back[number] != paid[number]]
    elsewhere = [user for user in taken.keys() | set(found.sold.values()) if taken[user] != _has(found, user)]
    verdicts = (
        _verdict("a unit of two", found.wrong, "{wrong} of {units} units were somebody's twice", units=units),
        _verdict(
            "oversold",
            ["too many"] * max(0, len(found.sold) - units),
            "{sold} units sold and {left} left of {units}",
            sold=len(found.sold),
            left=units - len(found.sold),
            units=units,
        ),
        _verdict("holds", [f"unit {slot}" for slot in found.held], "{wrong} holds without an end"),
        _verdict(
            "money",
            strange + ([] if sums[0] == sums[1] else [f"{sums[0]} kept, {sums[1]} due"]),
            "{paid} payments, {back} given back, {sold} units sold: no money without a unit or a refund",
            paid=len(paid),
            back=len(back),
            sold=len(found.sold),
        ),
        _verdict("the shop", elsewhere, "{wrong} people whose order the shop has otherwise than it was sold"),
    )
    refused = len(shop) - sum(taken.values())
    counts = {"units_sold": len(found.sold), "payments": len(paid), "given_back": len(back), "shop_refused": refused}
    return verdicts, counts


def _has(found: Units, user: str) -> int:
    return sum(owner == user for owner in found.sold.values())


def _verdict(name: str, wrong: list[str], pattern: str, **counts: int) -> Verdict:
    values = {key: f"{count:,}" for key, count in {"wrong": len(wrong), **counts}.items()}
    if not wrong:
        return verdict(name, True, pattern, **values)
    return verdict(name, False, pattern, examples=", ".join(wrong[:EXAMPLES_MAX]), **values)
