"""The auditor of a sale: journal, bank and shop, each read with SQL of its own, no code of what wrote them.

What has to hold: no unit is somebody's twice, no more are sold than there were, every hold has ended, every payment
bought its payer a unit or went back, also one that came after the bank had said that nobody could pay any more, and the
shop has what was sold and nothing else.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from redrush.drill.audit import Verdict, verdict

SETTLED: Final = frozenset({"returned", "delivered", "refunded"})
EXAMPLES_MAX: Final = 3
BANK: Final = "sandbox.db"
"""The bank's book; the shop's is beside it."""


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


def notices_to_come(directory: Path) -> list[tuple[str, str]]:
    """Return the bank's notices that nobody has taken yet: one of them may tell of money that came late."""
    return [(str(id_), "to be told") for (id_,) in _rows(directory / BANK, "SELECT id FROM notices")]


def open_orders(directory: Path) -> list[tuple[str, str]]:
    """Return id and state of the orders that are not settled, holds that stand in no order, and payments and refunds of
    which not all is done and told."""
    orders = [(str(id_), str(state)) for id_, state in _rows(directory / "sales.db", "SELECT id, state FROM orders")]
    left = [one for one in orders if one[1] not in SETTLED]
    left += [(f"unit {slot}", "held") for slot in _units(directory / "journal.db").held]
    left += [(str(name), str(state)) for name, state in _rows(directory / "payments.db", _MONEY_UNDER_WAY)]
    return left + notices_to_come(directory)


_MONEY_UNDER_WAY: Final = """
SELECT source, state FROM bills WHERE next_us IS NOT NULL OR NOT is_told AND kind <> 'payout'
UNION ALL
SELECT notice, 'not looked into' FROM inbox WHERE NOT is_seen
"""


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


def audit_sale(
    directory: Path, units: int, price_minor: int, payers: Mapping[str, str]
) -> tuple[tuple[Verdict, ...], dict[str, int]]:
    """Return the verdicts, and the counts of the books; see `judge`."""
    return judge(_units(directory / "journal.db"), directory, units, price_minor, payers)


def judge(
    found: Units, directory: Path, units: int, price_minor: int, payers: Mapping[str, str]
) -> tuple[tuple[Verdict, ...], dict[str, int]]:
    """Return the verdicts about units by their logs, and about money. `payers` are whom the crowd knows to have been
    asked to pay, by the bank's number."""
    bank = directory / BANK
    bills = _rows(bank, "SELECT kind, state, number, amount_minor, party FROM bills")
    paid = {number: amount for kind, state, number, amount, _ in bills if (kind, state) == ("payin", "paid")}
    back = {of: amount for kind, state, _, amount, of in bills if (kind, state) == ("refund", "done")}
    late = {str(number) for (number,) in _rows(bank, "SELECT number FROM taken_late")}
    shop = _rows(bank.with_name(f"{bank.name}.shop"), "SELECT taken, body FROM orders")
    taken = Counter(str(json.loads(body)["user"]) for is_taken, body in shop if is_taken)
    bought = Counter(found.sold.values())
    sums = sum(paid.values()) - sum(back.values()), price_minor * len(found.sold)
    strange = [number for number in back if number not in paid or back[number] != paid[number]]
    kept = {number: payers[number] for number in paid if number not in back and number in payers}
    too_much = [user for user, payments in Counter(kept.values()).items() if payments > bought[user]]
    kept_late = late - back.keys()
    elsewhere = [user for user in taken.keys() | bought.keys() if taken[user] != bought[user]]
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
            strange + too_much + ([] if sums[0] == sums[1] else [f"{sums[0]} kept, {sums[1]} due"]),
            "{paid} payments, {back} given back, {sold} units sold: no money without a unit or a refund",
            paid=len(paid),
            back=len(back),
            sold=len(found.sold),
        ),
        _verdict(
            "paid after close",
            [number for number in kept_late if not bought[payers.get(number, "")]],
            "{late} payments came when the bank had said that nobody could pay any more: {kept} bought a unit, {back} "
            "went back",
            late=len(late),
            kept=len(kept_late),
            back=len(late) - len(kept_late),
        ),
        _verdict("the shop", elsewhere, "{wrong} people whose order the shop has otherwise than it was sold"),
    )
    counts = {
        "units_sold": len(found.sold),
        "payments": len(paid),
        "given_back": len(back),
        "paid_after_close": len(late),
        "paid_after_close_given_back": len(late) - len(kept_late),
        "shop_refused": len(shop) - sum(taken.values()),
    }
    return verdicts, counts


def _verdict(name: str, wrong: list[str], pattern: str, **counts: int) -> Verdict:
    values = {key: f"{count:,}" for key, count in {"wrong": len(wrong), **counts}.items()}
    if not wrong:
        return verdict(name, True, pattern, **values)
    return verdict(name, False, pattern, examples=", ".join(wrong[:EXAMPLES_MAX]), **values)
