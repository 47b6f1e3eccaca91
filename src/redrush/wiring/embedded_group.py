"""Group packets in the serving process: their book, how they are paid, and their expiry."""

import asyncio

from redrush.control.data_dir import DataDir
from redrush.control.event import Event
from redrush.control.packet_tables import with_packets
from redrush.core.rush.group import packet_of
from redrush.gate.group.parts import NO_SLOTS, GroupParts, NotedHome, ServedGroup, Won
from redrush.providers.followers import followers_at
from redrush.records.sqlite.book_examining import check_whole
from redrush.records.sqlite.packets import BOOK, SqlitePacketBook
from redrush.wiring.embedded_part import EMBEDDED_SET, Part
from redrush.wiring.packet_desk import PacketDesk


def packets_at(data_dir: DataDir) -> SqlitePacketBook:
    """Open the book of packets of a directory, once it was looked through, which a loop that serves others does not
    wait for. ConfigError for a book that is none, or is damaged."""
    check_whole(data_dir.packets, BOOK)
    return SqlitePacketBook.open_path(data_dir.packets)


class OwnPackets(Part):
    """See the module. It is open before the gate, which packets are a part of, and its book is closed after the
    recorder has ended, which looks up there what shares hold."""

    _desk: PacketDesk | None = None
    """None: the campaign has no packets between people, and never had any."""

    async def open(self) -> None:
        """Have the book, if there is to be one."""
        ground, terms = self.ground, self.ground.terms.group
        if terms is None and not ground.data_dir.packets.exists():
            return
        book = self._book = await asyncio.to_thread(packets_at, ground.data_dir)
        ground.opened.callback(book.close)
        ground.tables = with_packets(book, ground.tables)
        followers = None
        if terms is not None and terms.followers is not None:
            followers = followers_at(terms.followers, asyncio.get_running_loop().time)
            ground.opened.callback(followers.close)
        on_fault = ground.process.troubles.listener("packets")
        self._desk = PacketDesk(
            ground.sealed.campaign.id,
            book,
            ground.process.till.part.payments,
            lambda _packet: ground.store,
            ground.process.clock.now_us,
            paused=ground.paused,
            on_fault=on_fault,
        )
        ground.group = GroupParts(
            homes=(NotedHome(EMBEDDED_SET, ground.store, NO_SLOTS),),
            desk=self._desk.desk,
            won=self._won,
            followers=followers,
            failed=on_fault,
        )

    async def _won(self, user: str) -> list[Won]:
        campaign = self.ground.sealed.campaign.id
        return [
            Won(grant.pot, grant.slot, grant.amount_minor, grant.at_us)
            for grant in await asyncio.to_thread(self.ground.records.grants_of, user)
            if grant.campaign == campaign and packet_of(grant.pot) is not None
        ]

    def _served(self) -> ServedGroup | None:
        return self.ground.gate.campaigns[self.ground.sealed.campaign.id].group

    def begin(self) -> None:
        """Take up what was under way, and end packets at their deadlines."""
        if self._desk is not None:
            self._desk.start(self._served(), self.ground.tasks, "the payments file (--payments)")

    def has_unsettled(self) -> bool:
        """Whether any packet is being paid, or open, each of which ends at a deadline of its own, or has not heard yet
        what became of its payment at a provider. Raises BookFailed and RecordsFailed."""
        if self._desk is None:
            return False
        return self._book.any_under_way() or self._desk.has_unheard()

    async def amend(self, event: Event) -> None:
        """Let its terms hold for packets that are created from now on."""
        if event.open.group is not None and (served := self._served()) is not None:
            served.amend(event.open.group)

    async def stop(self) -> None:
        """End what was begun."""
        if self._desk is not None:
            await self._desk.stop()
