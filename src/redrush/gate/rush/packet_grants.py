"""Grants of packets between people, as they are told: with the amount, and a receipt for it."""

from typing import Final

from redrush.core.identity.receipts import ReceiptSigner
from redrush.core.identity.tickets import KeyRing
from redrush.core.rush.campaign import Campaign, grant_id_prefix
from redrush.core.rush.group import POT_PREFIX
from redrush.core.rush.instants import rfc3339
from redrush.gate.grants import AmountTexts

_PREFIX_SIGNS: Final = len(POT_PREFIX)


class PacketGrantWriter:
    """Writes grants of any packet of a campaign."""

    def __init__(self, campaign: Campaign, receipts: KeyRing) -> None:
        self._signer = ReceiptSigner(receipts, campaign.id, "", campaign.currency)
        self._id_prefix = f'{{"id":"{grant_id_prefix(campaign.id, "")[:-1]}'
        self._amounts = AmountTexts(campaign.currency, self._signer)
        self._currency = f'","currency":"{campaign.currency}","granted_at":"'
        self._at_us = -1
        self._granted_at = ""
        """The text of that instant, and what is around it up to the receipt's front: a batch has one."""

    def write(self, pot: str, user: str, slot: int, amount_minor: int, at_us: int) -> str:
        """Return a grant of the packet with this pot as JSON. No value in it needs escaping: ids, numbers and receipts
        are plain ASCII."""
        if at_us != self._at_us:
            self._at_us = at_us
            self._granted_at = f'{self._currency}{rfc3339(at_us)}","receipt":"{self._signer.front}'
        told, worth = self._amounts[amount_minor]
        number = str(slot)
        receipt = self._signer.sign_after_front(f"{pot}~{number}", worth, user, at_us)
        return (
            f'{self._id_prefix}{pot}-{number}","packet":"{pot[_PREFIX_SIGNS:]}",'
            f'"slot":{number}{told}{self._granted_at}{receipt}"}}'
        )
