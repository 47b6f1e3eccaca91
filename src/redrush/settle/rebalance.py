"""The rebalancer: keeps slots where people ask while a round is open, and knows when the whole round is sold out.

It looks at every set many times a second, moves slots by the rules of `redrush.core.sets.rebalancing`, and tells all
gates through the news of every set. Nothing waits for a set that does not answer: its look goes on in the background,
and until that is back the set is left out, and so is one that a move is under way at.

*Sold out* is exact although the sets are asked one after the other (`redrush.core.sets.stock`).

A move must not end in a round that has closed, where nobody can claim any more. Asking the clock before a take makes
that rare (`LAST_MOVE_US`), not impossible: the process or a store may be stopped for any time between two instructions.
So it is not relied upon; the closer sweeps a closed pot until no move is half done (`redrush.settle.sweeping`).

Several rebalancers may run at once: ids are unique, every half move is completed once, and the worst that two do is to
move more than was needed. After any fault, and at the start, what is half done is looked for and completed.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from redrush.core.nobody import ignore
from redrush.core.rush.campaign import Campaign, Pot
from redrush.core.rush.phase import Phase, phase_of
from redrush.core.sets.rebalancing import Balancer, Move, Stock
from redrush.core.sets.stock import is_sold_out, slots_in_play
from redrush.errors import RedrushError
from redrush.ports.clock import Clock
from redrush.ports.news import NewsLine, Refilled, SoldOut
from redrush.ports.store import PotState, Store
from redrush.resting import rest
from redrush.settle.moves import complete_moves, move_id, read_transfers
from redrush.settle.telling import RoundNews, Teller

LOOK_S: Final = 0.05
"""From one look at all sets to the next: a dry set waits about so long for slots."""

LOOK_IDLE_S: Final = 0.25
"""Longest pause between two looks, when several in a row found nothing changed: a look makes each set with a replica
write and fsync, on both."""

LOOK_WAIT_S: Final = 0.1
"""Longest wait for a set's answer in a look. Who is slower is looked at in a later one."""

LAST_MOVE_US: Final = 1_000_000
"""So long before a round closes the last move begins: whoever asks later than that finds what is there."""

TELL_AGAIN_US: Final = 1_000_000
"""News may be lost, so what holds is told again."""

COMPLETE_AGAIN_US: Final = 1_000_000
"""From one try to complete half-done moves to the next, while a set is out of reach."""


class RoundBalance(msgspec.Struct, frozen=True):
    """What the last look at an open round saw: stocks of the sets that answered, and whether all is granted."""

    stocks: Mapping[str, Stock]
    sold_out: bool


