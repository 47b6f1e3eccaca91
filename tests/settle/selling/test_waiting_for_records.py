"""Records that keep whoever asks waiting keep no buyer waiting."""

import asyncio
import random
import threading
from collections.abc import Sequence
from pathlib import Path

from redrush.ports.store import Grant
from tests.patience import PATIENCE_S
from tests.settle.selling.world import World


async def test_buyers_are_answered_while_the_records_are_asked_for_holds_that_are_over(tmp_path: Path) -> None:
    asked, answers = threading.Event(), threading.Event()

    class Slow(World):
        def holds_due(self, set_: str, until_us: int, place: int, limit: int) -> Sequence[Grant]:
            asked.set()
            answers.wait(2 * PATIENCE_S)
            return super().holds_due(set_, until_us, place, limit)

    world = Slow(tmp_path, 2, random.Random(1))
    await world.open()
    grant = await world.grab("ann")
    assert grant is not None
    look = asyncio.create_task(world.selling.look())
    try:
        assert await asyncio.to_thread(asked.wait, PATIENCE_S)
        async with asyncio.timeout(PATIENCE_S):
            assert (await world.pay("ann", grant)).status == 200
    finally:
        answers.set()
        await look
        await world.close()
