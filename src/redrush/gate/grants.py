"""A grant as participants see it: the JSON object that carries the amount and the receipt."""

from collections.abc import Sequence
from functools import lru_cache

from redrush.core.identity.receipts import ReceiptSigner
from redrush.core.identity.tickets import KeyRing
from redrush.core.money.currency import format_amount
from redrush.core.rush.campaign import Campaign, Round, grant_id
from redrush.core.rush.instants import rfc3339

TEXTS_REMEMBERED_MAX = 65_536
"""Amounts and instants whose text is remembered: an event has some thousand amounts, a batch has one instant."""


class GrantWriter:
    """Writes the grants of one round. No value in it needs escaping: ids, numbers and receipts are plain ASCII."""

    def __init__(self, campaign: Campaign, round_: Round, amounts: Sequence[int], receipt_keys: KeyRing) -> None:
        self._amounts = amounts
        self._sign = ReceiptSigner(receipt_keys, campaign.id, round_.id, campaign.currency).sign
        self._amount_text = lru_cache(TEXTS_REMEMBERED_MAX)(lambda minor: format_amount(minor, campaign.currency))
        self._instant_text = lru_cache(TEXTS_REMEMBERED_MAX)(rfc3339)
        self._id_prefix = f'{{"id":"{grant_id(campaign.id, round_.id, 0)[:-1]}'
        self._round = f'","round":"{round_.id}","slot":'
        self._currency = f'","currency":"{campaign.currency}","granted_at":"'

    def write(self, user: str, slot: int, at_us: int) -> str:
        """Return the grant of `slot` to `user` at `at_us` (µs since the epoch) as a JSON object."""
        amount_minor = self._amounts[slot]
        return (
            f'{self._id_prefix}{slot}{self._round}{slot},"amount":"{self._amount_text(amount_minor)}{self._currency}'
            f'{self._instant_text(at_us)}","receipt":"{self._sign(slot, amount_minor, user, at_us)}"}}'
        )
