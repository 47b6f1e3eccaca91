"""Providers: who moves real money or goods outside. Pay-in, payout, the shop's orders, notices, the bill.

Every answer is a value, for each of them is normal life. The most important one is `Unknown`: the request may have had
its effect and may not. It is never sent again under another number, nor taken for a refusal; it is *asked for*, with
the same number. Only a query that says `Absent`, later than `Terms.longest_silence_s` after the request, allows it to
be sent again, under the same number.

A notice is a hint to look. What it says is checked beyond its signature (merchant, number, currency, amount, whether
the state may follow) by whoever keeps the bills, and is booked once.

Amounts are minor units, instants µs since the Unix epoch. All adapters pass one suite, which is in
tests/conformance/test_providers.py.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol

import msgspec

from redrush.core.money.way_to_pay import How


class Device(msgspec.Struct, frozen=True):
    """What somebody pays with: what it can show best, and the network address it is at ("": not known)."""

    how: How = "qr"
    address: str = ""


DESK: Final = Device()
"""A device of which nothing is known: it can show a code to another one."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider allows, and how patient one has to be with it."""

    currency: str
    min_minor: int = 1
    max_minor: int = 10**15
    calls_per_s: float = 100.0
    """Requests that move money, of one merchant."""
    queries_per_s: float = 100.0
    """Requests that only ask: counted for themselves, and first."""
    at_once_max: int = 16
    deadline_s: float = 10.0
    """Of one request; after that its outcome is unknown."""
    longest_silence_s: float = 60.0
    """So long after a request the provider certainly knows whether it had it."""
    expires_min_s: float = 60.0
    """The shortest time that a pay-in may be left open."""
    looks_s: tuple[float, ...] = (5, 15, 60, 180, 600, 1_800, 7_200, 43_200, 90_000)
    """How long after the last move a bill is asked for again, whatever notices say, and then at the last of these."""
    confirms: bool = False
    """Whether a winner has to confirm each payout at the provider."""
    opens_late: bool = False
    """Whether a pay-in is there only once somebody has begun to pay: before, a query says Absent and means Open."""
    tells_fees: bool = True
    """Whether a query says what was kept for the work; else only the daily bill does."""
    ways: tuple[How, ...] = ("qr",)
    """What people can be shown to pay by; the first where their device wants another one."""
    wants_address: bool = False
    """Whether it must be told the network address of a device that is sent to it."""
    link_s: float | None = None
    """How long where to go is good after it was asked for; None: as long as the payment is open."""
    number_max: int = 32

    def way_of(self, device: Device, user: str) -> tuple[How, str]:
        """Return what a device is shown, and who pays as `Order.payer` says it."""
        how = device.how if device.how in self.ways else self.ways[0]
        if how == "jsapi":
            return how, user
        if how != "redirect" or not self.wants_address:
            return how, ""
        return (how, device.address) if device.address else (self.ways[0], "")


# -- answers


class Unknown(msgspec.Struct, frozen=True, tag=True):
    """Nobody knows whether it had an effect: no answer, one that cannot be verified, or one without meaning."""

    why: str
    retry_after_s: float | None = None


class Rejected(msgspec.Struct, frozen=True, tag=True):
    """It had no effect, for certain. `final`: the same request will never be accepted; else it may be sent again, the
    same, after a while."""

    why: str
    final: bool
    retry_after_s: float | None = None


class Absent(msgspec.Struct, frozen=True, tag=True):
    """The provider knows no such number."""


class Started(msgspec.Struct, frozen=True, tag=True):
    """Whoever pays can go on: `payload` is what a QR code shows, where to go, or what a page's script needs."""

    kind: How
    payload: str
    expires_us: int
    reference: str = ""
    """The provider's own number, where it finds things by that better than by ours."""


class Open(msgspec.Struct, frozen=True, tag=True):
    """Nobody has paid yet."""


class Paid(msgspec.Struct, frozen=True, tag=True):
    """It was paid: final, but for refunds."""

    amount_minor: int
    paid_us: int
    reference: str
    currency: str
    fee_minor: int = 0


class Closed(msgspec.Struct, frozen=True, tag=True):
    """Nobody paid and nobody can any more: final."""


class Accepted(msgspec.Struct, frozen=True, tag=True):
    """The provider will do it, or has done it: ask for it."""

    reference: str = ""


class NeedsConfirmation(msgspec.Struct, frozen=True, tag=True):
    """Accepted once the winner confirms it until then, with what `package` is given to their app."""

    package: str
    until_us: int
    reference: str = ""


class Pending(msgspec.Struct, frozen=True, tag=True):
    """The provider has it and is about to do it."""


class Confirming(msgspec.Struct, frozen=True, tag=True):
    """The provider waits for the winner."""

    package: str
    until_us: int


class Done(msgspec.Struct, frozen=True, tag=True):
    """The money has moved: final."""

    amount_minor: int
    done_us: int
    reference: str
    currency: str
    fee_minor: int = 0


class Failed(msgspec.Struct, frozen=True, tag=True):
    """It did not move and never will under this number: final."""

    why: str


class Cancelled(msgspec.Struct, frozen=True, tag=True):
    """It was taken back, or nobody confirmed it in time: final."""

    why: str = ""


