"""Campaigns: which there are, drafts of new ones, and the editor with form, text and the validator side by side."""

from typing import Final

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Redirect

from redrush.api.access import needs
from redrush.api.accounts import Role
from redrush.api.desk import Desk
from redrush.api.handlers.asking import TheDesk, actor_of
from redrush.api.handlers.watching import campaigns
from redrush.api.seals import Refused
from redrush.console.pages.own import Form
from redrush.console.pages.rendering import AnyRequest, Page, go_to, instant_s, render
from redrush.errors import RedrushError
from redrush.operate.drafts import fields_of, set_value, templates

VIEWER: Final = needs(Role.VIEWER)
OPERATOR: Final = needs(Role.OPERATOR)


@get("/campaigns", opt=VIEWER)
async def campaigns_page(request: AnyRequest, desk: TheDesk) -> Page:
    return render(
        request,
        desk,
        "campaigns.html",
        campaigns=await campaigns.fn(desk),
        drafts=desk.drafting.drafts.list(),
        kinds=list(templates()),
        schedules=[one for one in desk.schedules.all() if not one.state.over],
    )


@post("/drafts", opt=OPERATOR, status_code=200)
async def begin_draft(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    name, of = data.get("name", "")[:64], data.get("of", "")
    if campaign := data.get("of_campaign"):
        await desk.drafting.clone(actor_of(request), name, campaign, data.get("opens", "")[:40])
        return go_to(f"/drafts/{name}", "nothing that was sealed came along: look at the times, and bring codes anew")
    desk.diary.note(actor_of(request).name, "begin draft", name)
    if of:
        desk.drafting.drafts.clone(name, of)
    else:
        desk.drafting.drafts.begin(name, data.get("kind", "packets"))
    return go_to(f"/drafts/{name}")


@get("/drafts/{name:str}", opt=VIEWER)
async def draft_page(name: FromPath[str], request: AnyRequest, desk: TheDesk) -> Page:
    return await _draft(request, desk, name)


async def _draft(request: AnyRequest, desk: Desk, name: str) -> Page:
    drafts = desk.drafting.drafts
    text, checked = drafts.read(name), await desk.drafting.check(name)
    return render(
        request, desk, "draft.html", name=name, text=text, checked=checked, fields=fields_of(text),
        files=drafts.files(name), schedules=desk.schedules.of_draft(name),
    )  # fmt: skip


@post("/drafts/{name:str}", opt=OPERATOR, status_code=200)
async def write_draft(name: FromPath[str], request: AnyRequest, data: Form, desk: TheDesk) -> Page:
    """Keep the text, or one value of it, and show what the validator says to it."""
    drafts = desk.drafting.drafts
    text = data.get("text")
    if path := data.get("path"):
        text = set_value(drafts.read(name), path, data.get("value", ""))
    if text is None:
        raise Refused(400, "this form has neither a text nor a value")
    desk.diary.note(actor_of(request).name, "write draft", f"{name}: {path}" if path else name)
    drafts.write(name, text)
    return await _draft(request, desk, name)


@post("/drafts/{name:str}/serve", opt=OPERATOR, status_code=200)
async def serve_draft(name: FromPath[str], request: AnyRequest, data: Form, desk: TheDesk) -> Page | Redirect:
    yes = data.get("yes") == "yes"
    try:
        placed, why = await desk.drafting.place(actor_of(request), name, data.get("why", "")[:500], yes=yes), None
    except RedrushError as fault:
        placed, why = None, str(fault)
    if placed is not None and placed.done:
        return go_to("/campaigns", f"{placed.campaign} is served")
    return render(request, desk, "serve.html", name=name, placed=placed, why=why)


@post("/drafts/{name:str}/schedule", opt=OPERATOR, status_code=200)
async def schedule_draft(name: FromPath[str], request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    due_s = instant_s(data.get("due", "").strip())
    made = await desk.schedules.make(actor_of(request), name, due_s, data.get("why", "")[:500])
    return go_to("/campaigns", f"{made.campaign} waits for its time now")


@post("/schedules/{schedule:str}/cancel", opt=OPERATOR, status_code=200)
async def cancel_schedule(schedule: FromPath[str], request: AnyRequest, desk: TheDesk) -> Redirect:
    cancelled = desk.schedules.cancel(actor_of(request), schedule)
    return go_to("/campaigns", f"nothing becomes of the schedule of {cancelled.campaign}")


@post("/drafts/{name:str}/remove", opt=OPERATOR, status_code=200)
async def remove_draft(name: FromPath[str], request: AnyRequest, desk: TheDesk) -> Redirect:
    desk.diary.note(actor_of(request).name, "remove draft", name)
    desk.drafting.drafts.remove(name)
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
    serve_draft,
    schedule_draft,
    cancel_schedule,
    remove_draft,
    end_campaign,
    checklist_page,
    sign,
)
