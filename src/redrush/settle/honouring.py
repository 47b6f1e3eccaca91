"""A grant that its set has lost is honoured by the receipt in the winner's hand: it is entered again, at its own slot.

Only in the user's home set, where it was granted: that is where one grant per user is kept. It cannot be entered when
the slot has been granted to somebody else since, or has left the round's pot, or when the user has another grant; who
asks is told which, and a person decides.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from itertools import islice
from typing import Final

import msgspec

from redrush.core.identity.receipts import Receipt, verify_receipt
from redrush.core.identity.tickets import KeyRing
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.holding import SlotAmounts, table_of
from redrush.core.sets.division import Division, home
from redrush.ports.store import Granted, Store

Enter = Callable[[str, Granted], Awaitable[str | None]]
"""Enters a grant into the set of this id, durably; returns None, or why it cannot be. May raise StoreUnavailable."""


LOOKED_UP_AT_ONCE: Final = 256
"""Receipts whose grants are looked up together. Most that winners show after a loss are of grants that are there: one
round trip after the other, a hundred thousand of them would be shown for an hour."""


class Honour(StrEnum):
    """What became of a receipt."""

    ENTERED = "entered"
    KNOWN = "known"
    CONFLICT = "conflict"
    NOT_OURS = "not_ours"


class Honoured(msgspec.Struct, frozen=True):
    """What became of a receipt, and why, in words for the person who presented it."""

    outcome: Honour
    why: str
    receipt: Receipt | None


class Honouring:
    """Honours receipts of one campaign. `stores` are by set."""

    def __init__(
        self,
        campaign: Campaign,
        slots: SlotAmounts,
        receipt_keys: KeyRing,
        division: Division,
        stores: Mapping[str, Store],
        enter: Enter,
    ) -> None:
        self._campaign = campaign
        self._slots = table_of(slots)
        self._receipt_keys = receipt_keys
        self._division = division
        self._stores = stores
        self._enter = enter

    async def honour_all(self, receipts: Iterable[str], tell: Callable[[int, Honoured], None]) -> bool:
        """Honour receipts, one a line, in their order; `tell` hears what became of each, by its line from 1. Blank
        lines are passed over. Return False where none of those that were shown is of this campaign: then its winners
        were not heard. Raises StoreUnavailable at the first whose home set cannot be reached."""
        shown, foreign = 0, 0
        lines = ((number, text) for number, text in enumerate(receipts, start=1) if text.strip())
        while some := list(islice(lines, LOOKED_UP_AT_ONCE)):
            looked_up = await asyncio.gather(*(self._look_up(text) for _, text in some), return_exceptions=True)
            for (number, text), found in zip(some, looked_up, strict=True):
                if isinstance(found, BaseException):
                    raise found
                honoured = found if isinstance(found, Honoured) else await self.honour(text)
                shown, foreign = shown + 1, foreign + (honoured.outcome is Honour.NOT_OURS)
                tell(number, honoured)
        return foreign < shown or not shown

    async def honour(self, text: str) -> Honoured:
        """See to it that the grant which the receipt states is there. Doing it again changes nothing.

        Raises StoreUnavailable if the home set cannot be reached.
        """
        receipt = await self._look_up(text)
        if isinstance(receipt, Honoured):
            return receipt
        set_id = self._home(receipt)
        grant = Granted(0, receipt.round, receipt.slot, (receipt.user,), receipt.at_us)
        refused = await self._enter(set_id, grant)
        if refused is not None:
            return Honoured(Honour.CONFLICT, f"set {set_id} cannot take the grant: {refused}", receipt)
        return Honoured(Honour.ENTERED, "the grant was lost and is entered again", receipt)

    async def _look_up(self, text: str) -> Honoured | Receipt:
        """Return what becomes of the receipt; itself if its grant is to be entered, for its user has none."""
        receipt = verify_receipt(self._receipt_keys, text.strip())
        if receipt is None:
            return Honoured(Honour.NOT_OURS, "the receipt was not signed here, or was changed", None)
        if not self._is_of_campaign(receipt):
            return Honoured(Honour.NOT_OURS, "the receipt is signed, but states what this campaign never had", receipt)
        held = await self._stores[self._home(receipt)].find(receipt.round, receipt.user)
        if held is None:
            return receipt
        if held.slot == receipt.slot:
            return Honoured(Honour.KNOWN, "the grant is there", receipt)
        return Honoured(Honour.CONFLICT, f"the user was granted slot {held.slot} since", receipt)

    def _home(self, receipt: Receipt) -> str:
        shares = self._division.shares(receipt.round)
        return shares[home(receipt.user, len(shares))].set

    def _is_of_campaign(self, receipt: Receipt) -> bool:
        return (
            receipt.campaign == self._campaign.id
            and self._campaign.pot(receipt.round) is not None
            and receipt.slot < len(self._slots)
            and int(self._slots[receipt.slot]) == receipt.amount_minor
            and self._slots.text(receipt.slot) == receipt.holds
            and receipt.currency == (self._campaign.currency if receipt.holds is None else "")
        )
