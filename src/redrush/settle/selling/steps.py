"""One step of one order: what its state asks for is asked of the payments part, the store or the shop.

The order comes back changed and is not written down yet. Every step may be taken twice, by whoever read the order
before it was written: payment, refund and hand-over have the order's id, the store knows hold and request.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from redrush.core.rush.campaign import Campaign, grant_id
from redrush.core.rush.sale import SaleTerms
from redrush.core.rush.sale_order import NEVER_US, SaleOrder, State
from redrush.errors import RedrushError
from redrush.ports.bill_book import BillState, KeptBill
from redrush.ports.cashier import Till
from redrush.ports.provider import Accepted, Device, HandOver, Orders, Rejected, Unknown
from redrush.ports.store import LIMIT, Claim, Grant, Held, HoldState
from redrush.settle.selling.units import Units

PAY_WAIT_S: Final = 3.0
"""How long a buyer's request waits for the provider to say how to pay; then they ask again."""

CLOSE_WAIT_S: Final = 1.0

LATE_TRIES_MAX: Final = 4
"""How often money that came late asks again for a unit, while other sets have some: 18 s, in which they move."""

SALES_ACCOUNT: Final = "sales"
"""Where the money goes in the double entry."""

PAID: Final = "order.paid"
CANCELLED: Final = "order.cancelled"
"""What a shop is told of; each once, under a name of its own."""


def hold_of(order: SaleOrder) -> Grant:
    """Return the order's hold as its store knows it."""
    return Grant(order.pot, order.user, order.slot, order.request, order.number)


def sources_of(campaign_id: str) -> str:
    """Return what the sources of all payments of the campaign's sales begin with; the order's id follows."""
    return f"sale:{campaign_id}:"


class Partners(msgspec.Struct, frozen=True):
    """Who takes money and whose order systems are told, by the names that a sale has for them."""

    take_money: frozenset[str] = frozenset()
    shops: Mapping[str, Orders] = {}

    @property
    def takes_money(self) -> str | None:
        """Who takes it where a sale names nobody: the only one there is; None: nobody does."""
        return next(iter(self.take_money)) if len(self.take_money) == 1 else None


def lacking(sales: Mapping[str, SaleTerms], take_money: Collection[str], shops: Collection[str]) -> list[str]:
    """Return a sentence for each sale, by its round, that nobody of a payments file can take the money of, or whose
    shop it has not."""
    lacks = []
    for round_id, sale in sales.items():
        if sale.pay is None and len(take_money) != 1:
            many = f"it has {len(take_money)} that do: name one as `pay`" if take_money else "it has none that does"
            lacks.append(f"nobody can pay in {round_id}, for the only provider that takes money is to: {many}")
        if sale.pay is not None and sale.pay not in take_money:
            lacks.append(f'nobody can pay in {round_id}: it has no provider "{sale.pay}" that takes money')
        if sale.shop is not None and sale.shop not in shops:
            lacks.append(f'nobody is told what is sold in {round_id}: it has no shop "{sale.shop}"')
    return lacks


ABSENT: Final = Unknown("there is no shop of that name in the payments file")


