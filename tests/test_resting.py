"""A rest ends after its time, or when it is cut short, whichever comes first."""

import asyncio
import time
from typing import Final

from redrush.resting import rest
from tests.patience import PATIENCE_S

#: A loop's clock may count in whole milliseconds, so a timer of it may end that much early.
LOOP_TICK_S: Final = 0.001


async def test_a_rest_is_over_after_its_time() -> None:
    began_s = time.monotonic()
    await rest(0.01, asyncio.Event())
    assert time.monotonic() - began_s >= 0.01 - LOOP_TICK_S


async def test_a_rest_is_cut_short() -> None:
    wake = asyncio.Event()
    asyncio.get_running_loop().call_soon(wake.set)
    async with asyncio.timeout(PATIENCE_S):
        await rest(3_600, wake)
