"""What slots hold: money, or a code, a unit, a listed item, goods. A store knows none of it; it hands out integers.

A `SlotTable` says it for every slot of a campaign, or of one pot that is no round and numbers its slots for itself. It
is fixed before anybody can claim, and compact: eight bytes a slot for the amounts, and one `Part` for each run of slots
that hold no money, however long the run is. A slot that holds no money is worth nothing: its amount is 0.

Rejected: a value for each slot (a hundred bytes for each of twelve million), and a number for each kind beside the
amounts (all but a few of them would say "money").
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from redrush.core.rush.campaign import Campaign, Round, Slots
from redrush.core.rush.draw import PrizeKind

if TYPE_CHECKING:  # a server that restarts splits nothing and should not wait for numpy
    import numpy as np
    import numpy.typing as npt

SlotAmounts: TypeAlias = "Sequence[int] | npt.NDArray[np.int64] | SlotTable"
"""Minor units by slot: element k is what slot k is worth (a list, an array, a numpy array, a table)."""


class Money(msgspec.Struct, frozen=True, gc=False):
    """An amount in minor units of the campaign's currency, 1 or more."""

    minor: int


class Code(msgspec.Struct, frozen=True, gc=False):
    """The code at this place of its list, from 0. The code itself is a secret, and is not in the table."""

    index: int


class Unit(msgspec.Struct, frozen=True, gc=False):
    """One of many that are alike."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """A thing of its own from a list, such as a seat."""

    id: str


class Goods(msgspec.Struct, frozen=True, gc=False):
    """A prize that is sent to its winner."""

    prize: str


Holding = Money | Code | Unit | Item | Goods


def text_of(holding: Holding) -> str | None:
    """Return how records, exports and receipts name what a slot holds: `code:7`, `unit`, `item:A-12`, `goods:phone`;
    None for money, which is said by its amount."""
    match holding:
        case Money():
            return None
        case Code(index):
            return f"code:{index}"
        case Unit():
            return "unit"
        case Item(id_):
            return f"item:{id_}"
        case Goods(prize):
            return f"goods:{prize}"


class Holds(StrEnum):
    """What the slots of a part hold."""

    CODE = "code"
    UNIT = "unit"
    ITEM = "item"
    GOODS = "goods"


class Part(msgspec.Struct, frozen=True):
    """A run of slots that hold no money, and all the same kind of thing.

    `names` are the ids of its items, one for each slot in order, or the one prize that all its goods are. Codes are
    numbered from the first slot of the part on, and they and units have no names.
    """

    slots: Slots
    holds: Holds
    names: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise ValueError for a part that cannot be, with what would be right."""
        due = {Holds.ITEM: self.slots.count, Holds.GOODS: 1}.get(self.holds, 0)
        if self.slots.first < 0 or self.slots.count < 1:
            raise ValueError(f"a part of a slot table must have slots, this one has {self.slots}")
        if len(self.names) != due:
            raise ValueError(f"{self.slots.count} slots of {self.holds} need {due} names, there are {len(self.names)}")

    def at(self, slot: int) -> Holding:
        """Return what a slot of the part holds."""
        match self.holds:
            case Holds.CODE:
                return Code(slot - self.slots.first)
            case Holds.UNIT:
                return Unit()
            case Holds.ITEM:
                return Item(self.names[slot - self.slots.first])
            case Holds.GOODS:
                return Goods(self.names[0])


class SlotTable:
    """What each of the slots 0, 1, … holds. Indexed like a sequence it gives amounts in minor units, 0 for no money."""

    def __init__(self, amounts: SlotAmounts, parts: Sequence[Part] = ()) -> None:
        """`amounts` is kept, not copied. Raises ValueError for parts that overlap, reach beyond the amounts, have wrong
        names, or lie over an amount that is not 0."""
        self.amounts = amounts
        self.set_parts(parts)

    def set_parts(self, parts: Sequence[Part]) -> None:
        """Have these parts from now on: the amounts have grown, and some of what was added holds no money. Raises
        ValueError as the constructor does; then nothing is changed."""
        parts = tuple(sorted(parts, key=lambda part: part.slots.first))
        end = 0
        for part in parts:
            part.check()
            if part.slots.first < end or part.slots.end > len(self):
                raise ValueError(f"{part.slots} overlaps another part, or reaches beyond {len(self)} slots")
            if any(self.amounts[part.slots.first : part.slots.end]):
                raise ValueError(f"{part.slots} holds no money, but an amount that is not 0")
            end = part.slots.end
        self.parts = parts
        self._firsts = [part.slots.first for part in parts]

    def __len__(self) -> int:
        return len(self.amounts)

    def __iter__(self) -> Iterator[int]:
        return iter(self.amounts)

    def __getitem__(self, at: Any) -> Any:
        return self.amounts[at]

    def part_of(self, slot: int) -> Part | None:
        """Return the part that the slot is in, or None where it holds money."""
        at = bisect_right(self._firsts, slot) - 1
        return self.parts[at] if at >= 0 and slot < self.parts[at].slots.end else None

    def holding(self, slot: int) -> Holding:
        """Return what the slot holds. Raises IndexError for one that there is not."""
        if not 0 <= slot < len(self.amounts):
            raise IndexError(f"there is no slot {slot} among {len(self.amounts)}")
        part = self.part_of(slot)
        return Money(int(self.amounts[slot])) if part is None else part.at(slot)

    def text(self, slot: int) -> str | None:
        """Return what the slot holds as `text_of` does, None for money."""
        part = self.part_of(slot)
        return None if part is None else text_of(part.at(slot))

    def texts(self, run: Slots) -> list[str | None] | None:
        """Return what each slot of the run holds, as text; None where all of it is money, which costs no look."""
        if not self.parts:
            return None
        texts = [self.text(slot) for slot in range(run.first, run.end)]
        return texts if any(text is not None for text in texts) else None


PotTables = Callable[[str], SlotTable | None]
"""Finds the table of a pot that is no round, by its name; None: there is no such pot. Its slots are numbered from 0."""


def parts_of(campaign: Campaign) -> list[Part]:
    """Return the parts of a campaign's slots that hold no money: they follow from what was agreed for its rounds."""
    return [part for round_ in campaign.rounds for part in _parts_of(round_)]


def _parts_of(round_: Round) -> Iterator[Part]:
    if round_.sale is not None:
        items = round_.sale.items
        yield Part(round_.slots, Holds.ITEM if items else Holds.UNIT, items)
    if round_.draw is None:
        return
    for prize, pot in zip(round_.draw.prizes, round_.pots, strict=True):
        if prize.holds is PrizeKind.CODE:
            yield Part(pot.slots, Holds.CODE)
        elif prize.holds is PrizeKind.GOODS:
            yield Part(pot.slots, Holds.GOODS, (prize.id,))


def table_of(amounts: SlotAmounts) -> SlotTable:
    """Return the table, or one of these amounts, which are all money."""
    return amounts if isinstance(amounts, SlotTable) else SlotTable(amounts)


def no_pots(_pot: str) -> SlotTable | None:
    """Every pot is a round."""
    return None
