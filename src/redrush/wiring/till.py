"""The till of a process: who moves money for all its campaigns, and who tells their winners."""

import asyncio
from collections.abc import Callable
from typing import Any

from redrush.config import PaymentsFile
from redrush.control.data_dir import DataDir
from redrush.control.event import OpenTerms
from redrush.control.personal_data import PersonalData
from redrush.control.sealing import SealedCampaign
from redrush.core.nobody import never
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.holding import PotTables
from redrush.errors import RedrushError
from redrush.ports.bill_book import BillBook
from redrush.settle.pages import ReadLog
from redrush.settle.paying.payouts import EMBEDDED_LOG
from redrush.wiring.messages import MessagesPart, Shelf
from redrush.wiring.paying import PaymentsPart
from redrush.wiring.role import Parts
from redrush.wiring.troubles import Troubles


class Till:
    """See the module. `start` once everybody who is told of payments said so, then `stop`."""

    def __init__(  # noqa: PLR0913 - the books, and what gives way to what
        self,
        file: PaymentsFile | None,
        data_dir: DataDir,
        book: BillBook,
        shelf: Shelf,
        now_us: Callable[[], int],
        log: Any,
        troubles: Troubles,
        *,
        currency: str,
        paused: Callable[[], bool] = never,
        busy: Callable[[], bool] = never,
    ) -> None:
        """`file` None: nobody moves money, and nobody is told. `data_dir` is the first campaign's. `paused` tells
        whether operators want nothing moved now, `busy` whether a gate beside it is. Connects to nothing yet.
        ConfigError for a payments file that is wrong, or a port that is taken."""
        self.part = PaymentsPart(
            file,
            book,
            now_us,
            log,
            currency=currency,
            paused=paused,
            busy=busy,
            on_fault=troubles.listener("payments"),
            veil=PersonalData(data_dir),
        )
        try:
            self.messages = MessagesPart(
                () if file is None else file.notifiers,
                data_dir,
                shelf,
                now_us,
                log,
                busy=lambda: busy() or paused(),
                on_fault=troubles.listener("messages"),
            )
        except BaseException:
            self.part.abort()
            raise

    def start(self) -> None:
        """Look after bills and messages from now on."""
        self.part.start()
        self.messages.start()

    def is_behind(self, campaign: Campaign, terms: OpenTerms, recorded: int) -> bool:
        """Whether a campaign that may be asleep has winners to pay by itself, or to tell, of so many records. Raises
        BookFailed."""
        return any(one.is_behind(campaign, terms, recorded) for one in (self.part, self.messages))

    async def stop(self) -> None:
        """Write down what is under way, and close the books."""
        await self.messages.stop()
        await self.part.stop()

    def abort(self) -> None:
        """Let go of everything, before anything was begun."""
        self.messages.abort()
        self.part.abort()


class OfLog:
    """Pays and tells the winners of one log of a campaign, as it is recorded."""

    def __init__(  # noqa: PLR0913 - a log, and what goes on around it
        self,
        till: Till,
        sealed: SealedCampaign,
        terms: OpenTerms,
        read: ReadLog,
        *,
        log: str = EMBEDDED_LOG,
        pots: PotTables,
        busy: Callable[[], bool],
        on_fault: Callable[[RedrushError], None],
    ) -> None:
        """`log` names it, `busy` tells whether claims wait, or operators want nobody paid now."""
        self._payouts = till.part.auto_payouts(sealed, terms, read, log=log, pots=pots, busy=busy, on_fault=on_fault)
        self._announcer = till.messages.announcer(sealed, terms, read, log=log, pots=pots, busy=busy)

    def start(self, parts: Parts, of_log: str = "") -> None:
        """Follow it from now on."""
        self._tasks = [
            parts.add(f"payouts{of_log}", self._payouts.run()),
            parts.add(f"messages{of_log}", self._announcer.run()),
        ]

    def is_behind(self, recorded: int) -> bool:
        """Whether winners are still to be paid or told by itself, of so many records."""
        return self._payouts.is_behind(recorded) or self._announcer.is_behind(recorded)

    def amend(self, campaign: Campaign, terms: OpenTerms) -> None:
        """Pay by these terms, and say what they say."""
        self._payouts.amend(campaign, terms.payout)
        self._announcer.amend(campaign, terms.messages)

    def stop(self) -> None:
        """End after the pages under way; who is recorded later is paid and told after the next start."""
        self._payouts.stop()
        self._announcer.stop()

    async def ended(self) -> None:
        """Return when it is."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
