"""What was recorded is trimmed later, never more than that."""

import asyncio

import pytest

from redrush.ports.store import StoreUnavailable
from redrush.settle.trimming import LateTrim


class Log:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.trimmed: list[int] = []
        self.away = False
        self.late = LateTrim(self.trim, lambda: self.now_s, keep_s=10.0)

    async def trim(self, seq: int) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.trimmed.append(seq)

    async def recorded(self, at_s: float, seq: int) -> None:
        self.now_s = at_s
        await self.late(seq)


def test_a_log_is_trimmed_up_to_what_was_recorded_some_time_ago() -> None:
    async def scenario() -> None:
        log = Log()
        for at_s, seq in [(0, 5), (0.5, 7), (4, 9), (9.9, 11)]:
            await log.recorded(at_s, seq)
        assert log.trimmed == []
        await log.recorded(10, 12)
        assert log.trimmed == [5]
        await log.recorded(100, 13)
        assert log.trimmed == [5, 11], "in one call"

    asyncio.run(scenario())


def test_a_set_that_is_away_is_trimmed_when_it_is_back() -> None:
    async def scenario() -> None:
        log = Log()
        await log.recorded(0, 5)
        log.away = True
        with pytest.raises(StoreUnavailable):
            await log.recorded(11, 6)
        log.away = False
        await log.recorded(12, 7)
        assert log.trimmed == [5]

    asyncio.run(scenario())
