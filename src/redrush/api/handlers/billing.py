"""Whether a provider's bill and our books agree, and what was granted and is not delivered."""

from typing import Annotated, Final

import msgspec
from litestar import get, post
from litestar.params import JSONBody, QueryParameter

from redrush.api.bills import BookedFees, Delivered, Found, FoundFees
from redrush.api.handlers.asking import OPERATOR, AnyRequest, Campaign, TheDesk, actor_of
from redrush.api.handlers.paying import Ordering
from redrush.settle.paying.comparing import Compared


class Looking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be counted."""

    unknown: bool = False
    """Also messages that may have arrived: some people are told twice."""


@get("/bills/compare", opt=OPERATOR, summary="Hold a provider's bill of a day against our bills and the ledger")
async def compare_bills(
    request: AnyRequest,
    desk: TheDesk,
    provider: Annotated[str | None, QueryParameter(max_length=64, description="The only one by default.")] = None,
    day: Annotated[str | None, QueryParameter(max_length=10, description="Today's by default.")] = None,
) -> Compared:
    return await desk.bills.compare(actor_of(request), provider or None, day or None)


class OfDay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose bill, the only provider's by default, and which day's, today's by default."""

    provider: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    day: Annotated[str, msgspec.Meta(max_length=10)] | None = None


@post("/bills/fees/count", opt=OPERATOR, status_code=200, summary="Fees that a provider's bill of a day alone tells")
async def count_fees(data: JSONBody[OfDay], request: AnyRequest, desk: TheDesk) -> FoundFees:
    return await desk.bills.count_fees(actor_of(request), data.provider or None, data.day or None)


@post("/bills/fees", opt=OPERATOR, status_code=200, summary="Write the fees that were counted into our books")
async def book_fees(data: JSONBody[Ordering], request: AnyRequest, desk: TheDesk) -> BookedFees:
    return await desk.bills.book_fees(actor_of(request), data.token, data.why)


@post("/reissue/count", opt=OPERATOR, status_code=200, summary="What is granted and not delivered")
async def count_undelivered(
    data: JSONBody[Looking], request: AnyRequest, desk: TheDesk, campaign: Campaign = None
) -> Found:
    return await desk.bills.look(actor_of(request), campaign, unknown=data.unknown)


@post("/reissue", opt=OPERATOR, status_code=200, summary="Deliver what was counted")
async def reissue(data: JSONBody[Ordering], request: AnyRequest, desk: TheDesk) -> Delivered:
    return await desk.bills.deliver(actor_of(request), data.token, data.why)


BILLING: Final = (compare_bills, count_fees, book_fees, count_undelivered, reissue)
