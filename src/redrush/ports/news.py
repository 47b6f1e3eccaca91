"""News of a set: what gates should learn in milliseconds, pushed to whoever listens.

News is a hint. It may be lost, repeated or late, and whoever listens polls behind it; nothing is decided by news alone
except what costs nothing when wrong.
"""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec


class SoldOut(msgspec.Struct, frozen=True, tag_field="news", tag="sold_out"):
    """Every slot of the round, in whatever set, is granted."""

    round: str


class Refilled(msgspec.Struct, frozen=True, tag_field="news", tag="refilled"):
    """The round has slots again."""

    round: str


class NewTerms(msgspec.Struct, frozen=True, tag_field="news", tag="terms"):
    """The set has a new primary or another durability, under this epoch."""

    epoch: int


News = SoldOut | Refilled | NewTerms


class NewsLine(Protocol):
    """Where the news of one set is told and heard."""

    async def publish(self, news: News) -> None:
        """Tell everyone who listens now. Raises StoreUnavailable when nobody can be told."""

    def news(self) -> AsyncIterator[News]:
        """Yield what is told from now on, for as long as the line is open; go on by itself after a lost connection."""
