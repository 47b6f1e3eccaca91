"""Enters lost grants into sets that are in use, and fetches their slots from where a lost move has left them.

A grant may rest on a move that was lost as well: its slot had come from another set, or from a round that had closed,
and is back there. The receipt proves that it was moved. So the slot is taken from where it is, unclaimed, and given to
the pot in which it was granted, as a move like any other: whoever adds up finds it. Where somebody else was granted the
slot since it is left alone.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

from redrush.config.deployment_file import SetSpec
from redrush.core.rush.campaign import Slots
from redrush.core.sets.address import Address
from redrush.core.sets.failover import Terms
from redrush.ports.store import Given, Granted, StoreUnavailable, Taken, Transfer
from redrush.settle.moves import move_id
from redrush.stores.valkey import Access
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link, ReplyFault
from redrush.stores.valkey.rebuild import enter_grant, enter_move, transfers_at
from redrush.stores.valkey.search import Search

SEARCHES_MAX: Final = 2
"""Primaries looked for to enter one grant: terms may change between the search and the entry, hardly twice."""

REFUSED: Final = {
    "ABSENT": "its slot was granted to somebody else since, or has left the set",
    "HELD": "the user has another grant of the round",
}
"""Why a set does not take a grant, in words."""

FETCHED: Final = "honour"
"""In the ids of moves that fetch a slot."""

_Enter = Callable[[Link, SetKeys, Terms], Awaitable[ReplyFault | None]]


class Entrance:
    """Enters grants into sets, by a link to the primary of each. `pots` are ids of the campaign's, in its order."""

    def __init__(self, sets: Sequence[SetSpec], campaign_id: str, access: Access, pots: Sequence[str] = ()) -> None:
        self._addresses: Mapping[str, Sequence[Address]] = {spec.id: spec.addresses for spec in sets}
        self._campaign_id = campaign_id
        self._pots = pots
        self._access = access
        self._primaries: dict[str, tuple[Terms, Link]] = {}

    async def enter(self, set_id: str, grant: Granted) -> str | None:
        """See `redrush.settle.honouring.Enter`. Raises StoreUnavailable if a set that may have the slot is away."""
        refused = await self._enter_grant(set_id, grant)
        is_absent = refused is not None and refused.code == "ABSENT" and refused.detail != grant.pot
        if is_absent and await self._fetch(set_id, grant.pot, grant.first_slot):
            refused = await self._enter_grant(set_id, grant)
        return None if refused is None else REFUSED.get(refused.code, str(refused))

    def close(self) -> None:
        """Cut the links."""
        for _, link in self._primaries.values():
            link.cut("done")

    async def _enter_grant(self, set_id: str, grant: Granted) -> ReplyFault | None:
        return await self._entered(set_id, lambda link, keys, terms: enter_grant(link, keys, terms, grant))

    async def _fetch(self, set_id: str, pot: str, slot: int) -> bool:
        """Bring the slot into the set's pot from where it is unclaimed; return whether it was."""
        transfer = await self._on_the_way(set_id, pot, slot) or await self._take(set_id, pot, slot)
        if transfer is None:
            return False
        name, half = transfer
        given = Given(0, pot, half.slots, name)
        refused = await self._entered(set_id, lambda link, keys, terms: enter_move(link, keys, terms, given))
        return refused is None or refused.code == "HELD"

    async def _on_the_way(self, set_id: str, pot: str, slot: int) -> tuple[str, Transfer] | None:
        """Return the move to this pot that has the slot and was cut off between its halves, if there is one."""
        halves: dict[str, Transfer] = {}
        given: set[str] = set()
        for other in self._addresses:
            _, link = await self._primary(other)
            moves = await transfers_at(link, SetKeys(self._campaign_id, other))
            given |= moves.given.keys()
            halves |= moves.taken
        for name, half in halves.items():
            begins = name.startswith((f"rebalance:{pot}:", f"{FETCHED}:{pot}:"))
            is_ours = begins and name.rpartition(":")[2] == set_id and name not in given
            if is_ours and any(run.first <= slot < run.end for run in half.slots):
                return name, half
        return None

    async def _take(self, set_id: str, pot: str, slot: int) -> tuple[str, Transfer] | None:
        """Take the slot out of the pot that has it unclaimed; return the move, None if none has."""
        run = (Slots(slot, 1),)
        for other, source in self._places(set_id, pot):
            unique = f"{FETCHED}-{slot}-{secrets.token_hex(4)}"
            name = move_id(pot, unique, set_id) if source == pot else f"{FETCHED}:{pot}:{unique}:{set_id}"
            taken = Taken(0, source, run, name)
            refused = await self._entered(
                other,
                lambda link, keys, terms, taken=taken: enter_move(link, keys, terms, taken),  # type: ignore[misc] # bound
            )
            if refused is None:
                return name, Transfer(source, run)
        return None

    def _places(self, set_id: str, pot: str) -> Iterator[tuple[str, str]]:
        """Yield where the slot may have been left: the same pot in other sets first, then other pots anywhere."""
        yield from ((other, pot) for other in self._addresses if other != set_id)
        yield from ((other, source) for source in self._pots if source != pot for other in self._addresses)

    async def _entered(self, set_id: str, enter: _Enter) -> ReplyFault | None:
        keys = SetKeys(self._campaign_id, set_id)
        for _ in range(SEARCHES_MAX):
            terms, link = await self._primary(set_id)
            refused = await enter(link, keys, terms)
            if refused is None or refused.code != "TERMS":
                return refused
            self._primaries.pop(set_id)[1].cut("under other terms now")
        raise StoreUnavailable(f"set {set_id}: its terms change again and again")

    async def _primary(self, set_id: str) -> tuple[Terms, Link]:
        if set_id not in self._primaries:
            found = Search(SetKeys(self._campaign_id, set_id), self._access)
            await found.run(self._addresses[set_id], epoch_min=1)
            primaries = found.primaries(epoch_min=1)
            if not primaries:
                found.close()
                raise StoreUnavailable(f"set {set_id}: {found.why_not()}")
            self._primaries[set_id] = primaries[-1]
            found.close(but=primaries[-1][1])
        return self._primaries[set_id]
