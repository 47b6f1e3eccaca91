"""Follows the log of one set, at its own pace, for the winners' filters of the rounds
(`redrush.gate.knowledge.winners`).

After a round has ended, sold out or closed, its losers are answered from memory only where the filter has every winner.
A log that is read to its end has every grant that was made before the reading began. So whoever finds out that a set
can grant nothing more *wants* its log read to the end from then on (`want`), and the pot is complete when it is.
This rests on the port's word that `log` leaves no durable record out and returns none that may be taken back.

What was trimmed from the log before this process had read it is gone for the filter: rounds that had begun by then, and
whose beginning (`Opened`) was trimmed too, ask the store about every loser for as long as the process lives. Numbers of
records follow each other, so it is noticed.

A set that was made anew has another log (`History`): then it is read from its beginning, and nothing that was known
through the old one holds. Winners of that stay in the filter, which costs a call of the store each and no wrong answer.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from redrush.gate.knowledge.knowledge import Others
from redrush.gate.pots import SetPot
from redrush.ports.store import Granted, History, LogRecord, Opened, Scattered, Store, StoreUnavailable
from redrush.resting import rest

SLICE_RECORDS_MAX: Final = 128
"""Log records of one reading; each holds a batch of claims, up to a thousand winners."""

USERS_AT_ONCE_MAX: Final = 4_096
"""Winners that are added before the loop gets a turn: a millisecond."""

IDLE_S: Final = 0.25
"""How soon a new log record is noticed when there was none and nobody waits for it."""

BUSY_REST_S: Final = 0.1
"""Rest after a slice while claims are under way, unless somebody waits: 300,000 winners a second at the most."""

SETS_AT_FULL_PACE: Final = 5
"""With more sets than these a gate reads each of them so much more seldom that all of them together cost it no more
readings: at the full pace fifty sets would be five hundred a second, some percent of its core."""

REST_MAX_S: Final = 1.0
"""Longest rest, however many sets there are: a gate looks at its rounds as often."""

SLICE_RECORDS_SELDOM_MAX: Final = 256
"""Log records of one reading where it is a seldom one: bounds how long the loop is kept from its connections."""

AWAY_S: Final = 0.5
"""Rest after the set could not be reached."""

SHORT_READINGS_MAX: Final = 20
"""Readings in a row that find nothing though the store spoke of more: then what it spoke of was trimmed away."""

CLOCKS_APART_US: Final = 5_000_000
"""How much earlier than here a round may have opened at another gate, if clocks are not synchronised well."""


class LogFollower:
    """See the module. `run` it as a task of the loop that the gate lives on."""

    def __init__(
        self,
        store: Store,
        pots: Mapping[str, tuple[Others, SetPot]],
        *,
        now_us: Callable[[], int],
        busy: Callable[[], bool],
        anew: Callable[[], None],
        sets: int = 1,
    ) -> None:
        """`pots` in the set by id, with what is known of their rounds; others may join them later. `busy` tells whether
        claims are under way; `anew` is told when the set has another history; `sets` is how many the gate follows."""
        self._store = store
        self._pots = pots
        self._now_us = now_us
        self._busy = busy
        self._anew = anew
        self._history: History | None = None
        seldom = max(1.0, sets / SETS_AT_FULL_PACE)
        self._slice_records = min(SLICE_RECORDS_SELDOM_MAX, int(SLICE_RECORDS_MAX * seldom))
        self._idle_s = min(REST_MAX_S, IDLE_S * seldom)
        self._busy_rest_s = min(REST_MAX_S, BUSY_REST_S * seldom)
        self._cursor = 0
        self._short_readings = 0
        self._readings = 0
        self._wanted: dict[str, int] = {}
        self._holed: set[str] = set()
        self._wake = asyncio.Event()

    def want(self, pot_id: str) -> None:
        """Read the log to its end from now on, then the round's pot in this set is complete, unless refilled."""
        if pot_id not in self._holed:
            self._wanted[pot_id] = self._pots[pot_id][0].refills
            self._wake.set()

    def incomplete(self, pot_id: str) -> bool:
        """Whether the filter can never have all winners of the round in this set."""
        return pot_id in self._holed

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                more = await self._read_slice()
            except StoreUnavailable:
                await asyncio.sleep(AWAY_S)
                continue
            if not more:
                await self._rest(self._idle_s)
            elif self._busy() and not self._wanted:
                await self._rest(self._busy_rest_s)

    async def _read_slice(self) -> bool:
        """Read the next records; return whether there may be more of them."""
        if self._history is None:
            self._history = self._store.history()
        wanted = tuple(self._wanted.items())
        last_seq = self._store.last_seq()
        records = await self._store.log(self._cursor, self._slice_records)
        await self._take(records)
        if self._began_anew():
            return True
        # How far the log reaches a process may only have heard by reading it: the first reading says nothing of that.
        self._readings += 1
        if len(records) == self._slice_records or self._readings == 1:
            return True
        if self._cursor < last_seq:
            if not records:
                self._came_short(last_seq)
            return bool(records)
        self._short_readings = 0
        for pot_id, refills in wanted:
            if self._wanted.get(pot_id) == refills:
                del self._wanted[pot_id]
            if pot_id not in self._holed and pot_id in self._pots:
                knows, pot = self._pots[pot_id]
                knows.complete(pot, refills)
        return bool(self._wanted)

    async def _take(self, records: Iterable[LogRecord]) -> None:
        """Add the winners of a page by round, as many at once as the loop may be kept for."""
        found: dict[str, list[str]] = {}
        waiting = 0
        for record in records:
            if record.seq != self._cursor + 1:
                self._missed_some()
            self._cursor = record.seq
            if isinstance(record, Opened):
                self._holed.discard(record.pot)  # nothing was granted from it before
            elif isinstance(record, Granted | Scattered):
                waiting += self._winners_of(record, found)
                if waiting >= USERS_AT_ONCE_MAX:
                    self._add(found)
                    waiting = 0
                    await asyncio.sleep(0)
        self._add(found)

    def _winners_of(self, record: Granted | Scattered, found: dict[str, list[str]]) -> int:
        """Note the record's winners by pot; return how many there are."""
        if isinstance(record, Granted):
            if record.pot not in self._pots:
                return 0
            found.setdefault(record.pot, []).extend(record.users)
            return len(record.users)
        for grant in record.grants:
            if grant.pot in self._pots:
                found.setdefault(grant.pot, []).append(grant.user)
        return len(record.grants)

    def _add(self, found: dict[str, list[str]]) -> None:
        for pot_id, users in found.items():
            if pot_id in self._pots:
                self._pots[pot_id][0].winners.add(users)
        found.clear()

    def _began_anew(self) -> bool:
        """Whether the set has another history than when this was asked last; all that was read is void then, also what
        may have come under the new one to an old cursor."""
        before, self._history = self._history, self._store.history()
        if before == self._history:
            return False
        self._cursor = self._readings = self._short_readings = 0
        self._wanted.clear()
        self._holed.clear()
        self._anew()
        return True

    def _came_short(self, last_seq: int) -> None:
        self._short_readings += 1
        if self._short_readings > SHORT_READINGS_MAX:
            self._missed_some()
            self._cursor = last_seq
            self._short_readings = 0

    def _missed_some(self) -> None:
        """Records are gone that were never read: rounds that may have had grants by now stay incomplete."""
        begun_us = self._now_us() + CLOCKS_APART_US
        for pot_id, (knows, _) in self._pots.items():
            if knows.pot.opens_us <= begun_us:
                self._holed.add(pot_id)
                self._wanted.pop(pot_id, None)

    async def _rest(self, duration_s: float) -> None:
        """Sleep, unless somebody waits for the log to be read."""
        self._wake.clear()
        await rest(duration_s, self._wake)
