"""The servers of a set one by one, as `redrush.ports.set_servers` has them, on links of this package."""

from collections.abc import Mapping

import msgspec

from redrush.core.sets.address import Address
from redrush.core.sets.failover import Seen, Terms
from redrush.ports.set_servers import ForkedOff, Held
from redrush.ports.store import Known, Transfers
from redrush.stores.valkey import proof, rebuild, servers
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Access, Link
from redrush.stores.valkey.terms import note_heard


class ValkeySetServer:
    """Fulfils `redrush.ports.set_servers.SetServer`."""

    def __init__(self, set_id: str, link: Link, keys: SetKeys) -> None:
        self._set_id = set_id
        self._link = link
        self._keys = keys

    @property
    def address(self) -> Address:
        return self._link.address

    @property
    def is_lost(self) -> bool:
        return self._link.lost is not None

    def cut(self, why: str) -> None:
        self._link.cut(why)

    async def examine(self) -> tuple[Seen, Held]:
        return await servers.examine(self._link, self._keys)

    async def held(self) -> Held:
        return await proof.read_held(self._link, self._keys)

    async def lack(self, held: Held, known: Known, who: str) -> str | None:
        return await proof.lack(self._link, self._keys, held, known, who)

    async def prove(self, held: Held) -> None:
        await proof.prove(self._link, self._keys, held)

    async def follow(self, primary: Address) -> None:
        await servers.follow(self._link, primary)

    async def detach(self) -> tuple[Terms | None, int]:
        return await servers.detach(self._link, self._keys)

    async def put_under(self, terms: Terms, fork: ForkedOff | None = None) -> None:
        await servers.put_under(self._link, self._keys, terms, fork)

    async def heard_out(self, *, write_off: bool) -> None:
        await note_heard(self._link, self._keys, write_off=write_off)

    async def settle_moves(self, epoch: int, others: Mapping[str, Transfers]) -> int:
        return await rebuild.settle_moves(self._link, self._keys, self._set_id, str(epoch), others)


class ValkeySetServers(msgspec.Struct, frozen=True):
    """Fulfils `redrush.ports.set_servers.SetServers`."""

    id: str
    addresses: tuple[Address, ...]
    keys: SetKeys
    access: Access

    async def connect(self, address: Address) -> ValkeySetServer:
        link, _ = await Link.connect(address, self.access)
        return ValkeySetServer(self.id, link, self.keys)
