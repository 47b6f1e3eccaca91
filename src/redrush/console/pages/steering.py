"""Switches and playbooks, what a change would do, the change; and changes that wait for a second person, or a time."""

import datetime
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Redirect

from redrush.api.access import needs
from redrush.api.accounts import Role
from redrush.api.handlers.asking import TheDesk, actor_of
from redrush.api.handlers.steering import decide, playbooks, switches
from redrush.api.proposals import Asked, State, Verb
from redrush.api.seals import Refused
from redrush.api.sets import names_an_order
from redrush.console.pages.own import Form
from redrush.console.pages.rendering import AnyRequest, Page, go_to, instant_s, render
from redrush.core.rush.instants import rfc3339_s

VIEWER: Final = needs(Role.VIEWER)
OPERATOR: Final = needs(Role.OPERATOR)
CAMPAIGN: Final = "campaign"
LAST_S: Final = int(datetime.datetime(9999, 12, 30, tzinfo=datetime.UTC).timestamp())


@get("/steer", opt=VIEWER)
async def steer(request: AnyRequest, desk: TheDesk) -> Page:
    campaign = request.query_params.get(CAMPAIGN)
    return render(
        request,
        desk,
        "steer.html",
        switches=await switches.fn(desk, campaign),
        playbooks=await playbooks.fn(desk, campaign),
        campaigns=desk.links.campaigns(),
    )


@post("/steer/preview", opt=OPERATOR, status_code=200)
async def preview(request: AnyRequest, data: Form, desk: TheDesk) -> Page:
    asked = asked_in(data)
    previewed = await desk.steering.preview(actor_of(request), asked)
    return render(
        request, desk, "confirm.html", previewed=previewed, proposal=data.get("proposal", ""),
        edition=data.get("edition", ""),
    )  # fmt: skip


@post("/steer/confirm", opt=OPERATOR, status_code=200)
async def confirm(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    actor, why = actor_of(request), data.get("why", "")[:500]
    asked = asked_in(data)
    match data.get("how", "now"):
        case "propose" | "schedule" as how:
            due_s = instant_s(data.get("due", "")) if how == "schedule" else None
            if editing := data.get("proposal"):
                await desk.steering.edit(actor, editing, asked, why, due_s, _edition(data))
            else:
                await desk.steering.propose(actor, asked, why, due_s)
            return go_to("/waiting", "it waits now", campaign=asked.campaign)
        case how:
            effect = await desk.steering.confirm(
                actor, data.get("token", ""), why, data.get("typed", ""), break_glass=how == "glass"
            )
    count = len(effect["changes"])
    return go_to("/steer", f"done: version {effect['version']}, {count} changed", campaign=asked.campaign)


@get("/waiting", opt=VIEWER)
async def waiting(request: AnyRequest, desk: TheDesk) -> Page:
    return render(
        request,
        desk,
        "waiting.html",
        proposals=desk.steering.proposals(),
        protected=desk.steering.protected,
        states=State,
        due=_due_text,
    )


@post("/waiting/{proposal:str}/{verb:str}", opt=OPERATOR, status_code=200)
async def decide_page(
    proposal: FromPath[str], verb: FromPath[Literal["approve", "apply", "cancel"]], request: AnyRequest, desk: TheDesk
) -> Redirect:
    done = await decide.fn(proposal, verb, request, desk, _edition(request.query_params))
    return go_to("/waiting", f"{done.id}: {done.state}")


def _edition(fields: Mapping[str, str]) -> int:
    """Return which edition of a proposal somebody has seen; 0, which there is not, for what is no number."""
    text = fields.get("edition", "")
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0


@post("/waiting/protected", opt=needs(Role.ADMIN), status_code=200)
async def protect(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    wanted = data.get("switches", "").replace(",", "\n").splitlines()
    desk.steering.protect(actor_of(request), wanted, data.get("seen", "").splitlines())
    if uncalled := await desk.steering.uncalled(names_an_order):
        return go_to("/waiting", f"from now on these need a second person; no switch is called {', '.join(uncalled)}")
    return go_to("/waiting", "from now on these need a second person")


def asked_in(data: dict[str, Any]) -> Asked:
    """Return what a form asks for. Refused for what is no change."""
    try:
        verb = Verb(data.get("verb", ""))
    except ValueError:
        raise Refused(400, "this form asks for no change that there is") from None
    value = data.get("value") if verb is Verb.SET else None
    return Asked(verb=verb, name=data.get("name", "")[:200], value=value, campaign=data.get(CAMPAIGN) or None)


def _due_text(due_s: int) -> str:
    """Return an instant as `when` reads it. What an earlier console took may be of no calendar: the page shows it as
    the last instant that every zone has, for all else that waits is on it, too."""
    return rfc3339_s(min(due_s, LAST_S))


STEERING: Final = (steer, preview, confirm, waiting, decide_page, protect)
