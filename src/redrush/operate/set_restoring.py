"""Bringing back what a set has lost with its servers: all that was recorded, and grants by their receipts."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from redrush.config import DeploymentFile, load_deployment_file
from redrush.config.deployment_file import Duty, SetSpec
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event
from redrush.control.keys import load_keys
from redrush.control.mending_orders import named_by
from redrush.core.sets.address import Address
from redrush.errors import ConfigError, RedrushError
from redrush.operate.entrance import Entrance
from redrush.operate.receipts_file import NoneIsOurs, read_receipts
from redrush.operate.set_neighbours import Neighbour, neighbours_elsewhere
from redrush.operate.set_orders import Expected, NeedsYes, Promoted, describe_sets, expect_rebuilt, note_heard
from redrush.operate.set_orders import promote as order_promotion
from redrush.operate.set_rebuilding import MovesOfOthers, rebuild_set
from redrush.operate.switching import Holder
from redrush.ports.records import RecordsFailed
from redrush.ports.store import History, StoreUnavailable
from redrush.settle.honouring import Honoured, Honouring
from redrush.stores.valkey import Access
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link
from redrush.stores.valkey.proof import lack, read_held
from redrush.stores.valkey.servers import examine
from redrush.wiring.moves_of_away import MovesOfAway
from redrush.wiring.role import division_of
from redrush.wiring.set_records import open_records
from redrush.wiring.set_stores import access_of, close_all, open_store, open_stores


class Rebuilt(msgspec.Struct, frozen=True):
    """A set that is back: the epoch it is in, and the seq of its last log record."""

    set: str
    epoch: int
    last_seq: int


def promote(path: Path, set_id: str, address: str, why: str, holder: Holder, *, yes: bool) -> Promoted:
    """Make this server the primary of the set, whatever it lacks, for every campaign. NeedsYes says what may be lost,
    unless `yes`. RedrushError where it lacks what is recorded: that would be granted to others, and a rebuild loses
    less."""
    deployment = load_deployment_file(path)
    spec = deployment.set_named(set_id)
    if not yes:
        try:
            return order_promotion(path, set_id, address, why, holder, yes=False)
        except NeedsYes as doubts:
            others = neighbours_elsewhere(path, set_id, _server(spec, address))
            raise NeedsYes("; ".join([*map(_lost_beside, others), str(doubts)])) from None
    describe_sets(path)  # before anything is looked into: is there somebody to order it?
    campaign_id = load_event(DataDir(deployment.data)).sealed.campaign.id
    access = access_of(deployment.valkey, Duty.WARDEN)
    asyncio.run(check_recorded(spec, _server(spec, address), SetKeys(campaign_id, set_id), access))
    return order_promotion(path, set_id, address, why, holder, yes=True)


def _lost_beside(other: Neighbour) -> str:
    return f"{other.part} of another campaign is in use at {other.primary}, and what that alone has of it is lost too"


async def check_recorded(spec: SetSpec, target: Address, keys: SetKeys, access: Access) -> None:
    """Raise RedrushError if the records hold more of the set than the server. Who cannot be asked is no hindrance: an
    operator has said yes, and the recorder does not follow a set that lacks what is recorded."""
    records = open_records(spec)
    try:
        link, _ = await Link.connect(target, access)
        try:
            recorded = await asyncio.to_thread(records.known)
            held = await read_held(link, keys)
            missing = None if recorded is None else await lack(link, keys, held, recorded, "the records")
        finally:
            await link.close()
    except (StoreUnavailable, RecordsFailed):
        return
    finally:
        records.close()
    if held.terms is not None and recorded is not None and missing is not None:
        raise RedrushError(
            f"{target} has set {spec.id} up to log record {held.seq}, and it is recorded up to {recorded.seq}: "
            "promoted, it would grant again what is recorded; rebuild the set from the records, on an empty server, "
            f"instead (redrush set rebuild {spec.id} --address {target}; --yes drops the copy that it has). "
            f"Its log {missing}"
        )


def rebuild(path: Path, set_id: str, address: str, why: str, holder: Holder, *, yes: bool) -> Rebuilt:
    """Rebuild the set on its empty server at `address`, from the journal in its records and the other sets' moves.

    NeedsYes where a server of the set may still hold a copy, or the records have none, unless `yes`. RedrushError if
    the set has a primary, or if other sets, the records or the control role cannot be asked, or if another campaign's
    part is in use on another of its servers: nothing is lost by doing it again.
    """
    deployment = load_deployment_file(path)
    spec = deployment.set_named(set_id)
    if deployment.valkey.cluster:
        raise ConfigError("a set in a Valkey Cluster cannot be rebuilt: give it servers of its own first")
    target = _server(spec, address)
    for other in neighbours_elsewhere(path, set_id, target):
        raise RedrushError(
            f"{other.part} of another campaign is in use at {other.primary}, which would become a replica of {target} "
            f"and drop what was granted there; make set {set_id} again beside it: "
            f"`redrush set rebuild {set_id} --address {other.primary} --yes {named_by(deployment.data)}`"
        )
    return asyncio.run(
        _rebuild(deployment, spec, target, lambda: _order_rebuild(path, set_id, address, why, holder), yes=yes)
    )


def what_rebuild_does(path: Path, set_id: str, address: str) -> str:
    """Return what making the set anew on this server would lose, as far as that can be known, and do nothing.
    RedrushError if it cannot be done, ConfigError for no server of the set."""
    deployment = load_deployment_file(path)
    spec = deployment.set_named(set_id)
    if deployment.valkey.cluster:
        raise ConfigError("a set in a Valkey Cluster cannot be rebuilt: give it servers of its own first")
    keys = SetKeys(load_event(DataDir(deployment.data)).sealed.campaign.id, set_id)
    access = access_of(deployment.valkey, Duty.WARDEN)
    records = open_records(spec)
    try:
        recorded = records.cursor()
    finally:
        records.close()
    said = f"set {set_id} is made anew on {address} from its journal in the records, up to log record {recorded}"
    try:
        asyncio.run(check_copies(spec, _server(spec, address), keys, access, yes=False))
    except NeedsYes as doubts:
        return f"{said}; {str(doubts).partition('; `redrush')[0]}, and what only a copy has is lost"
    return f"{said}; no server of it has a copy, and what was granted after that comes back by receipts alone"


def _order_rebuild(path: Path, set_id: str, address: str, why: str, holder: Holder) -> Expected:
    return expect_rebuilt(path, set_id, address, why or "all copies are lost", holder)


async def _rebuild(
    deployment: DeploymentFile,
    spec: SetSpec,
    target: Address,
    order: Callable[[], Expected],
    *,
    yes: bool,
) -> Rebuilt:
    campaign_id = load_event(DataDir(deployment.data)).sealed.campaign.id
    access = access_of(deployment.valkey, Duty.WARDEN)
    await check_copies(spec, target, SetKeys(campaign_id, spec.id), access, yes=yes)
    records = open_records(spec)
    ids = [other.id for other in deployment.sets if other.id != spec.id]
    opening = (open_store(deployment, other_id, campaign_id, Duty.WARDEN) for other_id in ids)
    others = dict(zip(ids, await asyncio.gather(*opening), strict=True))
    try:
        if not yes and not await asyncio.to_thread(records.cursor):
            raise NeedsYes(f"the records have nothing of set {spec.id}: rebuilt from them it would be empty")
        # Whatever can refuse the order comes before the warden is told, and before the records are.
        instead = MovesOfAway(deployment, campaign_id)
        await MovesOfOthers(others, instead).read(spec.id)
        expected = await asyncio.to_thread(order)
        # What a recorder still holds of the lost set comes too late from now on: the journal is what it is.
        await asyncio.to_thread(records.begin, History(expected.epoch))
        journal = records.journal()
        last_seq = await rebuild_set(
            campaign_id,
            spec.id,
            target,
            journal,
            others,
            epoch=expected.epoch,
            access=access,
            drop=yes,
            known=expected.known,
            is_all_known=expected.is_all_known,
            instead=instead,
        )
    finally:
        await close_all(others)
        records.close()
    return Rebuilt(spec.id, expected.epoch, last_seq)


async def check_copies(spec: SetSpec, target: Address, keys: SetKeys, access: Access, *, yes: bool) -> None:
    """See that nobody has a copy: the target certainly, and the others as far as they can be asked."""
    doubts: list[str] = []
    for address in spec.addresses:
        try:
            link, _ = await Link.connect(address, access)
            try:
                seen, held = await examine(link, keys)
            finally:
                await link.close()
        except StoreUnavailable as fault:
            if address == target:
                raise
            doubts.append(f"whether {address} has a copy cannot be known ({fault})")
            continue
        if seen.terms is None:
            continue
        if address == target and held.is_proven:
            raise RedrushError(f"{address} holds set {spec.id} in epoch {seen.terms.epoch}: nothing is to be rebuilt")
        doubts.append(f"{address} has a copy, of epoch {seen.terms.epoch}, which may have grants that no record has")
    if doubts and not yes:
        raise NeedsYes(
            f"set {spec.id}: {'; '.join(doubts)}; `redrush set promote` takes a copy as it is, "
            "--yes drops them all for what is recorded"
        )


def _server(spec: SetSpec, address: str) -> Address:
    for server in spec.addresses:
        if str(server) == address:
            return server
    raise ConfigError(
        f"{address} is no server of set {spec.id}, which has {', '.join(map(str, spec.addresses))}; "
        "a new one has to be in the deployment file of every role first"
    )


def honour_receipts(
    path: Path, receipts_file: Path, why: str, holder: Holder, tell: Callable[[int, Honoured], None]
) -> None:
    """See to it that the grants are there which the receipts of the file state, one a line; `-` is stdin. Then note of
    every set that its winners were heard.

    `tell` hears what became of each, by its line. Raises RedrushError at the first whose set cannot be reached: do it
    all again then; NoneIsOurs where all are of somebody else. ConfigError if the file cannot be read: nothing was done.
    """
    deployment = load_deployment_file(path)
    if not asyncio.run(_honour(deployment, read_receipts(receipts_file), tell)):
        raise NoneIsOurs(receipts_file, deployment.data)
    note_heard(path, why, holder)


async def _honour(deployment: DeploymentFile, receipts: Iterable[str], tell: Callable[[int, Honoured], None]) -> bool:
    data_dir = DataDir(deployment.data)
    sealed, keys = load_event(data_dir).sealed, load_keys(data_dir)
    campaign = sealed.campaign
    pots = [pot.id for pot in campaign.pots]
    entrance = Entrance(deployment.sets, campaign.id, access_of(deployment.valkey, Duty.WARDEN), pots)
    stores = await open_stores(deployment, campaign.id, Duty.WARDEN)
    honouring = Honouring(
        campaign, sealed.amounts, keys.receipts, division_of(deployment, campaign), stores, entrance.enter
    )
    try:
        return await honouring.honour_all(receipts, tell)
    finally:
        entrance.close()
        await close_all(stores)
