"""The payments of a process: the book, tellers for the providers of a payments file, and the port for notices.

In the embedded form all campaigns of the process share one, which is the first campaign's directory's: a provider's
pace is the merchant's, not a campaign's.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import msgspec

from redrush.config import PaymentsFile
from redrush.control.data_dir import DataDir
from redrush.control.event import OpenTerms
from redrush.control.sealing import SealedCampaign
from redrush.core.nobody import ignore, never
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.holding import PotTables
from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.errors import RedrushError
from redrush.gate.gate import Gate
from redrush.http.operations import OperationRoute, Operations
from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.ports.bill_book import BillBook
from redrush.ports.provider import Notice, Notices, Probe, Stale
from redrush.ports.records import Balance, Records
from redrush.ports.veil import Veil
from redrush.records.sqlite.bills import BOOK, SqliteBillBook
from redrush.records.sqlite.book_examining import check_whole
from redrush.records.sqlite.book_mark import begin_mark
from redrush.settle.pages import ReadLog
from redrush.settle.paying.payments import Payments, Winnings
from redrush.settle.paying.payouts import EMBEDDED_LOG, AutoPayouts, are_behind
from redrush.settle.paying.purse import Purse
from redrush.settle.selling.steps import Partners
from redrush.wiring.providers import Connected, connected
from redrush.wiring.steering import operation_failed

NOTICES_PATH: Final = "notices"


def bill_book_at(data_dir: DataDir, *, pays: bool) -> SqliteBillBook:
    """Open the bill book of a directory. ConfigError if it is damaged, or gone from a directory that has paid people:
    one begun anew would not know whom. `pays`: it may pay from now on, and that is written down."""
    check_whole(data_dir.payments, BOOK)
    book = SqliteBillBook.open_path(data_dir.payments)
    if pays:
        begin_mark(data_dir.payments)
    return book


class PurseRoutes(msgspec.Struct, frozen=True):
    """What participants ask of their money, as routes."""

    balance: OperationRoute
    payouts: OperationRoute
    pay_out: OperationRoute


class WinningsByCampaign:
    """Asks the records of the campaign that is meant."""

    def __init__(self) -> None:
        self._records: dict[str, Winnings] = {}

    def add(self, campaign: str, records: Winnings) -> None:
        """Ask these for the campaign from now on."""
        self._records[campaign] = records

    @property
    def campaigns(self) -> list[str]:
        """Those whose records are known."""
        return list(self._records)

    def balance(self, campaign: str, account: str) -> Balance:
        """See `redrush.ports.records.Records`. Raises RedrushError for a campaign that is not awake."""
        if campaign not in self._records:
            raise RedrushError(f"the campaign {campaign} is not served here now")
        return self._records[campaign].balance(campaign, account)


class PaymentsPart:
    """See the module. `start` once everybody who is told of payments said so, then `stop`."""

    def __init__(  # noqa: PLR0913 - what it stands on, and what it gives way to
        self,
        file: PaymentsFile | None,
        book: BillBook,
        now_us: Callable[[], int],
        log: Any,
        *,
        currency: str = "",
        paused: Callable[[], bool] = never,
        busy: Callable[[], bool] = never,
        on_fault: Callable[[RedrushError], None] = ignore,
        veil: Veil,
    ) -> None:
        """`veil` hides who gets or pays a bill. Connects to nothing yet. ConfigError for a secret that is not there,
        or a port that is taken."""
        self.winnings = WinningsByCampaign()
        self._purses: dict[str, Purse] = {}
        """By campaign."""
        self.connected: dict[str, Connected] = {}
        self._notices_refused = 0
        """Notices that were forged, too old, or for nobody."""
        self.notices_host = None if file is None or file.listen is None else file.listen.host
        self._reserved: Reserved | None = None
        self._log = log
        self._now_us = now_us
        self._book = book
        if file is not None:
            self.connected = {spec.name: connected(spec, now_us, currency) for spec in file.providers}
            if file.listen is not None:
                self._reserved = Reserved.at(file.listen.host, file.listen.port)
        self.payments = Payments(
            book,
            self.winnings,
            {name: one.provider for name, one in self.connected.items() if one.provider.moves_money},
            now_us,
            paused=paused,
            busy=busy,
            on_fault=on_fault,
            veil=veil,
            on_broken=lambda fault: log.critical("the payments broke off, restart the server soon", fault=repr(fault)),
        )
        self._server = SmallServer(self._hear)

    @property
    def partners(self) -> Partners:
        """Who takes the money of sales, and whose order systems are told."""
        takers = frozenset(name for name in self.connected if self.payments.can_take(name))
        shops = {name: one.orders for name, one in self.connected.items() if one.orders is not None}
        return Partners(takers, shops)

    def readings(self) -> Iterator[Value]:
        """Yield what the tellers have done, which providers are away, how long payouts take, and what became of
        notices."""
        payments = self.payments
        for name, teller in payments.tellers.items():
            for what, count in msgspec.structs.asdict(teller.counts).items():
                yield figures.BILLS(count, name, what)
        for name, away_s in payments.away_s(every=True).items():
            yield figures.PROVIDER_AWAY(away_s, name)
        if self.connected:
            behind_s = payments.under_way.behind_s()
            for campaign in sorted({*self.winnings.campaigns, *behind_s}):
                yield figures.PAYOUTS_BEHIND(behind_s.get(campaign, 0.0)).of_campaign(campaign)
            yield figures.NOTICES_REFUSED(self._notices_refused, "not_genuine")
            yield figures.NOTICES_REFUSED(payments.refused_notices, "not_ours")

    async def listen(self) -> dict[str, int]:
        """Hear notices from now on; return the port, by "notices"."""
        return {} if self._reserved is None else {"notices": await self._server.serve(self._reserved)}

    def start(self) -> None:
        """Look after bills from now on."""
        self.payments.start()

    def serve(self, gate: Gate, campaign: Campaign, open_terms: OpenTerms, records: Records) -> None:
        """Let a campaign's participants ask for their money."""
        self.winnings.add(campaign.id, records)
        served = gate.campaigns[campaign.id]

        async def recorded_seq() -> int:
            return records.cursor()

        purse = self.purse(campaign, open_terms, recorded_seq)
        gate.offer(campaign.id, b"/balance", served.ticketed(b"GET", purse.balance))
        gate.offer(
            campaign.id,
            b"/payouts",
            served.ticketed(b"GET", purse.payouts),
            served.ticketed(b"POST", purse.pay_out, purse.pay_out.reads),
        )

    def purse(self, campaign: Campaign, open_terms: OpenTerms, recorded: Callable[[], Awaitable[int]]) -> PurseRoutes:
        """Return what a campaign's participants ask of their money. `recorded`: how many records of its log count."""
        purse = self._purses[campaign.id] = Purse(self.payments, campaign, open_terms.payout, recorded)
        operations = Operations(operation_failed(self._log))
        self._warn_of(open_terms)
        return PurseRoutes(*map(operations.route, (purse.balance, purse.payouts, purse.pay_out)))

    def amend(self, campaign: Campaign, open_terms: OpenTerms) -> None:
        """Let a campaign's participants be paid by these terms from now on."""
        self._purses[campaign.id].amend(campaign, open_terms.payout)
        self._warn_of(open_terms)

    def _warn_of(self, open_terms: OpenTerms) -> None:
        terms = open_terms.payout
        if terms is not None and not self.payments.can_pay(terms.provider):
            self._log.warning(
                "nobody can be paid: the payments file (--payments) has no such provider", provider=terms.provider
            )

    def is_behind(self, campaign: Campaign, open_terms: OpenTerms, recorded: int) -> bool:
        """Whether a campaign that may be asleep has winners to pay by itself, of so many records. Raises BookFailed."""
        return are_behind(self.payments, campaign, open_terms.payout, self._now_us(), EMBEDDED_LOG, recorded)

    def auto_payouts(
        self,
        sealed: SealedCampaign,
        open_terms: OpenTerms,
        read: ReadLog,
        *,
        log: str = EMBEDDED_LOG,
        pots: PotTables,
        busy: Callable[[], bool],
        on_fault: Callable[[RedrushError], None],
    ) -> AutoPayouts:
        """Return what pays the winners of a log who need not ask."""
        return AutoPayouts(
            self.payments,
            sealed.campaign,
            sealed.amounts,
            open_terms.payout,
            read,
            self._now_us,
            log=log,
            pots=pots,
            busy=busy,
            on_fault=on_fault,
        )

    async def stop(self) -> None:
        """Write down what is under way, and close the book."""
        await self._server.stop()
        await self.payments.stop()
        self.abort()

    def abort(self) -> None:
        """Let go of the port, the connections and the book, before or after anything was begun."""
        if self._reserved is not None:
            self._reserved.close()
        for one in self.connected.values():
            one.close()
        self._book.close()

    async def _hear(self, asked: Asked) -> Reply:
        """Write a genuine notice into the inbox and answer; it is looked into afterwards."""
        root, _, name = asked.path.strip("/").partition("/")
        one = self.connected.get(name)
        if asked.method != "POST" or root != NOTICES_PATH or one is None or one.notices is None:
            return Reply(404)
        said = one.notices.read(asked.headers, asked.body, self._now_us())
        if not isinstance(said, Notice):
            self._notices_refused += 1
            if not isinstance(said, Probe):
                how = "too old" if isinstance(said, Stale) else "not genuine"
                self._log.warning("a notice was refused", provider=name, how=how, why=said.why)
            return _reply(one.notices, "refused")
        try:
            await self.payments.notices_kept(name, [said])
        except RedrushError as fault:
            self._log.error("a notice cannot be kept, the provider sends it again", provider=name, fault=str(fault))
            return _reply(one.notices, "later")
        return _reply(one.notices, "kept")


def _reply(notices: Notices, how: Any) -> Reply:
    status, body = notices.answer(how)
    return Reply(status, body)
