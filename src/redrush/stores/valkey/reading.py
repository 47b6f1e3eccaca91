"""Pages of a set's log, over a link of their own: a claim does not wait behind a page of megabytes."""

import asyncio

from redrush.ports.chained_log import LogPage
from redrush.ports.store import StoreUnavailable
from redrush.stores.valkey.calls import RETRY_S, Calls, first_fault
from redrush.stores.valkey.entries import before_of, log_record_of
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Access, Link, Reply, ReplyFault
from redrush.stores.valkey.primary import Attached, Primary
from redrush.stores.valkey.terms import Terms


class LogReading:
    """Reads pages one after the other; the link is made when first needed, and again when the primary changes."""

    def __init__(self, primary: Primary, calls: Calls, keys: SetKeys, access: Access) -> None:
        self._primary = primary
        self._calls = calls
        self._keys = keys
        self._access = access
        self._link: Link | None = None
        self._turn = asyncio.Lock()

    async def page(self, after: int, limit: int) -> LogPage:
        """Return up to `limit` durable records with seq > `after`, and where the set's log ends.

        Raises StoreUnavailable, StoreCorrupt.
        """
        until_s = asyncio.get_running_loop().time() + RETRY_S
        async with self._turn:
            while True:
                attached = self._primary.attached()
                entries, end = await self._read(attached, after, limit)
                fault = first_fault((entries, end))
                if fault is None:
                    found = entries or ()  # a page of no records is null
                    before = before_of(found[0]) if found else None
                    return LogPage([log_record_of(entry) for entry in found], before, end[0], end[1].decode())
                await self._calls.make_way(attached, fault, until_s)

    async def close(self) -> None:
        """End the link."""
        async with self._turn:
            if self._link is not None:
                await self._link.close()

    async def _read(self, attached: Attached, after: int, limit: int) -> tuple[Reply, Reply]:
        """Read; then make sure that replicas have it, from the same server and under the same terms.

        A record that a failover takes back must not be recorded. An empty page needs no write and no WAIT.
        """
        link = await self._link_to(attached)
        alone = Attached(link, Terms(attached.terms.epoch, 0), attached.turns)
        command = ("XRANGE", self._keys.log, f"{after + 1}-0", "+", "COUNT", limit)
        entries, end = await self._calls.once(alone, (command, self._calls.touch(alone.terms)))
        if entries and first_fault((entries, end)) is None and attached.terms.replicas_needed:
            held = Attached(link, attached.terms, attached.turns)
            (done,) = await self._calls.once(held, (self._calls.touch(held.terms),))
            if isinstance(done, ReplyFault):
                raise StoreUnavailable(f"set {self._keys.name}: {link.address}: {done}")
        return entries, end

    async def _link_to(self, attached: Attached) -> Link:
        if self._link is not None and (self._link.lost or self._link.address != attached.link.address):
            await self._link.close()
            self._link = None
        if self._link is None:
            self._link, _ = await Link.connect(attached.link.address, self._access)
        return self._link
