"""Tells a company's own system of a grant by webhook (Standard Webhooks 1.0): it sends what it likes, to whom it knows.

The body is `{"type": "grant.granted", "timestamp": …, "data": {…}}` with the rendered words and the same for programs,
a code among it where a code was won. So it is also how goods and codes are handed to whoever delivers them. The header
`webhook-id` is the message's number, the same in every repeat: who keeps it does nothing twice.
"""

from typing import Final

from redrush.ports.notifier import Message, Told
from redrush.ports.provider import HandOver, Terms
from redrush.providers.webhook import WebhookOrders

EVENT: Final = "grant.granted"


class WebhookNotifier:
    """Fulfils `redrush.ports.notifier.Notifier` by an adapter that hands things over."""

    repeats = True

    def __init__(self, orders: WebhookOrders) -> None:
        self._orders = orders

    @property
    def terms(self) -> Terms:
        """See the port."""
        return self._orders.terms

    async def send(self, message: Message) -> Told:
        """See the port."""
        said: dict[str, str | int | None] = {
            "to": message.to or None,
            "language": message.language,
            "title": message.title,
            "text": message.text,
        }
        return await self._orders.hand_over(
            HandOver(
                number=message.number, event=EVENT, user=message.user, at_us=message.at_us, fields=message.fields | said
            )
        )

    async def prove(self) -> str | None:
        """See the port: there is no request that would tell nobody anything."""
        return None

    def close(self) -> None:
        """See the port."""
        self._orders.close()
