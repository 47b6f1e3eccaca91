"""The closer: when a round closes, what its pots have left goes to the next round or back to the sponsor, exactly once.

The move is `take` from the closed pot and `give` to the destination, under one id derived from the pot. A crash may
come between, or after both; the closer never asks which. At every start it closes all pots that are past, in order
of their closing, and the store answers a repeated half with what it did the first time.

For that the destination of a repeat must be the same, so it is computed for the instant of closing, never for the
present: after a long outage the leftover still goes to the round that was next *then*. If that one has closed
meanwhile, its own turn comes later in the same pass and takes the slots onwards, because rounds are closed one after
the other, in one order, and a destination always closes after its source. Rejected: computing it for the present and
looking in the log for what was done, which reads a million grants to find one line.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from redrush.core.money.ledger import pot_account
from redrush.core.nobody import ignore, never
from redrush.core.rush.campaign import Campaign, Pot, Slots
from redrush.core.rush.leftover import destination, transfer_id
from redrush.errors import RedrushError
from redrush.ports.clock import Clock
from redrush.ports.store import Store

LOOK_AGAIN_S: Final = 0.5
"""Longest sleep before the clock is asked again: it need not run at the speed of the event loop's."""

DRAIN_MAX_S: Final = 30.0
"""Longest wait for the claims accepted before the closing. Who is undecided after that finds the pot empty."""


class Moved(msgspec.Struct, frozen=True):
    """The leftover of a closed pot: these slots are in the pot `destination` now. No slots when all were claimed."""

    pot: str
    destination: str
    slots: tuple[Slots, ...]


async def close_pot(
    store: Store,
    campaign: Campaign,
    closed: Pot,
    now_us: int,
    transfer: str | None = None,
    takes: Callable[[str], bool] | None = None,
) -> Moved:
    """Move the leftover of a pot that has closed by `now_us` (µs since the epoch). Repeating it changes nothing.

    `transfer` is the id of the move, where it is not the only one of the pot; `takes` tells which pots the store has,
    where it has not all.

    These pots and `RETURNED_POT` must have been opened. Raises ValueError before the closing, StoreFailed
    when the store cannot say whether the move is done: then it is done again after a restart.
    """
    if now_us < closed.closes_us:
        raise ValueError(f"pot {closed.id} is open until {closed.closes_us}, it cannot be closed at {now_us}")
    target = destination(campaign, closed, closed.closes_us, takes or (lambda _pot_id: True))
    left = (await store.state(closed.id)).left
    transfer = transfer or transfer_id(closed)
    slots = await store.take(closed.id, left, transfer)
    if slots:
        await store.give(target, slots, transfer)
    return Moved(closed.id, target, slots)


def leftover_waits(
    pot: Pot, *, balance_minor: Callable[[str], int], granted: Callable[[str], int], taken: Callable[[str], int]
) -> bool:
    """Whether a pot that is over has slots in it: its leftover did not move when it closed.

    Asked for are the balance of an account, how many grants there are of a pot, and how many moves under an id.
    """
    if pot.total_minor:
        return balance_minor(pot_account(pot.id)) != 0
    return granted(pot.id) < pot.slots.count and not taken(transfer_id(pot))


async def _nothing_to_drain(_pot_id: str) -> None:
    """Nobody accepts claims here."""


class Closer:
    """Closes every pot of a campaign at its instant. `run` it as a task; `stop` ends it."""

    def __init__(  # noqa: PLR0913 - all but three have a default that suits whoever does not care
        self,
        store: Store,
        campaign: Campaign,
        clock: Clock,
        *,
        drain: Callable[[str], Awaitable[None]] = _nothing_to_drain,
        moved: Callable[[str], None] = ignore,
        paused: Callable[[], bool] = never,
        on_fault: Callable[[RedrushError], None] = ignore,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`drain` returns when all claims that a pot accepted are decided; it is awaited after the pot closed and
        before anything is taken. `moved` hears of each pot that was given slots, repeats included. While `paused`
        nothing is moved; it is asked every `LOOK_AGAIN_S`. `sleep` belongs to `clock`.
        """
        self._store = store
        self._campaign = campaign
        self._clock = clock
        self._drain = drain
        self._moved = moved
        self._paused = paused
        self._on_fault = on_fault
        self._sleep = sleep
        self._stopping = asyncio.Event()
        self._closed: set[str] = set()

    async def run(self) -> None:
        """Close the pots in order of their closing, those first that are past; return after the last, or at `stop`.

        A fault of the store is reported and ends it: what is not moved then is moved after the next start.
        """
        self._closed = set()
        while pending := [pot for pot in self._campaign.pots if pot.id not in self._closed]:
            # min() takes the first of several: pots that close together keep the order of their opening.
            pot = min(pending, key=lambda pot: pot.closes_us)
            if not await self._wait_until(pot.closes_us):
                if self._stopping.is_set():
                    return
                continue  # amended meanwhile
            try:
                await self._close(pot)
            except RedrushError as fault:
                self._on_fault(fault)
                return
            self._closed.add(pot.id)

    def is_behind(self) -> bool:
        """Whether a pot is past its closing and not closed by `run` yet."""
        now_us = self._clock.now_us()
        return any(pot.closes_us <= now_us and pot.id not in self._closed for pot in self._campaign.pots)

    def amend(self, campaign: Campaign) -> None:
        """Close by the instants of this campaign from now on. What is closed already has the same ones in it."""
        self._campaign = campaign

    def stop(self) -> None:
        """End `run` at the next instant at which nothing is half moved."""
        self._stopping.set()

    async def _close(self, pot: Pot) -> None:
        try:
            async with asyncio.timeout(DRAIN_MAX_S):
                await self._drain(pot.id)
        except TimeoutError:
            self._on_fault(RedrushError(f"pot {pot.id}: claims are still undecided {DRAIN_MAX_S:g} s after closing"))
        move = await close_pot(self._store, self._campaign, pot, self._clock.now_us())
        if move.slots:
            self._moved(move.destination)

    async def _wait_until(self, instant_us: int) -> bool:
        """Return True at the instant, or later when it is not paused any more; False if told to stop before, or if the
        campaign was amended, within `LOOK_AGAIN_S`."""
        campaign = self._campaign
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            while not self._stopping.is_set() and self._campaign is campaign:
                remaining_s = (instant_us - self._clock.now_us()) / 1e6
                if remaining_s <= 0:
                    if not self._paused():
                        return True
                    remaining_s = LOOK_AGAIN_S
                tick = asyncio.ensure_future(self._sleep(min(remaining_s, LOOK_AGAIN_S)))
                await asyncio.wait((tick, stopped), return_when=asyncio.FIRST_COMPLETED)
                tick.cancel()
            return False
        finally:
            stopped.cancel()
