"""Group packets of a campaign, put together: what they stand on, and what serves them."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from redrush.core.identity.tickets import KeyRing
from redrush.core.nobody import ignore
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.group import GroupTerms
from redrush.errors import RedrushError
from redrush.gate.group.counter import Counter
from redrush.gate.group.routes import GiveBack, PacketRoutes
from redrush.gate.lanes import Lane
from redrush.gate.manners import Home
from redrush.gate.rush.group import GroupPackets
from redrush.ports.audience import Followers
from redrush.ports.cashier import Cashier
from redrush.ports.packets import Booked, PacketBook


class Won(msgspec.Struct, frozen=True):
    """A share of a packet that somebody has; `at_us` is microseconds since the Unix epoch."""

    pot: str
    slot: int
    amount_minor: int
    at_us: int


class GroupParts(msgspec.Struct, frozen=True):
    """What packets between people stand on."""

    book: PacketBook
    cashier: Cashier
    homes: Sequence[Home]
    """The sets that packets are at home in, in an order that never changes."""
    give_back: GiveBack
    won: Callable[[str], Awaitable[Sequence[Won]]]
    """Returns the user's grants of packets, as far as they are recorded. Raises RedrushError."""
    followers: Followers | None = None
    """Knows who follows whom; None: nobody does."""
    failed: Callable[[RedrushError], None] = ignore
    """Hears of payments that are tried again."""


class GroupStage(msgspec.Struct, frozen=True):
    """The campaign and the gate that packets are served for, and by."""

    campaign: Campaign
    terms: GroupTerms
    receipts: KeyRing
    lanes: Sequence[Lane]
    """To the sets that packets are at home in, in order."""
    now_us: Callable[[], int]


class ServedGroup:
    """What serves the packets of one campaign at a gate. `start` it once its sets are open, `close` it at the end."""

    def __init__(self, stage: GroupStage, parts: GroupParts) -> None:
        campaign, receipts, now_us = stage.campaign, stage.receipts, stage.now_us
        self._won = parts.won
        self.packets = GroupPackets(campaign, receipts, stage.lanes, self._find, parts.followers, now_us)
        self.counter = Counter(
            campaign, stage.terms, parts.book, parts.cashier, self.packets.lane_of, now_us, failed=parts.failed
        )
        self.routes = PacketRoutes(campaign, stage.terms, receipts, self.packets, self.counter, parts.give_back, now_us)

    def amend(self, terms: GroupTerms) -> None:
        """Let these terms hold for packets that are created from now on."""
        self.counter.terms = terms
        self.routes.amend(terms)

    async def _find(self, packet: str) -> Booked | None:
        return await self.counter.find(packet)

    async def grants_of(self, user: str) -> list[str]:
        """Return the user's grants of packets as JSON, as far as they are recorded. Raises RedrushError."""
        won = await self._won(user)
        return [self.packets.grant_of(one.pot, user, one.slot, one.amount_minor, one.at_us) for one in won]

    def start(self) -> None:
        """Take up payments that were under way when the last life ended."""
        self.counter.start()

    def close(self) -> None:
        """Let no thread outlive the gate."""
        self.counter.close()
