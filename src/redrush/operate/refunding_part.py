"""Giving back a part of what was paid for one order of a sale, or for one packet between people, or all of it, while
what was bought stays with whoever has it. Who gives a unit back with it is refunded by `redrush.operate.refunding`.

Each part is a refund of its own, and the book of bills decides, in the commit that makes it, whether so much is left:
what was paid, less what goes back already. Parts are numbered, and their numbers are derived from the payment's name.
So the same order given again is the same bill, whatever was lost on the way; and an order that rests on an older look,
for somebody else has given back a part since, is refused.

What is left of a packet when it ends goes into its sender's balance by itself. So a part of it goes back only after
that, and no more than what others have had of it.
"""

from contextlib import ExitStack
from typing import Final

import msgspec

from redrush.control.event import load_event
from redrush.core.money.currency import format_amount
from redrush.core.rush.group import payment_of
from redrush.core.rush.sale_order import State
from redrush.errors import ConfigError, RedrushError
from redrush.operate.campaign_books import packet_book_of, sale_book_of
from redrush.operate.paying import Books, Shown, book_of
from redrush.ports.bill_book import BillBook, BillConflict, BillState, KeptBill, NotCovered
from redrush.ports.packets import Stage
from redrush.settle.paying.owners import refund_of
from redrush.settle.selling.steps import sources_of

PARTS_MAX: Final = 50
"""Of one payment: as many as WeChat Pay takes."""

REASON_SIGNS_MAX: Final = 80
"""The provider shows it to whoever paid."""


