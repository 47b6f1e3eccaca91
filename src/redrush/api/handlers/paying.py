"""What winners are paid: lists, and orders that are bound to how many they are about."""

from typing import Annotated, Final

import msgspec
from litestar import get, post
from litestar.params import JSONBody, QueryParameter

from redrush.api.access import Actor
from redrush.api.desk import Desk, masked
from redrush.api.handlers.asking import OPERATOR, VIEWER, AnyRequest, TheDesk, actor_of
from redrush.api.payouts import Counted, Ordered, PayoutPage, Wanted
from redrush.api.seals import Refused
from redrush.ports.bill_book import BillState
from redrush.ports.grant_pages import PAGE_MAX


class Ordering(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was counted is to be done."""

    token: Annotated[str, msgspec.Meta(max_length=80_000)]
    why: Annotated[str, msgspec.Meta(max_length=500)] = ""


@get("/payouts", opt=VIEWER, summary="What winners are paid, a page at a time")
async def payouts(
    request: AnyRequest,
    desk: TheDesk,
    in_state: Annotated[BillState | None, QueryParameter(name="state")] = None,
    user: Annotated[str, QueryParameter(max_length=512)] = "",
    after: Annotated[int, QueryParameter(ge=0, le=1 << 62)] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)] = 50,
) -> PayoutPage:
    return await payout_page(desk, actor_of(request), in_state, user, after, limit)


async def payout_page(
    desk: Desk, actor: Actor, state: BillState | None, user: str, after: int, limit: int = 50
) -> PayoutPage:
    """Return a page as this person may see it; that somebody looked is written down. Refused for who may not see people
    and asks for those of one: who would be told how it ends knows whose they are."""
    if user and not actor.sees_people:
        raise Refused(403, "the payouts of one user are for operators, who see whose they are")
    page = await desk.payouts.page(state, user or None, after, limit)
    if actor.sees_people:
        if user:
            desk.seen.story(actor, f"{user} in the payouts")
        else:
            desk.seen.listed(actor, "payouts")
        return page
    return PayoutPage([msgspec.structs.replace(one, user=masked(one.user)) for one in page.payouts], page.next)


@post("/payouts/count", opt=OPERATOR, status_code=200, summary="How many an order would be about")
async def count_payouts(data: JSONBody[Wanted], request: AnyRequest, desk: TheDesk) -> Counted:
    return await desk.payouts.count(actor_of(request), data)


@post("/payouts", opt=OPERATOR, status_code=200, summary="Do what was counted")
async def order_payouts(data: JSONBody[Ordering], request: AnyRequest, desk: TheDesk) -> Ordered:
    return await desk.payouts.order(actor_of(request), data.token, data.why)


PAYING: Final = (payouts, count_payouts, order_payouts)
