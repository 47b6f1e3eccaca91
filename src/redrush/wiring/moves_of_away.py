"""The moves of a set that does not answer, by what is left of it: its log in the records, and its servers' copies.

While one set is made anew another may lie withheld, or be lost as well. Which slots the two exchanged is then in the
records, which hold the log of each word for word. A copy that goes on where the records end has more, and is believed
too: it may be promoted later. One that parts from the records is not: it never will be.

Every server of the set must answer, be it with nothing. One that is off may come back with moves that nobody else
knows, and be used: then the slots would be in two sets.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import closing

from redrush.config import DeploymentFile
from redrush.config.deployment_file import Duty, SetSpec
from redrush.ports.records import RecordsFailed
from redrush.ports.store import Given, Known, LogRecord, StoreUnavailable, Taken, Transfer, Transfers
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link
from redrush.stores.valkey.proof import lack, read_held
from redrush.stores.valkey.rebuild import transfers_at
from redrush.wiring.set_records import open_records
from redrush.wiring.set_stores import access_of


class MovesOfAway:
    """Tells the moves of sets of this deployment without their stores. See `redrush.operate.set_rebuilding.Instead`."""

    def __init__(self, deployment: DeploymentFile, campaign_id: str) -> None:
        self._specs: Mapping[str, SetSpec] = {spec.id: spec for spec in deployment.sets}
        self._campaign_id = campaign_id
        self._access = access_of(deployment.valkey, Duty.WARDEN)

    async def __call__(self, set_id: str) -> Transfers:
        """Return all that is known of the set's moves. Raises StoreUnavailable if that may not be all."""
        spec = self._specs[set_id]
        try:
            recorded, moves = await asyncio.to_thread(_recorded_moves, spec)
        except RecordsFailed as fault:
            raise StoreUnavailable(f"the records of set {set_id} cannot be asked either ({fault})") from fault
        for copy in await self._copies(spec, recorded):
            moves = Transfers(taken={**copy.taken, **moves.taken}, given={**copy.given, **moves.given})
        return moves

    async def _copies(self, spec: SetSpec, recorded: Known | None) -> list[Transfers]:
        """Return the moves of each copy that has all that is recorded."""
        keys = SetKeys(self._campaign_id, spec.id)
        found = []
        for address in spec.addresses:
            try:
                link, _ = await Link.connect(address, self._access)
            except StoreUnavailable as fault:
                raise StoreUnavailable(
                    f"start its server {address}, as it is or empty, for it may know of moves ({fault})"
                ) from fault
            try:
                held = await read_held(link, keys)
                if held.terms is None:
                    continue
                if recorded is None or await lack(link, keys, held, recorded, "the records") is None:
                    found.append(await transfers_at(link, keys))
            finally:
                await link.close()
        return found


def _recorded_moves(spec: SetSpec) -> tuple[Known | None, Transfers]:
    records = open_records(spec)
    try:
        recorded = records.known()
        with closing(records.journal()) as journal:
            return recorded, _moves_in(journal)
    finally:
        records.close()


def _moves_in(log: Iterable[LogRecord]) -> Transfers:
    taken, given = {}, {}
    for record in log:
        if isinstance(record, Taken):
            taken[record.transfer] = Transfer(record.pot, record.slots)
        elif isinstance(record, Given):
            given[record.transfer] = Transfer(record.pot, record.slots)
    return Transfers(taken=taken, given=given)
