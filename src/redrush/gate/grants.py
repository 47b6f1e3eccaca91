"""A grant as participants see it: the JSON object that carries the amount and the receipt."""

from collections.abc import Sequence

from redrush.core.identity.receipts import ReceiptSigner
from redrush.core.identity.tickets import KeyRing
from redrush.core.money.currency import format_amount
from redrush.core.rush.campaign import Campaign, Pot, grant_id
from redrush.core.rush.instants import rfc3339

AMOUNTS_REMEMBERED_MAX = 65_536
"""Amounts whose text is remembered: an event has some thousand."""


class _AmountTexts(dict[int, str]):
    """What a grant says of its amount, by minor units; made when it is first asked for."""

    __slots__ = ("_currency",)

    def __init__(self, currency: str) -> None:
        super().__init__()
        self._currency = currency

    def __missing__(self, minor: int) -> str:
        if len(self) >= AMOUNTS_REMEMBERED_MAX:
            self.clear()
        text = self[minor] = f',"amount":"{format_amount(minor, self._currency)}'
        return text


class GrantWriter:
    """Writes the grants of one pot. No value in it needs escaping: ids, numbers and receipts are plain ASCII."""

    def __init__(self, campaign: Campaign, pot: Pot, amounts: Sequence[int], receipt_keys: KeyRing) -> None:
        self._amounts = amounts
        self._sign = ReceiptSigner(receipt_keys, campaign.id, pot.id, campaign.currency).sign
        self._amount_texts = _AmountTexts(campaign.currency)
        self._id_prefix = f'{{"id":"{grant_id(campaign.id, pot.id, 0)[:-1]}'
        self._round = f'","round":"{pot.round.id}","slot":'
        self._currency = f'","currency":"{campaign.currency}","granted_at":"'
        self._at_us = -1
        self._granted_at = ""
        """The text of that instant, and what is around it: a batch has one."""

    def write(self, user: str, slot: int, at_us: int) -> str:
        """Return the grant of `slot` to `user` at `at_us` (µs since the epoch) as a JSON object."""
        if at_us != self._at_us:
            self._at_us, self._granted_at = at_us, f'{self._currency}{rfc3339(at_us)}","receipt":"'
        amount_minor = self._amounts[slot]
        number = str(slot)
        return (
            f"{self._id_prefix}{number}{self._round}{number}{self._amount_texts[amount_minor]}{self._granted_at}"
            f'{self._sign(slot, amount_minor, user, at_us)}"}}'
        )
