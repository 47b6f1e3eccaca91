"""Looks at what a sale has left behind, with SQL of its own: no code of redrush is asked.

The journal says who held which unit, and what became of it; the bank's book what was paid and went back; the shop's
what it has. Each of the three was written by somebody else.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Left(NamedTuple):
    """What is left of a sale: units sold for good, units only held, users with a sold unit."""

    sold: dict[int, str]
    held: dict[int, str]


def _rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def units_in(journal: Path) -> Left:
    """Return whose each unit is, by the journal's rows alone. Raises if a unit is somebody's twice."""
    holders: dict[int, tuple[str, int]] = {}
    sold: dict[int, str] = {}
    for kind, users_text, columns in _rows(journal, "SELECT kind, users, slots FROM log ORDER BY seq"):
        if kind not in {"scattered", "confirmed", "released"}:
            continue
        users, (_, slots, _, numbers, *_) = json.loads(str(users_text)), json.loads(str(columns))
        for user, slot, number in zip(users, slots, numbers, strict=True):
            if kind == "scattered":
                assert slot not in holders, f"unit {slot} is held by {holders[slot]} and {user}"
                holders[slot] = user, number
                continue
            assert holders[slot] == (user, number), f"{kind}: unit {slot} of {user} is {holders[slot]}'s"
            assert slot not in sold, f"{kind}: unit {slot} was sold to {sold[slot]}"
            if kind == "confirmed":
                sold[slot] = user
            else:
                del holders[slot]
    held = {slot: user for slot, (user, _) in holders.items() if slot not in sold}
    return Left(sold, held)


def audit(root: Path, units: int, price_minor: int) -> dict[str, int]:
    """Return the counts of the sale. Raises unless every cent that came has a unit or went back."""
    sold, held = units_in(root / "data" / "journal.db")
    assert not held, "a hold was not resolved"
    assert len(sold) <= units
    return audit_money(root, sold, price_minor)


def audit_money(root: Path, sold: Mapping[int, str], price_minor: int) -> dict[str, int]:
    """Return the counts, by the books of bank and shop beside whose each sold unit is. Raises as `audit` does."""
    bills = _rows(root / "bank.db", "SELECT kind, state, number, amount_minor, party FROM bills")
    paid = {str(number): amount for kind, state, number, amount, _ in bills if (kind, state) == ("payin", "paid")}
    back = {str(of): amount for kind, state, _, amount, of in bills if (kind, state) == ("refund", "done")}
    pending = [number for kind, state, number, *_ in bills if kind == "refund" and state != "done"]
    shop = _rows(root / "bank.db.shop", "SELECT id, taken, body FROM orders")
    taken = Counter(json.loads(str(body))["user"] for _, is_taken, body in shop if is_taken)
    assert not pending, "money is on its way still"
    assert set(paid.values()) <= {price_minor}
    assert back.keys() <= paid.keys()
    assert all(amount == price_minor for amount in back.values())
    assert len(paid) - len(back) == len(sold), "a payment without a unit, or a unit without a payment"
    assert taken == Counter(sold.values()), "the shop has other orders than were sold"
    return {"sold": len(sold), "paid": len(paid), "back": len(back), "refused": len(shop) - sum(taken.values())}
