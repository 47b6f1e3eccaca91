"""The payments part: one teller for each provider over one book, the inbox of notices, and who is told what has ended.

It fulfils `redrush.ports.cashier.Cashier`. It lives on an event loop and calls the book in a thread of its own, so that
neither a disk nor a provider that hangs is in anybody's way.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

from redrush.core.money.clearing import credited, spent
from redrush.core.money.ledger import user_account
from redrush.core.nobody import ignore, never
from redrush.errors import RedrushError
from redrush.ports.bill_book import BillBook, BillState, Entered, Entry, KeptBill, KeptNotice, NewBill, NotCovered
from redrush.ports.cashier import Hear, Owned, Spending
from redrush.ports.provider import DESK, Device, Notice
from redrush.ports.records import Balance
from redrush.ports.veil import NoVeil, Veil
from redrush.settle.paying import steps
from redrush.settle.paying.owners import AT_ONCE_MAX, Owners, refund_of
from redrush.settle.paying.teller import Provider, Teller
from redrush.settle.paying.under_way import UnderWay

LOOK_AGAIN_S: Final = 1.0
"""How soon what another process put into the book, or what could not be told, is looked after."""

BILLS_OF_USER_MAX: Final = 1_000
"""Bills that are read to say what is on its way to a user."""

_T = TypeVar("_T")
_SETTLED: Final = frozenset({BillState.OPEN, BillState.HELD})


class Winnings(Protocol):
    """The part of the records that says what was won."""

    def balance(self, campaign: str, account: str) -> Balance:
        """See `redrush.ports.records.Records`."""


class Payments:
    """See the module. `start`, then `stop`."""

    def __init__(  # noqa: PLR0913 - what it stands on, and what it gives way to
        self,
        book: BillBook,
        winnings: Winnings,
        providers: Mapping[str, Provider],
        now_us: Callable[[], int],
        *,
        paused: Callable[[], bool] = never,
        busy: Callable[[], bool] = never,
        on_fault: Callable[[RedrushError], None] = ignore,
        on_broken: Callable[[BaseException], None] = ignore,
        veil: Veil | None = None,
    ) -> None:
        """`veil` hides who gets or pays a bill, where that is more than a user's id; None: nothing is.
        `winnings` says what users were granted; `on_fault` hears of faults before they are tried again, `on_broken` of
        what nobody thought of, after which this part has to be started again. `paused` and `busy`: see `Teller`."""
        self.book = book
        self.veil = veil or NoVeil()
        self.refused_notices = 0
        """Genuine ones that say something else than our bill, and are not believed."""
        self._winnings = winnings
        self._now_us = now_us
        self._on_fault = on_fault
        self._on_broken = on_broken
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="redrush-payments")
        self.tellers = {
            name: Teller(
                book,
                provider,
                now_us,
                self._thread,
                changed=self._changed,
                paused=paused,
                busy=busy,
                on_fault=on_fault,
                veil=self.veil,
            )
            for name, provider in providers.items()
        }
        self._owners = Owners(book, self._in_thread, self.make, now_us, on_fault)
        self._waiting: defaultdict[tuple[str, str], list[asyncio.Future[KeptBill]]] = defaultdict(list)
        self.under_way = UnderWay(book, now_us)
        self._look = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to look after what is in the book."""
        self._tasks = [asyncio.create_task(teller.run(), name=name) for name, teller in self.tellers.items()]
        self._tasks.append(asyncio.create_task(self._look_after(), name="payments"))
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._on_broken(fault)

    async def stop(self) -> None:
        """Begin nothing more, write down what is under way, and let go of the thread. The book stays open."""
        self._stopping = True
        for teller in self.tellers.values():
            teller.stop()
        self._look.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._thread.shutdown()

    # -- the port

    def can_take(self, provider: str) -> bool:
        """See the port."""
        teller = self.tellers.get(provider)
        return teller is not None and teller.provider.pay_in is not None

    def can_pay(self, provider: str) -> bool:
        """Whether there is a provider of that name that pays people."""
        teller = self.tellers.get(provider)
        return teller is not None and teller.provider.pay_out is not None

    async def charge(  # noqa: PLR0913 - a bill's plain values
        self,
        source: str,
        *,
        campaign: str,
        user: str,
        provider: str,
        currency: str,
        amount_minor: int,
        subject: str,
        expires_us: int,
        account: str = "",
        device: Device = DESK,
        wait_s: float = 3.0,
    ) -> KeptBill:
        """See the port."""
        pay_in = self.tellers[provider].provider.pay_in if provider in self.tellers else None
        if pay_in is None:
            raise RedrushError(f"there is no provider {provider!r} that takes money here")
        how, payer = pay_in.terms.way_of(device, user)
        bill = NewBill(
            kind="payin", source=source, campaign=campaign, user=user, provider=provider, currency=currency,
            amount_minor=amount_minor, subject=subject, expires_us=expires_us, account=account, how=how,
            to=payer if payer == user else self.veil.hide(payer),
        )  # fmt: skip
        kept = await self.make(bill)
        if (renewed := steps.renewed(kept, pay_in.terms, self._now_us())) is not None:
            kept = ((await self._in_thread(self.book.change, [renewed])) or [kept])[0]
            self.tellers[provider].wake()
        if kept.is_final or kept.state in _SETTLED:
            return kept
        return await self._settled(kept, wait_s)

    async def look(self, source: str) -> KeptBill | None:
        """See the port."""
        return await self._in_thread(self.book.find, "payin", source)

    async def ask(self, source: str, wait_s: float = 3.0) -> KeptBill | None:
        """See the port."""
        return await self._hurried(source, wait_s, None)

    async def close(self, source: str, wait_s: float = 3.0) -> KeptBill | None:
        """See the port."""
        return await self._hurried(source, wait_s, self._now_us())

    async def refund(self, source: str, *, of: str, amount_minor: int, reason: str) -> KeptBill:
        """See the port."""
        return await self.make(refund_of(await self._paid(of), source, amount_minor, reason))

    async def refund_rest(self, source: str, *, of: str, reason: str) -> KeptBill | None:
        """See the port."""
        paid = await self._paid(of)
        if (found := await self._in_thread(self.book.find, "refund", source)) is not None:
            return found
        left_minor = await self._in_thread(self.book.left_of, of)
        return await self.make(refund_of(paid, source, left_minor, reason)) if left_minor else None

    async def _paid(self, source: str) -> KeptBill:
        paid = await self.look(source)
        if paid is None or paid.state not in (BillState.DONE, BillState.PAID_LATE):
            raise RedrushError(f"nothing was paid in for {source}, so nothing can be given back")
        return paid

    async def keep_late(self, source: str) -> KeptBill | None:
        """See the port."""
        kept = await self._in_thread(self.book.keep_late, source, self._now_us())
        self._look.set()  # its owner is told that it is paid, should they have died before they wrote it down
        return kept

    async def spend_each(self, spendings: Sequence[Spending], *, campaign: str, account: str) -> list[Entered]:
        """See the port."""
        now_us = self._now_us()
        users = sorted({one.user for one in spendings})
        granted = await asyncio.to_thread(self._granted_to, campaign, users)
        entries = [
            Entry(spent(one.user, account, one.source, one.amount_minor, now_us), granted[one.user])
            for one in spendings
        ]
        return await self._in_thread(self.book.post_each, campaign, entries)

    async def was_spent(self, source: str, *, campaign: str) -> bool:
        """See the port."""
        return await self._in_thread(self.book.is_posted, campaign, spent("", "", source, 0, 0).id)

    async def credit_each(self, credits_: Sequence[Spending], *, campaign: str, account: str) -> list[Entered]:
        """See the port."""
        now_us = self._now_us()
        entries = [Entry(credited(one.user, account, one.source, one.amount_minor, now_us)) for one in credits_]
        return await self._in_thread(self.book.post_each, campaign, entries)

    def _granted_to(self, campaign: str, users: Sequence[str]) -> dict[str, int]:
        return {user: self._winnings.balance(campaign, user_account(user)).net_minor for user in users}

    async def owned(self, campaign: str, user: str) -> Owned:
        """See the port."""
        granted_minor = await self.granted(campaign, user)
        moved = await self._in_thread(self.book.balance, campaign, user_account(user))
        bills = await self.payouts_of(user)
        ours = [bill for bill in bills if bill.campaign == campaign]
        paid = sum(bill.amount_minor for bill in ours if bill.state in (BillState.DONE, BillState.PAID_LATE))
        waiting = sum(bill.amount_minor for bill in ours if not bill.is_final)
        return Owned(granted_minor + moved.net_minor, waiting, paid)

    def on_ended(self, prefix: str, hear: Hear) -> None:
        """See the port."""
        self._owners.add(prefix, hear)
        self._look.set()

    def hears_no_more(self, prefix: str) -> None:
        """See the port."""
        self._owners.drop(prefix)

    async def absent(self) -> set[str]:
        """Return campaigns of which a pay-in or refund has ended, and nobody is here to hear of it: see `Owners`."""
        return await self._owners.absent()

    # -- for payouts and notices

    async def make(self, bill: NewBill) -> KeptBill:
        """Put one bill into the book, and have it seen to. Raises as the book does."""
        (kept,) = await self._in_thread(self.book.make, [bill], self._now_us())
        if bill.provider in self.tellers:
            self.tellers[bill.provider].wake()
        return kept

    async def granted(self, campaign: str, user: str) -> int:
        """Return what the user was granted in all, as far as it is recorded."""
        return await asyncio.to_thread(self.granted_now, campaign, user)

    def granted_now(self, campaign: str, user: str) -> int:
        """Do the same. Blocks."""
        return self._winnings.balance(campaign, user_account(user)).net_minor

    async def payouts_of(self, user: str) -> list[KeptBill]:
        """Return the user's payouts, the oldest first, up to `BILLS_OF_USER_MAX`."""
        return await self._in_thread(self._payouts_of, user)

    async def notices_kept(self, provider: str, notices: list[Notice]) -> None:
        """Put genuine notices into the inbox; returns when they are durable."""
        named = [(provider, notice) for notice in notices]
        await self._in_thread(self.book.keep_notices, named, self._now_us())
        self._look.set()

    def away_s(self, *, every: bool = False) -> dict[str, float]:
        """Return for how long each provider has given no clear answer, of those that are away; `every`: of all."""
        away = {name: teller.away_s for name, teller in self.tellers.items()}
        return away if every else {name: away_s for name, away_s in away.items() if away_s}

    def has_unheard(self, prefix: str) -> bool:
        """Whether a pay-in or refund whose source begins so has ended, and its owner has not heard of it. Blocks."""
        return bool(self.book.untold([prefix], 1))

    def wake(self) -> None:
        """Others have put bills into the book."""
        for teller in self.tellers.values():
            teller.wake()

    # -- inside

    def _payouts_of(self, user: str) -> list[KeptBill]:
        return self.book.listed(kind="payout", user=user, limit=BILLS_OF_USER_MAX)

    async def _hurried(self, source: str, wait_s: float, expires_us: int | None) -> KeptBill | None:
        kept = await self.look(source)
        if kept is None or kept.is_final:
            return kept
        settled = asyncio.ensure_future(self._settled(kept, wait_s, ended=expires_us is not None))
        now_us = self._now_us()
        await self._in_thread(lambda: self.book.hurry(kept.id, now_us, expires_us=expires_us))
        self.tellers[kept.provider].wake()
        return await settled

    async def _settled(self, bill: KeptBill, wait_s: float, *, ended: bool = False) -> KeptBill:
        """Return the bill once it is where its owner can go on, or as it is after this time."""
        key = bill.kind, bill.source
        deadline_s = asyncio.get_running_loop().time() + wait_s
        while True:
            heard: asyncio.Future[KeptBill] = asyncio.get_running_loop().create_future()
            self._waiting[key].append(heard)
            try:
                async with asyncio.timeout_at(deadline_s):
                    bill = await heard
            except TimeoutError:
                return await self._in_thread(self.book.find, *key) or bill
            finally:
                self._forget(key, heard)
            if bill.is_final or bill.state is BillState.HELD or (not ended and bill.state is BillState.OPEN):
                return bill

    def _forget(self, key: tuple[str, str], heard: asyncio.Future[KeptBill]) -> None:
        waiting = self._waiting[key]
        if heard in waiting:
            waiting.remove(heard)
        if not waiting:
            del self._waiting[key]

    def _changed(self, bill: KeptBill) -> None:
        for heard in tuple(self._waiting.get((bill.kind, bill.source), ())):
            if not heard.done():
                heard.set_result(bill)
        if bill.is_final and bill.kind != "payout":
            self._look.set()

    async def _look_after(self) -> None:
        while not self._stopping:
            self._look.clear()
            try:
                full = await self._read_inbox() + await self._owners.give_back() + await self._owners.tell()
                await self.under_way.look(self._in_thread)
            except RedrushError as fault:
                self._on_fault(fault)
                full = 0
            if full < AT_ONCE_MAX:
                try:
                    async with asyncio.timeout(LOOK_AGAIN_S):
                        await self._look.wait()
                except TimeoutError:
                    continue

    async def _read_inbox(self) -> int:
        """Have each bill looked at that a notice speaks of; return how many there were."""
        kept = await self._in_thread(self.book.inbox, AT_ONCE_MAX)
        for one in kept:
            await self._in_thread(self._heed, one, self._now_us())
        if kept:
            await self._in_thread(self.book.seen, kept)
            self.wake()
        return len(kept)

    def _heed(self, kept: KeptNotice, now_us: int) -> None:
        """A notice is a hint to look: it books nothing. One that says something impossible is counted, too."""
        notice = kept.notice
        bill = self.book.numbered(notice.number)
        said = (kept.provider, notice.kind, notice.amount_minor, notice.currency)
        if bill is None or said != (bill.provider, bill.kind, bill.amount_minor, bill.currency):
            self.refused_notices += 1
            return
        if bill.is_final and bill.state not in (BillState.DONE, BillState.PAID_LATE):
            if notice.number == bill.number:
                self.book.change([steps.look(bill, now_us)])
            return
        self.book.hurry(bill.id, now_us)

    async def _in_thread(self, call: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


__all__ = ["NotCovered", "Payments"]
