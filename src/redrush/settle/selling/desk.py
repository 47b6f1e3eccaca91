"""The desk of a sale: what buyers ask about what is held for them. See `redrush.ports.buying`."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from redrush.core.money.currency import format_amount
from redrush.core.rush.campaign import Campaign, Round, grant_id_prefix
from redrush.core.rush.instants import rfc3339
from redrush.core.rush.sale import request_of
from redrush.core.rush.sale_order import SaleOrder, State, Why, order_id
from redrush.ports.bill_book import BillState, KeptBill
from redrush.ports.buying import Told, Wish
from redrush.ports.sale_book import SaleBook
from redrush.ports.store import Held
from redrush.settle.selling.book_writer import BookWriter
from redrush.settle.selling.steps import Steps
from redrush.settle.selling.units import Units

ADDRESS_SIGNS_MAX: Final = 200
KEPT_TRIES: Final = 5
"""How often a change is tried that others come before."""

NOT_YOURS: Final = Told(404, {}, "no unit is held for you under this grant")
ENDED: Final = Told(409, {"state": "returned"}, "the hold has ended and the unit is offered to others; claim again")
NOBODY_TAKES_MONEY: Final = Told(503, {}, "nobody can take money here now; what you hold stays yours", 5)
TOO_MANY_CHANGES: Final = Told(503, {}, "the order is being changed by somebody else; try again", 1)
HANDED_OVER: Final = Told(409, {}, "the shop has the order already; change it there")
NO_ADDRESSES: Final = Told(400, {}, "address: none can be kept here; leave it out")
TOO_LATE_TO_GIVE_BACK: Final = Told(409, {}, "it is paid; ask the shop to take it back")


class Desk:
    """See the module. Lives on the event loop of its store."""

    def __init__(  # noqa: PLR0913 - what a sale stands on
        self,
        campaign: Campaign,
        units: Units,
        book: SaleBook,
        writer: BookWriter,
        steps: Steps,
        now_us: Callable[[], int],
        nudge: Callable[[], None],
        *,
        takes_addresses: bool = True,
    ) -> None:
        """`nudge` is called when an order has come to be looked at. `takes_addresses`: the book can hide them; else
        whoever names one is told to leave it out."""
        self._campaign = campaign
        self._units = units
        self._book = book
        self._writer = writer
        self._steps = steps
        self._now_us = now_us
        self._nudge = nudge
        self._takes_addresses = takes_addresses
        self.amend(campaign)

    def amend(self, campaign: Campaign) -> None:
        """Know the rounds of this campaign from now on."""
        self._sales = {grant_id_prefix(campaign.id, one.id): one for one in campaign.rounds if one.sale is not None}

    # -- what buyers ask

    async def pay(self, user: str, grant: str, wish: Wish) -> Told:
        """See the port."""
        if (refusal := self._unfit(wish)) is not None:
            return refusal
        for _ in range(KEPT_TRIES):
            found = await self._order_or_hold(user, grant)
            if found is None:
                return NOT_YOURS
            if not self._steps.can_charge(found.pot):
                return NOBODY_TAKES_MONEY
            if found.version:
                return await self._go_on(found, wish)
            now_us = self._now_us()
            if now_us >= found.until_us:
                return ENDED
            # Written down before a provider hears of it: from here on the unit is not released before they were asked.
            kept = await self._writer.keep(found.pays(wish.address, now_us))
            if kept is not None:  # else by a second request of theirs, or it was released just now
                return await self._charge(kept, wish)
        return TOO_MANY_CHANGES

    async def _go_on(self, order: SaleOrder, wish: Wish) -> Told:
        if order.state in {State.RETURNING, State.RETURNED, State.CLOSING}:
            return ENDED
        if order.state is not State.PAYING:
            return self._say(order)
        if wish.address is not None and wish.address != order.address:
            moved = await self._writer.keep(msgspec.structs.replace(order, address=wish.address))
            if moved is None:
                return TOO_MANY_CHANGES
            order = moved
        return await self._charge(order, wish)

    async def _charge(self, order: SaleOrder, wish: Wish) -> Told:
        bill = await self._steps.charge(order, wish.device)
        if bill.is_final:  # paid in the meantime, or refused
            order = await self._writer.keep(await self._steps.told(order, bill)) or order
            self._nudge()
        return self._say(order, bill)

    async def give_back(self, user: str, grant: str) -> Told:
        """See the port."""
        for _ in range(KEPT_TRIES):
            found = await self._order_or_hold(user, grant)
            if found is None:
                return NOT_YOURS
            if not found.version:
                ended = found.returns(Why.GIVEN_BACK, self._now_us())
            elif (given := found.given_back(self._now_us())) is None:
                return TOO_LATE_TO_GIVE_BACK
            elif given is found:
                return self._say(found)
            else:
                ended = given
            kept = await self._writer.keep(ended)
            if kept is not None:
                return self._say(await self._released(kept))
        return TOO_MANY_CHANGES

    async def _released(self, order: SaleOrder) -> SaleOrder:
        """Release it at once where nothing has to be asked before."""
        self._nudge()
        if order.state is not State.RETURNING:
            return order
        stepped = await self._steps.take(order)
        return await self._writer.keep(stepped) or stepped

    async def send_to(self, user: str, grant: str, wish: Wish) -> Told:
        """See the port."""
        if (refusal := self._unfit(wish)) is not None:
            return refusal
        for _ in range(KEPT_TRIES):
            order = await self._order_or_hold(user, grant)
            if order is None:
                return NOT_YOURS
            if not order.version:
                return Told(409, {"state": "held"}, "begin to pay first: POST /v1/holds/{grant}/pay takes an address")
            if order.state in {State.RETURNING, State.RETURNED, State.RECALLING, State.REFUNDING, State.REFUNDED}:
                return ENDED
            if order.state is State.DELIVERED or (order.state is State.SOLD and order.tries):
                return HANDED_OVER
            kept = await self._writer.keep(msgspec.structs.replace(order, address=wish.address))
            if kept is not None:
                return self._say(kept)
        return TOO_MANY_CHANGES

    async def orders_of(self, user: str) -> list[dict[str, Any]]:
        """See the port."""
        return [self._fields(order) for order in await self._writer.ask(self._book.of_user, user)]

    def _unfit(self, wish: Wish) -> Told | None:
        address = wish.address
        if address is None:
            return None
        if not (0 < len(address) <= ADDRESS_SIGNS_MAX and address.isprintable()):
            return Told(400, {}, f"address: 1 to {ADDRESS_SIGNS_MAX} signs, all of which can be seen")
        return None if self._takes_addresses else NO_ADDRESSES

    # -- where it stands

    async def _order_or_hold(self, user: str, grant: str) -> SaleOrder | None:
        """Return the user's order of this grant, or what one would begin with, of version 0; None: nothing is held for
        them."""
        theirs = [order for order in await self._writer.ask(self._book.of_user, user) if order.grant == grant]
        round_, slot = self._parsed(grant)
        if round_ is None or round_.sale is None:
            return None
        for unit in range(1, round_.sale.limit_per_user + 1):
            claimed = await self._units.find(round_.id, user, request_of(unit))
            if isinstance(claimed, Held) and claimed.slot == slot and claimed.until_us is not None:
                known = next((one for one in theirs if one.number == claimed.number), None)
                return known or self._begun(round_, user, request_of(unit), claimed, grant)
        return theirs[-1] if theirs else None

    def _parsed(self, grant: str) -> tuple[Round | None, int]:
        prefix, dash, slot = grant.rpartition("-")
        if not (slot.isascii() and slot.isdecimal() and len(slot) < 19):
            return None, 0
        return self._sales.get(prefix + dash), int(slot)

    def _begun(self, round_: Round, user: str, request: str, held: Held, grant: str) -> SaleOrder:
        assert round_.sale is not None
        assert held.until_us is not None
        now_us, set_ = self._now_us(), self._units.home(round_.id, user)
        return SaleOrder(
            id=order_id(grant, held.number, set_),
            set=set_,
            grant=grant,
            pot=round_.id,
            user=user,
            slot=held.slot,
            number=held.number,
            request=request,
            until_us=held.until_us,
            price_minor=round_.sale.price_minor,
            state=State.PAYING,
            due_us=now_us,
            since_us=now_us,
        )

    # -- words

    def _say(self, order: SaleOrder, bill: KeptBill | None = None) -> Told:
        fields = self._fields(order)
        if order.state is not State.PAYING:
            return Told(200, fields)
        shown = bill is not None and bill.state is BillState.OPEN
        kind, _, payload = bill.detail.partition(":") if bill is not None and shown else ("", "", "")
        # None: the provider has not said yet how to pay. Ask again.
        fields["pay"] = {"kind": kind, "payload": payload} if shown else None
        return Told(200, fields, retry_after_s=None if shown else 1)

    def _fields(self, order: SaleOrder) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "grant": order.grant,
            "state": order.state.value,
            "amount": format_amount(order.price_minor, self._campaign.currency),
            "currency": self._campaign.currency,
            "expires_at": rfc3339(order.until_us),
        }
        if order.charged:
            fields["order"] = order.id
        if order.address is not None:
            fields["address"] = order.address
        if order.why is not None:
            fields["why"] = order.why.value
        if order.parked:
            fields["waits_for"] = "operator"
        return fields
