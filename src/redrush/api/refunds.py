"""Giving back a part of what was paid for one order of a sale, or for one packet between people, from the console.

It is what `redrush refund --amount` does, by the same functions. An order is bound to what was seen: to the payment, to
what of it was left, and to the number of the part, by which the same order given again is the same refund.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec

from redrush.api.access import Actor
from redrush.api.diary import Diary
from redrush.api.event_link import EventLink, Links
from redrush.api.people_seen import PeopleSeen
from redrush.api.seals import SEEN_BEFORE, Refused, Seals
from redrush.core.money.currency import format_amount, parse_amount
from redrush.errors import ConfigError, RedrushError
from redrush.operate.paying import Books, Shown
from redrush.operate.refunding_part import PaidFor, Payment, check_reason, find_payment, give_back_part, look_at_part
from redrush.ports import packets, sale_book
from redrush.ports.records import RecordsFailed

_Result = TypeVar("_Result")


class PaymentTold(msgspec.Struct, frozen=True, kw_only=True):
    """What was paid for an order or a packet, and what of it has gone back; amounts as text."""

    campaign: str | None
    what: PaidFor
    number: str
    provider: str
    user: str
    currency: str
    paid: str
    left: str
    """What may still be given back."""
    parts: tuple[Shown, ...]
    """Those that were given back so far, the first one first."""


class FoundPart(msgspec.Struct, frozen=True, kw_only=True):
    """What would go back, and the token that gives it back."""

    payment: PaymentTold
    part: int
    """Its number among the parts of the payment, from 1."""
    amount: str
    """It has to be typed to confirm."""
    left_then: str
    token: str


class _Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    campaign: str | None
    what: PaidFor
    number: str
    currency: str
    part: int
    amount_minor: int
    left_minor: int

    def text(self, amount_minor: int) -> str:
        return format_amount(amount_minor, self.currency)


class Refunds:
    """See the module."""

    def __init__(self, links: Links, diary: Diary, seen: PeopleSeen, now_us: Callable[[], int]) -> None:
        self._links = links
        self._diary = diary
        self._seen = seen
        self._now_us = now_us
        self._seals = Seals(lambda: now_us() // 1_000_000, SEEN_BEFORE)

    async def payment(self, actor: Actor, campaign: str | None, what: PaidFor) -> PaymentTold:
        """Return the payment; that somebody looked is written down. ConfigError for what there is not, Refused for
        what nobody has paid."""
        found = await _asked(find_payment, self._books(campaign), what)
        self._seen.story(actor, f"{found.user} by {what}")
        return _told(campaign, what, found)

    async def preview(self, actor: Actor, campaign: str | None, what: PaidFor, amount: str) -> FoundPart:
        """Return what would go back: an amount, or "all" that is left. As `payment`, and Refused where so much is
        not left, or what was bought does not stay with its buyer."""
        books = self._books(campaign)
        found = await _asked(find_payment, books, what)
        try:
            wanted = None if amount.strip() == "all" else parse_amount(amount.strip(), found.currency)
        except ValueError as fault:
            raise Refused(400, str(fault)) from None
        found, amount_minor = await _asked(look_at_part, books, what, wanted)
        self._seen.story(actor, f"{found.user} by {what}")
        seen = _Seen(
            campaign=campaign, what=what, number=found.number, currency=found.currency, part=len(found.parts) + 1,
            amount_minor=amount_minor, left_minor=found.left_minor,
        )  # fmt: skip
        return FoundPart(
            payment=_told(campaign, what, found),
            part=seen.part,
            amount=seen.text(amount_minor),
            left_then=seen.text(found.left_minor - amount_minor),
            token=self._seals.seal(actor.name, seen),
        )

    async def give_back(self, actor: Actor, token: str, typed: str, why: str) -> PaymentTold:
        """Give back what was seen; the same token again gives nothing back twice. Refused unless the amount was typed,
        and if another part has gone back since; ConfigError without a reason that its payer may be shown."""
        seen = self._seals.opened(actor.name, token, _Seen)
        if typed.strip() != seen.text(seen.amount_minor):
            raise Refused(400, f"type {seen.text(seen.amount_minor)} to give it back: no provider takes a refund back")
        check_reason(why)
        books = self._books(seen.campaign)
        now = await _asked(find_payment, books, seen.what)
        if len(now.parts) < seen.part and now.left_minor != seen.left_minor:
            left, before = seen.text(now.left_minor), seen.text(seen.left_minor)
            raise Refused(409, f"{left} is left now, not {before}, so nothing was done; look again")
        about = f"{seen.text(seen.amount_minor)} {seen.currency} of {seen.what}, part {seen.part}"
        self._diary.note(actor.name, "refund", about, why, actor.address)
        given = await _asked(give_back_part, books, seen.what, seen.amount_minor, seen.part, why, self._now_us())
        return _told(seen.campaign, seen.what, given)

    def _books(self, campaign: str | None) -> Books:
        link: EventLink = self._links.of(campaign)
        return Books(link.data_dir, link.deployment)


async def _asked(work: Callable[..., _Result], *arguments: object) -> _Result:
    """Return what the books say, in a thread. Refused for what is not as it would have to be."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except (ConfigError, RecordsFailed, packets.BookFailed, sale_book.BookFailed):
        raise
    except RedrushError as fault:
        raise Refused(409, str(fault)) from None


def paid_for(order: str | None, packet: str | None) -> PaidFor:
    """Return what is meant. ConfigError unless it is one of both."""
    if bool(order) == bool(packet):
        raise ConfigError("say what was paid for: an order, or a packet")
    return PaidFor(order=order or None, packet=packet or None)


def _told(campaign: str | None, what: PaidFor, found: Payment) -> PaymentTold:
    return PaymentTold(
        campaign=campaign,
        what=what,
        number=found.number,
        provider=found.provider,
        user=found.user,
        currency=found.currency,
        paid=format_amount(found.paid_minor, found.currency),
        left=format_amount(found.left_minor, found.currency),
        parts=found.parts,
    )
