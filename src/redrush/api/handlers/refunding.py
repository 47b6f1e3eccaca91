"""Giving back a part of one payment: what was paid, what would go back, and the order, bound to what was seen."""

from typing import Annotated, Final

import msgspec
from litestar import get, post
from litestar.params import JSONBody, QueryParameter

from redrush.api.handlers.asking import OPERATOR, AnyRequest, Campaign, TheDesk, actor_of
from redrush.api.refunds import FoundPart, PaymentTold, paid_for

ID_MAX: Final = 200
Id = Annotated[str, msgspec.Meta(max_length=ID_MAX)]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So much of what was paid for an order, or for a packet."""

    amount: Annotated[str, msgspec.Meta(max_length=40)]
    """Like 12.50; or all: what is left."""
    order: Id | None = None
    packet: Id | None = None
    campaign: Id | None = None


class Refunding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was seen is to go back; its amount is typed, and the payer may be shown why."""

    token: Annotated[str, msgspec.Meta(max_length=4_000)]
    typed: Annotated[str, msgspec.Meta(max_length=40)]
    why: Annotated[str, msgspec.Meta(max_length=200)]


@get("/payment", opt=OPERATOR, summary="What was paid for an order or a packet, and what of it has gone back")
async def payment(
    request: AnyRequest,
    desk: TheDesk,
    order: Annotated[str | None, QueryParameter(max_length=ID_MAX, description="As GET /v1/orders names it.")] = None,
    packet: Annotated[str | None, QueryParameter(max_length=ID_MAX)] = None,
    campaign: Campaign = None,
) -> PaymentTold:
    return await desk.refunds.payment(actor_of(request), campaign, paid_for(order, packet))


@post("/refunds/preview", opt=OPERATOR, status_code=200, summary="What would go back of a payment")
async def preview_refund(data: JSONBody[Part], request: AnyRequest, desk: TheDesk) -> FoundPart:
    what = paid_for(data.order, data.packet)
    return await desk.refunds.preview(actor_of(request), data.campaign, what, data.amount)


@post("/refunds", opt=OPERATOR, status_code=200, summary="Give back what was previewed; its buyer keeps the unit")
async def give_back(data: JSONBody[Refunding], request: AnyRequest, desk: TheDesk) -> PaymentTold:
    return await desk.refunds.give_back(actor_of(request), data.token, data.typed, data.why)


REFUNDING: Final = (payment, preview_refund, give_back)
