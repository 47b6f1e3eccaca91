"""What proves that all is right, and what became of somebody: the audit log, grants, stories, reconciliation."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Final, Literal

from litestar import get, post
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect, Stream

from redrush.api.access import needs
from redrush.api.accounts import Role
from redrush.api.desk import Desk
from redrush.api.handlers.asking import TheDesk, actor_of
from redrush.api.handlers.proving import (
    audit,
    balances,
    grants,
    ledger,
    one_report,
    reconcile,
    reports,
    story,
    table_of_grants,
)
from redrush.console.pages.own import Form
from redrush.console.pages.rendering import AnyRequest, Page, go_to, render
from redrush.core.money.currency import format_amount
from redrush.errors import RedrushError
from redrush.operate.looking import GrantTold, Story
from redrush.operate.refunding_part import PaidFor, paid_by
from redrush.ports.bill_book import BillState

VIEWER: Final = needs(Role.VIEWER)
OPERATOR: Final = needs(Role.OPERATOR)
COLUMNS: Final = ("grant", "pot", "slot", "user", "amount", "currency", "holds", "granted_at", "until")
Text = Annotated[str, QueryParameter(max_length=512)]


@get("/audit", opt=VIEWER)
async def audit_page(
    request: AnyRequest, desk: TheDesk, who: Text = "", about: Text = "", before: Text = "", entry: Text = ""
) -> Page:
    campaign = request.query_params.get("campaign") or None
    page = await audit.fn(request, desk, campaign, who, about, before, entry, 100)
    return render(request, desk, "audit.html", page=page, who=who, about=about, before=before, entry=entry)


@get("/grants", opt=VIEWER)
async def grants_page(request: AnyRequest, desk: TheDesk, pot: Text = "", after: Text = "") -> Page:
    campaign = request.query_params.get("campaign") or None
    pots = await desk.look_up(campaign, lambda lookup: lookup.pots())
    try:
        page, why = await grants.fn(request, desk, campaign, pot, after, 50), None
    except RedrushError as fault:
        page, why = None, str(fault)
    return render(request, desk, "grants.html", page=page, why=why, pot=pot, pots=pots)


@get("/grants.csv", opt=OPERATOR)
async def grants_csv(desk: TheDesk, request: AnyRequest, pot: Text = "", after: Text = "") -> Stream:
    """All grants, or those after a place: the round and the slot of a row, with a colon between them."""
    campaign = request.query_params.get("campaign") or None
    table = await table_of_grants(desk, actor_of(request), campaign, pot, after)
    headers = {"Content-Disposition": 'attachment; filename="grants.csv"'}
    return Stream(_written(table), media_type="text/csv", headers=headers)


async def _written(table: AsyncGenerator[Sequence[GrantTold]]) -> AsyncIterator[bytes]:
    """Yield the table as text, with what lets a spreadsheet know its encoding, page by page of the records."""
    yield ("﻿" + ",".join(COLUMNS) + "\r\n").encode()
    async with aclosing(table):
        async for rows in table:
            lines = (",".join(cell(getattr(row, column)) for column in COLUMNS) + "\r\n" for row in rows)
            yield "".join(lines).encode()


def cell(value: object) -> str:
    """Return a cell that a spreadsheet shows and never runs: what would be a formula begins with an apostrophe."""
    text = "" if value is None else str(value)
    if text.lstrip().startswith(("=", "+", "-", "@", "\t", "\r")):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\r\n') else text


@get("/story", opt=OPERATOR)
async def story_page(request: AnyRequest, desk: TheDesk, user: Text = "", grant: Text = "") -> Page:
    campaign = request.query_params.get("campaign")
    found: Any = await story.fn(request, desk, user, grant, campaign) if user or grant else None
    refundable = {} if found is None else await _refundable(desk, campaign, found)
    return render(request, desk, "story.html", story=found, user=user, grant=grant, refundable=refundable)


async def _refundable(desk: Desk, campaign: str | None, told: Story) -> dict[str, PaidFor]:
    """Return what was bought by those of a user's payments of which a part may go back, by their numbers."""
    name = await desk.look_up(campaign, lambda lookup: lookup.campaign)
    paid = {one["number"]: paid_by(one["source"], name) for one in told.bills if _is_paid(one)}
    return {number: what for number, what in paid.items() if what is not None}


