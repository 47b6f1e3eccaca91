"""Bills: what a provider's bill of a day says otherwise than our books, and what is to be delivered once more."""

from typing import Final

from litestar import get, post
from litestar.response import Redirect

from redrush.api.access import needs
from redrush.api.accounts import Role
from redrush.api.handlers.asking import TheDesk, actor_of
from redrush.console.pages.own import Form
from redrush.console.pages.rendering import AnyRequest, Page, go_to, render
from redrush.core.rush.instants import rfc3339_s
from redrush.errors import RedrushError

OPERATOR: Final = needs(Role.OPERATOR)


@get("/bills", opt=OPERATOR)
async def bills_page(request: AnyRequest, desk: TheDesk) -> Page:
    query = request.query_params
    provider, day = query.get("provider", "")[:64], query.get("day", "")[:10]
    names, compared, why = desk.bills.providers(), None, None
    if provider:
        try:
            compared = await desk.bills.compare(actor_of(request), provider, day or None)
        except RedrushError as fault:
            why = str(fault)
    return render(
        request, desk, "bills.html", providers=names, provider=provider, day=day or rfc3339_s(desk.now_s())[:10],
        compared=compared, why=why, campaigns=desk.links.campaigns(),
    )  # fmt: skip


@post("/bills/fees/count", opt=OPERATOR, status_code=200)
async def count_fees(request: AnyRequest, data: Form, desk: TheDesk) -> Page:
    provider, day = data.get("provider", "")[:64], data.get("day", "")[:10]
    found = await desk.bills.count_fees(actor_of(request), provider or None, day or None)
    return render(request, desk, "fees.html", found=found)


@post("/bills/fees", opt=OPERATOR, status_code=200)
async def book_fees(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    done = await desk.bills.book_fees(actor_of(request), data.get("token", ""), data.get("why", "")[:500])
    of = done.compared
    return go_to("/bills", f"{done.count} fees are in our books now", provider=of.provider, day=of.day)


@post("/bills/reissue/count", opt=OPERATOR, status_code=200)
async def count(request: AnyRequest, data: Form, desk: TheDesk) -> Page:
    campaign = data.get("campaign", "")[:200] or None
    found = await desk.bills.look(actor_of(request), campaign, unknown=data.get("unknown") == "yes")
    return render(request, desk, "reissue.html", found=found, of_campaign=campaign)


@post("/bills/reissue", opt=OPERATOR, status_code=200)
async def reissue(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    done = await desk.bills.deliver(actor_of(request), data.get("token", ""), data.get("why", "")[:500])
    return go_to("/bills", f"{done.count} things are delivered, or under way")


BILLING: Final = (bills_page, count_fees, book_fees, count, reissue)
