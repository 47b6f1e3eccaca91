"""What is going on: live figures, the fleet, campaigns."""

import asyncio
import platform
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Final

from litestar import get
from litestar.params import QueryParameter
from litestar.response import Stream

from redrush import __version__
from redrush.api.access import Access
from redrush.api.capacity import Capacity
from redrush.api.handlers.asking import VIEWER, AnyRequest, Name, TheDesk, actor_of
from redrush.api.live import Snapshot
from redrush.api.seals import Refused
from redrush.operate.campaigns import show_campaign

STREAMS_MAX: Final = 32
"""Pages that look at once, over everybody."""
STREAMS_OF_ONE_MAX: Final = 20
"""Of these, of one person: others find a place, too."""
PEOPLE_MAX: Final = 1_000_000_000
"""Who come at once, in a plan."""


@get("/live", opt=VIEWER, summary="What is going on now")
async def live(desk: TheDesk) -> Snapshot:
    if desk.live.latest is None:
        await desk.live.look()
    assert desk.live.latest is not None
    return desk.live.latest


@get("/live/history", opt=VIEWER, summary="The last minutes, for charts")
async def history(desk: TheDesk) -> dict[str, Any]:
    return desk.live.history()


@get("/live/stream", opt=VIEWER, summary="The same as events, two a second", media_type="text/event-stream")
async def stream(request: AnyRequest, desk: TheDesk) -> Stream:
    """It ends with the login, or the key, that it began with."""
    actor = actor_of(request)
    if desk.live.streams >= STREAMS_MAX:
        raise Refused(503, f"{STREAMS_MAX} pages look already; close one")
    if desk.live.streams_of(actor.name) >= STREAMS_OF_ONE_MAX:
        raise Refused(503, f"{STREAMS_OF_ONE_MAX} pages of yours look already; close one")
    access: Access = request.app.state.access
    headers = dict(request.scope["headers"])
    events: AsyncIterator[bytes] = desk.live.stream(
        actor.name, lambda: access.actor_of(headers, actor.address) is not None
    )
    return Stream(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@get("/fleet", opt=VIEWER, summary="Processes with their releases, sets and clocks")
async def fleet(desk: TheDesk) -> dict[str, Any]:
    snapshot = await live.fn(desk)
    sets: list[dict[str, Any]] = []
    if desk.links.first.deployment is not None:
        sets = list((await desk.links.first.get("/v1/sets"))["sets"])
    console = {"name": "console", "version": __version__, "python": platform.python_version()}
    common = common_release([console, *snapshot.processes])
    return {
        "processes": [{**one, "differs": _build(one) != common and one["answers"]} for one in snapshot.processes],
        "console": {**console, "differs": _build(console) != common},
        "sets": sets,
        "of_sets": snapshot.sets,
        "clocks": snapshot.clocks,
        "history": await asyncio.to_thread(desk.failovers.history),
        "at": snapshot.at,
    }


def _build(process: Mapping[str, Any]) -> tuple[str | None, str | None]:
    return process.get("version"), process.get("python")


def common_release(processes: Sequence[Mapping[str, Any]]) -> tuple[str | None, str | None]:
    """Return the release, and its Python, of most processes that say theirs; of as many, the later one."""
    count = Counter(build for one in processes if None not in (build := _build(one)))
    return max(count, key=lambda build: (count[build], build))


@get("/capacity", opt=VIEWER, summary="What crowds need, what there is for them, and what is used now")
async def capacity(
    desk: TheDesk,
    people: Annotated[
        int | None, QueryParameter(ge=1, le=PEOPLE_MAX, description="Who come where no list says how many.")
    ] = None,
) -> Capacity:
    return await desk.capacities.told(people)


@get("/campaigns", opt=VIEWER, summary="Every campaign, the first one first")
async def campaigns(desk: TheDesk) -> list[dict[str, Any]]:
    return [{key: value for key, value in one.items() if key != "directory"} for one in desk.links.campaigns()]


@get("/campaigns/{name:str}", opt=VIEWER, summary="One campaign, with its rounds")
async def one_campaign(name: Name, desk: TheDesk) -> dict[str, Any]:
    found = await asyncio.to_thread(show_campaign, name, desk.data_dir)
    return {key: value for key, value in found.items() if key != "directory"}


WATCHING: Final = (live, history, stream, fleet, capacity, campaigns, one_campaign)