def _is_paid(bill: dict[str, Any]) -> bool:
    return (bill["kind"], bill["state"]) == ("payin", str(BillState.DONE))


KINDS: Final[dict[str, dict[str, str]]] = {
    "records": {
        "fund": "put into a round",
        "take": "taken away",
        "give": "moved there",
        "hold": "held for somebody",
        "confirm": "confirmed hold",
        "release": "released hold",
    },
    "bills": {
        "payout": "to a wallet",
        "payin": "paid in",
        "refund": "given back",
        "spend": "paid by balance",
        "credit": "into a balance",
    },
}
"""Of the postings of each book, as their ids begin (`redrush.core.money.ledger`, `redrush.ports.bill_book`)."""


@get("/ledger", opt=VIEWER)
async def ledger_page(
    request: AnyRequest, desk: TheDesk, kind: Text = "", begins: Text = "", account: Text = "", after: Text = ""
) -> Page:
    campaign = request.query_params.get("campaign") or None
    book: Literal["records", "bills"] = "bills" if request.query_params.get("book") == "bills" else "records"
    wanted = f"{kind}:{begins}" if kind in KINDS[book] else begins
    accounts, page, why = [], None, None
    try:
        accounts = await balances.fn(desk, campaign)
        page = await ledger.fn(request, desk, campaign, book, wanted[:240], account[:240], after[:240], 50)
    except RedrushError as fault:
        why = str(fault)
    return render(
        request, desk, "ledger.html", page=page, why=why, accounts=accounts, kind=kind, begins=begins,
        account=account, after=after, book=book, kinds=KINDS[book], bills_there_are=desk.payouts.there_are,
    )  # fmt: skip


@get("/proof", opt=VIEWER)
async def proof(request: AnyRequest, desk: TheDesk) -> Page:
    latest = desk.live.latest
    figures = {} if latest is None else latest.figures
    return render(request, desk, "proof.html", reconciled=desk.reconciled, figures=figures)


@post("/proof", opt=OPERATOR, status_code=200)
async def reconcile_now(request: AnyRequest, desk: TheDesk) -> Redirect:
    await reconcile.fn(request, desk, request.query_params.get("campaign"))
    return go_to(
        "/proof", "it is being reconciled; look again in a moment", campaign=request.query_params.get("campaign")
    )


@get("/reports", opt=VIEWER)
async def reports_page(request: AnyRequest, desk: TheDesk) -> Page:
    return render(
        request, desk, "reports.html", told=await reports.fn(desk), campaigns=desk.links.campaigns(),
        played=(await desk.drills.listed())["played"],
    )  # fmt: skip


@post("/reports", opt=OPERATOR, status_code=200)
async def make_report_now(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    campaign, why = data.get("campaign", "")[:200] or None, data.get("why", "")[:500]
    await desk.reports.begin(actor_of(request), campaign, why)
    return go_to("/reports", "it is being made; look again in a moment")


@get("/reports/{report:str}", opt=VIEWER)
async def report_page(report: FromPath[str], request: AnyRequest, desk: TheDesk) -> Page:
    made = desk.reports.one(report)
    found = None if made.said else await one_report.fn(report, desk)
    return render(request, desk, "report.html", made=made, report=found, money=format_amount)


PROVING: Final = (
    audit_page,
    grants_page,
    grants_csv,
    ledger_page,
    story_page,
    proof,
    reconcile_now,
    reports_page,
    make_report_now,
    report_page,
)
