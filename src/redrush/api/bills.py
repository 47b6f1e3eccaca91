"""A provider's bill of a day held against our books, and what is granted and not delivered: looked for, then delivered.

It is what `redrush bills compare` and `redrush reissue` do, by the same functions. A delivery is bound to how many
things were found, and to what its payouts come to: if that is another when it is confirmed, nothing is done. So is the
writing down of fees, which is bound to their number and their sum.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from redrush.api.access import Actor
from redrush.api.diary import Diary
from redrush.api.event_link import EventLink, Links
from redrush.api.payouts import check_as_seen
from redrush.api.seals import COUNTED_BEFORE, Refused, Seals
from redrush.config import PaymentsFile, load_payments_file
from redrush.core.money.currency import format_amount
from redrush.operate.as_seen import Seen
from redrush.operate.paying import Books, OtherFees, compare_day
from redrush.operate.reissuing import Undelivered, deliver, look_for
from redrush.settle.paying.comparing import Compared, Fees

COMPARING_MAX: Final = 2
"""Bills that are fetched at once: each is a file of a provider's, and some of them are long."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is granted and not delivered, and the token that delivers it."""

    undelivered: Undelivered
    count: int
    total: str
    """Of the payouts, as text with all places of the currency."""
    unknown: bool
    """Whether messages are counted that may have arrived."""
    token: str


class Delivered(msgspec.Struct, frozen=True):
    """What was delivered, or is under way."""

    undelivered: Undelivered
    count: int


class FoundFees(msgspec.Struct, frozen=True, kw_only=True):
    """Fees that a provider's bill of a day tells and our books do not have, and the token that writes them down."""

    provider: str
    day: str
    count: int
    total_minor: int
    token: str


class BookedFees(msgspec.Struct, frozen=True, kw_only=True):
    """Fees that were written down, and what the comparison says then."""

    count: int
    total_minor: int
    compared: Compared


