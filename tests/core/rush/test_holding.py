"""What slots hold: text of it, and a table that is compact and cannot contradict itself."""

from array import array

import pytest

from redrush.core.money import ledger
from redrush.core.money.ledger import LedgerFault, amounts_of
from redrush.core.rush.campaign import Slots
from redrush.core.rush.holding import (
    Code,
    Goods,
    Holding,
    Holds,
    Item,
    Money,
    Part,
    SlotTable,
    Unit,
    text_of,
)

TABLE = SlotTable(
    array("q", [50, 30, 0, 0, 0, 0, 0, 0, 20]),
    [
        Part(Slots(6, 2), Holds.GOODS, ("phone",)),
        Part(Slots(2, 2), Holds.CODE),
        Part(Slots(4, 1), Holds.UNIT),
        Part(Slots(5, 1), Holds.ITEM, ("A-12",)),
    ],
)


@pytest.mark.parametrize(
    ("slot", "holding", "text"),
    [
        (0, Money(50), None),
        (1, Money(30), None),
        (2, Code(0), "code:0"),
        (3, Code(1), "code:1"),
        (4, Unit(), "unit"),
        (5, Item("A-12"), "item:A-12"),
        (7, Goods("phone"), "goods:phone"),
        (8, Money(20), None),
    ],
)
def test_a_slot_holds_what_its_part_says_and_money_elsewhere(slot: int, holding: Holding, text: str | None) -> None:
    assert TABLE.holding(slot) == holding
    assert TABLE.text(slot) == text_of(holding) == text


def test_a_run_is_told_at_once_and_one_of_money_alone_as_nothing() -> None:
    assert TABLE.texts(Slots(0, 2)) is None
    assert TABLE.texts(Slots(1, 3)) == [None, "code:0", "code:1"]
    assert SlotTable([1, 2]).texts(Slots(0, 2)) is None
    assert list(TABLE[0:3]) == [50, 30, 0], "a table is its amounts, for whoever asks for no more"
    assert TABLE[1] == 30
    assert len(TABLE) == 9


def test_a_slot_that_there_is_not_holds_nothing() -> None:
    for slot in (-1, 9):
        with pytest.raises(IndexError, match=str(slot)):
            TABLE.holding(slot)


@pytest.mark.parametrize(
    ("amounts", "parts", "why"),
    [
        ([0, 0, 0], [Part(Slots(0, 2), Holds.UNIT), Part(Slots(1, 2), Holds.CODE)], "overlaps"),
        ([0, 0], [Part(Slots(1, 2), Holds.UNIT)], "beyond"),
        ([0, 7], [Part(Slots(0, 2), Holds.UNIT)], "not 0"),
        ([0, 0], [Part(Slots(0, 2), Holds.ITEM, ("A-1",))], "need 2 names"),
        ([0, 0], [Part(Slots(0, 2), Holds.GOODS)], "need 1 names"),
        ([0, 0], [Part(Slots(0, 2), Holds.UNIT, ("x",))], "need 0 names"),
        ([0, 0], [Part(Slots(0, 0), Holds.UNIT)], "must have slots"),
    ],
)
def test_a_table_that_contradicts_itself_cannot_be_made(amounts: list[int], parts: list[Part], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SlotTable(amounts, parts)


def test_what_holds_no_money_is_worth_nothing_and_moves_none() -> None:
    assert amounts_of(Slots(1, 3), TABLE) == [30, 0, 0]
    assert ledger.taken("r1", [Slots(2, 3)], "t1", TABLE) is None
    mixed = ledger.given("r1", [Slots(1, 3)], "t1", TABLE)
    assert mixed is not None
    assert mixed.amount_minor == 30
    with pytest.raises(LedgerFault, match="at least 1 is due"):
        amounts_of(Slots(0, 2), SlotTable([5, 0]))
