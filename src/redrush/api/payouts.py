"""What winners are paid, for people: a page at a time, and orders about some of them.

An order about many is bound to how many there were when it was looked at, and to what they came to: if that is another,
nothing is done. Nothing is ever paid twice, whatever is ordered (`redrush.operate.paying`).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec

from redrush.api.access import Actor
from redrush.api.diary import Diary
from redrush.api.event_link import EventLink
from redrush.api.seals import COUNTED_BEFORE, Refused, Seals
from redrush.core.money.currency import format_amount
from redrush.errors import RedrushError
from redrush.operate import paying
from redrush.operate.granted import granted_by
from redrush.operate.paying import Granted, Shown
from redrush.ports.bill_book import BillBook, BillState, KeptBill
from redrush.ports.grant_pages import PAGE_MAX, LedgerPage, LedgerPart
from redrush.ports.records import Balance

_Result = TypeVar("_Result")

AT_ONCE_MAX: Final = 1_000
"""Payouts of one order; a provider is asked no faster for more."""


class Verb(StrEnum):
    """What is ordered."""

    RETRY = "retry"
    HOLD = "hold"
    RELEASE = "release"


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order about payouts: those of these numbers, or all in a state."""

    verb: Verb
    numbers: tuple[str, ...] = ()
    state: BillState | None = None


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """How many an order is about now, what they come to, and the token that confirms it."""

    wanted: Wanted
    count: int
    total: str
    """With the currency; of several, one after another."""
    first: list[Shown]
    token: str


class PayoutPage(msgspec.Struct, frozen=True):
    """Some payouts, and the place to go on from; none: there are no more."""

    payouts: list[Shown]
    next: int | None


class Ordered(msgspec.Struct, frozen=True):
    """What became of an order."""

    done: list[Shown]
    refused: list[str]


class _Seen(msgspec.Struct, frozen=True):
    wanted: Wanted
    count: int
    total: str


class Payouts:
    """See the module."""

    def __init__(self, event: EventLink, diary: Diary, now_us: Callable[[], int]) -> None:
        self._event = event
        self._diary = diary
        self._now_us = now_us
        self._seals = Seals(lambda: now_us() // 1_000_000, COUNTED_BEFORE)

    @property
    def there_are(self) -> bool:
        """Whether this event pays anybody."""
        return self._books().there_are

    async def page(self, state: BillState | None, user: str | None, after: int, limit: int) -> PayoutPage:
        """Return up to `limit` payouts after a place. ConfigError where nobody is paid."""

        def listed(book: BillBook) -> PayoutPage:
            states = [] if state is None else [state]
            found = book.listed(kind="payout", states=states, user=user, after=after, limit=limit + 1)
            shown = [Shown.of(bill) for bill in found[:limit]]
            return PayoutPage(shown, found[limit - 1].id if len(found) > limit else None)

        return await self._in_book(listed)

    async def accounts(self, campaigns: Sequence[str]) -> dict[str, dict[str, Balance]]:
        """Return the accounts of these campaigns that are no user's; of none where nobody is paid."""
        if not self.there_are:
            return {}
        return await self._in_book(lambda book: {one: book.accounts(one) for one in campaigns})

    async def ledger(self, campaign: str, part: LedgerPart, after: str, limit: int) -> LedgerPage:
        """Return postings of a campaign. ConfigError where nobody is paid."""
        return await self._in_book(lambda book: book.ledger(campaign, part, after, limit))

    async def of_user(self, user: str) -> list[dict[str, Any]]:
        """Return what went to a user's wallet, came from it, and was given back: the first `PAGE_MAX`."""

        def listed(book: BillBook) -> list[dict[str, Any]]:
            found = book.listed(user=user, limit=PAGE_MAX)
            return [msgspec.to_builtins(Shown.of(bill)) for bill in found]

        return await self._in_book(listed)

    async def count(self, actor: Actor, wanted: Wanted) -> Counted:
        """Return how many an order would be about. Refused for none, or too many."""
        found = await self._in_book(lambda book: self._found(book, wanted))
        if not found:
            raise Refused(409, "there is no such payout now, so there is nothing to do")
        count, total = len(found), _total_of(found)
        return Counted(
            wanted=wanted,
            count=count,
            total=total,
            first=[Shown.of(bill) for bill in found[:10]],
            token=self._seals.seal(actor.name, _Seen(wanted, count, total)),
        )

    async def order(self, actor: Actor, token: str, why: str) -> Ordered:
        """Do what was counted. Refused if there are more or fewer now, or they come to another sum, or it was
        somebody else's to do."""
        seen = self._seals.opened(actor.name, token, _Seen)
        if seen.wanted.verb is Verb.HOLD and not why.strip():
            raise Refused(400, "say why they shall wait, for whoever looks into it later")

        def done(book: BillBook) -> Ordered:
            found = self._found(book, seen.wanted)
            check_as_seen(len(found), _total_of(found), seen.count, seen.total)
            which = seen.wanted.state or " ".join(seen.wanted.numbers)
            about = f"{seen.count} payouts, {seen.total}: {seen.wanted.verb} {which}"
            self._diary.note(actor.name, "payouts", about, why, actor.address)
            ordered = Ordered([], [])
            with granted_by(self._books()) as granted:
                for bill in found:
                    try:
                        ordered.done.append(Shown.of(self._one(book, bill, seen.wanted.verb, why, granted)))
                    except RedrushError as fault:
                        ordered.refused.append(str(fault))
            return ordered

        return await self._in_book(done)

    def _one(self, book: BillBook, bill: KeptBill, verb: Verb, why: str, granted: Granted) -> KeptBill:
        match verb:
            case Verb.RETRY:
                return paying.retry(book, bill, self._now_us(), granted)
            case Verb.HOLD:
                return paying.hold(book, bill, why, self._now_us())
            case Verb.RELEASE:
                return paying.release(book, bill, self._now_us())

    def _found(self, book: BillBook, wanted: Wanted) -> list[KeptBill]:
        if wanted.numbers:
            return paying.named(book, wanted.numbers[:AT_ONCE_MAX])
        if wanted.state is None:
            raise Refused(400, "say which payouts: their numbers, or a state")
        found = book.listed(kind="payout", states=[wanted.state], user=None, after=0, limit=AT_ONCE_MAX + 1)
        if len(found) > AT_ONCE_MAX:
            raise Refused(409, f"there are more than {AT_ONCE_MAX}; `redrush payout` orders about any number")
        return list(found)

    def _books(self) -> paying.Books:
        return paying.Books(self._event.data_dir, self._event.deployment)

    async def _in_book(self, work: Callable[[BillBook], _Result]) -> _Result:
        def worked() -> _Result:
            with paying.book_of(self._books()) as book:
                return work(book)

        return await asyncio.to_thread(worked)


def _total_of(bills: Sequence[KeptBill]) -> str:
    """Return what these come to, for people: of each currency."""
    sums: Counter[str] = Counter()
    for bill in bills:
        sums[bill.currency] += bill.amount_minor
    return ", ".join(f"{format_amount(minor, currency)} {currency}" for currency, minor in sorted(sums.items()))


def check_as_seen(count: int, total: str, seen_count: int, seen_total: str) -> None:
    """Refused, with what is another now, unless there are as many as were seen, and they come to as much."""
    if count != seen_count:
        raise Refused(409, f"there are {count} now, not {seen_count}, so nothing was done; count again")
    if total != seen_total:
        raise Refused(409, f"they come to {total} now, not {seen_total}, so nothing was done; count again")
