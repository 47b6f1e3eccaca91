import hashlib
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.drill.audit import AuditFailed, AuditRound, SealedTable, audit, read_sealed
from redrush.drill.observations import Acknowledged

OPENED = "1970-01-01T00:00:01.500000Z"
ROUND_1 = AuditRound("r1", 0, 4, 1_000_000, 2_000_000, passes_on=True)
ROUND_2 = AuditRound("r2", 4, 2, 1_000_000, 3_000_000, passes_on=False)
SEALED = SealedTable((ROUND_1, ROUND_2), (100, 250, 5, 100, 300, 300), 2)
AMOUNTS = ("1.00", "2.50", "0.05", "1.00", "3.00", "3.00")

Rows = list[dict[str, Any]]


def row(round_id: str, slot: int, user: str) -> dict[str, Any]:
    return {
        "grant": f"c-{round_id}-{slot}", "round": round_id, "slot": slot, "user": user,
        "amount": AMOUNTS[slot], "granted_at": OPENED,
    }  # fmt: skip


def event() -> Rows:
    """Three of four packets in r1; in r2 its own two and the one that was left."""
    return [
        row("r1", 0, "a"),
        row("r1", 1, "b"),
        row("r1", 2, "c"),
        row("r2", 4, "a"),
        row("r2", 5, "d"),
        row("r2", 3, "e"),
    ]


def told(rows: Rows) -> list[Acknowledged]:
    return [
        Acknowledged(r["round"], r["user"], r["grant"], r["slot"], r["amount"], "CNY", r["granted_at"], "receipt")
        for r in rows
    ]


def failed(acknowledged: list[Acknowledged], exported: Rows, breaches: dict[str, int] | None = None) -> list[str]:
    return [verdict.name for verdict in audit(acknowledged, exported, SEALED, breaches).verdicts if not verdict.holds]


def test_an_event_with_leftover_in_the_next_round_holds() -> None:
    found = audit(told(event()), event(), SEALED)
    assert found.holds
    assert found.unheard == 0


def test_a_grant_whose_answer_never_arrived_is_allowed_and_counted() -> None:
    found = audit(told(event()[1:]), event(), SEALED)
    assert found.holds
    assert found.unheard == 1


def edited(index: int, **changes: object) -> Callable[[], Rows]:
    def edit() -> Rows:
        rows = event()
        rows[index].update(changes)
        return rows

    return edit


@pytest.mark.parametrize(
    ("exported", "verdicts"),
    [
        (lambda: event()[1:], ["lost"]),
        (edited(0, user="z"), ["lost"]),
        (edited(1, amount="2.51"), ["wrong amounts"]),
        (edited(0, granted_at="1970-01-01T00:00:00.999999Z"), ["early or late"]),
        (edited(0, granted_at="1970-01-01T00:00:02.000000Z"), ["early or late"]),
        (lambda: [*event(), row("r1", 3, "f")], ["oversold", "doubled slots"]),
        (lambda: [*event()[:-1], row("r1", 3, "a"), row("r2", 3, "e")], ["oversold", "doubled users", "doubled slots"]),
        (lambda: [*event(), row("r1", 0, "a")], ["oversold", "doubled users", "doubled slots", "doubled grants"]),
    ],
)
def test_what_the_export_gets_wrong_is_found(exported: Callable[[], Rows], verdicts: list[str]) -> None:
    assert failed(told(event()), exported()) == verdicts


def test_a_slot_of_a_later_round_is_oversold_even_if_there_is_room() -> None:
    rows = [row("r1", 4, "a")]
    assert failed(told(rows), rows) == ["oversold"]


def test_an_answer_that_tells_another_amount_than_was_sealed_is_found() -> None:
    rows = event()
    rows[0]["amount"] = "9.00"
    assert failed(told(rows), event()) == ["wrong amounts"]


def share(packet: str, slot: int, user: str) -> dict[str, Any]:
    return row("r1", slot, user) | {"round": f"packet:{packet}", "grant": f"c-packet:{packet}-{slot}", "amount": "7.77"}


def test_shares_of_packets_are_no_packets_of_a_round_and_none_is_granted_twice() -> None:
    shares = [share("p", 0, "a"), share("p", 1, "b"), share("q", 0, "a")]
    assert failed(told(event()), [*event(), *shares]) == []
    assert failed(told(event()), [*event(), *shares, share("p", 0, "c")]) == ["doubled slots", "doubled grants"]
    assert failed(told(event()), [*event(), *shares, share("q", 1, "a")]) == ["doubled users"]
    elsewhere = row("r1", 3, "z") | {"round": "r9"}
    assert failed(told(event()), [*event()[:-1], elsewhere]) == ["lost", "oversold", "early or late"]


def test_broken_promises_of_the_gate_fail_the_audit() -> None:
    verdicts = audit([], [], SEALED, {"two_firsts": 2}).verdicts
    assert [verdict.detail for verdict in verdicts if not verdict.holds] == [
        "2 answers that contradict an earlier one; such as two_firsts: 2"
    ]


def test_the_sealed_table_is_read_from_the_data_directory_and_must_match_its_hash(tmp_path: Path) -> None:
    raw = array("q", SEALED.amounts).tobytes()
    rounds = [
        {"id": r.id, "slots": [r.first_slot, r.packets], "opens_us": r.opens_us, "closes_us": r.closes_us,
         "leftover": "next" if r.passes_on else "return"} for r in SEALED.rounds
    ]  # fmt: skip
    sealed = {"amounts_sha256": hashlib.sha256(raw).hexdigest(), "campaign": {"rounds": rounds}}
    (tmp_path / "campaign.json").write_bytes(msgspec.json.encode(sealed))
    (tmp_path / "amounts.i64").write_bytes(raw)
    assert read_sealed(tmp_path, 2) == SealedTable(SEALED.rounds, list(SEALED.amounts), 2)
    (tmp_path / "amounts.i64").write_bytes(raw[:-8] + bytes(8))
    with pytest.raises(AuditFailed, match="not the table that was sealed"):
        read_sealed(tmp_path, 2)