class Steps:
    """See the module. A sale without a shop hands nobody anything: what is paid is sold."""

    def __init__(
        self,
        campaign: Campaign,
        units: Units,
        till: Till,
        partners: Partners,
        now_us: Callable[[], int],
    ) -> None:
        self._campaign = campaign
        self._units = units
        self._till = till
        self._partners = partners
        self._now_us = now_us
        self._sources = sources_of(campaign.id)

    def can_charge(self, pot: str) -> bool:
        """Whether there is anybody who takes the money of this sale."""
        return self._till.can_take(self._provider(pot))

    def lacking(self) -> list[str]:
        """Return what the payments file lacks for these sales, a sentence each."""
        sales = {one.id: one.sale for one in self._campaign.rounds if one.sale is not None}
        return lacking(sales, self._partners.take_money, self._partners.shops)

    def _provider(self, pot: str) -> str:
        round_ = self._campaign.round(pot)
        named = None if round_ is None or round_.sale is None else round_.sale.pay
        return named or self._partners.takes_money or ""

    async def _told_shop(self, order: SaleOrder, event: str) -> Accepted | Rejected | Unknown:
        """Tell the sale's shop what became of the order; Accepted where there is none."""
        round_ = self._campaign.round(order.pot)
        named = None if round_ is None or round_.sale is None else round_.sale.shop
        if named is None:
            return Accepted()
        shop = self._partners.shops.get(named)
        return ABSENT if shop is None else await shop.hand_over(self._hand_over(order, event))

    def amend(self, campaign: Campaign) -> None:
        """Know this campaign from now on."""
        self._campaign = campaign

    def order_of(self, bill: KeptBill) -> str:
        """Return the id of the order that a payment, or a refund, is of."""
        return bill.source.removeprefix(self._sources)

    def _source(self, order: SaleOrder) -> str:
        return f"{self._sources}{order.id}"

    async def take(self, order: SaleOrder) -> SaleOrder:
        """Do what the order's state asks for. Raises what store and payments raise."""
        match order.state:
            case State.PAYING:
                return await self._paying(order)
            case State.CLOSING:
                return await self.told(order, await self._till.close(self._source(order), CLOSE_WAIT_S))
            case State.RETURNING:
                return await self._returning(order)
            case State.LATE:
                return await self._late(order)
            case State.SOLD:
                return await self._sold(order)
            case State.RECALLING:
                return await self._recalling(order)
            case State.REFUNDING:
                return await self._refunding(order)
            case State.RETURNED | State.DELIVERED | State.REFUNDED:
                return msgspec.structs.replace(order, due_us=NEVER_US)

    # -- the payments part

    async def charge(self, order: SaleOrder, device: Device) -> KeptBill:
        """Let the buyer pay with this, until the hold is over. Asking twice is asking once."""
        return await self._till.charge(
            self._source(order),
            campaign=self._campaign.id,
            user=order.user,
            provider=self._provider(order.pot),
            currency=self._campaign.currency,
            amount_minor=order.price_minor,
            subject=self._campaign.name,
            expires_us=order.until_us,
            account=SALES_ACCOUNT,
            device=device,
            wait_s=PAY_WAIT_S,
        )

    async def _paying(self, order: SaleOrder) -> SaleOrder:
        overdue = order.overdue(self._now_us())
        return overdue if overdue is not order else await self.told(order, await self._till.look(self._source(order)))

    async def told(self, order: SaleOrder, bill: KeptBill | None) -> SaleOrder:
        """Return the order after this was said of its payment; None: it was never made, and never will be.

        What came late is kept before anything is done for it: from then on the order has to find a unit for it, or to
        give it back. What the payments part gives back by itself counts as never paid.
        """
        if bill is not None and bill.state is BillState.PAID_LATE:
            bill = await self._till.keep_late(bill.source)
        now_us = self._now_us()
        if bill is None:
            return order.closed(now_us) if order.state is State.CLOSING else order.again(now_us)
        if bill.state is BillState.DONE:
            return order.paid(bill.done_us or now_us, bill.reference, now_us)
        return order.closed(now_us) if bill.is_final else order.again(now_us)

    async def _refunding(self, order: SaleOrder) -> SaleOrder:
        source = self._source(order)
        bill = await self._till.refund_rest(source, of=source, reason=str(order.why or "returned"))
        return order.refunded(self._now_us()) if bill is None else self.told_of_refund(order, bill)

    def told_of_refund(self, order: SaleOrder, bill: KeptBill) -> SaleOrder:
        """Return the order after this was said of its refund."""
        now_us = self._now_us()
        if bill.state in {BillState.DONE, BillState.PAID_LATE}:
            return order.refunded(now_us)
        return order.park() if bill.is_final else order.again(now_us)

    # -- the store

    async def _returning(self, order: SaleOrder) -> SaleOrder:
        now_us = self._now_us()
        [state] = await self._units.of(order.set).release([hold_of(order)], now_us)
        if state is HoldState.CONFIRMED:
            if (sold := order.is_sold_for_good(now_us)) is not None:
                return sold
            raise RedrushError(f"order {order.id}: its unit was to come back, and is sold for good; look at it")
        return order.released(now_us)

    async def _late(self, order: SaleOrder) -> SaleOrder:
        now_us = self._now_us()
        request = order.late_request
        [claimed] = await self._units.of(order.set).claim([Claim(order.pot, order.user, request)], now_us)
        if not isinstance(claimed, Held):
            to_come = order.tries < LATE_TRIES_MAX and await self._units.elsewhere(order.pot, order.user)
            return order.again(now_us) if to_come and claimed is not LIMIT else order.got_none(now_us)
        grant = grant_id(self._campaign.id, order.pot, claimed.slot)
        return order.got(claimed.slot, claimed.number, request, grant, now_us)

    # -- the shop

    async def _sold(self, order: SaleOrder) -> SaleOrder:
        taken = await self._told_shop(order, PAID)
        if isinstance(taken, Rejected) and taken.final:
            return order.refused(self._now_us())
        if not isinstance(taken, Accepted):
            return order.not_taken(self._now_us(), int((taken.retry_after_s or 0) * 1e6))
        now_us = self._now_us()
        [state] = await self._units.of(order.set).confirm([hold_of(order)], now_us)
        if state is HoldState.CONFIRMED:
            return order.confirmed(now_us)
        raise RedrushError(f"order {order.id}: is paid, and its unit is not held any more ({state.value}); look at it")

    async def _recalling(self, order: SaleOrder) -> SaleOrder:
        let_go = await self._told_shop(order, CANCELLED)
        if isinstance(let_go, Rejected) and let_go.final:
            return order.not_recalled(self._now_us())
        if not isinstance(let_go, Accepted):
            return order.not_taken(self._now_us(), int((let_go.retry_after_s or 0) * 1e6))
        return order.recalled(self._now_us())

    def _hand_over(self, order: SaleOrder, event: str) -> HandOver:
        return HandOver(
            number=order.id if event == PAID else f"{order.id}:{event}",
            event=event,
            user=order.user,
            at_us=order.paid_us or 0,
            fields={
                "order": order.id,
                "grant": order.grant,
                "round": order.pot,
                "slot": order.slot,
                "amount_minor": order.price_minor,
                "currency": self._campaign.currency,
                "address": order.address,
                "reference": order.reference,
            },
        )
