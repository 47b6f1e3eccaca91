"""The units of a sale where they are: in the sets of a deployment, or in the one of a single server.

A user's claims go to one set for ever (`redrush.core.sets.division.home`), so whatever is held for them is there: that
set's store knows the hold by pot, slot and number, and nobody else has to be asked.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from redrush.core.nobody import ignore
from redrush.core.sets.division import home
from redrush.errors import RedrushError
from redrush.ports.store import Claim, Claimed, ClaimResult, Grant, HoldState, PotState, StoreFailed

ONLY_SET: Final = ""
"""What the set of a single server is called in its orders."""


class UnitStore(Protocol):
    """The part of `redrush.ports.store.Store` that a sale needs."""

    async def claim(self, claims: Sequence[Claim], at_us: int) -> list[ClaimResult]:
        """See the port."""

    async def confirm(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        """See the port."""

    async def release(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        """See the port."""

    async def offer(self, pots: Sequence[str]) -> int:
        """See the port."""

    async def find(self, pot: str, user: str, request: str = "") -> Claimed | None:
        """See the port."""

    async def state(self, pot: str) -> PotState:
        """See the port."""


class Units:
    """See the module."""

    def __init__(
        self,
        stores: Mapping[str, UnitStore],
        sets_of: Callable[[str], Sequence[str]],
        on_fault: Callable[[RedrushError], None] = ignore,
    ) -> None:
        """`stores` by set; `sets_of` names the sets of a pot, always in the same order. `on_fault` hears of sets in
        which nothing can be offered now."""
        self._stores = stores
        self._sets_of = sets_of
        self._on_fault = on_fault

    @classmethod
    def of_one(cls, store: UnitStore) -> "Units":
        """Return those of a single server."""
        return cls({ONLY_SET: store}, lambda _pot: (ONLY_SET,))

    def home(self, pot: str, user: str) -> str:
        """Return the set of the user's claims on the pot."""
        sets = self._sets_of(pot)
        return sets[home(user, len(sets))]

    def of(self, set_: str) -> UnitStore:
        """Return the store of a set. RedrushError for one that the deployment does not have."""
        if set_ not in self._stores:
            raise RedrushError(f"an order's unit is held in the set {set_}, which this deployment does not have")
        return self._stores[set_]

    async def find(self, pot: str, user: str, request: str) -> Claimed | None:
        """Return the user's grant to this request, or None. Raises what stores raise."""
        return await self.of(self.home(pot, user)).find(pot, user, request)

    async def offer(self, pot: str) -> int:
        """Let what waits in any set of the pot be claimed again; return how many units. A set that is away is told of,
        and its units are offered at the next instant. Raises StoreFailed."""
        offered = 0
        for set_ in self._sets_of(pot):
            try:
                offered += await self.of(set_).offer([pot])
            except KeyError:
                continue  # it is not open there yet
            except StoreFailed:
                raise
            except RedrushError as fault:
                self._on_fault(fault)
        return offered

    async def elsewhere(self, pot: str, user: str) -> bool:
        """Whether another set than the user's has units that can be claimed, which may come to theirs. Sets that are
        away have none."""
        for set_ in self._sets_of(pot):
            if set_ == self.home(pot, user):
                continue
            try:
                if (await self.of(set_).state(pot)).unclaimed:
                    return True
            except (KeyError, RedrushError):
                continue
        return False
