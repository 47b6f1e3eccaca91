"""What is going on: the overview, the big screen, the fleet with what is ordered about sets, and drills."""

from typing import Any, Final

from litestar import get, post
from litestar.response import Redirect

from redrush.api.access import needs
from redrush.api.accounts import Role
from redrush.api.handlers.asking import TheDesk, actor_of
from redrush.api.handlers.watching import PEOPLE_MAX, fleet, live
from redrush.api.seals import Refused
from redrush.api.sets import SetAsked, SetVerb
from redrush.console.pages.own import Form
from redrush.console.pages.rendering import AnyRequest, Page, go_to, render
from redrush.errors import RedrushError

VIEWER: Final = needs(Role.VIEWER)
OPERATOR: Final = needs(Role.OPERATOR)


@get("/", opt=VIEWER)
async def overview(request: AnyRequest, desk: TheDesk) -> Page:
    return render(request, desk, "overview.html", now=await live.fn(desk), wall=False)


@get("/wall", opt=VIEWER)
async def wall(request: AnyRequest, desk: TheDesk) -> Page:
    return render(request, desk, "overview.html", now=await live.fn(desk), wall=True)


@get("/fleet", opt=VIEWER)
async def fleet_page(request: AnyRequest, desk: TheDesk) -> Page:
    people = _people(request.query_params.get("people", ""))
    try:
        found, why = await fleet.fn(desk), None
    except RedrushError as fault:
        found, why = _NOTHING, str(fault)
    return render(
        request, desk, "fleet.html", fleet=found, why=why, verbs=list(SetVerb), rebuilt=desk.sets.rebuilt,
        capacity=await desk.capacities.told(people), people=people,
    )  # fmt: skip


_NOTHING: Final[dict[str, Any]] = {
    "processes": [],
    "console": None,
    "sets": [],
    "of_sets": [],
    "clocks": [],
    "history": [],
    "at": None,
}


def _people(text: str) -> int | None:
    """Return how many people somebody has typed; None for nothing. Refused for what is no such number."""
    written = text.replace(",", "").replace(" ", "").strip()
    if not written:
        return None
    if not (written.isascii() and written.isdecimal() and 1 <= int(written[:12]) <= PEOPLE_MAX):
        raise Refused(400, f'"{text[:40]}" is no number of people')
    return int(written)


@post("/fleet/preview", opt=OPERATOR, status_code=200)
async def preview_set(request: AnyRequest, data: Form, desk: TheDesk) -> Page:
    verb, _, address = data.get("verb", "").partition(" ")
    asked = SetAsked(verb=_verb(verb), set=data.get("set", "")[:64], address=address or None)
    return render(request, desk, "set_order.html", seen=await desk.sets.preview(actor_of(request), asked))


@post("/fleet/confirm", opt=OPERATOR, status_code=200)
async def order_set(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    done = await desk.sets.confirm(
        actor_of(request),
        data.get("token", ""),
        data.get("why", "")[:500],
        data.get("typed", ""),
        break_glass=data.get("how") == "glass",
    )
    return go_to("/fleet", str(done["done"]))


def _verb(text: str) -> SetVerb:
    try:
        return SetVerb(text)
    except ValueError:
        raise Refused(400, "this form orders nothing that there is") from None


@get("/drills", opt=VIEWER)
async def drills_page(request: AnyRequest, desk: TheDesk) -> Page:
    return render(request, desk, "drills.html", told=await desk.drills.listed())


@post("/drills/begin", opt=OPERATOR, status_code=200)
async def begin_drill(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    why = data.get("why", "")[:500]
    await desk.drills.begin(actor_of(request), data.get("name", "")[:64], why, short=data.get("long") != "yes")
    return go_to("/drills", "it is being played")


@post("/drills/end", opt=OPERATOR, status_code=200)
async def end_drill(request: AnyRequest, desk: TheDesk) -> Redirect:
    desk.drills.end(actor_of(request))
    return go_to("/drills", "it was told to end")


WATCHING: Final = (
    overview,
    wall,
    fleet_page,
    preview_set,
    order_set,
    drills_page,
    begin_drill,
    end_drill,
)
