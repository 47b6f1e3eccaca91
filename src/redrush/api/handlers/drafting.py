"""Drafts of campaigns: written, checked, shown, and served."""

import asyncio
from typing import Annotated, Any, Final

import msgspec
from litestar import delete, get, post, put
from litestar.params import JSONBody, QueryParameter

from redrush.api.checklist import Checklist
from redrush.api.desk import Desk
from redrush.api.drafting import Placed
from redrush.api.handlers.asking import OPERATOR, VIEWER, AnyRequest, Campaign, Name, TheDesk, actor_of
from redrush.api.schedules import Schedule
from redrush.operate.draft_form import Field, fields_of
from redrush.operate.drafts import UPLOAD_BYTES_MAX, Checked, Uploaded, edition_of, templates

TEXT_MAX: Final = 1_000_000
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
Why = Annotated[str, msgspec.Meta(max_length=500)]


class Draft(msgspec.Struct, frozen=True):
    """A draft: its text, the values of it that a form shows, and the name of this edition of the text; `served`: the
    campaign of its id is served by this very text."""

    name: str
    text: str
    fields: list[Field]
    edition: str
    served: bool


class NewDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A draft from a template; or as a copy of another one (`of`); or of a campaign that is served, or was
    (`of_campaign`), whose first round opens at `opens`, an instant like 2027-02-06T20:00:00+08:00."""

    name: Id
    kind: str = "packets"
    of: str | None = None
    of_campaign: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    opens: Annotated[str, msgspec.Meta(max_length=40)] = ""


Edition = Annotated[str, msgspec.Meta(max_length=64)]


class NewText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another text."""

    text: Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]
    seen: Edition | None = None
    """The edition that it is to replace: another one stays, and is told with 409. None: whichever is there."""


class NewValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another value at a key that the text has, such as round[0].packets."""

    path: Annotated[str, msgspec.Meta(max_length=200)]
    value: Annotated[str, msgspec.Meta(max_length=10_000)]
    seen: Edition | None = None
    """As with a text."""


class Serving(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Let it be served; without `yes` it is only told what that would do."""

    why: Why = ""
    yes: bool = False
    seen: Edition | None = None
    """What was told as `seen`: with `yes`, nothing is done if the draft is another one now."""


class Scheduling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a draft is to be served, as a new campaign: seconds since the epoch."""

    due_s: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
    why: Why = ""
    seen: Edition | None = None
    """What was told as `seen`: nothing is done if the draft is another one now."""


class Ending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """End a campaign, whose id is typed."""

    typed: Annotated[str, msgspec.Meta(max_length=64)]
    why: Why = ""


@get("/templates", opt=VIEWER, summary="A commented campaign file of each kind")
async def kinds() -> dict[str, str]:
    return templates()


@get("/drafts", opt=VIEWER, summary="Campaign files that are being written")
async def drafts(desk: TheDesk) -> list[dict[str, str]]:
    return desk.drafting.drafts.list()


@post("/drafts", opt=OPERATOR, summary="Begin a draft from a template, or as a copy")
async def begin_draft(data: JSONBody[NewDraft], request: AnyRequest, desk: TheDesk) -> Draft:
    actor = actor_of(request)
    if data.of_campaign is not None:
        text = await desk.drafting.clone(actor, data.name, data.of_campaign, data.opens)
    else:
        text = desk.drafting.begin(actor, data.name, data.kind, data.of)
    return await _draft(desk, data.name, text)


async def _draft(desk: Desk, name: str, text: str) -> Draft:
    fields, served = await asyncio.gather(
        asyncio.to_thread(fields_of, text), asyncio.to_thread(desk.drafting.is_served, text)
    )
    return Draft(name, text, fields, edition_of(text), served)


@get("/drafts/{name:str}", opt=VIEWER, summary="A draft, as text and as values")
async def draft(name: Name, desk: TheDesk) -> Draft:
    return await _draft(desk, name, desk.drafting.drafts.read(name))


@put("/drafts/{name:str}", opt=OPERATOR, summary="Keep another text of it")
async def write_draft(name: Name, data: JSONBody[NewText], request: AnyRequest, desk: TheDesk) -> Checked:
    desk.drafting.write(actor_of(request), name, data.text, data.seen)
    return await desk.drafting.check(name)


@put("/drafts/{name:str}/value", opt=OPERATOR, summary="Keep another value in it; comments stay")
async def write_value(name: Name, data: JSONBody[NewValue], request: AnyRequest, desk: TheDesk) -> Draft:
    kept = await desk.drafting.set_value(actor_of(request), name, data.path, data.value, data.seen)
    return await _draft(desk, name, kept)


@get("/drafts/{name:str}/check", opt=VIEWER, summary="What it would do, or what is wrong with it and where")
async def check_draft(name: Name, desk: TheDesk) -> Checked:
    return await desk.drafting.check(name)


@put(
    "/drafts/{name:str}/files/{file:str}",
    opt=OPERATOR,
    summary="Bring a list of users or codes, as it is",
    request_max_body_size=UPLOAD_BYTES_MAX,
)
async def upload(name: Name, file: Name, request: AnyRequest, desk: TheDesk) -> Uploaded:
    return await desk.drafting.upload(actor_of(request), name, file, request.stream())


@post("/drafts/{name:str}/serve", opt=OPERATOR, status_code=200, summary="Let it be served, or tell what that would do")
async def serve_draft(name: Name, data: JSONBody[Serving], request: AnyRequest, desk: TheDesk) -> Placed:
    return await desk.drafting.place(actor_of(request), name, data.why, yes=data.yes, seen=data.seen)


class DryRunning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Play a draft; `short` takes half a minute."""

    why: Why = ""
    short: bool = True
    seen: Edition | None = None
    """What its check told as `seen`: nothing is played if the draft is another one now."""


