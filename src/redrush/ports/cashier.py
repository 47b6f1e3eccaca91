"""What kinds of rush ask of the payments part: take money for something, give it back, spend a balance.

Everything is named by a *source*, the caller's own id of what it is for, such as a hold's or a packet's: asking twice
is asking once, after any crash. A call returns when the wish is durable; what becomes of it is heard by whoever
`on_ended`, at least once, or asked for. None of this is done in a claim.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from redrush.ports.bill_book import Entered, KeptBill
from redrush.ports.provider import DESK, Device

Hear = Callable[[KeptBill], Awaitable[None]]
"""Hears of a pay-in or refund that has ended. When it returns without raising, it has durably done what follows.
What was paid late, and it has not kept by then, goes back."""


class Owned(msgspec.Struct, frozen=True):
    """What a user has, in minor units: to spend, on its way to them, and paid to them in all."""

    available_minor: int
    waiting_minor: int
    paid_minor: int


class Spending(msgspec.Struct, frozen=True):
    """An amount, in minor units, that a user pays out of their balance, or gets into it, for what `source` names."""

    source: str
    user: str
    amount_minor: int


class Till(Protocol):
    """Takes money and gives it back. Raises RecordsFailed while the book is away, BillConflict for a source that was
    used with other terms."""

    def can_take(self, provider: str) -> bool:
        """Whether there is a provider of that name that takes money."""

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
        """Let a user pay until then; the bill's `state` is OPEN and its `detail` "kind:payload" once they can.

        Waits up to `wait_s` for that; a bill that is still NEW or ASKED is asked for with `look`. `account` is where
        the money goes in the double entry: "sales", or "sponsor" for what a packet is made of. `device` is what they
        are shown it on: the first time decides, and a link that is not good any more is asked for again.
        """

    async def look(self, source: str) -> KeptBill | None:
        """Return the pay-in of this source as far as we know, without asking the provider."""

    async def close(self, source: str, wait_s: float = 3.0) -> KeptBill | None:
        """Let nobody pay it any more; return it, CLOSED or DONE once that is certain, else as it is after `wait_s`.

        None if it was never made. What a hold stands for may be released once it is CLOSED or FAILED, and not before.
        """

    async def refund(self, source: str, *, of: str, amount_minor: int, reason: str) -> KeptBill:
        """Give back so much of what was paid in under the source `of`. Raises NotCovered beyond what is left of it,
        RedrushError if nothing was paid."""

    async def refund_rest(self, source: str, *, of: str, reason: str) -> KeptBill | None:
        """Give back all that is left of what was paid in under the source `of`; None if that is nothing. Asked again,
        it is the refund that it was. Raises RedrushError if nothing was paid, NotCovered if others gave back a part at
        this very moment: ask again."""

    async def keep_late(self, source: str) -> KeptBill | None:
        """Keep what was paid for this source after it was said that nobody could pay any more; return the pay-in as it
        is: DONE if it is kept, which nobody takes back; PAID_LATE if it goes back already, and pays for nothing."""


class Cashier(Till, Protocol):
    """The same, with balances, and with who hears of what has ended."""

    async def ask(self, source: str, wait_s: float = 3.0) -> KeptBill | None:
        """Return it after the provider was asked now, or as it is after `wait_s`."""

    async def spend_each(self, spendings: Sequence[Spending], *, campaign: str, account: str) -> list[Entered]:
        """Take each of these out of its user's balance into an account, in one durable step; who has not so much is
        left out and costs the others nothing."""

    async def was_spent(self, source: str, *, campaign: str) -> bool:
        """Return whether that was taken out of somebody's balance, ever."""

    async def credit_each(self, credits_: Sequence[Spending], *, campaign: str, account: str) -> list[Entered]:
        """Put each of these into its user's balance, out of an account, in one durable step."""

    async def owned(self, campaign: str, user: str) -> Owned:
        """Return what the user has. Wins count as soon as they are recorded."""

    def on_ended(self, prefix: str, hear: Hear) -> None:
        """Let this one hear of pay-ins and refunds whose source begins so, from now on, earlier unheard ones too."""

    def hears_no_more(self, prefix: str) -> None:
        """Let nobody hear of those any more: what ends is kept for whoever asks to hear of it next."""
