"""What a buyer may ask about a unit that is held for them, as a gate's port hands it on. Nothing of it is a claim."""

from typing import Any, Protocol

import msgspec

from redrush.ports.provider import DESK, Device


class Told(msgspec.Struct, frozen=True):
    """An answer: its HTTP status, and its fields. Of a refusal `detail` says what to do."""

    status: int
    fields: dict[str, Any]
    detail: str = ""
    retry_after_s: int | None = None


class Wish(msgspec.Struct, frozen=True):
    """What a buyer may add: where to send it, as the shop knows the address (None: as ever), and what they pay with."""

    address: str | None = None
    device: Device = DESK


class Buying(Protocol):
    """Answers buyers. Every call may take as long as a provider does, and raises only RedrushError."""

    async def pay(self, user: str, grant: str, wish: Wish) -> Told:
        """Begin to pay for what is held, or say how far that is. Asking again is harmless."""

    async def give_back(self, user: str, grant: str) -> Told:
        """Let somebody else have it."""

    async def send_to(self, user: str, grant: str, wish: Wish) -> Told:
        """Have it sent elsewhere, as long as the shop does not have the order."""

    async def orders_of(self, user: str) -> list[dict[str, Any]]:
        """Return what the user has begun to buy."""
