"""What proves that all is right, and what became of somebody: the audit log, grants, stories, reconciliation."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Final

from litestar import get, post
from litestar.params import QueryParameter
from litestar.response import Redirect, Stream

from redrush.api.access import needs
from redrush.api.accounts import Role
from redrush.api.handlers.asking import TheDesk, actor_of
from redrush.api.handlers.proving import audit, balances, grants, reconcile, story, table_of_grants
from redrush.console.pages.rendering import AnyRequest, Page, go_to, render
from redrush.errors import RedrushError
from redrush.operate.looking import GrantTold

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
    return render(request, desk, "story.html", story=found, user=user, grant=grant)


@get("/proof", opt=VIEWER)
async def proof(request: AnyRequest, desk: TheDesk) -> Page:
    campaign = request.query_params.get("campaign")
    try:
        accounts, why = await balances.fn(desk, campaign), None
    except RedrushError as fault:
        accounts, why = [], str(fault)
    latest = desk.live.latest
    figures = {} if latest is None else latest.figures
    return render(request, desk, "proof.html", reconciled=desk.reconciled, balances=accounts, why=why, figures=figures)


@post("/proof", opt=OPERATOR, status_code=200)
async def reconcile_now(request: AnyRequest, desk: TheDesk) -> Redirect:
    await reconcile.fn(request, desk, request.query_params.get("campaign"))
    return go_to(
        "/proof", "it is being reconciled; look again in a moment", campaign=request.query_params.get("campaign")
    )


PROVING: Final = (audit_page, grants_page, grants_csv, story_page, proof, reconcile_now)
