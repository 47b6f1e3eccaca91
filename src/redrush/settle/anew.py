"""Settlement over sets that may begin anew: what was found settled may not be so in a set that was rebuilt.

Everything that opens pots or moves leftover reads from the stores what is done, and may be cut off at any point. So the
simplest way to notice what a set has lost is to begin again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from redrush.ports.store import History, Store, StoreUnavailable

LOOK_S: Final = 0.5
"""How soon it is noticed that a set began anew; asking costs nothing."""


async def again_whenever_anew(stores: Mapping[str, Store], work: Callable[[], Awaitable[None]]) -> None:
    """Do the work, and do it again from the beginning whenever a set has another history, for ever. Raises what it
    raises."""
    while True:
        working = asyncio.ensure_future(work())
        try:
            await _until_anew(stores, working)
        finally:
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working


async def _until_anew(stores: Mapping[str, Store], working: "asyncio.Future[None]") -> None:
    known: dict[str, History] = {}
    while True:
        for set_id, store in stores.items():
            with contextlib.suppress(StoreUnavailable):
                history = store.history()
                if known.setdefault(set_id, history) != history:
                    return
        if working.done():
            working.result()
        await asyncio.sleep(LOOK_S)
