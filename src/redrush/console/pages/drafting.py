"""Campaigns: which there are, drafts of new ones, and the editor with form, text and the validator side by side."""

import asyncio
import difflib
import re
from dataclasses import dataclass
from typing import Final

import msgspec
from litestar import get, post, put
from litestar.params import FromPath
from litestar.response import Redirect

from redrush.api.access import needs
from redrush.api.accounts import Role
from redrush.api.desk import Desk
from redrush.api.diary import Line
from redrush.api.handlers.asking import TheDesk, actor_of
from redrush.api.handlers.drafting import upload
from redrush.api.handlers.watching import campaigns
from redrush.api.seals import Refused
from redrush.console.pages.own import Form
from redrush.console.pages.rendering import SAID_FAULTS, AnyRequest, Page, go_to, instant_s, language_of, render
from redrush.console.wording import validator_in_chinese
from redrush.errors import RedrushError
from redrush.operate.campaigns import how_the_first_ends
from redrush.operate.draft_form import FORM_CHARS_MAX, fields_of
from redrush.operate.drafts import UPLOAD_BYTES_MAX, Uploaded, WrittenMeanwhile, edition_of, templates

VIEWER: Final = needs(Role.VIEWER)
OPERATOR: Final = needs(Role.OPERATOR)


CAMPAIGNS_SHOWN: Final = 50
ROUNDS_SHOWN: Final = 6
"""Of one campaign among others; alone it has all."""
COMPARED_LINES_MAX: Final = 4_000
"""Of two texts together, where they are held against each other line by line: more would take long."""
STATES: Final = ("open", "ahead", "over", "ended")


@get("/campaigns", opt=VIEWER)
async def campaigns_page(request: AnyRequest, desk: TheDesk) -> Page:
    listed = await campaigns.fn(desk)
    only, state = request.query_params.get("campaign"), request.query_params.get("state")
    wanted = [one for one in listed if state in {None, one["state"]} and only in {None, "", one["campaign"]}]
    wanted.sort(key=lambda one: STATES.index(one["state"]))
    skipped = page_of(request.query_params.get("page")) * CAMPAIGNS_SHOWN
    return render(
        request,
        desk,
        "campaigns.html",
        campaigns=wanted[skipped : skipped + CAMPAIGNS_SHOWN],
        first=listed[0]["campaign"],
        how_the_first_ends=how_the_first_ends(listed[0]["campaign"], desk.data_dir),
        counts={one: sum(found["state"] == one for found in listed) for one in STATES},
        state=state,
        more=skipped + CAMPAIGNS_SHOWN < len(wanted),
        page=skipped // CAMPAIGNS_SHOWN,
        rounds_shown=len(wanted[0]["rounds"]) if only and wanted else ROUNDS_SHOWN,
        drafts=desk.drafting.drafts.list(),
        kinds=list(templates()),
        schedules=[one for one in desk.schedules.all() if not one.state.over],
    )


def page_of(text: str | None) -> int:
    """Return which page of a list somebody wants, from 0 on; the first one for what is no number."""
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,6}", text) else 0


