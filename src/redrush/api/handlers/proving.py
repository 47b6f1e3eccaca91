"""What proves that all is right: the audit log, grants, stories, reconciliation."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import get, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from litestar.response import Response

from redrush.api.access import Actor
from redrush.api.desk import Desk, masked
from redrush.api.handlers.asking import OPERATOR, VIEWER, AnyRequest, Campaign, TheDesk, actor_of
from redrush.api.reports import FILES, Reported
from redrush.api.seals import Refused
from redrush.core.identity.user_ids import normalised
from redrush.core.money.ledger import user_account
from redrush.operate.looking import AccountTold, GrantTold, PostingTold, Story
from redrush.ports.grant_pages import PAGE_MAX, LedgerPart


class AuditPage(msgspec.Struct, frozen=True):
    """Who did what, the newest first."""

    entries: list[dict[str, Any]]
    more: bool


@get("/audit", opt=VIEWER, summary="Who did what, when and why")
async def audit(  # noqa: PLR0913, PLR0917 - each is a part of the address
    request: AnyRequest,
    desk: TheDesk,
    campaign: Campaign = None,
    who: Annotated[str, QueryParameter(max_length=200)] = "",
    about: Annotated[str, QueryParameter(max_length=200)] = "",
    before: Annotated[str, QueryParameter(max_length=40, description="An instant to begin below.")] = "",
    entry: Annotated[str, QueryParameter(max_length=40, description="One alone: its source, - and its number.")] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)] = 100,
) -> AuditPage:
    found = [
        row
        for row in await desk.audit(campaign, people=actor_of(request).sees_people)
        if (not who or row["who"] == who)
        and about in row["what"]
        and (not before or row["at"] < before)
        and (not entry or f"{row['source']}-{row['number']}" == entry)
    ]
    return AuditPage(found[:limit], len(found) > limit)


class GrantPage(msgspec.Struct, frozen=True):
    """Some grants, and the place to go on from; none: there are no more."""

    grants: list[GrantTold]
    next: str | None


@get("/grants", opt=VIEWER, summary="Grants, a page at a time")
async def grants(
    request: AnyRequest,
    desk: TheDesk,
    campaign: Campaign = None,
    pot: Annotated[str, QueryParameter(max_length=200, description="Of one round; of all by default.")] = "",
    after: Annotated[str, QueryParameter(max_length=240)] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)] = 50,
) -> GrantPage:
    actor = actor_of(request)
    rows, following = await _grants(desk, campaign, pot, after, limit)
    if actor.sees_people:
        desk.seen.listed(actor, _listed(campaign, pot))
    else:
        rows = [msgspec.structs.replace(row, user=masked(row.user)) for row in rows]
    return GrantPage(rows, following)


async def _grants(
    desk: Desk, campaign: str | None, pot: str, after: str, limit: int
) -> tuple[list[GrantTold], str | None]:
    """Return a page of grants, of one round or of all. Refused for a round or a place that there is not."""
    pots = await desk.look_up(campaign, lambda lookup: lookup.pots())
    wanted = [pot] if pot else pots
    if any(one not in pots for one in wanted):
        raise Refused(404, f'there is no round "{pot}"')
    try:
        return await desk.look_up(campaign, lambda lookup: lookup.page(wanted, after, limit))
    except ValueError:
        raise Refused(400, f'"{after}" is no place to go on from: take "next" of the page before') from None


def _listed(campaign: str | None, pot: str) -> str:
    return f"grants of {campaign or 'the first campaign'}, {f'round {pot}' if pot else 'all rounds'}"


async def table_of_grants(
    desk: Desk, actor: Actor, campaign: str | None, pot: str, after: str
) -> AsyncGenerator[Sequence[GrantTold]]:
    """Begin a table of all grants, of one round or of all, after a place; it is written down who takes it. Refused as a
    page is, and as a table is."""
    return await desk.seen.table(
        actor, _listed(campaign, pot), lambda place: _grants(desk, campaign, pot, place, PAGE_MAX), after
    )


@get("/story", opt=OPERATOR, summary="What became of one user, or one grant; that somebody looked is logged")
async def story(
    request: AnyRequest,
    desk: TheDesk,
    user: Annotated[str, QueryParameter(max_length=512)] = "",
    grant: Annotated[str, QueryParameter(max_length=512)] = "",
    campaign: Campaign = None,
) -> Story:
    actor = actor_of(request)
    if grant:
        found = await desk.look_up(campaign, lambda lookup: lookup.user_of(grant))
        if found is None:
            raise Refused(404, f"grant {grant} is nobody's, or not recorded yet")
        user = found
    if not user:
        raise Refused(400, "say whose story: user, or grant")
    user = normalised(user)
    desk.seen.story(actor, user)
    told = await desk.look_up(campaign, lambda lookup: lookup.story(user))
    return msgspec.structs.replace(told, bills=await desk.payouts.of_user(user)) if desk.payouts.there_are else told


@get("/journal", opt=OPERATOR, summary="What the logs themselves say of a user, with receipts")
async def journal(
    request: AnyRequest,
    desk: TheDesk,
    user: Annotated[str, QueryParameter(min_length=1, max_length=512)],
    campaign: Campaign = None,
) -> dict[str, Any]:
    actor = actor_of(request)
    user = normalised(user)
    desk.seen.story(actor, f"{user} in the journal")
    return await desk.from_journal(campaign, user)


@get("/balances", opt=VIEWER, summary="What went through the campaign's accounts, in the records and with providers")
async def balances(desk: TheDesk, campaign: Campaign = None) -> list[AccountTold]:
    return await desk.accounts_of(campaign)


class Postings(msgspec.Struct, frozen=True):
    """Some postings, and the id to go on from; none: there are no more. What is looked through for one account is
    bounded, so there may be few, or none, and more to come."""

    postings: list[PostingTold]
    next: str | None


@get("/ledger", opt=VIEWER, summary="The double entry of a book, a page at a time; plain grants are with the grants")
async def ledger(  # noqa: PLR0913, PLR0917 - each is a part of the address
    request: AnyRequest,
    desk: TheDesk,
    campaign: Campaign = None,
    book: Annotated[
        Literal["records", "bills"], QueryParameter(description="What was won, or what providers have moved.")
    ] = "records",
    begins: Annotated[str, QueryParameter(max_length=240, description="What ids begin with, such as fund:")] = "",
    account: Annotated[str, QueryParameter(max_length=240, description="One that is no user's, such as sponsor.")] = "",
    after: Annotated[str, QueryParameter(max_length=240)] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)] = 50,
) -> Postings:
    if not (begins + account + after).isprintable():
        raise Refused(400, "an id and an account have printable characters only")
    if account.startswith(user_account("")):
        raise Refused(400, "what a user has won and been paid is in their story")
    actor = actor_of(request)
    if book == "bills" and not actor.sees_people:
        raise Refused(403, "the postings of the bill book are for operators: their ids say who is paid")
    found, following = await desk.ledger(campaign, book, LedgerPart(begins=begins, account=account), after, limit)
    if not actor.sees_people:
        found = [
            msgspec.structs.replace(
                one, debit_account=veiled(one.debit_account), credit_account=veiled(one.credit_account)
            )
            for one in found
        ]
    elif book == "bills" or any(one.credit_account.startswith(user_account("")) for one in found):
        name = "ledger" if book == "records" else "bill book"
        desk.seen.listed(actor, f"the {name} of {campaign or 'the first campaign'}")
    return Postings(found, following)


def veiled(account: str) -> str:
    """Return an account as viewers see it."""
    user = account.removeprefix(user_account(""))
    return account if user == account else user_account(masked(user))


@get("/reconciliation", opt=VIEWER, summary="What the last reconciliation found")
async def reconciliation(desk: TheDesk) -> dict[str, Any]:
    return desk.reconciled or {"running": False, "report": None}


@post("/reconciliation", opt=OPERATOR, status_code=202, summary="Reconcile now")
async def reconcile(request: AnyRequest, desk: TheDesk, campaign: Campaign = None) -> dict[str, Any]:
    desk.reconcile(actor_of(request), campaign)
    assert desk.reconciled is not None
    return desk.reconciled


class Asking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose report is to be made, and why."""

    campaign: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    why: Annotated[str, msgspec.Meta(max_length=500)] = ""


