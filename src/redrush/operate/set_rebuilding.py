"""Makes a set anew whose servers have all lost their data: an operator's decision, never taken by itself.

The warden of the set may run: it takes the rebuilt one for the primary, by its epoch, and makes the others replicas of
it, which drops whatever they still had. So first be sure that no copy can come back: what was acknowledged after the
last record in the journal is only to be had from such a copy, or from the winners' receipts.
"""

from collections.abc import Iterable, Mapping

from redrush.core.sets.address import Address
from redrush.core.sets.failover import Terms
from redrush.ports.store import Known, LogRecord, Store, StoreUnavailable
from redrush.settle.moves import read_transfers
from redrush.stores.valkey.link import Access
from redrush.stores.valkey.rebuild import SetRebuild


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
) -> int:
    """Rebuild the set on the server at `address`; return the seq of its last record.

    `journal` has every log record of the set from the first on, such as `PostgresRecords.journal`, read in a thread;
    nothing may be added to it any more but under the new epoch, which is that of a new history (`begin` of the same).
    `epoch` must be above all that the set ever had, such as the warden's noted one and one more. The set needs no
    replica then; its warden changes that when there is one. After a fault the same call goes on with it. `drop` drops
    an old copy that the server holds and that may not be used; `known` is the most that was known of the set.

    Raises StoreUnavailable unless all other sets answer: only they know of moves that the journal lacks. Raises
    StoreConflict where the journal has gaps, or the server holds the set.
    """
    before = await read_transfers(others)
    if missing := others.keys() - before.keys():
        raise StoreUnavailable(f"{', '.join(sorted(missing))} must answer to tell which slots set {set_id} gave away")
    rebuild = await SetRebuild.begin(address, campaign_id, set_id, access, drop=drop)
    try:
        last = await rebuild.enter(journal)
        entered = await rebuild.settle_moves(await read_transfers(others))
        await rebuild.finish(Terms(epoch, 0), known)
        return last + entered
    finally:
        await rebuild.close()
