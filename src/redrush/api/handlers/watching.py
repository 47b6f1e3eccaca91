"""What is going on: live figures, the fleet, campaigns."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from litestar import get
from litestar.response import Stream

from redrush.api.handlers.asking import VIEWER, Name, TheDesk
from redrush.api.live import Snapshot
from redrush.api.seals import Refused
from redrush.operate.campaigns import show_campaign

STREAMS_MAX: Final = 32
"""Pages that look at once, over everybody."""


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
async def stream(desk: TheDesk) -> Stream:
    if desk.live.streams >= STREAMS_MAX:
        raise Refused(503, f"{STREAMS_MAX} pages look already; close one")
    events: AsyncIterator[bytes] = desk.live.stream()
    return Stream(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@get("/fleet", opt=VIEWER, summary="Processes, sets and clocks")
async def fleet(desk: TheDesk) -> dict[str, Any]:
    snapshot = await live.fn(desk)
    sets: list[dict[str, Any]] = []
    if desk.links.first.deployment is not None:
        sets = list((await desk.links.first.get("/v1/sets"))["sets"])
    return {
        "processes": snapshot.processes,
        "sets": sets,
        "of_sets": snapshot.sets,
        "clocks": snapshot.clocks,
        "history": await asyncio.to_thread(desk.failovers.history),
        "at": snapshot.at,
    }


@get("/campaigns", opt=VIEWER, summary="Every campaign, the first one first")
async def campaigns(desk: TheDesk) -> list[dict[str, Any]]:
    return [{key: value for key, value in one.items() if key != "directory"} for one in desk.links.campaigns()]


@get("/campaigns/{name:str}", opt=VIEWER, summary="One campaign, with its rounds")
async def one_campaign(name: Name, desk: TheDesk) -> dict[str, Any]:
    found = await asyncio.to_thread(show_campaign, name, desk.data_dir)
    return {key: value for key, value in found.items() if key != "directory"}


WATCHING: Final = (live, history, stream, fleet, campaigns, one_campaign)