class PaidFor(msgspec.Struct, frozen=True):
    """What was paid: an order or a packet, by its id."""

    order: str | None = None
    packet: str | None = None

    def __str__(self) -> str:
        """Return how it is called in a sentence."""
        return f"packet {self.packet}" if self.order is None else f"order {self.order}"


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment, and what of it has gone back; amounts in minor units."""

    number: str
    provider: str
    user: str
    currency: str
    paid_minor: int
    left_minor: int
    """What may still be given back."""
    parts: tuple[Shown, ...]
    """Those that were given back so far, the first one first."""


def find_payment(books: Books, what: PaidFor) -> Payment:
    """Return the payment for it. ConfigError for what there is not, RedrushError for what nobody has paid at a
    provider; else raises as the books do."""
    with _Opened(books) as opened:
        paid = opened.payment_of(what)
        return _told_of(opened.bills, paid)


def give_back_part(books: Books, what: PaidFor, amount_minor: int | None, part: int, why: str, now_us: int) -> Payment:
    """Give back so much of it as its `part`-th part, from 1, None: all that is left; return the payment as it is then.

    The same part again is the same bill. RedrushError, and nothing was done, for another amount than that part has, for
    a number that is not the next one, for more than is left, and where what was bought does not stay with its buyer.
    """
    check_reason(why)
    with _Opened(books) as opened:
        paid = opened.payment_of(what)
        parts = _parts_of(opened.bills, paid)
        if part <= len(parts):
            _check_same(parts[part - 1], part, amount_minor)
            return _told_of(opened.bills, paid)
        if part != len(parts) + 1:
            raise RedrushError(
                f"{len(parts)} parts of it were given back so far, so the next one is not number {part}: nothing was "
                "done, look again"
            )
        if part > PARTS_MAX:
            raise RedrushError(f"{PARTS_MAX} parts of it were given back, no more are possible")
        wanted_minor = opened.wanted(what, paid, amount_minor)
        try:
            opened.bills.make([refund_of(paid, _source(paid, part), wanted_minor, why)], now_us)
        except NotCovered as refused:
            raise _too_much(paid, refused.available_minor) from refused
        except BillConflict as fault:
            raise RedrushError(f"somebody else has just given back part {part} of it: look again") from fault
        return _told_of(opened.bills, paid)


def look_at_part(books: Books, what: PaidFor, amount_minor: int | None) -> tuple[Payment, int]:
    """Return the payment, and how much of it would go back as its next part, in minor units. Raises as
    `give_back_part`."""
    with _Opened(books) as opened:
        paid = opened.payment_of(what)
        return _told_of(opened.bills, paid), opened.wanted(what, paid, amount_minor)


def check_reason(why: str) -> None:
    """ConfigError for no reason, and for one that cannot be shown to whoever has paid."""
    if not (0 < len(why) <= REASON_SIGNS_MAX and why.isprintable()):
        raise ConfigError(
            f"say why, in 1 to {REASON_SIGNS_MAX} signs, all of which can be seen: the payer may be shown it"
        )


def paid_by(source: str, campaign: str) -> PaidFor | None:
    """Return what was paid by the pay-in of this source; None where that is no order or packet of the campaign."""
    sale, packet = sources_of(campaign), payment_of(campaign, "")
    if source.startswith(sale):
        return PaidFor(order=source.removeprefix(sale))
    return PaidFor(packet=source.removeprefix(packet)) if source.startswith(packet) else None


def _source(paid: KeptBill, part: int) -> str:
    return f"{paid.source}/part/{part}"


def _parts_of(bills: BillBook, paid: KeptBill) -> list[KeptBill]:
    parts: list[KeptBill] = []
    while (found := bills.find("refund", _source(paid, len(parts) + 1))) is not None:
        parts.append(found)
    return parts


def _told_of(bills: BillBook, paid: KeptBill) -> Payment:
    return Payment(
        number=paid.number,
        provider=paid.provider,
        user=paid.user,
        currency=paid.currency,
        paid_minor=paid.amount_minor,
        left_minor=bills.left_of(paid.source),
        parts=tuple(Shown.of(one) for one in _parts_of(bills, paid)),
    )


def _check_same(made: KeptBill, part: int, amount_minor: int | None) -> None:
    if amount_minor not in (None, made.amount_minor):
        was = format_amount(made.amount_minor, made.currency)
        raise RedrushError(f"part {part} of it was {was} {made.currency}: nothing was done, look again")


def _too_much(paid: KeptBill, left_minor: int) -> RedrushError:
    left, was = (format_amount(minor, paid.currency) for minor in (max(0, left_minor), paid.amount_minor))
    return RedrushError(f"{left} of {was} {paid.currency} is left to be given back: nothing was done")


class _Opened:
    """The books of a campaign, while something is looked up in them."""

    def __init__(self, books: Books) -> None:
        """ConfigError if nobody ever paid here."""
        self._books = books
        self.campaign = load_event(books.data_dir).sealed.campaign.id
        self._ends = ExitStack()
        self.bills = self._ends.enter_context(book_of(books.of_bills))

    def __enter__(self) -> "_Opened":
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def payment_of(self, what: PaidFor) -> KeptBill:
        """Return the pay-in. See `find_payment`."""
        if what.order is not None:
            source = f"{sources_of(self.campaign)}{what.order}"
        else:
            assert what.packet is not None
            source = payment_of(self.campaign, what.packet)
        paid = self.bills.find("payin", source)
        if paid is None and what.order is not None:
            raise ConfigError(f"{what}: {self.campaign} has none that was to be paid; `GET /v1/orders` names them")
        if paid is None:
            raise ConfigError(f"{what}: {self.campaign} has none that was paid at a provider")
        if paid.state is BillState.PAID_LATE:
            raise RedrushError(f"{what} was paid too late, and all of it goes back by itself")
        if paid.state is not BillState.DONE:
            raise RedrushError(f"{what} is not paid: its bill {paid.number} is {paid.state}")
        return paid

    def wanted(self, what: PaidFor, paid: KeptBill, amount_minor: int | None) -> int:
        """Return how much is to go back, None: all that is left. RedrushError where so much is not left, and as
        `check_kept`."""
        self.check_kept(what)
        left_minor = self.bills.left_of(paid.source)
        wanted_minor = left_minor if amount_minor is None else amount_minor
        if not 0 < wanted_minor <= left_minor:
            raise _too_much(paid, left_minor)
        return wanted_minor

    def check_kept(self, what: PaidFor) -> None:
        """Raise RedrushError unless what was bought stays with its buyer."""
        if what.order is not None:
            with sale_book_of(self._books, self.campaign) as sales:
                order = None if sales is None else sales.get(what.order)
            if order is None:
                raise ConfigError(f"{what}: is in no book of sales")
            if order.state not in (State.SOLD, State.DELIVERED):
                raise RedrushError(f"{what} is {order.state}: what was paid for it goes back as a whole, or is back")
            return
        assert what.packet is not None
        with packet_book_of(self._books, self.campaign) as packets:
            booked = None if packets is None else packets.find(what.packet)
        if booked is None:
            raise ConfigError(f"{what}: is in no book of packets")
        if booked.stage is not Stage.OVER:
            raise RedrushError(
                f"{what} is not over: what is left of it goes into its sender's balance then, and what others have had "
                "of it can be given back from then on"
            )
