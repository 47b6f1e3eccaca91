"""A sleep that somebody may cut short."""

import asyncio
import contextlib


async def rest(duration_s: float, unless: asyncio.Event) -> None:
    """Return after `duration_s`, or as soon as the event is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(duration_s):
            await unless.wait()
