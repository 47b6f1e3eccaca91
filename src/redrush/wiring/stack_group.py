"""Packets between people in the payments role: created, paid, ended, and told of to senders. Grabs are the gates'.

What a gate opens for a winner who shares is in no book at first. It is in the records as soon as it is recorded, and
from there the book hears of it, so it ends at its deadline like any other, and its rest goes back to the sponsor.

Of a campaign that has no packets any more, those that there are end all the same, and nothing of it is served.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

from redrush.config.deployment_file import Duty
from redrush.control.keys import Keys
from redrush.core.identity.tickets import TicketVerifier
from redrush.core.nobody import ignore
from redrush.core.rush.group import GroupTerms, packet_of, payment_of
from redrush.core.rush.packet_note import NotAPacket, packet_in
from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.errors import RedrushError
from redrush.gate.admission import Admission
from redrush.gate.group.parts import GroupParts, GroupStage, NotedHome, ServedGroup
from redrush.gate.lanes import Lane
from redrush.gate.manners import Gauge, shared_manners
from redrush.gate.rush.packet_homes import PacketHome, home_among
from redrush.http.site import Site
from redrush.http.ticket_check import TicketCheck
from redrush.ports.audience import Followers
from redrush.ports.packets import Booked, Stage
from redrush.ports.store import Store
from redrush.providers.followers import followers_at
from redrush.records.postgres.packets import PostgresPacketBook
from redrush.settle.anew import again_whenever_anew
from redrush.settle.paying.payments import Payments
from redrush.stores.valkey import ValkeyStore
from redrush.wiring.campaign_paths import serve_at
from redrush.wiring.packet_desk import PacketDesk
from redrush.wiring.packet_homes import homes_of_packets
from redrush.wiring.role import Parts, Surroundings
from redrush.wiring.set_records import Notes
from redrush.wiring.set_stores import close_all, open_stores

HEARD_AT_ONCE: Final = 1_000
HEAR_S: Final = 0.5
"""How soon the book hears of a packet that is recorded, and after a fault it is tried again."""

REOPENED_AT_ONCE: Final = 256
REST_S: Final = 0.01
"""Between two parts: claims go first."""

GRAB: Final = b"/grab"
"""What is asked of gates alone ends so."""


class StackGroup:
    """See the module. `open` it, then `serve_on` a site, then `start`; `stop` it in the end."""

    def __init__(
        self,
        around: Surroundings,
        terms: GroupTerms | None,
        payments: Payments,
        notes: Mapping[str, Notes],
        *,
        paused: Callable[[], bool],
        on_fault: Callable[[RedrushError], None] = ignore,
    ) -> None:
        """`terms` None: the campaign has no packets any more; see `has_any`. `notes` reads what is recorded of each
        set's log; `paused`: operators want nothing moved now."""
        self._around = around
        self._terms = terms
        self._payments = payments
        self._notes = notes
        self._paused = paused
        self._on_fault = on_fault
        self._campaign = around.sealed.campaign
        self._book = PostgresPacketBook(
            around.deployment.payments.records.read(), self._campaign.id, tell=around.log.info
        )
        self._stores: dict[str, ValkeyStore] = {}
        self._followers: Followers | None = None
        self._homes: list[PacketHome] = []
        self._served: ServedGroup | None = None
        """What people ask; None: nothing is served, or not yet."""

    async def has_any(self) -> bool:
        """Whether there is anything to see to, were there no packets any more: one that is being paid or open, one that
        the book has not heard of, or a payment whose packet has not. Raises BookFailed and RecordsFailed."""
        if await asyncio.to_thread(self._book.any_under_way):
            return True
        if await asyncio.to_thread(self._payments.has_unheard, payment_of(self._campaign.id, "")):
            return True
        for set_id, notes in self._notes.items():
            heard = await asyncio.to_thread(self._book.heard, set_id)
            if await asyncio.to_thread(notes, heard, 1):
                return True
        return False

    async def open(self, keys: Keys) -> None:
        """Find the sets. Raises what `open_stores` and `followers_at` do: then nothing of it is left open."""
        try:
            await self._open(keys)
        except BaseException:
            await self._close()
            raise

    async def _open(self, keys: Keys) -> None:
        around, campaign = self._around, self._campaign
        self._stores = await open_stores(around.deployment, campaign.id, Duty.SETTLEMENT)
        if self._terms is not None and self._terms.followers is not None:
            self._followers = followers_at(self._terms.followers, asyncio.get_running_loop().time)
        homes = homes_of_packets(around, self._stores)
        now_us = around.clock.now_us
        self._desk = PacketDesk(
            campaign.id,
            self._book,
            self._payments,
            self._store_of,
            now_us,
            paused=self._paused,
            on_fault=self._on_fault,
        )
        self._homes = self._homes_of(homes, keys)
        if self._terms is not None:
            parts = GroupParts(homes, self._desk.desk, followers=self._followers, failed=self._on_fault)
            stage = GroupStage(campaign, self._terms, keys.receipts, self._homes, now_us)
            self._served = ServedGroup(stage, parts)

    def _homes_of(self, homes: Sequence[NotedHome], keys: Keys) -> list[PacketHome]:
        """Return the sets with lanes, though no claim takes one from here."""
        terms, now_us = self._around.terms, self._around.clock.now_us
        secret = keys.tickets.keys[keys.tickets.current]
        admission = Admission(terms.admission, secret=secret, interval_ms=terms.client.interval_ms, now_us=now_us)
        manners, gauge = shared_manners(0), Gauge(0, 0)
        return [
            PacketHome(
                Lane(home.set, home.store, manners, gauge, admission=admission, now_us=now_us, failed=self._on_fault),
                home.store,
            )
            for home in homes
        ]

    def _store_of(self, packet: str) -> Store:
        return home_among(self._homes, packet).store

    def serve_on(self, site: Site, keys: Keys) -> None:
        """Serve what senders ask, and what a packet is told to be."""
        tickets = TicketCheck(TicketVerifier(keys.tickets))
        assert self._served is not None
        routes = self._served.routes
        below = [one for one in routes.below() if not one[1].endswith(GRAB)]
        serve_at(site, self._campaign.id, tickets, routes.exact(), below)

    def start(self, parts: Parts) -> None:
        """Take up what was under way, hear of what gates opened, and end packets at their deadlines."""
        self._desk.start(self._served, parts, "the payments file")
        for set_id in self._stores:
            parts.add(f"packets of {set_id}", self._hear(set_id))
        parts.add("packets of sets made anew", again_whenever_anew(self._stores, self._reopen))
        if self._served is not None:
            parts.add("renewing packets", self._renew(self._served))

    def readings(self) -> Iterator[Value]:
        """Yield how many packets were created and paid here."""
        if self._served is not None and (counter := self._served.counter) is not None:
            yield figures.PACKETS(counter.created, "created")
            yield figures.PACKETS(counter.paid, "paid")

    def amend(self, terms: GroupTerms) -> None:
        """Let these terms hold for packets that are created from now on."""
        if self._served is not None:
            self._served.amend(terms)

    @staticmethod
    async def _renew(served: ServedGroup) -> None:
        while True:
            await asyncio.sleep(1.0)
            served.packets.renew()

    async def _hear(self, set_id: str) -> None:
        """Write down, for ever, what the set's log has of packets that gates opened."""
        heard: int | None = None
        while True:
            more = False
            try:
                if heard is None:
                    heard = await asyncio.to_thread(self._book.heard, set_id)
                found = await asyncio.to_thread(self._notes[set_id], heard, HEARD_AT_ONCE)
                if found:
                    await asyncio.to_thread(self._book.hear, set_id, found[-1][0], self._shared(found))
                    heard, more = found[-1][0], len(found) == HEARD_AT_ONCE
            except RedrushError as fault:
                self._on_fault(fault)
            await asyncio.sleep(REST_S if more else HEAR_S)

    def _shared(self, found: Sequence[tuple[int, str, str]]) -> list[Booked]:
        """Return those that nobody but the sponsor pays: all others are in the book already."""
        shared = []
        for _, pot, note in found:
            if (id_ := packet_of(pot)) is None:
                continue
            try:
                packet = packet_in(note, id_)
            except NotAPacket as fault:
                self._on_fault(RedrushError(str(fault)))
                continue
            if packet.sponsored:
                shared.append(Booked(packet, Stage.OPEN))
        return shared

    async def _reopen(self) -> None:
        """Have every packet open that the book says is: a set that was made anew may lack the last ones."""
        after = ""
        while True:
            try:
                some = await asyncio.to_thread(self._book.opened, after, REOPENED_AT_ONCE)
                await self._open_each(some)
            except RedrushError as fault:
                self._on_fault(fault)
                await asyncio.sleep(HEAR_S)
                continue
            if len(some) < REOPENED_AT_ONCE:
                return
            after = some[-1].packet.id
            await asyncio.sleep(REST_S)

    async def _open_each(self, booked: Sequence[Booked]) -> None:
        by_home: dict[PacketHome, list[Booked]] = {}
        for one in booked:
            by_home.setdefault(home_among(self._homes, one.packet.id), []).append(one)
        opening: list[Awaitable[None]] = [
            home.store.open([home.terms(one.packet) for one in some]) for home, some in by_home.items()
        ]
        await asyncio.gather(*opening)

    async def close(self) -> None:
        """Let go of what was never opened."""
        await self._close()

    async def stop(self) -> None:
        """End what was begun; the tasks of `start` were ended."""
        await self._desk.stop()
        if self._served is not None:
            self._served.close()
        await self._close()

    async def _close(self) -> None:
        if self._followers is not None:
            self._followers.close()
        await close_all(self._stores)
        await asyncio.to_thread(self._book.close)