class _SeenFees(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    provider: str
    day: str
    fees: Fees


class _Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    campaign: str | None
    count: int
    total: str
    unknown: bool


class Bills:
    """See the module."""

    def __init__(self, links: Links, payments: Path | None, diary: Diary, now_us: Callable[[], int]) -> None:
        """`payments` is the payments file; None: that of the deployment, if there is one."""
        self._links = links
        self._payments = payments
        self._diary = diary
        self._now_us = now_us
        self._seals = Seals(lambda: now_us() // 1_000_000, COUNTED_BEFORE)
        self._comparing = 0
        self._delivering = False

    def providers(self) -> list[str]:
        """Return who has moved money by the payments file; none where none is known. ConfigError if it is wrong."""
        file = self._file(self._links.first)
        return [] if file is None else [one.name for one in file.providers]

    async def compare(self, actor: Actor, provider: str | None, day: str | None) -> Compared:
        """Return how a provider's bill of a day and our books differ. Refused where it is not known who moves money, or
        while others are compared; ConfigError for a provider or a day that is none; RedrushError if the bill cannot be
        had."""
        return await self._compared(actor, provider, day)

    async def count_fees(self, actor: Actor, provider: str | None, day: str | None) -> FoundFees:
        """Return which fees a provider's bill of a day alone tells. As `compare`."""
        found = await self._compared(actor, provider, day)
        fees = Fees(found.unbooked, found.unbooked_minor)
        return FoundFees(
            provider=found.provider,
            day=found.day,
            count=fees.count,
            total_minor=fees.total_minor,
            token=self._seals.seal(actor.name, _SeenFees(found.provider, found.day, fees)),
        )

    async def book_fees(self, actor: Actor, token: str, why: str) -> BookedFees:
        """Write the fees that were counted into our books, each once. Refused if the bill tells of others by now, or it
        was somebody else's to do; else as `compare`."""
        seen = self._seals.opened(actor.name, token, _SeenFees)
        fees = seen.fees
        if not fees.count:
            raise Refused(409, "every fee of this bill is in our books")
        if not why.strip():
            raise Refused(400, "say why, for whoever looks into it later")
        about = f"{fees.count} fees of {seen.provider}, {seen.day}: {fees.total_minor} minor units"
        self._diary.note(actor.name, "book fees", about, why, actor.address)
        try:
            compared = await self._compared(actor, seen.provider, seen.day, agreed=fees)
        except OtherFees as fault:
            now = f"{fault.now.count} fees of {fault.now.total_minor} minor units"
            raise Refused(
                409,
                f"the bill tells {now} now, not {fees.count} of {fees.total_minor}, so nothing was done; count again",
            ) from None
        left = Fees(compared.unbooked, compared.unbooked_minor)
        return BookedFees(
            count=fees.count - left.count, total_minor=fees.total_minor - left.total_minor, compared=compared
        )

    async def _compared(
        self, actor: Actor, provider: str | None, day: str | None, *, agreed: Fees | None = None
    ) -> Compared:
        link = self._links.first
        file = await asyncio.to_thread(self._file, link)
        if file is None:
            raise Refused(409, "it is not known who moves money: start the console with --payments FILE")
        if self._comparing >= COMPARING_MAX:
            raise Refused(409, "other bills are being compared; ask again in a moment")
        about = f"{provider or 'the only one'}, {day or 'today'}"
        self._diary.note(actor.name, "compare bills", about, address=actor.address)
        self._comparing += 1
        try:
            return await asyncio.to_thread(
                compare_day,
                _books(link),
                file,
                provider,
                day,
                self._now_us,
                books_fees=agreed or False,
            )
        finally:
            self._comparing -= 1

    async def look(self, actor: Actor, campaign: str | None, *, unknown: bool) -> Found:
        """Return what a campaign has to deliver. ConfigError for a campaign that is none."""
        link = self._links.of(campaign)
        found = await asyncio.to_thread(self._look_for, link)
        count, total = found.count(unknown=unknown), format_amount(found.payouts_total_minor, found.currency)
        return Found(
            undelivered=found,
            count=count,
            total=total,
            unknown=unknown,
            token=self._seals.seal(actor.name, _Seen(campaign, count, total, unknown)),
        )

    async def deliver(self, actor: Actor, token: str, why: str) -> Delivered:
        """Deliver what was found. Refused if it is more or less by now, or it was somebody else's to do."""
        seen = self._seals.opened(actor.name, token, _Seen)
        if not seen.count:
            raise Refused(409, "everything that was granted is delivered, or under way")
        if not why.strip():
            raise Refused(400, "say why, for whoever looks into it later")
        link = self._links.of(seen.campaign)
        now = await asyncio.to_thread(self._look_for, link)
        total = format_amount(now.payouts_total_minor, now.currency)
        check_as_seen(now.count(unknown=seen.unknown), total, seen.count, seen.total)
        if self._delivering:
            raise Refused(409, "these things are being delivered just now; look again in a moment")
        self._diary.note(actor.name, "reissue", f"{seen.count} things", why, actor.address)
        self._delivering = True
        try:
            done = await asyncio.to_thread(
                self._deliver, link, Seen(seen.count, now.payouts_total_minor), unknown=seen.unknown
            )
        finally:
            self._delivering = False
        return Delivered(done, seen.count)

    def _look_for(self, link: EventLink) -> Undelivered:
        return look_for(_books(link), self._file(link), self._now_us())

    def _deliver(self, link: EventLink, seen: Seen, *, unknown: bool) -> Undelivered:
        return deliver(_books(link), self._file(link), self._now_us(), seen, unknown=unknown)

    def _file(self, link: EventLink) -> PaymentsFile | None:
        deployment = link.deployment
        path = self._payments or (None if deployment is None else deployment.payments.file)
        return None if path is None else load_payments_file(path)


def _books(link: EventLink) -> Books:
    return Books(link.data_dir, link.deployment)
