"""A store that can be out of reach, lose its answers or stand still on command, as one on another machine can."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping, Sequence
from typing import TypeVar

from redrush.core.rush.campaign import Slots
from redrush.ports.news import News
from redrush.ports.store import (
    Claim,
    Claimed,
    ClaimResult,
    Grant,
    History,
    HoldState,
    LogRecord,
    PotState,
    PotTerms,
    Store,
    StoreUnavailable,
    Transfers,
)

Result = TypeVar("Result")


class BreakableStore:
    """Passes every call on to `store`, unless it is told otherwise."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.knows_all = store.knows_all
        self.away = False
        self.answers_lost: set[str] = set()
        self.standing_still: dict[str, asyncio.Event] = {}
        self.fault_rate = 0.0
        self.rng = random.Random(0)
        self.calls: list[str] = []

    def stand_still(self, operation: str) -> asyncio.Event:
        """Let calls of the operation wait, before they do anything, for the event that is returned."""
        return self.standing_still.setdefault(operation, asyncio.Event())

    async def _call(self, operation: str, call: Callable[[], Awaitable[Result]]) -> Result:
        self.calls.append(operation)
        if operation in self.standing_still:
            await self.standing_still[operation].wait()
        if self.fault_rate:
            await asyncio.sleep(0)  # so that others come between
        if self.away or self.rng.random() < self.fault_rate / 2:
            raise StoreUnavailable("the store is away")
        result = await call()
        if operation in self.answers_lost or self.rng.random() < self.fault_rate / 2:
            raise StoreUnavailable("the answer is lost")
        return result

    async def open(self, pots: Sequence[PotTerms]) -> None:
        await self._call("open", lambda: self.store.open(pots))

    async def until_free(self) -> None:
        await self.store.until_free()

    async def claim(self, claims: Sequence[Claim], at_us: int) -> list[ClaimResult]:
        return await self._call("claim", lambda: self.store.claim(claims, at_us))

    async def confirm(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        return await self._call("confirm", lambda: self.store.confirm(holds, at_us))

    async def release(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        return await self._call("release", lambda: self.store.release(holds, at_us))

    async def offer(self, pots: Sequence[str]) -> int:
        return await self._call("offer", lambda: self.store.offer(pots))

    async def take(self, pot: str, count: int, transfer: str) -> tuple[Slots, ...]:
        return await self._call("take", lambda: self.store.take(pot, count, transfer))

    async def give(self, pot: str, slots: tuple[Slots, ...], transfer: str) -> None:
        await self._call("give", lambda: self.store.give(pot, slots, transfer))

    async def transfers(self) -> Transfers:
        return await self._call("transfers", self.store.transfers)

    async def find(self, pot: str, user: str, request: str = "") -> Claimed | None:
        return await self._call("find", lambda: self.store.find(pot, user, request))

    def known(self, pot: str) -> Mapping[str, Claimed]:
        return self.store.known(pot)

    def holders(self, pot: str) -> Container[str]:
        return self.store.holders(pot)

    async def state(self, pot: str) -> PotState:
        return await self._call("state", lambda: self.store.state(pot))

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        return await self._call("log", lambda: self.store.log(after, limit))

    def last_seq(self) -> int:
        return self.store.last_seq()

    def history(self) -> History:
        return self.store.history()

    async def close(self) -> None:
        await self.store.close()


class HeardLine:
    """A line of news that remembers what was told, and can be out of order."""

    def __init__(self) -> None:
        self.heard: list[News] = []
        self.away = False

    async def publish(self, news: News) -> None:
        if self.away:
            raise StoreUnavailable("the line is down")
        self.heard.append(news)

    async def news(self) -> AsyncIterator[News]:
        for news in self.heard:
            yield news
