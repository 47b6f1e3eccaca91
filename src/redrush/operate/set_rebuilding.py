"""Makes a set anew whose servers have all lost their data: an operator's decision, never taken by itself.

The warden of the set may run: it takes the rebuilt one for the primary, by its epoch, and makes the others replicas of
it, which drops whatever they still had. So first be sure that no copy can come back: what was acknowledged after the
last record in the journal is only to be had from such a copy, or from the winners' receipts.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from redrush.core.sets.address import Address
from redrush.core.sets.failover import Terms
from redrush.ports.store import Known, LogRecord, Store, StoreUnavailable, Transfers
from redrush.settle.moves import read_transfers
from redrush.stores.valkey.link import Access
from redrush.stores.valkey.rebuild import SetRebuild

Instead = Callable[[str], Awaitable[Transfers]]
"""Returns what is known of the moves of a set that does not answer. Raises StoreUnavailable where that may not be all
of them."""


async def _nobody_instead(set_id: str) -> Transfers:
    raise StoreUnavailable(f"{set_id} is away")


class MovesOfOthers:
    """What the other sets say of the slots that they gave and got, and what is said in place of those that are away."""

    def __init__(self, stores: Mapping[str, Store], instead: Instead = _nobody_instead) -> None:
        self._stores = stores
        self._instead = instead

    async def read(self, set_id: str) -> dict[str, Transfers]:
        """Return the moves of each. Raises StoreUnavailable, with what to do, if those of one are not known."""
        found = await read_transfers(self._stores)
        unknown = []
        for name in sorted(self._stores.keys() - found.keys()):
            try:
                found[name] = await self._instead(name)
            except StoreUnavailable as fault:
                unknown.append((name, str(fault)))
        if unknown:
            names, whys = ", ".join(name for name, _ in unknown), "; ".join(why for _, why in unknown)
            raise StoreUnavailable(f"{names} must answer to tell which slots set {set_id} gave away: {whys}")
        return found


async def rebuild_set(  # noqa: PLR0913 - told apart by name
    campaign_id: str,
    set_id: str,
    address: Address,
    journal: Iterable[LogRecord],
    others: Mapping[str, Store],
    *,
    epoch: int,
    access: Access | None = None,
    drop: bool = False,
    known: Known | None = None,
    is_all_known: bool = False,
    instead: Instead = _nobody_instead,
) -> int:
    """Rebuild the set on the server at `address`; return the seq of its last record.

    `journal` has every log record of the set from the first on, such as `PostgresRecords.journal`, read in a thread;
    nothing may be added to it any more but under the new epoch, which is that of a new history (`begin` of the same).
    `epoch` must be above all that the set ever had, such as the warden's noted one and one more. The set needs no
    replica then; its warden changes that when there is one. After a fault the same call goes on with it. `drop` drops
    an old copy that the server holds and that may not be used; `known` is the most that was known of the set, and
    `is_all_known` whether nobody was told more.

    Raises StoreUnavailable unless all other sets answer, or `instead` speaks for them: only they know of moves that the
    journal lacks. Raises StoreConflict where the journal has gaps, or the server holds the set.
    """
    moves = MovesOfOthers(others, instead)
    await moves.read(set_id)
    rebuild = await SetRebuild.begin(address, campaign_id, set_id, access, drop=drop)
    try:
        last = await rebuild.enter(journal)
        settled = await rebuild.settle_moves(await moves.read(set_id))
        await rebuild.finish(Terms(epoch, 0), known, is_all_known=is_all_known)
        return last + settled
    finally:
        await rebuild.close()
