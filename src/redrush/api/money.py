"""Money, as it is now: what was granted, and what providers have moved, by campaign.

Read from sums that records and bill book keep, in a thread of its own, and seldom: a snapshot takes what was found last
and waits for nothing. What does not answer keeps its figures for `STALE_S`, then it is told as not known.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from redrush.core.money.clearing import clearing_account, fees_account, waiting_account
from redrush.core.money.currency import format_amount
from redrush.errors import RedrushError
from redrush.ports.records import Balance

EVERY_S: Final = 2.0
"""The sums of a campaign cost its database some milliseconds; four snapshots have the same."""
STALE_S: Final = 10.0

Granted = Callable[[str], Awaitable[tuple[str, dict[str, int]]]]
"""Returns a campaign's currency, and what was granted of each pot, minor units."""
Moved = Callable[[Sequence[str]], Awaitable[dict[str, dict[str, Balance]]]]
"""Returns the accounts of these campaigns in the bill book; of none where nobody is paid."""


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """Of one campaign, in all: amounts as text, with all places of the currency; None: it is not known, or nobody pays
    there."""

    currency: str
    granted: str
    """To users, as far as it is recorded; with what is held for them."""
    paid: str | None
    """Has left through providers: payouts and refunds that have arrived."""
    on_the_way: str | None
    """Set aside for payouts and refunds that have not ended."""
    taken: str | None
    """Paid in by people."""
    fees: str | None
    granted_of: dict[str, str]
    """By pot; one that is not known is left out."""


def money_of(currency: str, granted: dict[str, int], accounts: dict[str, Balance] | None) -> Money:
    """Return what these sums say."""

    def text(minor: int) -> str | None:
        return None if accounts is None else format_amount(minor, currency)

    def of(*beginnings: str) -> list[Balance]:
        return [sums for name, sums in (accounts or {}).items() if name.startswith(beginnings)]

    clearing, fees = of(clearing_account("")), sum(one.debits_minor for one in of(fees_account("")))
    waiting = of(waiting_account("payout", ""), waiting_account("refund", ""))
    return Money(
        currency=currency,
        granted=format_amount(sum(granted.values()), currency),
        paid=text(sum(one.credits_minor for one in clearing) - fees),
        on_the_way=text(sum(one.net_minor for one in waiting)),
        taken=text(sum(one.debits_minor for one in clearing)),
        fees=text(fees),
        granted_of={pot: format_amount(minor, currency) for pot, minor in granted.items()},
    )


class Purses:
    """What was found last of each campaign. `look` as often as one likes."""

    def __init__(self, granted: Granted, moved: Moved) -> None:
        self._granted = granted
        self._moved = moved
        self._found: dict[str, tuple[float, Money]] = {}
        self._begun_s = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    def now(self, campaigns: Sequence[str]) -> dict[str, Money]:
        """Return what is known of these, and have it looked up anew if that is `EVERY_S` ago. Waits for nothing."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._begun_s >= EVERY_S and (self._looking is None or self._looking.done()):
            self._begun_s = now_s
            self._looking = asyncio.create_task(self.look(campaigns), name="money")
        return {name: money for name, (at_s, money) in self._found.items() if now_s - at_s < STALE_S}

    async def look(self, campaigns: Sequence[str]) -> None:
        """Look it up. What does not answer is left as it was."""
        try:
            accounts = await self._moved(campaigns)
        except RedrushError:
            return
        for name in campaigns:
            try:
                currency, granted = await self._granted(name)
            except RedrushError:
                continue
            self._found[name] = (
                asyncio.get_running_loop().time(),
                money_of(currency, granted, accounts.get(name) or None),
            )
        for gone in self._found.keys() - set(campaigns):
            del self._found[gone]

    async def stop(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)


def in_all(moneys: Sequence[Money]) -> dict[str, float | None]:
    """Return what charts draw: the sums of all campaigns, where they have one currency."""
    if len({money.currency for money in moneys}) != 1:
        return {}
    paid = [float(money.paid) for money in moneys if money.paid is not None]
    return {
        "money_granted": sum(float(money.granted) for money in moneys),
        "money_paid": sum(paid) if paid else None,
    }
