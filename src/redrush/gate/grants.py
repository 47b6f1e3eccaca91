"""A grant as participants see it: the JSON object that carries what was won, and the receipt."""

import json
from collections.abc import Callable

from redrush.core.identity.receipts import ReceiptSigner
from redrush.core.identity.tickets import KeyRing
from redrush.core.money.currency import format_amount
from redrush.core.rush.campaign import Campaign, Pot, grant_id
from redrush.core.rush.holding import Code, SlotAmounts, table_of, text_of
from redrush.core.rush.instants import rfc3339

AMOUNTS_REMEMBERED_MAX = 65_536
"""Amounts whose text is remembered: an event has some thousand."""

CodesOf = Callable[[str, int], str]
"""Returns the code at a place of the list of a pot."""


class AmountTexts(dict[int, tuple[str, str]]):
    """What a grant says of its amount, and what its receipt says of it, by minor units; made when it is first asked
    for."""

    __slots__ = ("_currency", "_signer")

    def __init__(self, currency: str, signer: ReceiptSigner) -> None:
        super().__init__()
        self._currency = currency
        self._signer = signer

    def __missing__(self, minor: int) -> tuple[str, str]:
        if len(self) >= AMOUNTS_REMEMBERED_MAX:
            self.clear()
        texts = self[minor] = f',"amount":"{format_amount(minor, self._currency)}', self._signer.worth(minor)
        return texts


class GrantWriter:
    """Writes the grants of one pot. Ids, numbers and receipts are plain ASCII; what may not be is escaped."""

    def __init__(
        self,
        campaign: Campaign,
        pot: Pot,
        slots: SlotAmounts,
        receipt_keys: KeyRing,
        codes: CodesOf | None = None,
    ) -> None:
        """`slots` are the campaign's; `codes` finds the codes of pots that hold some."""
        table = self._table = table_of(slots)
        self._pot = pot.id
        self._codes = codes
        self._amounts = table.amounts
        self._signer = ReceiptSigner(receipt_keys, campaign.id, pot.id, campaign.currency)
        self._amount_texts = AmountTexts(campaign.currency, self._signer)
        self._id_prefix = f'{{"id":"{grant_id(campaign.id, pot.id, 0)[:-1]}'
        self._round = f'","round":"{pot.round.id}",{_prize_text(pot)}"slot":'
        self._currency = f'","currency":"{campaign.currency}","granted_at":"'
        self._at_us = -1
        self._granted_at = ""
        """The text of that instant, and what is around it up to the receipt's front: a batch has one."""
        if table.part_of(pot.slots.first) is not None:  # a pot's slots hold all the same kind of thing
            self.write = self._write_holding  # type: ignore[method-assign]

    def write(self, user: str, slot: int, at_us: int) -> str:
        """Return the grant of `slot` to `user` at `at_us` (µs since the epoch) as a JSON object."""
        if at_us != self._at_us:
            self._at_us = at_us
            self._granted_at = f'{self._currency}{rfc3339(at_us)}","receipt":"{self._signer.front}'
        told, worth = self._amount_texts[self._amounts[slot]]
        number = str(slot)
        return (
            f"{self._id_prefix}{number}{self._round}{number}{told}{self._granted_at}"
            f'{self._signer.sign_after_front(number, worth, user, at_us)}"}}'
        )

    def _write_holding(self, user: str, slot: int, at_us: int) -> str:
        """The same where the pot holds no money. A code is shown here, to its owner, and nowhere else."""
        holding = self._table.holding(slot)
        holds = text_of(holding) or ""
        code = ""
        if isinstance(holding, Code) and self._codes is not None:
            code = f'"code":{json.dumps(self._codes(self._pot, holding.index))},'
        return (
            f'{self._id_prefix}{slot}{self._round}{slot},"holds":{json.dumps(holds)},{code}'
            f'"granted_at":"{rfc3339(at_us)}","receipt":"{self._signer.sign_holding(slot, holds, user, at_us)}"}}'
        )


def _prize_text(pot: Pot) -> str:
    prize = None if pot.prize is None or pot.round.draw is None else pot.round.draw.prize(pot.prize)
    return "" if prize is None else f'"prize":"{prize.id}","prize_name":{json.dumps(prize.name)},'
