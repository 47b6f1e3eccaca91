"""The teller of one provider: takes bills from the book when it is time, asks, and writes down what became of them.

One loop. What is due is looked up in small pieces through an index; a bill is ASKED in the book before the provider
hears of it, so a teller that was killed anywhere goes on by asking. Queries go before starts, and each at its own pace.
A teller that was only stopped for a while (SIGSTOP, a machine that sleeps) comes back to bills that somebody else has
seen to since: what it took too long ago it drops, for it is due again, to whoever takes it then.
Answers are written in batches, whatever has come in meanwhile: one fsync for many.

A teller that shares its process with a gate yields to a rush. Whoever waits to pay is served as ever; payouts and
refunds, for which nobody waits at a screen, go on at a trickle until it is over.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Final, TypeVar

import msgspec

from redrush.core.load.breaker import Breaker, Rule, State
from redrush.core.load.pace import Pace
from redrush.core.nobody import ignore, never
from redrush.errors import RedrushError
from redrush.ports.bill_book import KINDS, PATIENT, WAITED_FOR, BillBook, BillState, Change, KeptBill, Kind, Step
from redrush.ports.provider import Bill, Order, PayIn, PayOut, Refund, Terms, Unknown
from redrush.ports.veil import NoVeil, Veil
from redrush.settle.hiding import Hidden, running_s
from redrush.settle.paying import steps
from redrush.settle.paying.steps import SECOND_US, Answer

IDLE_S: Final = 0.2
"""How soon a bill is noticed that another process has made, or whose time has come."""

RULE: Final = Rule(failures=5, window_s=30.0, pause_s=0.5, pause_max_s=30.0, trial_max_s=30.0)
"""Five unclear answers in a row: whoever gives them is left alone, and tried now and then."""

FAULT_PAUSE_S: Final = 1.0
"""After a fault of the book."""

HIDDEN_SPARE_S: Final = 5.0
"""A bill that is under way is due again so long after the call's deadline, if nobody has written down its end. So the
call itself may begin so long after the bill was taken."""

CALM_S: Final = 1.0
"""A rush is over when the gate has not been busy for this long."""

RUSH_CALLS_PER_S: Final = 10.0
"""Calls a second, in a rush, for what can wait: it goes on, however long the rush lasts."""

_T = TypeVar("_T")


class Provider(msgspec.Struct, frozen=True):
    """What a teller speaks to; None: it cannot do that."""

    name: str
    pay_in: PayIn | None
    pay_out: PayOut | None

    @property
    def moves_money(self) -> bool:
        """Whether there is anything to be told to it: a shop has none."""
        return self.pay_in is not None or self.pay_out is not None

    @property
    def terms(self) -> Terms:
        """What it allows."""
        part = self.pay_out or self.pay_in
        assert part is not None
        return part.terms

    @property
    def deadline_s(self) -> float:
        """How long any call of it may take."""
        return max(part.terms.deadline_s for part in (self.pay_in, self.pay_out) if part is not None)

    def terms_of(self, bill: KeptBill) -> Terms:
        """Return what holds for this bill."""
        part = self.pay_out if bill.kind == "payout" else self.pay_in
        return self.terms if part is None else part.terms


class Counts(msgspec.Struct):
    """What a teller has done since it began."""

    starts: int = 0
    queries: int = 0
    unclear: int = 0
    done: int = 0
    ended: int = 0
    dropped: int = 0
    """Taken, and not asked for in time."""


class Teller:
    """See the module. `run` it as a task; `stop` ends it."""

    def __init__(  # noqa: PLR0913 - what it stands on, and what it gives way to
        self,
        book: BillBook,
        provider: Provider,
        now_us: Callable[[], int],
        thread: Executor,
        *,
        changed: Callable[[KeptBill], None] = ignore,
        paused: Callable[[], bool] = never,
        busy: Callable[[], bool] = never,
        on_fault: Callable[[RedrushError], None] = ignore,
        veil: Veil | None = None,
        running_s: Callable[[], float] = running_s,
    ) -> None:
        """`veil` shows who gets or pays a bill; None: it stands there. `thread` is where the book is called;
        `changed` hears of each change that is in the book; while `paused` nothing is started, and what was started is
        asked for. `busy` tells whether the gate beside it is.
        `running_s` is a clock that is never set."""
        self.provider = provider
        self.breaker = Breaker(RULE)
        self.counts = Counts()
        self._book = book
        self._now_us = now_us
        self._thread = thread
        self._changed = changed
        self._paused = paused
        self._busy = busy
        self._busy_at_s = float("-inf")
        self._on_fault = on_fault
        self._veil = veil or NoVeil()
        self._running_s = running_s
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._answered: list[Change] = []
        self._wake = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """There may be something to do now."""
        self._wake.set()

    def stop(self) -> None:
        """Begin nothing more; `run` returns when what is under way was written down."""
        self._stopping = True
        self._wake.set()

    @property
    def away_s(self) -> float:
        """For how long the provider has given no clear answer; 0: it does."""
        return self.breaker.away_s(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Look after the provider's bills until `stop`."""
        now_s = asyncio.get_running_loop().time
        terms = self.provider.terms
        paces: dict[Step, Pace] = {
            "ask": Pace(terms.queries_per_s, now_s()),
            "start": Pace(terms.calls_per_s, now_s()),
        }
        trickle = Pace(RUSH_CALLS_PER_S, now_s())
        while not (self._stopping and not self._under_way and not self._answered):
            self._wake.clear()
            try:
                await self._write_down()
                wait_s = IDLE_S if self._stopping else await self._begin(paces, trickle)
            except RedrushError as fault:
                self._on_fault(fault)
                if self._stopping:
                    return  # what is not written down is asked for after the next start
                await asyncio.sleep(FAULT_PAUSE_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _write_down(self) -> None:
        changes = tuple(self._answered)
        if not changes:
            return
        changed = await self._in_thread(self._book.change, changes)
        del self._answered[: len(changes)]
        for bill in changed:
            self.counts.done += bill.state is BillState.DONE
            self.counts.ended += bill.is_final and bill.state is not BillState.DONE
            self._changed(bill)

    async def _begin(self, paces: dict[Step, Pace], trickle: Pace) -> float:
        """Ask about and for as many bills as there is room for; return how long there is nothing to do."""
        now_s = asyncio.get_running_loop().time()
        rush = self._is_rush(now_s)
        wait_s = IDLE_S
        for step, pace in paces.items():
            room = min(pace.room(now_s), self._room(now_s))
            if step == "start" and self._paused():
                continue
            if room < 1:
                wait_s = min(wait_s, max(pace.wait_s(), 0.005))
                continue
            hidden = Hidden.for_s(self.provider.deadline_s + HIDDEN_SPARE_S, self._now_us(), self._running_s())
            bills = await self._take(step, room, WAITED_FOR if rush else KINDS, hidden)
            if rush and (patient := min(room - len(bills), trickle.room(now_s))) > 0:
                late = await self._take(step, patient, PATIENT, hidden)
                trickle.take(len(late))
                bills += late
            pace.take(len(bills))
            for bill in bills:
                if bill.id not in self._under_way:
                    task = asyncio.create_task(self._see_to(bill, step, hidden))
                    self._under_way[bill.id] = task
            if len(bills) == room:
                wait_s = min(wait_s, max(pace.wait_s(), 0.005))
        return wait_s

    async def _take(self, step: Step, limit: int, kinds: Sequence[Kind], hidden: Hidden) -> list[KeptBill]:
        now_us, until_us = self._now_us(), hidden.until_us
        return await self._in_thread(self._book.take, self.provider.name, step, now_us, until_us, limit, kinds)

    def _is_rush(self, now_s: float) -> bool:
        if self._busy():
            self._busy_at_s = now_s
        return now_s - self._busy_at_s < CALM_S

    def _room(self, now_s: float) -> int:
        """Return how many calls more may be under way: one, to a provider that was away."""
        at_once_max = self.provider.terms.at_once_max
        if self.breaker.state is not State.UP:
            at_once_max = 0 if self.breaker.retry_in_s(now_s) else 1
        return max(0, at_once_max - len(self._under_way))

    async def _see_to(self, bill: KeptBill, step: Step, hidden: Hidden) -> None:
        loop = asyncio.get_running_loop()
        terms = self.provider.terms_of(bill)
        try:
            paid = await self._in_thread(self._book.find, "payin", bill.of) if bill.kind == "refund" else None
            if not hidden.leaves(terms.deadline_s, self._now_us(), self._running_s()):
                self.counts.dropped += 1
                return
            began_s = loop.time()
            permit = self.breaker.admit(began_s)
            if permit is None:
                self._answered.append(self._not_now(bill, step, loop.time()))
                return
            answer = await self._ask(bill, step, terms.deadline_s, paid)
            if isinstance(answer, Unknown):
                self.counts.unclear += 1
                self.breaker.failed(loop.time(), permit, began_s=began_s)
            else:
                self.breaker.succeeded(permit)
            self._answered.append(steps.after(bill, answer, terms, self._now_us()))
        except RedrushError as fault:
            self._on_fault(fault)  # of the book; nobody was asked, and it is due again
        finally:
            del self._under_way[bill.id]
            self._wake.set()

    def _not_now(self, bill: KeptBill, step: Step, now_s: float) -> Change:
        pause_s = self.breaker.retry_in_s(now_s)
        if step == "start":
            return steps.unasked(bill, self._now_us(), pause_s)
        later = Unknown("the provider is away", pause_s)
        return steps.after(bill, later, self.provider.terms_of(bill), self._now_us())

    async def _ask(self, bill: KeptBill, step: Step, deadline_s: float, paid: KeptBill | None) -> Answer:
        self.counts.starts += step == "start"
        self.counts.queries += step != "start"
        try:
            async with asyncio.timeout(deadline_s):
                return await (self._start(bill, paid) if step == "start" else self._query(bill, paid))
        except TimeoutError:
            return Unknown(f"no answer within {deadline_s:g} s")
        except RedrushError as fault:
            return Unknown(str(fault))
        except Exception as fault:  # noqa: BLE001 - a provider's adapter runs code of others: it may have had its effect
            return Unknown(repr(fault))

    def _start(self, bill: KeptBill, paid: KeptBill | None) -> Awaitable[Answer]:
        """`paid` is what a refund gives back."""
        pay_in, pay_out = self.provider.pay_in, self.provider.pay_out
        common: dict[str, Any] = {
            "number": bill.number, "amount_minor": bill.amount_minor, "currency": bill.currency,
        }  # fmt: skip
        if bill.kind == "payout" and pay_out is not None:
            return pay_out.start(Bill(**common, to=self._veil.show(bill.to), subject=bill.subject))
        if bill.kind == "payin" and pay_in is not None:
            expires_us = bill.expires_us or self._now_us() + int(pay_in.terms.expires_min_s * SECOND_US)
            return pay_in.start(
                Order(
                    **common, subject=bill.subject, expires_us=expires_us, how=bill.how, payer=self._veil.show(bill.to)
                )
            )
        if bill.kind == "refund" and pay_in is not None:
            if paid is None:
                return _no_payin(bill)
            back = Refund(**common, of=paid.number, paid_minor=paid.amount_minor, reason=bill.subject)
            return pay_in.refund(back)
        return _cannot(bill)

    def _query(self, bill: KeptBill, paid: KeptBill | None) -> Awaitable[Answer]:
        pay_in, pay_out = self.provider.pay_in, self.provider.pay_out
        if bill.kind == "payout" and pay_out is not None:
            return pay_out.find(bill.number)
        if bill.kind == "payin" and pay_in is not None:
            if bill.state is BillState.CLOSING:
                return pay_in.close(bill.number, bill.reference)
            return pay_in.find(bill.number, bill.reference)
        if bill.kind == "refund" and pay_in is not None:
            return _no_payin(bill) if paid is None else pay_in.find_refund(bill.number, paid.number)
        return _cannot(bill)

    async def _in_thread(self, call: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


async def _cannot(bill: KeptBill) -> Answer:
    return Unknown(f"{bill.provider} cannot do a {bill.kind}")


async def _no_payin(bill: KeptBill) -> Answer:
    return Unknown(f"there is no pay-in {bill.of}")
