"""Orders for a shop by webhook: `WebhookOrders`."""

from redrush.providers.webhook.orders import WebhookOrders

__all__ = ["WebhookOrders"]