ReportId = Annotated[str, PathParameter(min_length=1, max_length=80)]


@get("/reports", opt=VIEWER, summary="Reports of events: the last ones, and the one that is being made")
async def reports(desk: TheDesk) -> Reported:
    return desk.reports.told()


@post("/reports", opt=OPERATOR, status_code=202, summary="Make the report of a campaign, while nothing is open")
async def make_report(data: JSONBody[Asking], request: AnyRequest, desk: TheDesk) -> Reported:
    return await desk.reports.begin(actor_of(request), data.campaign, data.why)


@get("/reports/{report:str}", opt=VIEWER, summary="One report, with all its figures")
async def one_report(report: ReportId, desk: TheDesk) -> dict[str, Any]:
    path = desk.reports.path(report, "report.json")
    found: dict[str, Any] = msgspec.json.decode(await asyncio.to_thread(path.read_bytes))
    return found


@get("/reports/{report:str}/files/{file:str}", opt=VIEWER, summary="A page of a report, to be kept elsewhere")
async def report_file(report: ReportId, file: ReportId, desk: TheDesk) -> Response[bytes]:
    content = await asyncio.to_thread(desk.reports.path(report, file).read_bytes)
    headers = {"Content-Disposition": f'attachment; filename="{report}.{file.partition(".")[2]}"'}
    return Response(content, media_type=FILES[file], headers=headers)


PROVING: Final = (
    audit,
    grants,
    story,
    journal,
    balances,
    ledger,
    reconciliation,
    reconcile,
    reports,
    make_report,
    one_report,
    report_file,
)
