"""The campaigns that have parts of the same set: one that is made again, or promoted, must not take from another.

A part is a set of its own, but all of a server is copied to its replicas. So the parts of all campaigns have one
primary. Were one campaign's part made again on a server beside the primary of the others, that one would become its
replica, and drop what they were granted there since.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from redrush.config.deployment_file import Duty, SetSpec, load_first_deployment
from redrush.config.hosted import deployment_beside, load_deployment_file, read_beside
from redrush.control.campaigns import directory_of, load_served
from redrush.control.data_dir import DataDir
from redrush.control.event import load_campaign
from redrush.core.sets.address import Address
from redrush.ports.store import StoreUnavailable
from redrush.stores.valkey import Access
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link
from redrush.stores.valkey.servers import examine
from redrush.wiring.set_stores import access_of


class Neighbour(msgspec.Struct, frozen=True):
    """A part of a set that is in use, as `campaign/set`, and the server that is its primary."""

    part: str
    primary: Address


def neighbours_elsewhere(path: Path, set_id: str, target: Address) -> list[Neighbour]:
    """Return the other campaigns whose part of this set is in use on another of its servers than the target. A server
    that does not answer is passed over. ConfigError if the list of campaigns cannot be read."""
    deployment = load_deployment_file(path)
    spec = deployment.set_named(set_id)
    addresses = [address for address in spec.addresses if address != target]
    parts = _parts_beside(path, spec)
    return asyncio.run(in_use_at(addresses, parts, access_of(deployment.valkey, Duty.WARDEN)))


def _parts_beside(path: Path, spec: SetSpec) -> list[SetKeys]:
    """Return the keys of what other campaigns have on the same servers."""
    beside = read_beside(path)
    first = load_first_deployment(path if beside is None else path.parent / beside.deployment)
    data_dir = DataDir(first.data)
    parts = [(load_campaign(data_dir).id, one) for one in first.sets]
    for listing in load_served(data_dir).values():
        own = deployment_beside(first, listing.id, directory_of(data_dir, listing.id).root, listing.sets)
        parts += [(listing.id, one) for one in own.sets]
    return [
        SetKeys(campaign, one.id) for campaign, one in parts if one.id != spec.id and one.addresses == spec.addresses
    ]


async def in_use_at(addresses: Iterable[Address], parts: Sequence[SetKeys], access: Access) -> list[Neighbour]:
    """Return which of the parts have their primary on which of these servers, and are in use."""
    found = []
    for address in addresses:
        with contextlib.suppress(StoreUnavailable):
            link, _ = await Link.connect(address, access)
            try:
                for keys in parts:
                    seen, held = await examine(link, keys)
                    if seen.is_primary and seen.terms is not None and held.is_proven:
                        found.append(Neighbour(keys.name, address))
            finally:
                await link.close()
    return found
