"""Founding a set: an act of its own, for whoever creates a deployment.

A server that comes back without its data must not become an empty set by itself: it would grant everything a second
time. So nothing else ever creates the terms without which a set refuses every call.
"""

from collections.abc import Sequence

from redrush.core.sets.address import Address
from redrush.ports.store import StoreUnavailable
from redrush.stores.valkey.keys import Library, SetKeys
from redrush.stores.valkey.link import Access, ReplyFault, pack
from redrush.stores.valkey.search import Search
from redrush.stores.valkey.terms import Terms, load, terms_of


async def establish_set(
    addresses: Sequence[Address], campaign_id: str, set_id: str, replicas_needed: int, access: Access | None = None
) -> Terms:
    """Create the set, empty, under epoch 1; return its terms, those it has if it was founded before.

    Unless the set is found, every address must answer, and exactly one must be a primary. Raises StoreUnavailable
    otherwise, ServerMisconfigured for a server that would lose what it acknowledges.
    """
    keys = SetKeys(campaign_id, set_id)
    found = Search(keys, access or Access())
    await found.run(addresses, epoch_min=1)
    try:
        held = [
            (server.terms.epoch, server.terms, server.link)
            for server in found.servers
            if server.is_primary and server.terms is not None
        ]
        if held:
            _, found_terms, link = max(held, key=lambda one: one[0])
            await load(link, keys, Library.read())
            return found_terms
        empty = [server.link for server in found.servers if server.is_primary]
        if found.silent or len(empty) != 1:
            raise StoreUnavailable(f"{found.why_not()}; to found it all must answer, and one be primary")
        library = Library.read()
        await load(empty[0], keys, library)
        (reply,) = await empty[0].call(pack(("FCALL", library.found, 1, keys.meta, replicas_needed)))
        if isinstance(reply, ReplyFault):
            raise StoreUnavailable(f"{empty[0].address}: {reply}")
        terms = terms_of(reply)
        assert terms is not None
        return terms
    finally:
        found.close()
