"""Moves of slots between the sets of a round: `take` in one set, `give` in another, under one id.

The id says it all (`rebalance:<round>:<unique>:<target set>`), so whoever finds a take without its give can complete
it, and may do so while the one that began it is still at it, or was stopped for an hour and goes on: the target gives
slots once per id. A move is always completed to the pot that its id names, also when that round has closed meanwhile;
then the slots have come too late to be granted, and the closer sweeps them on (`redrush.settle.sweeping`). The
alternative, to complete it elsewhere, would need everybody to agree on when it is too late.
"""

import asyncio
from collections.abc import Mapping

import msgspec

from redrush.core.rush.campaign import Slots
from redrush.errors import RedrushError
from redrush.ports.store import Store, StoreUnavailable, Transfers

_PREFIX = "rebalance:"


class HalfMove(msgspec.Struct, frozen=True):
    """Slots that were taken from one set under an id, and are due to the set `target`."""

    pot: str
    slots: tuple[Slots, ...]
    transfer: str
    target: str


def move_id(round_id: str, unique: str, target: str) -> str:
    """Return the id of a move to the set `target`. No part may contain a colon."""
    return f"{_PREFIX}{round_id}:{unique}:{target}"


async def read_transfers(stores: Mapping[str, Store]) -> dict[str, Transfers]:
    """Return the transfers of those sets that can be reached now."""
    answers = await asyncio.gather(*(store.transfers() for store in stores.values()), return_exceptions=True)
    transfers = {}
    for set_id, answer in zip(stores, answers, strict=True):
        if isinstance(answer, Transfers):
            transfers[set_id] = answer
        elif not isinstance(answer, RedrushError):
            raise answer
    return transfers


def half_moves(transfers: Mapping[str, Transfers], round_id: str) -> list[HalfMove]:
    """Return the moves of the round whose slots were taken and, as far as these transfers tell, not given."""
    halves = []
    for held in transfers.values():
        for transfer, taken in held.taken.items():
            if not transfer.startswith(f"{_PREFIX}{round_id}:") or not taken.slots:
                continue
            target = transfer.rpartition(":")[2]
            if target not in transfers or transfer not in transfers[target].given:
                halves.append(HalfMove(taken.pot, taken.slots, transfer, target))
    return halves


async def complete_moves(stores: Mapping[str, Store], round_id: str) -> None:
    """Complete every move of the round that is half done.

    Raises StoreUnavailable if there may be one left, because a set cannot be reached or has not opened the round's pot
    yet: what can be done is done then.
    """
    transfers = await read_transfers(stores)
    away = stores.keys() - transfers.keys()
    for half in half_moves(transfers, round_id):
        try:
            if half.target in transfers:
                await stores[half.target].give(half.pot, half.slots, half.transfer)
        except (StoreUnavailable, KeyError):
            away.add(half.target)
    if away:
        raise StoreUnavailable(
            f"round {round_id}: half a move may be left, {', '.join(sorted(away))} cannot be reached"
        )
