"""What shares of packets hold, found by the notes of their pots."""

import pytest

from redrush.core.rush.campaign import Kind, Slots
from redrush.core.rush.group import POT_PREFIX, Packet
from redrush.core.rush.holding import SlotTable, no_pots
from redrush.core.rush.packet_note import note_of
from redrush.ports.records import Posted, ScatteredGrants
from redrush.ports.store import Grant, Opened, Scattered
from redrush.settle import noted_tables
from redrush.settle.interpret import Interpreter
from redrush.settle.noted_tables import NotedTables
from tests.settle.event import campaign_of

CAMPAIGN, AMOUNTS = campaign_of(3)


def noted(number: int) -> tuple[str, str]:
    packet = Packet(
        id=f"{number:032x}", sender="ann", kind=Kind.LUCKY, total_minor=10, count=2, paid_us=1, amounts=(3, 7)
    )
    return packet.pot, note_of(packet)


def test_a_table_that_came_by_is_at_hand_and_older_ones_are_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(noted_tables, "TABLES_MAX", 2)
    notes = dict(noted(number) for number in range(3))

    def find(pot: str) -> str | None:
        asked.append(pot)
        return notes.get(pot)

    tables = NotedTables(find, lambda pot: SlotTable([5]) if pot == "other" else None)
    for pot, note in notes.items():
        tables.hear(pot, note)
    first, *last = notes
    assert [list(tables.table(pot) or ()) for pot in last] == [[3, 7], [3, 7]]
    assert asked == []
    assert list(tables.table(first) or ()) == [3, 7]
    assert asked == [first]
    assert tables.table(f"{POT_PREFIX}unknown") is None
    assert list(tables.table("other") or ()) == [5]
    assert tables.table("r1") is None
    assert asked == [first, f"{POT_PREFIX}unknown"]


def test_a_packet_is_funded_and_granted_by_what_its_pot_was_opened_with() -> None:
    tables = NotedTables(lambda _pot: None, no_pots)
    interpreter = Interpreter(CAMPAIGN, AMOUNTS, "s1", tables.table, tables.hear)
    pot, note = noted(1)
    opened = interpreter.change(Opened(1, pot, Slots(0, 2), note=note))
    assert isinstance(opened, Posted)
    assert [(one.debit_account, one.credit_account, one.amount_minor) for one in opened.postings] == [
        ("sponsor", f"round:{pot}", 10)
    ]
    granted = interpreter.change(Scattered(2, (Grant(pot, "bob", 1),), 5))
    assert isinstance(granted, ScatteredGrants)
    assert list(granted.amounts_minor) == [7]
