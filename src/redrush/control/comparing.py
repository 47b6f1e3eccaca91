"""What is known of a set's log apart from the server that is asked, and whether that has all of it.

Four know how far a log was that somebody was told of:

- the *records*: their cursor, and the fingerprint of the log there. They lag, by tenths of a second as a rule, by hours
  while the database is away;
- the *witness*, a small file beside the warden's notes: what the set's servers have held durably, noted every WITNESS_S
  while it grows. It needs no database;
- *gates*, in their memory: what they were told durable last. They tell the control role every half second, so a server
  that was started anew is given HEARD_S before it is believed; and a gate uses no server that has less;
- the other *servers* of the set.

A server that has all of that may be used. Where the records cannot be asked the witness has to do; where there is none
either, nothing is granted until one of the two can be asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from redrush.control.mending_orders import MendingOrders
from redrush.control.warden_notes import WardenNotes
from redrush.core.sets.failover import Sight
from redrush.errors import RedrushError
from redrush.ports.set_servers import Held, SetServer
from redrush.ports.store import FIRST_HISTORY, Known

WITNESS_S: Final = 0.5
"""How often the witness is written while the log grows: an fsync of a small file."""

HEARD_S: Final = 1.5
"""How long a server that was started anew waits for what gates may know: they tell every half second."""

HEARD_LOOK_S: Final = 0.05

TELLERS_MAX: Final = 256
"""Processes that are told apart. With more, nobody can say whether all have told."""

THE_RECORDS: Final = "the records"
THE_WITNESS: Final = "the control role's note"

Recorded = Callable[[], Awaitable[Known | None]]
"""Asks the records how far they know the log; None: they have nothing of it. Raises RedrushError if they are away."""

Heard = Callable[[], Iterable[tuple[str, Known]]]
"""What gates and recorders have told lately of what they know, with a word for who."""

AllTold = Callable[[], Awaitable[bool]]
"""Waits until every gate that was ever heard tells again what it knows; returns False if one does not."""


class Lacking(RedrushError):
    """A server has less than is known of the set, or cannot be compared yet: it is not to be used."""


class HeardOf:
    """What other processes have told of one set: only the most of it counts, whoever told it and when. And whether all
    of them have: who was heard once and has not taken leave may know of more."""

    def __init__(self) -> None:
        self._most: tuple[str, Known] | None = None
        self._last_told: dict[str, int] = {}
        self._turn = 0
        self._too_many = False

    def tell(self, who: str, known: Known | None, *, leaving: bool = False) -> None:
        """Take what a process was told durable last, if anything; `leaving`: it will be told nothing more."""
        self._turn += 1
        if leaving:
            self._last_told.pop(who, None)
        elif who in self._last_told or len(self._last_told) < TELLERS_MAX:
            self._last_told[who] = self._turn
        else:
            self._too_many = True
        if known is None:
            return
        if self._most is None or (known.generation, known.seq) > (self._most[1].generation, self._most[1].seq):
            self._most = (who, known)

    async def have_all_told(self) -> bool:
        """Return whether everybody who was heard so far, and has not taken leave, tells again from now on."""
        since = self._turn
        until_s = asyncio.get_running_loop().time() + HEARD_S
        while any(turn <= since for turn in self._last_told.values()):
            if asyncio.get_running_loop().time() >= until_s:
                return False
            await asyncio.sleep(HEARD_LOOK_S)
        return not self._too_many

    def __call__(self) -> Iterable[tuple[str, Known]]:
        """Yield the most."""
        return () if self._most is None else (self._most,)


def nothing_heard() -> Iterable[tuple[str, Known]]:
    """There is nobody to hear from."""
    return ()


async def nobody_tells() -> bool:
    """There is nobody to hear from, so nobody knows whether all have told."""
    return False


class Comparing:
    """The comparing for one set. `recorded` None: there are no records."""

    def __init__(
        self,
        orders: MendingOrders,
        notes: WardenNotes,
        recorded: Recorded | None,
        heard: Heard,
        all_told: AllTold = nobody_tells,
    ) -> None:
        self._orders = orders
        self._all_told = all_told
        self._was_whole = False
        self._notes = notes
        self._recorded = recorded
        self._heard = heard
        self._steady: set[str] = set()
        self._first_seen_s: dict[str, float] = {}
        self._witnessed_s = 0.0

    async def watch(self, sight: Sight, primary: str, held: Mapping[str, Held]) -> None:
        """Note how far the log is that the set's servers hold durably. Call it at every look at a proven primary.

        Raises OSError if it cannot be noted: the next look tries again."""
        self._was_whole = True
        self._steady = {one.run_id for one in held.values()}
        self._first_seen_s.clear()
        durable = _durable(sight, primary, held)
        current = [known for _, known in self._heard() if known.generation == held[primary].history.generation]
        current += [] if durable is None else [durable]
        known = max(current, key=lambda known: known.seq, default=None)
        before = self._notes.witnessed
        now_s = asyncio.get_running_loop().time()
        if known is None or now_s - self._witnessed_s < WITNESS_S:
            return
        if before is None or (known.generation, known.seq) > (before.generation, before.seq):
            self._witnessed_s = now_s
            await asyncio.to_thread(self._notes.note_witnessed, known)

    def best_known(self) -> Known | None:
        """Return the most that is known without asking anybody: for what an operator's decision loses."""
        heard = [known for _, known in self._heard()]
        heard += [known for known in (self._notes.witnessed, self._notes.ended) if known is not None]
        return max(heard, key=lambda known: (known.generation, known.seq), default=None)

    async def is_all_known(self) -> bool:
        """Return whether `best_known` is certainly all that the set ever acknowledged.

        So it is where everybody ended before its servers did; and where this process has seen the set whole, and all
        gates since then, which are alive, have told what they know. Not where it was already made anew once: what is
        still lost from then is not known here. Where the records cannot be asked nobody knows.
        """
        try:
            recorded = None if self._recorded is None else await self._recorded()
        except RedrushError:
            return False
        generation = FIRST_HISTORY.generation if recorded is None else recorded.generation
        if generation != FIRST_HISTORY.generation:
            return False
        ended = self._notes.ended
        if ended is not None and ended.generation == generation:
            return recorded is None or recorded.seq <= ended.seq
        return self._was_whole and await self._all_told()

    async def check(self, server: SetServer, held: Held, others: Mapping[str, Known] | None = None) -> None:
        """Raise Lacking, with a sentence for an operator, unless the server has all that is known. `others` are servers
        of the set."""
        for who, known in [*await self._ask(held), *(others or {}).items()]:
            missing = await server.lack(held, known, who)
            if missing is not None:
                raise Lacking(f"{server.address} was wound back: its log {missing}; {self._mend(server, who)}")

    async def check_recorded(self, server: SetServer, held: Held) -> None:
        """Raise RedrushError if the records hold more than the server: used, it would grant that again. Records that
        cannot be asked are no hindrance, for an operator has said yes."""
        try:
            recorded = None if self._recorded is None else await self._recorded()
        except RedrushError:
            return
        missing = None if recorded is None else await server.lack(held, recorded, THE_RECORDS)
        if missing is not None:
            raise RedrushError(
                f"set {self._orders.set}: the log of {server.address} {missing}; first {self._again(server)}"
            )

    async def _ask(self, held: Held) -> list[tuple[str, Known]]:
        """Return who knows how much."""
        if held.run_id not in self._steady:
            now_s = asyncio.get_running_loop().time()
            wait_s = self._first_seen_s.setdefault(held.run_id, now_s) + HEARD_S - now_s
            if wait_s > 0 and self._heard is not nothing_heard:
                raise Lacking("it was started anew, and gates have a moment to tell what they know")
        known: list[tuple[str, Known]] = []
        witnessed = self._notes.witnessed
        if self._recorded is not None:
            try:
                recorded = await self._recorded()
            except RedrushError as fault:
                if witnessed is None:
                    raise Lacking(
                        f"its log cannot be compared with anything: there is no note of it, and {fault}; "
                        "start the database of the records"
                    ) from fault
            else:
                known += [] if recorded is None else [(THE_RECORDS, recorded)]
        known += [] if witnessed is None else [(THE_WITNESS, witnessed)]
        return known + list(self._heard())

    def _mend(self, server: SetServer, who: str) -> str:
        orders = self._orders
        if who == THE_RECORDS:
            return self._again(server)
        return f"{orders.promote(server.address)} goes on without what it lacks, {orders.afterwards}"

    def _again(self, server: SetServer) -> str:
        orders = self._orders
        return f"{orders.rebuild(server.address)} makes the set again from the records, {orders.afterwards}"


def _durable(sight: Sight, primary: str, held: Mapping[str, Held]) -> Known | None:
    """Return what the primary and as many replicas as its terms need have on their disks."""
    own = held[primary]
    needed = 0 if own.terms is None else own.terms.replicas_needed
    if not needed:
        return own.known
    copies = [
        held[name].known
        for name, seen in sight.seen.items()
        if seen.follows == primary and seen.is_linked and name in held
    ]
    copies = [known for known in copies if known.generation == own.history.generation]
    copies.sort(key=lambda known: known.seq, reverse=True)
    return copies[needed - 1] if len(copies) >= needed else None