@post("/drafts", opt=OPERATOR, status_code=200)
async def begin_draft(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    name, of = data.get("name", "")[:64], data.get("of", "")
    if campaign := data.get("of_campaign"):
        await desk.drafting.clone(actor_of(request), name, campaign, data.get("opens", "")[:40])
        return go_to(f"/drafts/{name}", "nothing that was sealed came along: look at the times, and bring codes anew")
    desk.drafting.begin(actor_of(request), name, data.get("kind", "packets"), of or None)
    return go_to(f"/drafts/{name}")


@get("/drafts/{name:str}", opt=VIEWER)
async def draft_page(name: FromPath[str], request: AnyRequest, desk: TheDesk) -> Page:
    return await _draft(request, desk, name, desk.drafting.drafts.read(name))


@dataclass(frozen=True)
class Clash:
    """Two people have written one draft, and what the second one wanted to keep is not kept yet."""

    theirs: str
    """The text that is there, which somebody else has kept."""
    by: Line | None
    path: str | None
    """Where one value was to be set; None: it was the text."""
    value: str

    @property
    def edition(self) -> str:
        """Names the text that is there: who has seen it may write over it."""
        return edition_of(self.theirs)

    def differences(self, mine: str) -> list[str]:
        """Return the lines that differ, with - before theirs and + before one's own; none if there are too many."""
        both = self.theirs.splitlines(), mine.splitlines()
        if sum(map(len, both)) > COMPARED_LINES_MAX:
            return []
        return list(difflib.unified_diff(*both, n=1, lineterm=""))[2:]


async def _draft(request: AnyRequest, desk: Desk, name: str, text: str, clash: Clash | None = None) -> Page:
    """Return the editor over a text: that of the draft, or, in a clash, what somebody wanted to keep."""
    drafts, checked = desk.drafting.drafts, await desk.drafting.check(name)
    differences = [] if clash is None else await asyncio.to_thread(clash.differences, text)
    return render(
        request, desk, "draft.html", 200 if clash is None else 409, name=name, text=text, edition=edition_of(text),
        checked=checked, fields=await asyncio.to_thread(fields_of, text), long=len(text) > FORM_CHARS_MAX,
        clash=clash, differences=differences, files=drafts.files(name),
        schedules=desk.schedules.of_draft(name), dry_run=desk.drills.last_dry_run(name),
    )  # fmt: skip


@post("/drafts/{name:str}", opt=OPERATOR, status_code=200)
async def write_draft(name: FromPath[str], request: AnyRequest, data: Form, desk: TheDesk) -> Page:
    """Keep the text, or one value of it, and show what the validator says to it. Where somebody else has kept another
    text since, both are shown, and nothing is kept."""
    actor, drafting = actor_of(request), desk.drafting
    path, value, text = data.get("path") or None, data.get("value", ""), data.get("text")
    seen = data.get("over") or data.get("seen", "")
    if path is None and text is None:
        raise Refused(400, "this form has neither a text nor a value")
    try:
        if path is not None:
            return await _draft(request, desk, name, await drafting.set_value(actor, name, path, value, seen))
        return await _draft(request, desk, name, drafting.write(actor, name, text or "", seen))
    except WrittenMeanwhile as found:
        clash = Clash(found.text, await asyncio.to_thread(drafting.last_written, name), path, value)
        mine = clash.theirs if path is not None else (text or "").replace("\r\n", "\n")
        return await _draft(request, desk, name, mine, clash)


@put(
    "/drafts/{name:str}/files/{file:str}",
    opt=OPERATOR,
    request_max_body_size=UPLOAD_BYTES_MAX,
    exception_handlers=SAID_FAULTS,
)
async def bring_list(name: FromPath[str], file: FromPath[str], request: AnyRequest, desk: TheDesk) -> Uploaded:
    """Keep a list as the API does; what is wrong with it is said in the language of the page."""
    brought: Uploaded = await upload.fn(name, file, request, desk)
    if language_of(request) != "zh":
        return brought
    return msgspec.structs.replace(brought, problems=[validator_in_chinese(one) for one in brought.problems])


@post("/drafts/{name:str}/serve", opt=OPERATOR, status_code=200)
async def serve_draft(name: FromPath[str], request: AnyRequest, data: Form, desk: TheDesk) -> Page | Redirect:
    yes, seen = data.get("yes") == "yes", data.get("seen", "")
    try:
        placed, why = (
            await desk.drafting.place(actor_of(request), name, data.get("why", "")[:500], yes=yes, seen=seen),
            None,
        )
    except RedrushError as fault:
        placed, why = None, str(fault)
    if placed is not None and placed.done:
        later = any(not one["at_once"] for one in placed.changes)
        return go_to(
            "/campaigns",
            f"{placed.campaign} is as the draft says; its server takes up some of it at its next start, not before"
            if later
            else f"{placed.campaign} is served",
        )
    return render(request, desk, "serve.html", name=name, placed=placed, why=why)


@post("/drafts/{name:str}/dry-run", opt=OPERATOR, status_code=200)
async def dry_run(name: FromPath[str], request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    short, why = data.get("long") != "yes", data.get("why", "")[:500]
    await desk.dry_run(actor_of(request), name, why, short=short, seen=data.get("seen", ""))
    return go_to("/drills", "it is being played")


@post("/drafts/{name:str}/schedule", opt=OPERATOR, status_code=200)
async def schedule_draft(name: FromPath[str], request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    due_s = instant_s(data.get("due", "").strip())
    made = await desk.schedules.make(actor_of(request), name, due_s, data.get("why", "")[:500], data.get("seen", ""))
    return go_to("/campaigns", f"{made.campaign} waits for its time now")


@post("/schedules/{schedule:str}/cancel", opt=OPERATOR, status_code=200)
async def cancel_schedule(schedule: FromPath[str], request: AnyRequest, desk: TheDesk) -> Redirect:
    cancelled = desk.schedules.cancel(actor_of(request), schedule)
    return go_to("/campaigns", f"nothing becomes of the schedule of {cancelled.campaign}")


@post("/drafts/{name:str}/remove", opt=OPERATOR, status_code=200)
async def remove_draft(name: FromPath[str], request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    desk.drafting.remove(actor_of(request), name, data.get("seen", ""))
    return go_to("/campaigns", "the draft is gone")


@post("/campaigns/{name:str}/end", opt=OPERATOR, status_code=200)
async def end_campaign(name: FromPath[str], request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    await desk.drafting.end(actor_of(request), name, data.get("typed", ""), data.get("why", "")[:500])
    return go_to("/campaigns", f"{name} is served no more")


@get("/checklist", opt=VIEWER)
async def checklist_page(request: AnyRequest, desk: TheDesk) -> Page:
    campaign, round_id = request.query_params.get("campaign"), request.query_params.get("round", "")
    return render(request, desk, "checklist.html", list=await desk.checklists.of(campaign, round_id))


@post("/checklist", opt=OPERATOR, status_code=200)
async def sign(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    campaign, round_id = data.get("campaign"), data.get("round", "")
    await desk.checklists.sign(actor_of(request), campaign, round_id, data.get("item", ""), data.get("why", ""))
    return go_to("/checklist", campaign=campaign, round=round_id)


DRAFTING: Final = (
    campaigns_page,
    begin_draft,
    draft_page,
    write_draft,
    bring_list,
    serve_draft,
    dry_run,
    schedule_draft,
    cancel_schedule,
    remove_draft,
    end_campaign,
    checklist_page,
    sign,
)
