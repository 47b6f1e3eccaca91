"""The role that moves money: it pays winners, hears providers' notices, and serves balances and payouts. It tells
winners what they have won, too.

One process has the bills of all campaigns of a deployment, for a provider's pace is the merchant's. Gates know nothing
of it, and it of them: what was won it reads from the records. A second process of the role waits, and pays and tells
nobody, until the first has said nothing for a while (`redrush.records.postgres.lease`).

Each campaign is served by a site of its own, at the port of the first.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from redrush.config import load_payments_file
from redrush.control.data_dir import DataDir
from redrush.control.keys import Keys, load_keys
from redrush.control.pot_file import PotFile
from redrush.core.identity.tickets import TicketVerifier
from redrush.core.rush.group import GroupTerms
from redrush.core.sets.address import Address
from redrush.core.steering import figures
from redrush.core.steering.figure import Value, readings_of
from redrush.core.steering.figures import Interface
from redrush.core.steering.quantiles import LatelyTook
from redrush.errors import RedrushError
from redrush.gate.open_files import limits_of
from redrush.http.server import Server
from redrush.http.site import Site
from redrush.http.ticket_check import TicketCheck
from redrush.ports.message_book import MessageBook
from redrush.records.postgres.bills import PostgresBillBook
from redrush.records.postgres.messages import PostgresMessageBook
from redrush.wiring.campaign_paths import prefixes_of
from redrush.wiring.following import Reporting, SettlementPause, listen_to_switches
from redrush.wiring.role import Offstage, Parts, Role, Surroundings, ready_unless
from redrush.wiring.set_records import RecordedWins
from redrush.wiring.stack_group import StackGroup
from redrush.wiring.stack_sale import StackSale
from redrush.wiring.till import OfLog, Till
from redrush.wiring.troubles import Troubles

PACKETS_LEFT_S: Final = 5.0
"""How often packets are looked for in a campaign that has none any more."""


class DeploymentShelf:
    """The book of messages of a deployment is where its bills are."""

    def __init__(self, dsn: str, teller: str, log: Any) -> None:
        """Connects to nothing yet."""
        self._dsn = dsn
        self._teller = teller
        self._log = log

    @staticmethod
    def has_book() -> bool:
        """It is not looked into here: the database may be away when the process begins."""
        return True

    def open(self) -> MessageBook:
        """Connects to nothing yet."""
        return PostgresMessageBook(self._dsn, self._teller, tell=self._log.info)


class StackTill(Till):
    """That of a deployment, whose books are in a database."""

    def __init__(self, around: Surroundings, troubles: Troubles, pause: SettlementPause) -> None:
        """Connects to nothing yet. ConfigError for a payments file that is wrong, or a port that is taken."""
        of_role, log = around.deployment.payments, around.log
        dsn, teller = of_role.records.read(), f"{socket.gethostname()} {around.control}"
        self.book = PostgresBillBook(dsn, teller, tell=log.info)
        super().__init__(
            None if of_role.file is None else load_payments_file(of_role.file),
            around.data_dir,
            self.book,
            DeploymentShelf(dsn, teller, log),
            around.clock.now_us,
            log,
            troubles,
            currency=around.sealed.campaign.currency,
            paused=pause,
        )

    def why_not_ready(self) -> str | None:
        """Return why this process pays nobody now, in words."""
        if self.book.is_standby:
            return "another payments process looks after the bills; this one takes over when that is silent"
        return None


class PaymentsRole(Offstage):
    """See the module."""

    def __init__(self, around: Surroundings, address: Address | None, first: "PaymentsRole | None" = None) -> None:
        """`first` is the role of the first campaign, whose till and port serve this one too; `address` is None then."""
        self._around = around
        self._address = address
        self._first = first
        self._troubles = Troubles(around.log)
        self._parts = Parts()
        self._pause = SettlementPause()
        self._following: list[OfLog] = []
        self._wins: RecordedWins | None = None
        self._till: StackTill | None = None
        self._server = Server([])
        self._group: StackGroup | None = None
        self._sale: StackSale | None = None

    def for_campaign(self, around: Surroundings) -> Role:
        """Return the role of another campaign, over the same till."""
        return PaymentsRole(around, None, self)

    @property
    def till(self) -> StackTill:
        """Where the money is, once started."""
        assert self._till is not None
        return self._till

    async def start(self, control: Site) -> dict[str, Address]:
        around = self._around
        self._wins = await asyncio.to_thread(RecordedWins, around.deployment.sets)
        self._till = StackTill(around, self._troubles, self._pause) if self._first is None else self._first.till
        keys = load_keys(DataDir(around.deployment.data))
        verifier = TicketVerifier(keys.tickets)
        self._tickets = TicketCheck(verifier)
        self.site = Site(limits_of(around.terms.gate, around.log), verifier, around.clock.now_us)
        self._serve_purse(self.site, self._wins)
        if around.terms.group is not None:
            group = self._packets(around.terms.group, self._wins)
            await group.open(keys)
            group.serve_on(self.site, keys)
            self._group = group
        self._reporting = Reporting(around, "payments")
        await listen_to_switches(around, self._parts, self._troubles, self._pause.apply, self._reporting.apply)
        self._follow(self._wins)
        if self._group is not None:
            self._group.start(self._parts)
        else:
            self._parts.add("packets that are left", self._end_packets(self._wins, keys))
        await self._sell()
        times = self.site.times
        took = LatelyTook(lambda: {Interface.PAYMENTS: times}, asyncio.get_running_loop().time)
        self._parts.add("readings", self._reporting.run(lambda: readings_of([*self.till.part.readings(), *took()])))
        if self._address is None:
            return {}
        return await self._open(self._address)

    async def _open(self, address: Address) -> dict[str, Address]:
        """Of the first: hear notices, look after bills and messages, and let participants in."""
        assert self.site is not None
        part = self.till.part
        self.site.elsewhere = self.elsewhere
        found = {name: Address(str(part.notices_host), port) for name, port in (await part.listen()).items()}
        self.till.start()
        port = await self._server.listen(self.site, address.host, address.port, reuse_port=True)
        return {"payments": Address(address.host, port), **found}

    def _packets(self, terms: GroupTerms | None, wins: RecordedWins) -> StackGroup:
        return StackGroup(
            self._around,
            terms,
            self.till.part.payments,
            wins.notes(),
            paused=self._pause,
            on_fault=self._troubles.listener("packets"),
        )

    async def _end_packets(self, wins: RecordedWins, keys: Keys) -> None:
        """The campaign has no packets between people: end those of before, when it had. They are looked for again and
        again, for the database may be away, and what gates have opened comes there late."""
        left, told = self._packets(None, wins), self._troubles.listener("packets")
        try:
            while not await self._are_there(left, told):
                await asyncio.sleep(PACKETS_LEFT_S)
            await left.open(keys)
        except BaseException:
            await left.close()
            raise
        self._group = left
        left.start(self._parts)

    @staticmethod
    async def _are_there(left: StackGroup, told: Callable[[RedrushError], None]) -> bool:
        try:
            return await left.has_any()
        except RedrushError as fault:
            told(fault)
            return False

    async def _sell(self) -> None:
        """Have flash sales from now on, if the campaign has any; another process of the role leads their orders on
        while that one pays."""
        assert self.site is not None
        assert self._wins is not None
        if not self._around.sealed.campaign.sells:
            return
        till = self.till
        sale = StackSale(
            self._around,
            till.part.payments,
            till.part.partners,
            self._wins.records(),
            paused=lambda: self._pause() or till.book.is_standby,
            on_fault=self._troubles.listener("sales"),
        )
        await sale.open()
        sale.serve_on(self.site, self._tickets)
        sale.room.start(self._parts)
        self._sale = sale

    def _serve_purse(self, site: Site, wins: RecordedWins) -> None:
        campaign = self._around.sealed.campaign
        part = self.till.part
        part.winnings.add(campaign.id, wins)
        routes = part.purse(campaign, self._around.terms, wins.recorded)
        for prefix in prefixes_of(campaign.id):
            site.add(b"GET", prefix + b"/balance", site.timed(routes.balance), needs_ticket=True)
            site.add(b"GET", prefix + b"/payouts", site.timed(routes.payouts), needs_ticket=True)
            site.add(b"POST", prefix + b"/payouts", routes.pay_out, needs_ticket=True, reads=routes.pay_out.reads)

    def _follow(self, wins: RecordedWins) -> None:
        """Pay winners, and tell them, as it is recorded what they have won."""
        around = self._around
        self.till.messages.serve(around.data_dir, around.sealed.campaign, around.terms)
        for set_id, read in wins.logs().items():
            of_log = OfLog(
                self.till,
                around.sealed,
                around.terms,
                read,
                log=set_id,
                pots=wins.tables(set_id, PotFile(around.data_dir.pots).table),
                busy=self._pause,
                on_fault=self._troubles.listener("payouts"),
            )
            of_log.start(self._parts, f" of {set_id}")
            self._following.append(of_log)

    async def _stop_following(self) -> None:
        for one in self._following:
            one.stop()
        await asyncio.gather(*(one.ended() for one in self._following))
        self._following.clear()

    async def amend(self, around: Surroundings) -> bool:
        """Go on as this event: connections, the bills and the notices' port stay."""
        assert self.site is not None
        assert self._wins is not None
        self._around = around
        await self._stop_following()
        self._serve_purse(self.site, self._wins)
        self._follow(self._wins)
        if self._group is not None and around.terms.group is not None:
            self._group.amend(around.terms.group)
        if self._sale is None:
            await self._sell()
        else:
            self._sale.amend(around)
        return True

    def readiness(self) -> bytes:
        away = [f"provider {name} is away for {one:.0f} s" for name, one in self.till.part.payments.away_s().items()]
        told = {"providers": "; ".join(away)} if away else {}
        return ready_unless(self.till.why_not_ready() or self._troubles.current(), **told)

    def readings(self) -> Iterator[Value]:
        assert self.site is not None
        yield figures.CONNECTIONS(len(self.site.connections))
        yield figures.ANSWER_SECONDS.of(self.site.times, Interface.PAYMENTS)
        yield from self.till.part.readings()
        if self._group is not None:
            yield from self._group.readings()
        yield from self._reporting.readings()
        yield from self._troubles.readings()

    def failed(self) -> Awaitable[None]:
        return self._parts.failed()

    async def stop(self) -> None:
        await self._server.stop()
        await self._stop_following()
        if self._sale is not None:
            await self._sale.stop()
        await self._parts.cancel()
        if self._group is not None:
            await self._group.stop()
        if self._till is not None and self._first is None:
            await self._till.stop()
        if self._wins is not None:
            await asyncio.to_thread(self._wins.close)
