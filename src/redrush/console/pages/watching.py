"""What is going on: the overview, the big screen, the fleet, and which campaigns there are."""

from typing import Final

from litestar import get

from redrush.api.access import needs
from redrush.api.accounts import Role
from redrush.api.handlers.asking import TheDesk
from redrush.api.handlers.watching import fleet, live
from redrush.console.pages.rendering import AnyRequest, Page, render
from redrush.errors import RedrushError

VIEWER: Final = needs(Role.VIEWER)


@get("/", opt=VIEWER)
async def overview(request: AnyRequest, desk: TheDesk) -> Page:
    return render(request, desk, "overview.html", now=await live.fn(desk), wall=False)


@get("/wall", opt=VIEWER)
async def wall(request: AnyRequest, desk: TheDesk) -> Page:
    return render(request, desk, "overview.html", now=await live.fn(desk), wall=True)


@get("/fleet", opt=VIEWER)
async def fleet_page(request: AnyRequest, desk: TheDesk) -> Page:
    try:
        found, why = await fleet.fn(desk), None
    except RedrushError as fault:
        found, why = {"processes": [], "sets": [], "of_sets": [], "clocks": [], "at": None}, str(fault)
    return render(request, desk, "fleet.html", fleet=found, why=why)


WATCHING: Final = (overview, wall, fleet_page)
