"""Whose bills are: sales and packets are told what has ended, and what came late is theirs, or goes back.

An owner hears of each of its pay-ins and refunds that has ended, at least once, as soon as it is there: which one it is
follows from how their sources begin. Money that was paid after it had been said that nobody could pay any more is the
owner's to keep (`redrush.ports.cashier.Till.keep_late`) until it has heard of it. What it does not keep goes back; so
does what no owner has heard of for a while: it may not be there any more, or not yet, for campaigns begin one after the
other in a process, and are made anew, and it may still have a unit for the money. Which of the two it is, is decided by
the book alone, in one step.
"""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from redrush.core.nobody import ignore
from redrush.errors import RedrushError
from redrush.ports.bill_book import BillBook, BillState, KeptBill, NewBill, NotCovered
from redrush.ports.cashier import Hear

AT_ONCE_MAX: Final = 200
"""Notices, and bills that have ended, that are looked after in one go."""

UNHEARD_MAX_S: Final = 60.0
"""How long money that came late waits for an owner that cannot be told, or is not there, from when that was known or
this process began to look. Then it goes back."""

InThread = Callable[..., Awaitable[Any]]
"""Returns what a call of the book returns, in a thread that nobody waits for."""


class Owners:
    """See the module."""

    def __init__(
        self,
        book: BillBook,
        in_thread: InThread,
        make: Callable[[NewBill], Awaitable[KeptBill]],
        now_us: Callable[[], int],
        on_fault: Callable[[RedrushError], None] = ignore,
    ) -> None:
        """`make` puts a bill into the book and has it seen to."""
        self._book = book
        self._in_thread = in_thread
        self._make = make
        self._now_us = now_us
        self._on_fault = on_fault
        self._hearers: dict[str, Hear] = {}
        self._looks_since_us: int | None = None
        """Since when this process looks for what came late."""
        self._told_to = 0
        """The last bill of which an owner was to hear in this round through those that are untold."""
        self._looked_to = 0
        """The same of those whose owners may not be here."""

    def add(self, prefix: str, hear: Hear) -> None:
        """Let this one hear of bills whose source begins so."""
        self._hearers[prefix] = hear

    def drop(self, prefix: str) -> None:
        """Let nobody hear of those."""
        self._hearers.pop(prefix, None)

    def _of(self, bill: KeptBill) -> Hear | None:
        """Return who hears of the bill, if they are there now."""
        prefix = max((one for one in self._hearers if bill.source.startswith(one)), key=len, default=None)
        return None if prefix is None else self._hearers[prefix]

    async def give_back(self) -> int:
        """Refund what was paid late and no owner has heard of for too long. Return how many refunds were made. Raises
        RecordsFailed."""
        late = await self._in_thread(self._book.paid_late, AT_ONCE_MAX)
        now_us = self._now_us()
        if self._looks_since_us is None:
            self._looks_since_us = now_us
        made = 0
        for bill in late:
            if now_us - max(bill.changed_us, self._looks_since_us) < UNHEARD_MAX_S * 1e6:
                continue  # its owner is told next, or comes
            try:
                await self._refund(bill)
                made += 1
            except RedrushError as fault:
                self._on_fault(fault)  # of this one; all others are seen to
        return made

    async def tell(self) -> int:
        """Tell the owners of what has ended; return how many were looked at, 0 if none of them could be told. Next come
        those behind, so that what cannot be told keeps nothing else waiting; after the last, all over again. Raises
        RecordsFailed."""
        untold = await self._in_thread(self._book.untold, list(self._hearers), AT_ONCE_MAX, self._told_to)
        self._told_to = untold[-1].id if len(untold) == AT_ONCE_MAX else 0
        told = []
        for bill in untold:
            try:
                if await self._was_told(bill):
                    told.append(bill)
            except RedrushError as fault:
                self._on_fault(fault)
            except Exception as fault:  # noqa: BLE001 - one owner that breaks off must not keep all others waiting
                self._on_fault(RedrushError(f"the owner of {bill.source} cannot be told: {fault!r}"))
        if told:
            await self._in_thread(self._book.told, told)
        return len(untold) if told else 0

    async def absent(self) -> set[str]:
        """Return campaigns of which a bill has ended whose owner has not heard of it, and is not here. Looked at are up
        to `AT_ONCE_MAX` bills, each time those behind; after the last, all over again. Raises RecordsFailed."""
        untold = await self._in_thread(self._book.untold, [""], AT_ONCE_MAX, self._looked_to)
        self._looked_to = untold[-1].id if len(untold) == AT_ONCE_MAX else 0
        return {bill.campaign for bill in untold if self._of(bill) is None}

    async def _was_told(self, bill: KeptBill) -> bool:
        """Tell its owner of a bill that has ended; False if there is none now. What they let go of goes back before
        they are known to have heard of it."""
        hear = self._of(bill)
        if hear is None:
            return False
        await hear(bill)
        if bill.kind == "payin" and bill.state is BillState.PAID_LATE:
            await self._refund(bill)
        return True

    async def _refund(self, late: KeptBill) -> None:
        """Give back what was paid late, unless its owner has kept it."""
        back = refund_of(late, f"{late.source}/late", late.amount_minor, "paid too late")
        with contextlib.suppress(NotCovered):
            await self._make(msgspec.structs.replace(back, while_late=True))


def refund_of(paid: KeptBill, source: str, amount_minor: int, reason: str) -> NewBill:
    """Return the bill that gives back so much of a pay-in."""
    return NewBill(
        kind="refund", source=source, campaign=paid.campaign, user=paid.user, provider=paid.provider,
        currency=paid.currency, amount_minor=amount_minor, subject=reason, of=paid.source, account=paid.account,
    )  # fmt: skip
