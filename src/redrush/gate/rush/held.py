"""Grants that are held, as their users see them: with their deadline, and without a receipt until they are for good."""

from redrush.core.money.currency import format_amount
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.instants import rfc3339
from redrush.core.rush.sale import SaleTerms
from redrush.gate.grants import GrantWriter
from redrush.ports.store import Claimed
from redrush.ports.store import Held as HeldUnit

_RECEIPT = ',"receipt":"'


class Held:
    """Writes the grants of one pot of holds."""

    def __init__(self, writer: GrantWriter, campaign: Campaign, terms: SaleTerms) -> None:
        self.price = format_amount(terms.price_minor, campaign.currency)
        self.currency = campaign.currency
        self._write = writer.write

    def grant(self, user: str, claimed: Claimed) -> tuple[str, str]:
        """Return the grant as a JSON object, and what follows it in an answer: the hold once more, "" if it is none.

        A receipt says that something is somebody's for good, so what is only held has none.
        """
        grant = self._write(user, claimed.slot, claimed.at_us)
        if not isinstance(claimed, HeldUnit) or claimed.until_us is None:
            return grant, ""
        hold = f'"hold":{{"expires_at":"{rfc3339(claimed.until_us)}"}}'
        return f"{grant[: grant.rindex(_RECEIPT)]},{hold}}}", f",{hold}"
