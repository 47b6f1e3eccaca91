"""A part of one payment: what was paid and went back, what would go back, and the order, with the amount typed."""

from typing import Final

from litestar import get, post
from litestar.response import Redirect

from redrush.api.access import needs
from redrush.api.accounts import Role
from redrush.api.handlers.asking import TheDesk, actor_of
from redrush.api.handlers.refunding import ID_MAX
from redrush.api.refunds import paid_for
from redrush.console.pages.own import Form
from redrush.console.pages.rendering import AnyRequest, Page, go_to, render
from redrush.operate.refunding_part import REASON_SIGNS_MAX

OPERATOR: Final = needs(Role.OPERATOR)


@get("/refund", opt=OPERATOR)
async def refund_page(request: AnyRequest, desk: TheDesk) -> Page:
    query = request.query_params
    order, packet = query.get("order", "")[:ID_MAX], query.get("packet", "")[:ID_MAX]
    campaign = query.get("campaign", "")[:200] or None
    found = None
    if order or packet:
        found = await desk.refunds.payment(actor_of(request), campaign, paid_for(order, packet))
    return render(request, desk, "refund.html", found=found, order=order, packet=packet)


@post("/refund/preview", opt=OPERATOR, status_code=200)
async def preview(request: AnyRequest, data: Form, desk: TheDesk) -> Page:
    what = paid_for(data.get("order", "")[:ID_MAX], data.get("packet", "")[:ID_MAX])
    campaign, amount = data.get("campaign", "")[:200] or None, data.get("amount", "")[:40]
    part = await desk.refunds.preview(actor_of(request), campaign, what, amount)
    return render(request, desk, "refund_order.html", part=part, reason_max=REASON_SIGNS_MAX)


@post("/refund", opt=OPERATOR, status_code=200)
async def give_back(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    typed, why = data.get("typed", "")[:40], data.get("why", "")[:200]
    given = await desk.refunds.give_back(actor_of(request), data.get("token", ""), typed, why)
    query = {"order": given.what.order, "packet": given.what.packet, "campaign": given.campaign}
    return go_to("/refund", f"{given.parts[-1].amount} {given.currency} goes back, or is back", **query)


REFUNDING: Final = (refund_page, preview, give_back)