class Rebalancer:
    """Balances every pot of every open round. `run` it as a task; `stop` ends it."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        campaign: Campaign,
        clock: Clock,
        *,
        sets_of: Callable[[str], Sequence[str]],
        lines: Mapping[str, NewsLine],
        on_fault: Callable[[RedrushError], None] = ignore,
    ) -> None:
        """`stores` and `lines` are by set; `sets_of` names the sets of a pot, always in the same order. `on_fault`
        hears of each move that failed and each set that cannot be looked at, once until it can again.
        """
        self._stores = stores
        self._campaign = campaign
        self._clock = clock
        self._sets_of = sets_of
        self._tellers = {set_id: Teller(line, on_fault) for set_id, line in lines.items()}
        self._on_fault = on_fault
        self._pots: dict[str, PotRebalancer] = {}
        self._stopping = asyncio.Event()

    def balances(self) -> dict[str, RoundBalance]:
        """Return what is known of the pots of each open round now, by id."""
        return {pot_id: rebalancer.balance for pot_id, rebalancer in self._pots.items()}

    async def run(self) -> None:
        """Look, move and tell until `stop`. Faults of sets are reported and outlived."""
        watching: dict[str, asyncio.Task[None]] = {}
        try:
            while not self._stopping.is_set():
                now_us = self._clock.now_us()
                for pot in self._campaign.pots:
                    if pot.id not in watching and phase_of(pot, now_us) is Phase.OPEN:
                        watching[pot.id] = asyncio.create_task(self._watch(pot), name=f"rebalance {pot.id}")
                await rest(self._until_next(now_us), self._stopping)
                for watched in watching.values():
                    if watched.done():
                        watched.result()  # a round that broke off ends all, loudly
            await asyncio.gather(*watching.values())
        finally:
            await _cancel(watching.values())
            await _cancel(task for teller in self._tellers.values() for task in teller.tasks())

    def _until_next(self, now_us: int) -> float:
        """Return how long to rest before it is looked whether a round has opened."""
        opens_us = min((pot.opens_us for pot in self._campaign.pots if pot.opens_us > now_us), default=None)
        return LOOK_IDLE_S if opens_us is None else min(max(LOOK_S, (opens_us - now_us) / 1e6), LOOK_IDLE_S)

    def stop(self) -> None:
        """End `run` after the look under way. A move that is cut off is completed after the next start."""
        self._stopping.set()

    async def _watch(self, pot: Pot) -> None:
        set_ids = self._sets_of(pot.id)
        rebalancer = self._pots[pot.id] = PotRebalancer(
            {set_id: self._stores[set_id] for set_id in set_ids},
            pot,
            self._clock,
            tell=self._tell,
            on_fault=self._on_fault,
        )
        try:
            rest_s = LOOK_S
            while not self._stopping.is_set() and phase_of(pot, self._clock.now_us()) is Phase.OPEN:
                before = rebalancer.balance
                await rebalancer.look()
                rest_s = LOOK_S if rebalancer.balance != before else min(2 * rest_s, LOOK_IDLE_S)
                await rest(rest_s, self._stopping)
        finally:
            del self._pots[pot.id]
            await rebalancer.close()

    def _tell(self, news: RoundNews) -> None:
        for teller in self._tellers.values():
            teller.tell(news)


class PotRebalancer:
    """Balances one pot, look by look. `close` it after the last."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        pot: Pot,
        clock: Clock,
        *,
        tell: Callable[[RoundNews], None],
        on_fault: Callable[[RedrushError], None],
    ) -> None:
        """`stores` are those of the pot's sets, by set, always in the same order."""
        self._stores = stores
        self._pot = pot
        self._clock = clock
        self._report = tell
        self._on_fault = on_fault
        self._balancer = Balancer()
        self._asking: dict[str, asyncio.Task[PotState]] = {}
        self._away: set[str] = set()
        self._busy: dict[str, set[str]] = {}  # by transfer: the sets that a move is under way at
        self._moving: set[asyncio.Task[None]] = set()
        self._stocks: dict[str, Stock] = {}
        self._sold_out_at: tuple[int, int] | None = None
        """How many slots were ever claimed, and had come back, when the round was found sold out; None: it is not."""
        self._told: RoundNews | None = None
        self._told_at_us = 0
        self._unsure = True  # a move of an earlier life may be half done
        self._completing: asyncio.Task[None] | None = None
        self._completed_at_us = -COMPLETE_AGAIN_US

    @property
    def balance(self) -> RoundBalance:
        """What the last look saw."""
        return RoundBalance(self._stocks, self._sold_out_at is not None)

    async def look(self) -> None:
        """Look once at every set, tell what has changed, and begin the moves that are due."""
        self._stocks = await self._ask()
        self._sold_out_at = await self._counts_if_sold_out()
        self._tell()
        now_us = self._clock.now_us()
        if now_us + LAST_MOVE_US < self._pot.closes_us:
            busy = set().union(*self._busy.values())
            idle = {set_id: stock for set_id, stock in self._stocks.items() if set_id not in busy}
            for planned in self._balancer.plan(idle, now_us):
                self._begin(planned)
        self._complete()

    async def close(self) -> None:
        """Let go of whatever is under way: another life completes it."""
        completing = [self._completing] if self._completing else []
        await _cancel([*self._asking.values(), *self._moving, *completing])

    async def moved(self) -> None:
        """Return when the moves begun so far have ended, well or not."""
        await asyncio.gather(*self._moving, *([self._completing] if self._completing else []))

    async def _ask(self) -> dict[str, Stock]:
        """Return the stocks of the sets that answer in time. Whoever is still being asked is not asked again."""
        for set_id, store in self._stores.items():
            if set_id not in self._asking:
                self._asking[set_id] = asyncio.create_task(store.state(self._pot.id), name=f"look at set {set_id}")
        await asyncio.wait(self._asking.values(), timeout=LOOK_WAIT_S)
        stocks = {}
        for set_id in self._stores:
            if self._asking[set_id].done():
                state = self._answer(set_id, self._asking.pop(set_id))
                if state is not None:
                    stocks[set_id] = Stock(state.unclaimed, state.claimed_ever, state.returned_ever)
        return stocks

    def _answer(self, set_id: str, asked: "asyncio.Task[PotState]") -> PotState | None:
        """Return the set's answer, or None, reported once, if it has none to give."""
        try:
            state = asked.result()
        except (RedrushError, KeyError) as fault:  # KeyError: its pot is not open yet
            if set_id not in self._away:
                self._away.add(set_id)
                reason = f"round {self._pot.id}: set {set_id} is left out of rebalancing: {fault.args[0]}"
                self._on_fault(RedrushError(reason))
            return None
        self._away.discard(set_id)
        return state

    async def _counts_if_sold_out(self) -> tuple[int, int] | None:
        """Return what was ever claimed, and came back, if every slot of the round is granted, in whatever set."""
        stocks = self._stocks.values()
        claimed = sum(stock.claimed for stock in stocks)
        returned = sum(stock.returned for stock in stocks)
        own_slots = self._pot.slots.count
        if len(stocks) < len(self._stores) or any(stock.left for stock in stocks) or claimed - returned < own_slots:
            return None
        if (claimed, returned) == self._sold_out_at:
            return self._sold_out_at
        transfers = await read_transfers(self._stores)
        stocks_now = (await self._ask()).values()  # what came back has to be read after all claims
        if len(transfers) < len(self._stores) or len(stocks_now) < len(self._stores):
            return None
        in_play = slots_in_play(own_slots, self._pot.id, transfers.values())
        returned = sum(stock.returned for stock in stocks_now)
        return (claimed, returned) if is_sold_out(claimed, in_play=in_play, returned_ever=returned) else None

    def _tell(self) -> None:
        """Tell the gates what has changed; and that all is granted again and again, for news may be lost."""
        if self._sold_out_at is not None:
            news: RoundNews = SoldOut(self._pot.id)
        elif any(stock.left for stock in self._stocks.values()):
            news = Refilled(self._pot.id)
        else:
            return
        now_us = self._clock.now_us()
        again = isinstance(news, SoldOut) and now_us - self._told_at_us >= TELL_AGAIN_US
        if news != self._told or again:
            self._told, self._told_at_us = news, now_us
            self._report(news)

    def _begin(self, planned: Move) -> None:
        transfer = move_id(self._pot.id, secrets.token_hex(6), planned.target)
        self._busy[transfer] = {planned.source, planned.target}
        task = asyncio.create_task(self._move(planned, transfer), name=transfer)
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)

    async def _move(self, planned: Move, transfer: str) -> None:
        pot = self._pot.id
        try:
            slots = await self._stores[planned.source].take(pot, planned.count, transfer)
            self._busy[transfer].discard(planned.source)
            if slots:
                await self._stores[planned.target].give(pot, slots, transfer)
        except RedrushError as fault:
            self._unsure = True
            self._on_fault(RedrushError(f"{transfer} from set {planned.source} may be half done: {fault}"))
        finally:
            del self._busy[transfer]

    def _complete(self) -> None:
        """Begin to complete what an earlier life or a fault has left half done, if anything."""
        now_us = self._clock.now_us()
        if self._unsure and self._completing is None and now_us - self._completed_at_us >= COMPLETE_AGAIN_US:
            self._unsure = False
            self._completed_at_us = now_us
            self._completing = asyncio.create_task(self._complete_moves(), name=f"complete moves of {self._pot.id}")

    async def _complete_moves(self) -> None:
        try:
            await complete_moves(self._stores, self._pot.id)
        except RedrushError as fault:
            self._unsure = True
            self._on_fault(fault)
        finally:
            self._completing = None


async def _cancel(tasks: "Iterable[asyncio.Task[Any]]") -> None:
    cancelled = list(tasks)
    for task in cancelled:
        task.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)
