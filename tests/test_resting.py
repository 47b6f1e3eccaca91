"""A rest ends after its time, or when it is cut short, whichever comes first."""

import asyncio

from redrush.resting import rest


async def test_a_rest_is_over_after_its_time() -> None:
    began_s = asyncio.get_running_loop().time()
    await rest(0.01, asyncio.Event())
    assert asyncio.get_running_loop().time() - began_s >= 0.01


async def test_a_rest_is_cut_short() -> None:
    wake = asyncio.Event()
    asyncio.get_running_loop().call_soon(wake.set)
    async with asyncio.timeout(20):
        await rest(3_600, wake)