class Cancelling(msgspec.Struct, frozen=True, tag=True):
    """The provider has the wish; how it ends has to be asked for."""


PayInStart = Started | Rejected | Unknown
PayInState = Open | Paid | Closed | Absent | Unknown
RefundStart = Accepted | Rejected | Unknown
RefundState = Pending | Done | Failed | Absent | Unknown
PayOutStart = NeedsConfirmation | Accepted | Rejected | Unknown
PayOutState = Pending | Confirming | Done | Failed | Cancelled | Absent | Unknown
State = Open | Paid | Closed | Pending | Confirming | Done | Failed | Cancelled
"""What a notice may say of a bill."""


# -- requests


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody is to pay this much until then. `how` is what their device can show; `payer` who they are, where the
    provider wants to know: by `jsapi` their id there, by `redirect` the network address of their device."""

    number: str
    amount_minor: int
    currency: str
    subject: str
    expires_us: int
    how: How = "qr"
    payer: str = ""


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """This much is to go to a wallet. `to` is the receiver's id at the provider; `name` only where it wants one."""

    number: str
    amount_minor: int
    currency: str
    to: str
    subject: str
    name: str = ""


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """So much of what was paid under the number `of` goes back; in all, `paid_minor` at most."""

    number: str
    of: str
    amount_minor: int
    paid_minor: int
    currency: str
    reason: str


class BillLine(msgspec.Struct, frozen=True):
    """One line of a provider's daily bill: what has moved, as they have it."""

    kind: Literal["payin", "payout", "refund"]
    number: str
    amount_minor: int
    fee_minor: int
    reference: str
    at_us: int


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What a genuine notice says. `id` is the provider's, the same in every repeat; `made_us` when it was made."""

    id: str
    kind: Literal["payin", "payout", "refund"]
    number: str
    state: State
    amount_minor: int
    currency: str
    merchant: str
    made_us: int


class Forged(msgspec.Struct, frozen=True):
    """Its signature is not that of the provider, or is of a key that nobody here knows."""

    why: str


class Stale(msgspec.Struct, frozen=True):
    """It is genuine and too old, or from the future: a repeat by somebody who listened."""

    why: str


class Probe(msgspec.Struct, frozen=True):
    """The provider tries whether signatures are verified here: it has to be refused."""


# -- the ports


class PayIn(Protocol):
    """Takes money from people. Nothing raises for what the provider or the network does."""

    @property
    def terms(self) -> Terms:
        """What the provider allows."""

    async def start(self, order: Order) -> PayInStart:
        """Let somebody pay. Twice with one number is once; with another amount it is Rejected."""

    async def find(self, number: str, reference: str = "") -> PayInState:
        """Return what became of it; `reference` as `start` has returned it, if its answer came."""

    async def close(self, number: str, reference: str = "") -> Closed | Paid | Absent | Unknown:
        """Let nobody pay any more; Paid: somebody has. A number that the provider never had is Closed, or Absent where
        it `opens_late`: then nothing hinders anybody who has what is paid by, until its time is over."""

    async def refund(self, refund: Refund) -> RefundStart:
        """Give money back. Twice with one number is once."""

    async def find_refund(self, number: str, of: str) -> RefundState:
        """Return what became of the refund of this number, of what was paid under the number `of`."""


class PayOut(Protocol):
    """Gives money to people."""

    @property
    def terms(self) -> Terms:
        """What the provider allows."""

    async def start(self, bill: Bill) -> PayOutStart:
        """Send money. Twice with one number is once; with another amount or receiver it is Rejected."""

    async def find(self, number: str) -> PayOutState:
        """Return what became of it."""

    async def cancel(self, number: str) -> Cancelling | Done | Cancelled | Unknown:
        """Take it back, if that is still possible."""


class DailyBills(Protocol):
    """The provider's own book, to be compared with ours."""

    def bounds(self, day: str) -> tuple[int, int]:
        """Return the first instant of a day (YYYY-MM-DD) and of the next, as the provider counts days, in µs.

        ValueError if it is no day.
        """

    async def daily(self, day: str) -> Sequence[BillLine] | Unknown:
        """Return what moved on that day."""


Answer = tuple[int, bytes]
"""A status, and a body as the provider wants it."""


class Notices(Protocol):
    """Pure: reads a notice from its bytes, and says how it is answered."""

    def read(self, headers: Mapping[str, str], body: bytes, now_us: int) -> Notice | Forged | Stale | Probe:
        """Return what it says, if it is the provider's. Names of headers are in small letters."""

    def answer(self, how: Literal["kept", "later", "refused"]) -> Answer:
        """Return what to answer: it is written down; come again; it is not yours."""


class HandOver(msgspec.Struct, frozen=True, kw_only=True):
    """Something granted that is no money goes to a shop's order system: goods, a code, a unit sold."""

    number: str
    event: str
    """What happened, as "order.paid"."""
    user: str
    at_us: int
    fields: dict[str, str | int | None]


class Orders(Protocol):
    """Hands things over to a shop, coupon or payroll system. At least once, and always under the same number."""

    @property
    def terms(self) -> Terms:
        """What it allows."""

    async def hand_over(self, what: HandOver) -> Accepted | Rejected | Unknown:
        """Tell it. Accepted: they have it for good."""
