"""The parts of a stack's sets that campaigns besides the first have: put under new terms at every start, and at every
end it is noted where their logs ended.

Which server of a set is the primary was settled for the first campaign (`set_servers`); a part goes with it, for all of
a server is copied to its replicas. As the servers may listen elsewhere than last time, what a part's terms and its
warden's notes say of the primary names nobody any more. A part that lacks what is known of it stays as it was: its
warden tells what mends it.
"""

import asyncio
from collections.abc import Iterator

from redrush.config import DeploymentFile
from redrush.config.deployment_file import Duty, SetSpec
from redrush.config.hosted import deployment_beside
from redrush.control.campaigns import Listing
from redrush.control.comparing import Comparing, nothing_heard
from redrush.control.data_dir import DataDir
from redrush.control.mending_orders import MendingOrders, named_by
from redrush.control.warden_notes import WardenNotes
from redrush.core.sets.address import Address
from redrush.core.sets.failover import Noted, Terms
from redrush.errors import RedrushError
from redrush.ports.set_servers import Held
from redrush.ports.store import Known, StoreUnavailable
from redrush.stack.ends import note_end
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link, ReplyFault, pack
from redrush.stores.valkey.proof import prove, read_held
from redrush.stores.valkey.set_servers import ValkeySetServers
from redrush.stores.valkey.terms import fence
from redrush.wiring.set_records import open_records
from redrush.wiring.set_stores import access_of


def parts_of_sets(deployment: DeploymentFile, listing: Listing, data_dir: DataDir) -> "Iterator[PartOfSet]":
    """Yield the campaign's parts of the sets of a stack; `deployment` is that of its first campaign."""
    beside = deployment_beside(deployment, listing.id, data_dir.root, listing.sets)
    for spec in beside.sets:
        yield PartOfSet(beside, spec, listing.id)


class PartOfSet:
    """See the module. Nobody writes to it yet, or any more, and no warden watches over it."""

    def __init__(self, beside: DeploymentFile, spec: SetSpec, campaign_id: str) -> None:
        self.id = spec.id
        self._spec = spec
        self._beside = beside
        self._keys = SetKeys(campaign_id, spec.id)
        self._access = access_of(beside.valkey, Duty.WARDEN)

    async def begin(self) -> None:
        """Put the part under terms that name the primary. RedrushError if it lacks what is known of it."""
        address = await self._primary()
        link, _ = await Link.connect(address, self._access)
        try:
            held = await read_held(link, self._keys)
            await self._check(address, held)
            assert held.terms is not None  # it was checked
            terms = Terms(held.terms.epoch + 1, min(self._spec.replicas_needed, len(self._spec.addresses) - 1))
            notes = self._notes()
            try:
                notes.note(Noted(terms.epoch, str(address)))
                notes.forget_ended()
            finally:
                notes.close()
            await fence(link, self._keys, terms, named=True)
            await prove(link, self._keys, await read_held(link, self._keys))
        finally:
            await link.close()

    async def note_end(self) -> None:
        """Note where the part's log ends, now that nobody is left who could add to it."""
        await note_end(self.id, self._spec.addresses, self._keys, self._access, self._beside.control.notes)

    async def _check(self, address: Address, held: Held) -> None:
        orders = MendingOrders(self.id, named_by(self._beside.data))
        if held.terms is None:
            raise RedrushError(f"set {self.id}: its servers have lost their data; {orders.rebuild(address)}")
        records, notes = open_records(self._spec), self._notes()

        async def recorded() -> Known | None:
            return await asyncio.to_thread(records.known)

        server = await ValkeySetServers(self.id, self._spec.addresses, self._keys, self._access).connect(address)
        try:
            await Comparing(orders, notes, recorded, nothing_heard).check(server, held)
        finally:
            server.cut("compared")
            notes.close()
            records.close()

    async def _primary(self) -> Address:
        for address in self._spec.addresses:
            link, _ = await Link.connect(address, self._access)
            try:
                (role,) = await link.call(pack(("ROLE",)))
            finally:
                await link.close()
            if not isinstance(role, ReplyFault) and role[0] == b"master":
                return address
        raise StoreUnavailable(f"set {self.id}: none of its servers is a primary")

    def _notes(self) -> WardenNotes:
        directory = DataDir(self._beside.control.notes)
        directory.create()
        return WardenNotes.open_path(directory.root, self.id)
