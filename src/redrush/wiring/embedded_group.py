"""Group packets in the serving process: their book, how they are paid, and their expiry."""

import asyncio
from collections.abc import Callable
from typing import Any

from redrush.control.data_dir import DataDir
from redrush.control.packet_tables import with_packets
from redrush.core.rush.group import BALANCE, packet_of
from redrush.core.rush.holding import PotTables
from redrush.errors import RedrushError
from redrush.gate.gate import Gate
from redrush.gate.group.parts import Desk, GroupParts, NotedHome, ServedGroup, Won
from redrush.ports.records import Records
from redrush.ports.store import Store
from redrush.providers.followers import followers_at
from redrush.records.sqlite.book_examining import check_whole
from redrush.records.sqlite.packets import SqlitePacketBook
from redrush.settle.giving_back.expiry import Expiry, GivingBack
from redrush.settle.paying.payments import Payments


def packets_at(data_dir: DataDir) -> SqlitePacketBook:
    """Open the book of packets of a directory, once it was looked through, which a loop that serves others does not
    wait for. ConfigError for a book that is none, or is damaged."""
    check_whole(data_dir.packets)
    return SqlitePacketBook.open_path(data_dir.packets)


class EmbeddedGroup:
    """See the module. Hand its `parts` to the gate, then `start`, then `stop`."""

    def __init__(  # noqa: PLR0913 - the process that it is a part of, by name
        self,
        book: SqlitePacketBook,
        campaign: str,
        home: NotedHome,
        records: Records,
        payments: Payments,
        now_us: Callable[[], int],
        *,
        followers: str | None,
        paused: Callable[[], bool],
        on_fault: Callable[[RedrushError], None],
    ) -> None:
        """`home` is the one set of the embedded form, `followers` where it is asked who follows whom. The book is this
        part's to close."""
        now_s = asyncio.get_running_loop().time
        self._followers = None if followers is None else followers_at(followers, now_s)
        self._book = book
        self._payments = payments
        store: Store = home.store
        self._campaign = campaign
        self._records = records
        self._on_fault = on_fault
        self._group: ServedGroup | None = None
        giving_back = GivingBack(campaign, self._book, self._payments, lambda _packet: store, ended=self._ended)
        self._expiry = Expiry(self._book, giving_back, now_us, paused=paused, on_fault=on_fault)
        self._expiring: asyncio.Task[None] | None = None
        self.parts = GroupParts(
            homes=(home,),
            desk=Desk(self._book, self._payments, giving_back.end),
            won=self._won,
            followers=self._followers,
            failed=on_fault,
        )

    def tables(self, others: PotTables) -> PotTables:
        """Return what finds the tables of packets, and of other pots where `others` does."""
        return with_packets(self._book, others)

    async def _won(self, user: str) -> list[Won]:
        return [
            Won(grant.pot, grant.slot, grant.amount_minor, grant.at_us)
            for grant in await asyncio.to_thread(self._records.grants_of, user)
            if grant.campaign == self._campaign and packet_of(grant.pot) is not None
        ]

    def _ended(self, packet: str) -> None:
        if self._group is not None:
            self._group.packets.ended(packet)

    def start(self, gate: Gate, run: Callable[[str, Any], asyncio.Task[None]]) -> None:
        """Take up what was under way, and end packets at their deadlines; `run` has it done beside everything else."""
        self._group = gate.campaigns[self._campaign].group
        if self._group is not None and (counter := self._group.counter) is not None:
            self._group.start()
            pay = counter.terms.pay
            if pay != BALANCE and not self._payments.can_take(pay):
                self._on_fault(
                    RedrushError(f'packets cannot be paid: the payments file (--payments) has no provider "{pay}"')
                )
        self._expiring = run("expiry of packets", self._expiry.run())

    def any_under_way(self) -> bool:
        """Whether any packet is being paid, or open. Raises BookFailed."""
        return self._book.any_under_way()

    async def stop(self) -> None:
        """End what was begun."""
        self._expiry.stop()
        if self._group is not None and self._group.counter is not None:
            await self._group.counter.drained()
        if self._expiring is not None:
            await asyncio.wait([self._expiring])

    def close(self) -> None:
        """Let go of the files, once the recorder has ended."""
        if self._followers is not None:
            self._followers.close()
        self._book.close()
