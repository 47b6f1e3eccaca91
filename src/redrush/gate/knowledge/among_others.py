"""A gate among others, over the sets of a deployment: what it does beside answering.

- *Warm-up*: the pots of a round are opened, with this gate's idea of their shares, from some time before the opening.
  Whoever divides otherwise is refused by the store then, and stops: it would send users to sets that are not theirs.
- *Following*: each set's log is read for the winners' filters.
- *Beginning anew*: a set that lost grants and was rebuilt, or promoted by force, is warmed up and read again, and
  whatever rested on what it had said is found out again.
- *Watching*: each round under way is looked at once a second, and at once when there is news of it.

Each set has tasks of its own, so that one that hangs holds up nothing but itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from redrush.errors import RedrushError
from redrush.gate.gate import Gate
from redrush.gate.knowledge.due import Due
from redrush.gate.knowledge.following import LogFollower
from redrush.gate.knowledge.knowledge import Knowledge, Others
from redrush.gate.knowledge.watching import RoundWatch
from redrush.gate.pots import SetPot, warm_up
from redrush.gate.rush.rush import Rush
from redrush.http import answers
from redrush.ports.news import News, NewsLine, Refilled, SoldOut
from redrush.ports.store import Store, StoreConflict, StoreFailed

WARM_UP_LEAD_US: Final = 60_000_000
"""How long before its opening a round is warmed up, unless the deployment says otherwise."""

LOOK_S: Final = 1.0
"""How often every round under way is looked at: what stands behind news that got lost."""

WARM_UP_RETRY_S: Final = 0.25
"""How soon a set that was away is tried again, and how often the clock is asked whether a round is due."""

START_WAIT_S: Final = 5.0
"""How long a start waits for sets that neither answer nor refuse; after that the gate serves what it can."""


class ConnectedSet(msgspec.Struct, frozen=True):
    """What a gate needs of a set. `news` None: there is none, only looking."""

    store: Store
    news: NewsLine | None


class AmongOthers:
    """See the module. `start`, serve the gate's site, `stop`."""

    def __init__(
        self,
        gate: Gate,
        sets: Mapping[str, ConnectedSet],
        *,
        now_us: Callable[[], int],
        on_fault: Callable[[RedrushError], None],
        on_conflict: Callable[[StoreConflict], None],
        warm_up_us: int = WARM_UP_LEAD_US,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`gate` was built over the stores of `sets`. `on_fault` hears of faults that are tried again, `on_conflict`
        that another role divides otherwise: nothing may be served from then on. `sleep` belongs to `now_us`."""
        self.gate = gate
        self._sets = sets
        self._now_us = now_us
        self._on_fault = on_fault
        self._on_conflict = on_conflict
        self._warm_up_us = warm_up_us
        self._sleep = sleep
        self._pots: dict[str, dict[str, tuple[Others, SetPot]]] = {name: {} for name in sets}
        self._followers = {
            name: LogFollower(
                one.store,
                self._pots[name],
                now_us=now_us,
                busy=self._busy,
                anew=partial(self._began_anew, name),
                sets=len(sets),
            )
            for name, one in sets.items()
        }
        self._watches: dict[str, RoundWatch] = {}
        self._ahead = Due()
        """When rounds open whose watch has not begun, and their pots: those that sleep cost nothing but their place
        here."""
        self._watched: set[str] = set()
        """Pots of rounds about which something is to be found out."""
        self._cold = {name: Due() for name in sets}
        """By set, when the rounds open whose pots are to be opened, and their pots."""
        self._news = asyncio.Event()
        """That there are more of them."""
        for knows in gate.pots.values():
            self._follow(knows)
        self._conflict: StoreConflict | None = None
        self._tried: set[SetPot] = set()
        self._progress = asyncio.Event()
        self._warming: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._looks: set[asyncio.Task[None]] = set()

    def _follow(self, knows: Knowledge) -> None:
        assert isinstance(knows, Others)
        opens = knows.pot.opens_us, knows.pot_id
        for pot in knows.pots:
            self._pots[pot.lane.set][pot.id] = (knows, pot)
            self._cold[pot.lane.set].add(*opens)
        knows.when_refilled = partial(self._watched.add, knows.pot_id)
        self._watches[knows.pot_id] = RoundWatch(knows, self._followers, self._now_us)
        self._ahead.add(*opens)
        self._news.set()

    def add(self, rushes: Iterable[Rush]) -> None:
        """See to these rounds, too, from now on: their pots are opened when they are due, at once if they are."""
        for rush in rushes:
            for knows in rush.parts:
                self._follow(knows)

    def amend(self) -> None:
        """Rounds of the gate open at other instants: open pots and watch rounds by these."""
        for pot_id, watch in self._watches.items():
            opens = watch.knows.pot.opens_us, pot_id
            cold = [self._cold[pot.lane.set] for pot in watch.knows.pots if not pot.warm]
            for due in (self._ahead, *cold):
                due.add(*opens)
        self._news.set()

    def remove(self, rushes: Iterable[Rush]) -> None:
        """See to these rounds no longer."""
        for rush in rushes:
            for knows in rush.parts:
                self._watches.pop(knows.pot_id, None)
                self._watched.discard(knows.pot_id)
            for pot in rush.pots:
                self._pots[pot.lane.set].pop(pot.id, None)
                self._tried.discard(pot)

    async def start(self) -> None:
        """Begin; returns when every set was asked to open what is due, and the rounds under way were looked at.

        Raises StoreConflict if another role divides otherwise; then only `stop` may follow.
        """
        for name, one in self._sets.items():
            self._warming[name] = self._begin(self._warm_up(name), f"warm-up of {name}")
            self._tasks.append(self._begin(self._followers[name].run(), f"log of {name}"))
            if one.news is not None:
                self._tasks.append(self._begin(self._hear(one.news), f"news of {name}"))
        try:
            async with asyncio.timeout(START_WAIT_S):
                while self.waiting_for() and self._conflict is None:
                    self._progress.clear()
                    await self._progress.wait()
                await self._look_at_all()
        except TimeoutError:
            self._on_fault(
                RedrushError(f"sets {', '.join(self.waiting_for())} have not answered; started without them")
            )
        if self._conflict is not None:
            raise self._conflict
        self._tasks.append(self._begin(self._watch(), "watch"))

    async def stop(self) -> None:
        """End what runs beside the answering. The stores are left open."""
        tasks = [*self._tasks, *self._warming.values(), *self._looks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.gate.close()

    # -- what the outside is told

    def waiting_for(self) -> list[str]:
        """Return the sets that were not yet asked, in vain or not, to open the pots of every round that is due."""
        return sorted({pot.lane.set for pot in self._due() if not pot.warm and pot not in self._tried})

    def readiness(self, clocks: Mapping[str, str] | None = None) -> bytes:
        """Return the answer to `GET /readyz`; `clocks` are those of others that deviate, in words.

        A set that is away is told, but does not make the gate unready unless all
        are: a balancer that took every gate out for one set's sake would end the event."""
        states = {name: self._state(name) for name in self._sets}
        due = self._due()
        if self.waiting_for() or (due and not any(pot.warm for pot in due)):
            return answers.problem(503, "pots are not open yet", "Retry-After: 1\r\n", sets=states)
        told: dict[str, Mapping[str, str]] = {"sets": states}
        if clocks:
            told["clocks"] = clocks
        return answers.json_answer({"status": "ready", **told})

    def _state(self, name: str) -> str:
        pots = [pot for _, pot in self._pots[name].values() if pot.warm or pot in self._tried]
        if not pots:
            return "ready"
        refusal = pots[0].lane.refusal
        if refusal is answers.STORE_FAILED:
            return "broken"
        return "ready" if refusal is None and any(pot.warm for pot in pots) else "away"

    def sold_out(self, pot_id: str) -> None:
        """Somebody says that the round with this pot is sold out: find out."""
        self._look_soon(pot_id)

    def refilled(self, pot_id: str) -> None:
        """Somebody says that the round with this pot has slots again: tell nobody that it is empty until that is found
        out anew."""
        if pot_id in self._watches:
            self._watches[pot_id].knows.refilled()
            self._look_soon(pot_id)

    # -- tasks

    def _began_anew(self, name: str) -> None:
        """The set may have lost grants, and pots that were opened: nothing that it said before holds any more."""
        for knows, pot in self._pots[name].values():
            pot.warm = False
            knows.began_anew()
        self._cold[name] = Due((knows.pot.opens_us, pot_id) for pot_id, (knows, _) in self._pots[name].items())
        self._warming[name].cancel()
        self._warming[name] = self._begin(self._warm_up(name), f"warm-up of {name} anew")

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._on_fault(RedrushError(f"the {task.get_name()} broke off: {fault!r}"))

    def _busy(self) -> bool:
        return self.gate.gauge.parked > 0

    def _due(self) -> list[SetPot]:
        """Return the pots of the rounds that must be ready to be claimed from."""
        from_us = self._now_us()
        return [
            pot
            for rush in self.gate.rounds.values()
            if rush.round.opens_us - self._warm_up_us <= from_us < rush.round.closes_us
            for pot in rush.pots
        ]

    async def _warm_up(self, name: str) -> None:
        """Open the pots of a set, each in its time, in order of their rounds' opening."""
        cold, pots = self._cold[name], self._pots[name]
        while True:
            while (first := cold.first()) is None:
                self._news.clear()
                await self._news.wait()
            opens_us, pot_id = first
            if self._now_us() < opens_us - self._warm_up_us:
                await self._sleep(WARM_UP_RETRY_S)
                continue
            cold.pop()  # first: the pot may be removed, and added anew, while it is opened
            if pot_id in pots and not await self._opened(pots[pot_id][1]):
                cold.add(opens_us, pot_id)

    async def _opened(self, pot: SetPot) -> bool:
        """Try to open the pot; return whether there is nothing more to try."""
        try:
            await warm_up([pot])
        except StoreConflict as conflict:
            self._conflict = conflict
            self._progress.set()
            self._on_conflict(conflict)
        except StoreFailed as fault:
            pot.lane.give_up()
            self._on_fault(fault)
        except RedrushError as fault:
            if pot not in self._tried:
                self._on_fault(fault)
            self._told(pot)
            await self._sleep(WARM_UP_RETRY_S)
            return False
        self._told(pot)
        return True

    def _told(self, pot: SetPot) -> None:
        self._tried.add(pot)
        self._progress.set()

    async def _hear(self, line: NewsLine) -> None:
        async for item in line.news():
            self._take(item)

    def _take(self, item: News) -> None:
        if isinstance(item, SoldOut):
            self.sold_out(item.round)
        elif isinstance(item, Refilled):
            self.refilled(item.round)

    def _look_soon(self, pot_id: str) -> None:
        if pot_id in self._watches:
            look = asyncio.create_task(self._watches[pot_id].look(), name=f"look at {pot_id}")
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)
            look.add_done_callback(self._ended)

    async def _watch(self) -> None:
        while True:
            await self._sleep(LOOK_S)
            await self._look_at_all()

    async def _look_at_all(self) -> None:
        now_us = self._now_us()
        while (first := self._ahead.first()) is not None and first[0] <= now_us:
            self._watched.add(self._ahead.pop()[1])
        due = [watch for pot_id in self._watched if (watch := self._watches.get(pot_id)) is not None and watch.due]
        self._watched.intersection_update([watch.knows.pot_id for watch in due])
        await asyncio.gather(*(watch.look() for watch in due))
