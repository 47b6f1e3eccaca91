"""What winners are paid: the list, and orders about some of it."""

from typing import Final

from litestar import get, post
from litestar.response import Redirect

from redrush.api.access import needs
from redrush.api.accounts import Role
from redrush.api.handlers.asking import TheDesk, actor_of
from redrush.api.handlers.paying import payout_page
from redrush.api.payouts import Verb, Wanted
from redrush.api.seals import Refused
from redrush.console.pages.own import Form
from redrush.console.pages.rendering import AnyRequest, Page, go_to, render
from redrush.ports.bill_book import BillState

VIEWER: Final = needs(Role.VIEWER)
OPERATOR: Final = needs(Role.OPERATOR)


@get("/payouts", opt=VIEWER)
async def payouts_page(request: AnyRequest, desk: TheDesk) -> Page:
    query = request.query_params
    state, user, after = _state(query.get("state", "")), query.get("user", "")[:512], query.get("after", "0")
    if not after.isdecimal():
        raise Refused(400, f'"{after}" is no place to go on from')
    page = None
    if desk.payouts.there_are:
        page = await payout_page(desk, actor_of(request), state, user, min(int(after), 1 << 62))
    return render(
        request, desk, "payouts.html", page=page, state=state, user=user, states=list(BillState), verbs=list(Verb)
    )


@post("/payouts/count", opt=OPERATOR, status_code=200)
async def count(request: AnyRequest, data: Form, desk: TheDesk) -> Page:
    try:
        verb = Verb(data.get("verb", ""))
    except ValueError:
        raise Refused(400, "this form orders nothing that there is") from None
    numbers = tuple(data.get("numbers", "").replace(",", " ").split())
    wanted = Wanted(verb=verb, numbers=numbers, state=None if numbers else _state(data.get("state", "")))
    return render(request, desk, "payouts_order.html", counted=await desk.payouts.count(actor_of(request), wanted))


@post("/payouts/order", opt=OPERATOR, status_code=200)
async def order(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    ordered = await desk.payouts.order(actor_of(request), data.get("token", ""), data.get("why", "")[:500])
    said = f"{len(ordered.done)} done, {len(ordered.refused)} refused"
    return go_to("/payouts", f"{said}: {ordered.refused[0]}" if ordered.refused else said)


def _state(text: str) -> BillState | None:
    try:
        return BillState(text) if text else None
    except ValueError:
        raise Refused(400, f"there is no state {text}; there are {', '.join(BillState)}") from None


PAYING: Final = (payouts_page, count, order)