@post(
    "/drafts/{name:str}/dry-run",
    opt=OPERATOR,
    status_code=202,
    summary="Play it for seconds with a simulated crowd; what becomes of it is with the drills",
)
async def dry_run(name: Name, data: JSONBody[DryRunning], request: AnyRequest, desk: TheDesk) -> dict[str, Any]:
    return await desk.dry_run(actor_of(request), name, data.why, short=data.short, seen=data.seen)


@post("/drafts/{name:str}/schedule", opt=OPERATOR, summary="Let it be served later, as a new campaign")
async def schedule_draft(name: Name, data: JSONBody[Scheduling], request: AnyRequest, desk: TheDesk) -> Schedule:
    return await desk.schedules.make(actor_of(request), name, data.due_s, data.why, data.seen)


@get("/schedules", opt=VIEWER, summary="Drafts that wait for their time, and what became of others")
async def schedules(desk: TheDesk) -> list[Schedule]:
    return desk.schedules.all()


@post("/schedules/{schedule:str}/cancel", opt=OPERATOR, status_code=200, summary="Let nothing become of one")
async def cancel_schedule(schedule: Name, request: AnyRequest, desk: TheDesk) -> Schedule:
    return desk.schedules.cancel(actor_of(request), schedule)


@delete("/drafts/{name:str}", opt=OPERATOR, summary="Remove a draft, with its lists")
async def remove_draft(
    name: Name,
    request: AnyRequest,
    desk: TheDesk,
    seen: Annotated[str | None, QueryParameter(max_length=64, description="The edition that was seen.")] = None,
) -> None:
    desk.drafting.remove(actor_of(request), name, seen)


@post("/campaigns/{name:str}/end", opt=OPERATOR, status_code=200, summary="Serve a campaign no more")
async def end_campaign(name: Name, data: JSONBody[Ending], request: AnyRequest, desk: TheDesk) -> dict[str, Any]:
    await desk.drafting.end(actor_of(request), name, data.typed, data.why)
    return {"ended": name}


class Signing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a checklist is fine, for this reason."""

    round: Id
    item: Annotated[str, msgspec.Meta(max_length=40)]
    why: Why
    campaign: str | None = None


@get("/checklist", opt=VIEWER, summary="What has to be right before a round opens")
async def checklist(
    desk: TheDesk, round_id: Annotated[str, QueryParameter(name="round", max_length=64)], campaign: Campaign = None
) -> Checklist:
    return await desk.checklists.of(campaign, round_id)


@post("/checklist", opt=OPERATOR, status_code=200, summary="Sign a line of it, with a reason")
async def sign(data: JSONBody[Signing], request: AnyRequest, desk: TheDesk) -> Checklist:
    return await desk.checklists.sign(actor_of(request), data.campaign, data.round, data.item, data.why)


DRAFTING: Final = (
    checklist,
    sign,
    kinds,
    drafts,
    begin_draft,
    draft,
    write_draft,
    write_value,
    check_draft,
    upload,
    serve_draft,
    dry_run,
    schedule_draft,
    schedules,
    cancel_schedule,
    remove_draft,
    end_campaign,
)
