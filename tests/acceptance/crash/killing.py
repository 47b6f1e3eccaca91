"""Many deaths, over many events: which, in what order, and what came of them.

Deaths come in blocks: every named point once, and besides them kills at random moments and losses of power. A block is
dealt out to events of a few deaths each, because a data directory that has survived several deaths is another case than
a fresh one. Everything in an event is drawn from a generator seeded with the seed and the number of the event alone.
"""

import asyncio
import random
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.acceptance.crash.deaths import CLOSING, FIRST_START, PASSES_MAX, Death, DiskFault, Plan, Point
from tests.acceptance.crash.event import Event

RANDOM_PER_BLOCK: Final = 9
POWER_LOSSES_PER_BLOCK: Final = 3
DEATHS_PER_EVENT: Final = 5
LANES: Final = 2
"""Events at the same time: a start keeps one core busy, and so does the load."""
AGAIN_MAX: Final = 3
"""How often points that were not reached in time are tried again."""
RANDOM: Final = "at a random moment"
RANDOM_IN_START: Final = "at a random moment of a start"
POWER_LOSS: Final = "by power loss: unsynchronised writes partly gone"
IN_START_SHARE: Final = 0.25
START_MAX_S: Final = 0.6
RUN_MAX_S: Final = 0.8
POWER_EVENTS_MAX: Final = 3_000
WAL_PAGES: Final = (12, 48, 16_384)
"""Tiny, so that checkpoints come all the time; small; and as in production."""


@dataclass
class Toll:
    """What has happened so far."""

    kills: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    """Points that were planned and not reached in time: the server was killed from outside instead."""
    answers: Counter[str] = field(default_factory=Counter)
    grants: int = 0
    events: int = 0
    began_s: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        points = "\n".join(f"  {count:5} {name}" for name, count in sorted(self.kills.items()))
        return (
            f"{self.kills.total()} kills, {self.kills.total() + self.events} starts, {self.events} events, "
            f"{self.grants} grants acknowledged in {self.answers['granted']} answers, "
            f"{self.missed.total()} points not reached, {time.monotonic() - self.began_s:.0f} s\n{points}"
        )


def deaths_of_block() -> list[str]:
    """Return the names of the deaths of one block: every point, and the random ones."""
    return [
        *(str(point) for point in Point),
        *[RANDOM] * RANDOM_PER_BLOCK,
        *[POWER_LOSS] * POWER_LOSSES_PER_BLOCK,
    ]


def deal(names: list[str], rng: random.Random) -> list[list[str]]:
    """Deal deaths out to events. A first start comes first in its event, then the closing of a round, then the rest."""
    firsts = [name for name in names if name in FIRST_START]
    closings = [name for name in names if name in CLOSING]
    others = [name for name in names if name not in FIRST_START | CLOSING]
    for part in (closings, others):
        rng.shuffle(part)
    events: list[list[str]] = [[] for _ in range(max(1, -(-len(names) // DEATHS_PER_EVENT)))]
    for part in (firsts, closings, others):
        for name in part:
            min(events, key=len).append(name)
    rng.shuffle(events)
    return [names for names in events if names]


def draw_death(name: str, rng: random.Random) -> Death:
    """Return a death of that name with its pass, moment and disk drawn."""
    wal_pages_max = rng.choice(WAL_PAGES)
    if name == RANDOM:
        plan = Plan(wal_pages_max=wal_pages_max)
        if rng.random() < IN_START_SHARE:
            return Death(name=RANDOM_IN_START, plan=plan, after_spawn_s=rng.uniform(0.0, START_MAX_S))
        return Death(name=name, plan=plan, after_ready_s=rng.uniform(0.0, RUN_MAX_S))
    if name == POWER_LOSS:
        disk = DiskFault(
            files=("journal.db", "records.db"),
            seed=rng.randrange(2**32),
            power_fails_at_event=rng.randint(1, POWER_EVENTS_MAX),
        )
        return Death(name=name, plan=Plan(disk=disk, wal_pages_max=wal_pages_max))
    point = Point(name)
    if point in {Point.CHECKPOINT_WRITE, Point.CHECKPOINT_SYNC}:
        wal_pages_max = min(WAL_PAGES)
    plan = Plan(point=point, on_pass=rng.randint(1, PASSES_MAX[point]), wal_pages_max=wal_pages_max)
    return Death(name=name, plan=plan)


async def run_event(
    seed: str, number: int, names: list[str], directory: Path, died: Callable[[Death, bool], None]
) -> Event:
    """Run one event through its deaths and its last audit. Raises EventWentWrong with what was found."""
    rng = random.Random(f"{seed}:{number}")
    event = Event(f"seed {seed}, event {number}", directory, rng)
    for name in names:
        death = draw_death(name, rng)
        died(death, await event.die(death))
    await event.finish()
    return event


class Killer:
    """Runs events until there were enough kills, some at the same time; `report` hears of every kill."""

    def __init__(self, seed: str, directory: Path, report: Callable[[Toll], None]) -> None:
        self.toll = Toll()
        self._seed = seed
        self._directory = directory
        self._report = report
        self._rng = random.Random(seed)
        self._waiting: deque[tuple[int, list[str]]] = deque()
        self._missed: list[str] = []
        self._events = 0

    async def kill(self, kills: int) -> Toll:
        """Kill whole blocks until at least `kills` are done. Raises ExceptionGroup of EventWentWrong."""
        for _ in range(-(-kills // len(deaths_of_block()))):
            self._plan(deaths_of_block())
        await self._work()
        for _ in range(AGAIN_MAX):
            if self._missed:
                self._plan(self._missed)
                self._missed = []
                await self._work()
        return self.toll

    def _plan(self, names: list[str]) -> None:
        for dealt in deal(names, self._rng):
            self._waiting.append((self._events, dealt))
            self._events += 1

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as lanes:
            for _ in range(LANES):
                lanes.create_task(self._lane())

    async def _lane(self) -> None:
        while self._waiting:
            number, names = self._waiting.popleft()
            place = self._directory / f"event-{number}"
            event = await run_event(self._seed, number, names, place, self._died)
            self.toll.events += 1
            self.toll.answers += event.witness.answers
            self.toll.grants += len(event.witness.acknowledged)
            shutil.rmtree(place)  # what went wrong stays; what went well would fill the disk

    def _died(self, death: Death, as_planned: bool) -> None:
        self.toll.kills[death.name if as_planned else RANDOM] += 1
        if not as_planned:
            self.toll.missed[death.name] += 1
            self._missed.append(death.name)
        self._report(self.toll)
