"""Founding the sets of a deployment: the one act by which empty servers become a set. For whoever sets up machines.

A server that comes back without its data must never become an empty set by itself, as it would grant everything a
second time. So a set is founded only by a person's command, only when all its servers answer and hold nothing, and not
if the records have anything of it: then its data are lost, and it is to be rebuilt, not founded.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from redrush.config import DeploymentFile
from redrush.config.deployment_file import Duty, SetSpec
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event
from redrush.errors import RedrushError
from redrush.stores.valkey import Access, establish_set
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Command, Link, Reply, ReplyFault, pack
from redrush.wiring.set_records import open_records
from redrush.wiring.set_stores import access_of

IN_SYNC_MAX_S: Final = 60.0
"""Longest wait until an empty replica follows an empty primary: seconds, unless the network between them is cut."""

POLL_S: Final = 0.1


class _Server(msgspec.Struct, frozen=True):
    link: Link
    epoch: int
    """0 where there is no set."""
    keys: int


def establish_sets(deployment: DeploymentFile) -> dict[str, bool]:
    """Found every set of the deployment that is not; return by set whether it was founded just now.

    Sets are founded in order. Raises RedrushError at the first that cannot be: those before it are founded, and it may
    be tried again.
    """
    campaign_id = load_event(DataDir(deployment.data)).sealed.campaign.id
    access = access_of(deployment.valkey, Duty.WARDEN)

    async def establish_all() -> dict[str, bool]:
        return {
            spec.id: await _found(spec, campaign_id, access, in_cluster=deployment.valkey.cluster)
            for spec in deployment.sets
        }

    return asyncio.run(establish_all())


def establish_parts(beside: DeploymentFile, campaign_id: str) -> None:
    """Give each set a part for a campaign beside the first (`redrush.config.hosted`), where it has none. Its servers
    are not empty, and it is settled already which of them is the primary. Raises RedrushError at the first that cannot
    be; it may be tried again."""
    access = access_of(beside.valkey, Duty.WARDEN)

    async def establish_all() -> None:
        for spec in beside.sets:
            await _found(spec, campaign_id, access, in_cluster=True)

    asyncio.run(establish_all())


async def _found(spec: SetSpec, campaign_id: str, access: Access, *, in_cluster: bool) -> bool:
    """`in_cluster`: who is whose replica is settled, and the servers hold other things too."""
    async with _servers(spec, campaign_id, access) as servers:
        if any(server.epoch for server in servers):
            # What it is asked for also when there is nothing to found: the functions of this release.
            await establish_set(spec.addresses, campaign_id, spec.id, spec.replicas_needed, access)
            return False
        if (recorded := await asyncio.to_thread(_recorded_seq, spec)) > 0:
            raise RedrushError(
                f"set {spec.id}: its servers are empty, but the records hold its log up to {recorded}: its data are "
                "lost, and founding it would hand out everything a second time. It has to be rebuilt"
            )
        if not in_cluster:  # whose servers know by themselves who is whose replica, and hold other sets too
            await _line_up(spec, servers)
    await establish_set(spec.addresses, campaign_id, spec.id, spec.replicas_needed, access)
    return True


def _recorded_seq(spec: SetSpec) -> int:
    records = open_records(spec)
    try:
        return records.cursor()
    finally:
        records.close()


async def _line_up(spec: SetSpec, servers: Sequence[_Server]) -> None:
    """Make the first server the primary and the others its replicas; return when they follow."""
    for server in servers:
        if server.keys:
            raise RedrushError(
                f"set {spec.id}: {server.link.address} holds {server.keys} keys of something else; it must be empty"
            )
    first, *others = servers
    await _command(first.link, ("REPLICAOF", "NO", "ONE"))
    address = spec.addresses[0]
    for server in others:
        await _command(server.link, ("REPLICAOF", address.host, address.port))
    try:
        async with asyncio.timeout(IN_SYNC_MAX_S):
            for server in others:
                while (await _command(server.link, ("ROLE",)))[3:4] != [b"connected"]:
                    await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise RedrushError(f"set {spec.id}: its replicas do not follow {address} after {IN_SYNC_MAX_S:g} s") from None


@asynccontextmanager
async def _servers(spec: SetSpec, campaign_id: str, access: Access) -> AsyncIterator[list[_Server]]:
    """Yield every server of the set, in order. Raises StoreUnavailable if one does not answer."""
    links: list[Link] = []
    try:
        for address in spec.addresses:
            link, _ = await Link.connect(address, access)
            links.append(link)
        yield [await _examine(link, SetKeys(campaign_id, spec.id)) for link in links]
    finally:
        for link in links:
            await link.close()


async def _examine(link: Link, keys: SetKeys) -> _Server:
    held = await _command(link, ("HGET", keys.meta, "epoch"), but="MOVED")
    return _Server(link, int(held or 0), await _command(link, ("DBSIZE",)))


async def _command(link: Link, command: Command, but: str = "") -> Reply:
    """Return the reply, or None for an error of the code `but`. Raises RedrushError for any other."""
    (reply,) = await link.call(pack(command))
    if isinstance(reply, ReplyFault):
        if reply.code == but:
            return None
        raise RedrushError(f"{link.address}: {reply}")
    return reply
