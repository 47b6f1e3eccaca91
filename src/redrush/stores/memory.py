"""A store that lives as long as its process: for simulations, tests and the measure of what durability costs."""

from collections.abc import Container, Mapping, Sequence

from redrush.core.rush.campaign import Slots
from redrush.ports.noted_pots import NotedPot, Watched
from redrush.ports.store import (
    FIRST_HISTORY,
    Claim,
    Claimed,
    ClaimResult,
    Grant,
    History,
    HoldState,
    LogRecord,
    PotState,
    PotTerms,
    StoreFailed,
    Transfers,
)
from redrush.stores.pots import Pots


class MemoryStore:
    """The `redrush.ports.store.Store` without a disk. Nothing survives `close`."""

    knows_all = True

    def __init__(self) -> None:
        self._pots = Pots()
        self._log: list[LogRecord] = []  # the record seq stands at seq - 1
        self._closed = False

    async def open(self, pots: Sequence[PotTerms]) -> None:
        self._check_open()
        self._log.extend(self._pots.open(pots))

    async def until_free(self) -> None:
        """Return at once: claims are decided as they come."""

    async def claim(self, claims: Sequence[Claim], at_us: int) -> list[ClaimResult]:
        self._check_open()
        results, records = self._pots.claim(claims, at_us)
        self._log.extend(records)
        return results

    async def confirm(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        self._check_open()
        states, records = self._pots.confirm(holds, at_us)
        self._log.extend(records)
        return states

    async def release(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        self._check_open()
        states, records = self._pots.release(holds, at_us)
        self._log.extend(records)
        return states

    async def offer(self, pots: Sequence[str]) -> int:
        self._check_open()
        count, records = self._pots.offer(pots)
        self._log.extend(records)
        return count

    async def take(self, pot: str, count: int, transfer: str) -> tuple[Slots, ...]:
        self._check_open()
        slots, record = self._pots.take(pot, count, transfer)
        self._keep(record)
        return slots

    async def give(self, pot: str, slots: tuple[Slots, ...], transfer: str) -> None:
        self._check_open()
        self._keep(self._pots.give(pot, slots, transfer))

    async def transfers(self) -> Transfers:
        self._check_open()
        return self._pots.transfers()

    async def find(self, pot: str, user: str, request: str = "") -> Claimed | None:
        self._check_open()
        return self._pots.find(pot, user, request)

    def known(self, pot: str) -> Mapping[str, Claimed]:
        return self._pots.known(pot)

    def holders(self, pot: str) -> Container[str]:
        return self._pots.holders(pot)

    async def state(self, pot: str) -> PotState:
        self._check_open()
        return self._pots.state(pot)

    def watch(self, pot: str) -> Watched:
        return self._pots.watch(pot)

    def forget(self, pot: str) -> None:
        """See the port: what is known here is what there is."""

    async def noted(self, pots: Sequence[str]) -> list[NotedPot | None]:
        self._check_open()
        return self._pots.noted(pots)[0]

    async def lacks_nothing(self) -> bool:
        self._check_open()
        return True

    async def granted(self, pot: str) -> Mapping[str, Claimed]:
        self._check_open()
        return self._pots.known(pot)

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        self._check_open()
        start = max(after, 0)
        return self._log[start : start + max(limit, 0)]

    def last_seq(self) -> int:
        return self._pots.seq

    def history(self) -> History:
        return FIRST_HISTORY

    async def close(self) -> None:
        self._closed = True

    def _keep(self, record: LogRecord | None) -> None:
        if record is not None:
            self._log.append(record)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreFailed("the store was closed")
