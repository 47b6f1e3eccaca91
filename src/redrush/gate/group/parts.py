"""Group packets of a campaign, put together: what they stand on, and what serves them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from redrush.core.identity.tickets import KeyRing
from redrush.core.nobody import ignore
from redrush.core.rush.campaign import Campaign, Slots
from redrush.core.rush.group import GroupTerms, Packet
from redrush.errors import RedrushError
from redrush.gate.group.counter import Counter
from redrush.gate.group.counter_routes import CounterRoutes, GiveBack
from redrush.gate.group.finding import InBook, by_note
from redrush.gate.group.routes import PacketRoutes
from redrush.gate.group.splitting import split_packet
from redrush.gate.group.telling import Telling
from redrush.gate.manners import Home
from redrush.gate.rush.group import Find, Found, GroupPackets
from redrush.gate.rush.packet_homes import PacketHome
from redrush.ports.audience import Followers
from redrush.ports.cashier import Cashier
from redrush.ports.noted_pots import NotedStore
from redrush.ports.packets import Booked, BookFailed, PacketBook

NO_SLOTS: Final = Slots(0, 0)
"""Of a home of packets: each brings its own."""


class Won(msgspec.Struct, frozen=True):
    """A share of a packet that somebody has; `at_us` is microseconds since the Unix epoch."""

    pot: str
    slot: int
    amount_minor: int
    at_us: int


class NotedHome(Home, frozen=True):
    """A set that packets are at home in."""

    store: NotedStore


class Desk(msgspec.Struct, frozen=True):
    """What is needed where packets are created, paid and ended."""

    book: PacketBook
    cashier: Cashier
    give_back: GiveBack


async def nothing_recorded(_user: str) -> Sequence[Won]:
    """Nobody has anything: this process has no records."""
    return ()


class GroupParts(msgspec.Struct, frozen=True):
    """What packets between people stand on."""

    homes: Sequence[NotedHome]
    """The sets that packets are at home in, in an order that never changes."""
    desk: Desk | None = None
    """None: this process lets people grab packets, and knows nothing of money."""
    won: Callable[[str], Awaitable[Sequence[Won]]] = nothing_recorded
    """Returns the user's grants of packets, as far as they are recorded. Raises RedrushError."""
    followers: Followers | None = None
    """Knows who follows whom; None: nobody does."""
    failed: Callable[[RedrushError], None] = ignore
    """Hears of payments that are tried again."""


class GroupStage(msgspec.Struct, frozen=True):
    """The campaign and the process that packets are served for, and by."""

    campaign: Campaign
    terms: GroupTerms
    receipts: KeyRing
    homes: Sequence[PacketHome]
    """The sets that packets are at home in, in order."""
    now_us: Callable[[], int]


class ServedGroup:
    """What serves the packets of a campaign in a process. `start` it once its sets are open, `close` it at the end."""

    def __init__(self, stage: GroupStage, parts: GroupParts) -> None:
        campaign, receipts, now_us = stage.campaign, stage.receipts, stage.now_us
        self._won = parts.won
        self._terms = stage.terms
        self._now_us = now_us
        self.packets = GroupPackets(campaign, receipts, stage.homes, self._found, parts.followers, now_us)
        self.counter: Counter | None = None
        """Where packets are created and paid; None: in another process."""
        telling = Telling(campaign.currency, self.packets, now_us)
        home_of = self.packets.home_of
        self._find: Find = by_note
        self.routes = PacketRoutes(self.packets, telling)
        if parts.desk is not None:
            desk = parts.desk
            counter = self.counter = Counter(
                campaign, stage.terms, desk.book, desk.cashier, home_of, now_us, failed=parts.failed
            )
            self.routes = CounterRoutes(stage.terms, receipts, self.packets, telling, counter, desk.give_back, now_us)
            if all(home.store.knows_all for home in stage.homes):
                self._find = InBook(counter)

    def amend(self, terms: GroupTerms) -> None:
        """Let these terms hold for packets that are created from now on."""
        self._terms = terms
        if self.counter is not None:
            self.counter.terms = terms
        self.routes.amend(terms)

    async def _found(self, home: PacketHome, packets: Sequence[str]) -> Sequence[Found | BookFailed | None]:
        return await self._find(home, packets)

    async def share(self, packet: Packet) -> str | None:
        """Have a packet that is the sponsor's open, or the one that was opened under the same name, and return its id;
        None: too many are under way. Raises BookFailed and what stores raise.

        Where the packet's set is shared with other processes it is enough: the note is what there is of the packet, and
        the book learns of it from the records. So nobody but the set is needed for people to share.
        """
        home = self.packets.home_of(packet.id)
        if not home.store.knows_all:
            await home.store.open([home.terms(split_packet(packet, self._terms, self._now_us()))])
            return packet.id
        if self.counter is None:
            return None
        booked = await self.counter.create(packet)
        if isinstance(booked, Booked):
            paid = await self.counter.pay(booked.packet)
            if isinstance(paid, Packet):
                return paid.id
        return None

    async def grants_of(self, user: str) -> list[str]:
        """Return the user's grants of packets as JSON, as far as they are recorded. Raises RedrushError."""
        won = await self._won(user)
        write = self.packets.grants.write
        return [write(one.pot, user, one.slot, one.amount_minor, one.at_us) for one in won]

    def start(self) -> None:
        """Take up payments that were under way when the last life ended."""
        if self.counter is not None:
            self.counter.start()

    def close(self) -> None:
        """Let no packet stay live, and no thread outlive the gate."""
        self.packets.close()
        if self.counter is not None:
            self.counter.close()
