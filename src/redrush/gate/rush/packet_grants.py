"""Grants of packets between people, as they are told: with the amount, and a receipt for it."""

from redrush.core.identity.receipts import ReceiptSigner
from redrush.core.identity.tickets import KeyRing
from redrush.core.money.currency import format_amount
from redrush.core.rush.campaign import Campaign, grant_id
from redrush.core.rush.group import packet_of
from redrush.core.rush.instants import rfc3339


class PacketGrantWriter:
    """Writes grants of any packet of a campaign."""

    def __init__(self, campaign: Campaign, receipts: KeyRing) -> None:
        self._campaign = campaign
        self._receipts = receipts

    def write(self, pot: str, user: str, slot: int, amount_minor: int, at_us: int) -> str:
        """Return a grant of the packet with this pot as JSON. No value in it needs escaping: ids, numbers and receipts
        are plain ASCII."""
        campaign = self._campaign
        signer = ReceiptSigner(self._receipts, campaign.id, pot, campaign.currency)
        return (
            f'{{"id":"{grant_id(campaign.id, pot, slot)}","packet":"{packet_of(pot)}","slot":{slot},'
            f'"amount":"{format_amount(amount_minor, campaign.currency)}","currency":"{campaign.currency}",'
            f'"granted_at":"{rfc3339(at_us)}","receipt":"{signer.sign(slot, amount_minor, user, at_us)}"}}'
        )
