"""Orders about sets, with a second look; and drills, which play on processes of their own."""

from typing import Annotated, Any, Final

import msgspec
from litestar import delete, get, post
from litestar.params import JSONBody

from redrush.api.handlers.asking import OPERATOR, VIEWER, AnyRequest, Campaign, Name, TheDesk, actor_of
from redrush.api.sets import SetAsked, SetSeen


@get("/sets", opt=VIEWER, summary="The sets of a deployment, and what becomes of one that is made anew")
async def sets(desk: TheDesk, campaign: Campaign = None) -> dict[str, Any]:
    return await desk.sets.listed(campaign)


@post("/sets/preview", opt=OPERATOR, status_code=200, summary="What an order about a set would do, and lose")
async def preview_set(data: JSONBody[SetAsked], request: AnyRequest, desk: TheDesk) -> SetSeen:
    return await desk.sets.preview(actor_of(request), data)


class SetConfirming(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was seen is to be done."""

    token: Annotated[str, msgspec.Meta(max_length=8_000)]
    why: Annotated[str, msgspec.Meta(max_length=500)]
    typed: Annotated[str, msgspec.Meta(max_length=200)] = ""
    break_glass: bool = False


@post("/sets", opt=OPERATOR, status_code=200, summary="Give the order about a set that was previewed")
async def order_set(data: JSONBody[SetConfirming], request: AnyRequest, desk: TheDesk) -> dict[str, Any]:
    return await desk.sets.confirm(actor_of(request), data.token, data.why, data.typed, break_glass=data.break_glass)


class Drilling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Play a drill now."""

    why: Annotated[str, msgspec.Meta(max_length=500)] = ""
    long: bool = False
    """The form whose figures are published: minutes instead of seconds."""


@get("/drills", opt=VIEWER, summary="Which drills there are, what is being played, and what became of the last ones")
async def drills(desk: TheDesk) -> dict[str, Any]:
    return await desk.drills.listed()


@post("/drills/{name:str}", opt=OPERATOR, status_code=202, summary="Play a drill, unless a round is open, or soon is")
async def begin_drill(name: Name, data: JSONBody[Drilling], request: AnyRequest, desk: TheDesk) -> dict[str, Any]:
    return await desk.drills.begin(actor_of(request), name, data.why, short=not data.long)


@delete("/drills", opt=OPERATOR, summary="End the drill that is being played")
async def end_drill(request: AnyRequest, desk: TheDesk) -> None:
    desk.drills.end(actor_of(request))


MENDING: Final = (sets, preview_set, order_set, drills, begin_drill, end_drill)
