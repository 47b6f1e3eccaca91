"""Changing something: previews, changes, proposals and schedules."""

from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from redrush.api.handlers.asking import (
    ADMIN,
    OPERATOR,
    VIEWER,
    AnyRequest,
    Campaign,
    Name,
    TheDesk,
    actor_of,
)
from redrush.api.proposals import Asked, Proposal
from redrush.api.sets import names_an_order
from redrush.api.steering import Previewed
from redrush.control.orders import ListPlaybooks, ListSwitches


@get("/switches", opt=VIEWER, summary="Every switch, its value, and who has set it")
async def switches(desk: TheDesk, campaign: Campaign = None) -> dict[str, Any]:
    return {**await desk.links.of(campaign).read(ListSwitches()), "protected": desk.steering.protected}


@get("/switches/log", opt=VIEWER, summary="The newest changes as the log has them, oldest first")
async def switch_log(desk: TheDesk, campaign: Campaign = None) -> dict[str, Any]:
    return {"entries": await desk.links.of(campaign).audit()}


@get("/playbooks", opt=VIEWER, summary="Playbooks, and the rules that apply them")
async def playbooks(desk: TheDesk, campaign: Campaign = None) -> dict[str, Any]:
    return await desk.links.of(campaign).read(ListPlaybooks())


@post("/changes/preview", opt=OPERATOR, status_code=200, summary="What a change would do now")
async def preview(data: JSONBody[Asked], request: AnyRequest, desk: TheDesk) -> Previewed:
    return await desk.steering.preview(actor_of(request), data)


class Confirming(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was seen is to be done."""

    token: Annotated[str, msgspec.Meta(max_length=8_000)]
    why: Annotated[str, msgspec.Meta(max_length=500)] = ""
    typed: Annotated[str, msgspec.Meta(max_length=200)] = ""
    break_glass: bool = False
    ahead: Annotated[int, msgspec.Meta(ge=0, le=8)] = 0
    """How many changes that were seen together with this one were confirmed just before it."""


@post("/changes", opt=OPERATOR, status_code=200, summary="Make the change that was previewed")
async def confirm(data: JSONBody[Confirming], request: AnyRequest, desk: TheDesk) -> dict[str, Any]:
    return await desk.steering.confirm(
        actor_of(request), data.token, data.why, data.typed, break_glass=data.break_glass, ahead=data.ahead
    )


class Proposing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change for a second person, or for a time."""

    asked: Asked
    why: Annotated[str, msgspec.Meta(max_length=500)] = ""
    due_s: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)] | None = None
    """Seconds since the epoch; none: as soon as somebody has approved it."""


@get("/proposals", opt=VIEWER, summary="Changes that wait for a second person, or their time")
async def proposals(desk: TheDesk) -> list[Proposal]:
    return desk.steering.proposals()


@post("/proposals", opt=OPERATOR, summary="Propose or schedule a change")
async def propose(data: JSONBody[Proposing], request: AnyRequest, desk: TheDesk) -> Proposal:
    return await desk.steering.propose(actor_of(request), data.asked, data.why, data.due_s)


Edition = Annotated[int | None, QueryParameter(description="The one that was seen: another one is refused.")]


@put("/proposals/{proposal:str}", opt=OPERATOR, summary="Edit it; an approval that it had is gone")
async def edit_proposal(
    proposal: Name, data: JSONBody[Proposing], request: AnyRequest, desk: TheDesk, edition: Edition = None
) -> Proposal:
    """Without `due_s` its time stays."""
    return await desk.steering.edit(actor_of(request), proposal, data.asked, data.why, data.due_s, edition)


@post("/proposals/{proposal:str}/{verb:str}", opt=OPERATOR, status_code=200, summary="approve, apply or cancel it")
async def decide(
    proposal: Name,
    verb: FromPath[Literal["approve", "apply", "cancel"]],
    request: AnyRequest,
    desk: TheDesk,
    edition: Edition = None,
) -> Proposal:
    actor = actor_of(request)
    if verb == "approve":
        return desk.steering.approve(actor, proposal, edition)
    if verb == "cancel":
        return desk.steering.cancel(actor, proposal, edition)
    return await desk.steering.apply(actor, proposal, edition)


class Protecting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The switches that need a second person: names, or patterns such as answer_ended*."""

    switches: Annotated[list[Annotated[str, msgspec.Meta(max_length=200)]], msgspec.Meta(max_length=100)]
    seen: Annotated[list[Annotated[str, msgspec.Meta(max_length=200)]], msgspec.Meta(max_length=100)] | None = None
    """Those that they replace: if there are others by now, nothing is done. None: whichever there are."""


@put("/protected", opt=ADMIN, summary="Say which switches need a second person")
async def protect(data: JSONBody[Protecting], request: AnyRequest, desk: TheDesk) -> dict[str, Any]:
    desk.steering.protect(actor_of(request), data.switches, data.seen)
    return {"switches": desk.steering.protected, "uncalled": await desk.steering.uncalled(names_an_order)}


STEERING: Final = (
    switches,
    switch_log,
    playbooks,
    preview,
    confirm,
    proposals,
    propose,
    edit_proposal,
    decide,
    protect,
)
