"""A grant that its set has lost is honoured by the receipt in the winner's hand: it is entered again, at its own slot.

Only in the user's home set, where it was granted: that is where one grant per user is kept. It cannot be entered when
the slot has been granted to somebody else since, or has left the round's pot, or when the user has another grant; who
asks is told which, and a person decides.
"""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum

import msgspec

from redrush.core.identity.receipts import Receipt, verify_receipt
from redrush.core.identity.tickets import KeyRing
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.holding import SlotAmounts, table_of
from redrush.core.sets.division import Division, home
from redrush.ports.store import Granted, Store

Enter = Callable[[str, Granted], Awaitable[str | None]]
"""Enters a grant into the set of this id, durably; returns None, or why it cannot be. May raise StoreUnavailable."""


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

    async def honour(self, text: str) -> Honoured:
        """See to it that the grant which the receipt states is there. Doing it again changes nothing.

        Raises StoreUnavailable if the home set cannot be reached.
        """
        receipt = verify_receipt(self._receipt_keys, text.strip())
        if receipt is None:
            return Honoured(Honour.NOT_OURS, "the receipt was not signed here, or was changed", None)
        if not self._is_of_campaign(receipt):
            return Honoured(Honour.NOT_OURS, "the receipt is signed, but states what this campaign never had", receipt)
        shares = self._division.shares(receipt.round)
        set_id = shares[home(receipt.user, len(shares))].set
        held = await self._stores[set_id].find(receipt.round, receipt.user)
        if held is not None and held.slot == receipt.slot:
            return Honoured(Honour.KNOWN, "the grant is there", receipt)
        if held is not None:
            return Honoured(Honour.CONFLICT, f"the user was granted slot {held.slot} since", receipt)
        grant = Granted(0, receipt.round, receipt.slot, (receipt.user,), receipt.at_us)
        refused = await self._enter(set_id, grant)
        if refused is not None:
            return Honoured(Honour.CONFLICT, f"set {set_id} cannot take the grant: {refused}", receipt)
        return Honoured(Honour.ENTERED, "the grant was lost and is entered again", receipt)

    def _is_of_campaign(self, receipt: Receipt) -> bool:
        return (
            receipt.campaign == self._campaign.id
            and self._campaign.pot(receipt.round) is not None
            and receipt.slot < len(self._slots)
            and int(self._slots[receipt.slot]) == receipt.amount_minor
            and self._slots.text(receipt.slot) == receipt.holds
            and receipt.currency == (self._campaign.currency if receipt.holds is None else "")
        )
