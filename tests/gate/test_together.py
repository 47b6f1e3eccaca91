"""What is asked for at the same time is done at once."""

import asyncio
from collections.abc import Sequence

from redrush.gate.group.together import Together


async def test_who_asks_within_a_turn_of_the_loop_of_the_first_comes_along_and_the_rest_gathers_meanwhile() -> None:
    batches: list[Sequence[int]] = []
    go_on = asyncio.Event()

    async def run(asked: Sequence[int]) -> Sequence[int]:
        batches.append(asked)
        await go_on.wait()
        return [-number for number in asked]

    together = Together[int, int](run, at_once_max=3, waiting_max=9)
    first = asyncio.create_task(together.do(1))
    await asyncio.sleep(0)
    late = asyncio.create_task(together.do(2))
    while not batches:
        await asyncio.sleep(0)
    others = [asyncio.create_task(together.do(number)) for number in range(3, 8)]
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(first, late, *others) == [-1, -2, -3, -4, -5, -6, -7]
    assert batches == [[1, 2], [3, 4, 5], [6, 7]]
