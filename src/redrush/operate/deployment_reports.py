"""What happened, over all sets of a deployment: export and reconciliation, for commands."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, TextIO, TypeVar

import msgspec

from redrush.config import DeploymentFile
from redrush.config.deployment_file import Duty
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event
from redrush.control.keys import load_keys
from redrush.control.pot_file import PotFile
from redrush.errors import RedrushError
from redrush.operate.event_log import EventLog
from redrush.operate.set_orders import what_mends
from redrush.ports.store import StoreUnavailable
from redrush.records.postgres.greeting import refuse_newer
from redrush.settle.export import Format
from redrush.settle.finding import Found
from redrush.settle.reconcile import Report
from redrush.settle.reconcile.chain import LogEnd
from redrush.settle.reconcile.sets import SetSource, reconcile_sets
from redrush.settle.whole_log import LogsOfSets, logs_of
from redrush.stores.valkey import ValkeyStore
from redrush.wiring.role import division_of
from redrush.wiring.set_records import open_records
from redrush.wiring.set_stores import close_all, open_stores

_Result = TypeVar("_Result")

RECORDED_WITHIN_S: Final = 10.0
"""How long `reconcile` waits for the recorders to record what is in the logs."""
AGAIN_S: Final = 0.2


def export_deployment(deployment: DeploymentFile, file_format: Format, out: TextIO) -> None:
    """Write every grant of all sets to `out`, a line each. Raises RedrushError if the records are away.

    Of a set that cannot be read what is recorded is written. Then RedrushError is raised too, in the end: grants may be
    missing, and it says what mends the set.
    """
    made_of_log(deployment, lambda log: log.write_grants(file_format, out))


def find_in_deployment(deployment: DeploymentFile, user: str) -> tuple[Found, tuple[str, ...]]:
    """Return what the user was granted in any set, and why there may be more. Raises RedrushError if the records are
    away."""
    keys = load_keys(DataDir(deployment.data)).receipts
    read = _read(deployment, lambda log: log.find(user, keys))
    return read.found, read.doubts


def made_of_log(deployment: DeploymentFile, work: Callable[[EventLog], _Result]) -> _Result:
    """Return what `work` makes of the grants of all sets. Raises RedrushError if the records are away, or a set cannot
    be read: what it has granted last may be missing."""
    read = _read(deployment, work)
    read.check()
    return read.found


class _Read(msgspec.Struct, Generic[_Result], frozen=True):
    """What was made of the logs, and a sentence for each set of which only the records could be read."""

    found: _Result
    doubts: tuple[str, ...]

    def check(self) -> None:
        """Raise RedrushError if a set could not be read."""
        if self.doubts:
            raise RedrushError("; ".join(self.doubts))


def _read(deployment: DeploymentFile, work: Callable[[EventLog], _Result]) -> _Read[_Result]:
    """Return what `work`, in a thread, makes of the grants of all sets, in order of their instants."""
    data_dir = DataDir(deployment.data)
    event = load_event(data_dir)

    def made(logs: LogsOfSets) -> _Result:
        has_pots = data_dir.pots.exists() or logs.has_packets()
        with logs.granted(PotFile(data_dir.pots).table) as (granted, pots):
            return work(EventLog(granted, event, pots, has_pots=has_pots))

    async def read() -> tuple[_Result, dict[str, StoreUnavailable]]:
        stores = await open_stores(deployment, event.sealed.campaign.id, Duty.WARDEN)
        records = {spec.id: open_records(spec, as_it_is=True) for spec in deployment.sets}
        away: dict[str, StoreUnavailable] = {}
        names = {id(store): set_id for set_id, store in stores.items()}
        try:
            logs = await logs_of(
                [(records[set_id], store) for set_id, store in stores.items()],
                lambda store, fault: away.update({names[id(store)]: fault}),
            )
            return await asyncio.to_thread(made, logs), away
        finally:
            await close_all(stores)
            for journalled in records.values():
                journalled.close()

    found, away = asyncio.run(read())
    return _Read(found, tuple(_doubt(deployment, set_id, fault) for set_id, fault in away.items()))


def _doubt(deployment: DeploymentFile, set_id: str, fault: StoreUnavailable) -> str:
    """Say that a set could not be read, and what its warden says that mends it."""
    why = what_mends(deployment, set_id) or f"{fault}; `redrush set list` says what to do"
    return f"set {set_id}: its grants are from the records alone, and some may be missing: {why}"


async def _end_of(store: ValkeyStore) -> LogEnd:
    return LogEnd(*await store.log_end())


def reconcile_deployment(deployment: DeploymentFile) -> Report:
    """Return the reconciliation of all sets, once everything is recorded or `RECORDED_WITHIN_S` is over.

    What the recorders have not recorded then is reported as behind.
    """
    return asyncio.run(_reconcile(deployment))


async def _reconcile(deployment: DeploymentFile) -> Report:
    campaign = load_event(DataDir(deployment.data)).sealed.campaign
    division = division_of(deployment, campaign)
    pots: dict[str, set[str]] = {spec.id: set() for spec in deployment.sets}
    for pot in campaign.pots:
        for share in division.shares(pot.id):
            pots[share.set].add(pot.id)
    for dsn in {spec.records.read() for spec in deployment.sets} | {deployment.payments.records.read()}:
        await asyncio.to_thread(refuse_newer, dsn)  # what is not known of it would be taken for nothing
    stores = await open_stores(deployment, campaign.id, Duty.WARDEN)
    try:
        sources = [
            SetSource(
                spec.id,
                spec.records.read(),
                stores[spec.id],
                frozenset(pots[spec.id]),
                partial(_end_of, stores[spec.id]),
            )
            for spec in deployment.sets
        ]
        deadline_s = time.monotonic() + RECORDED_WITHIN_S
        books = deployment.payments.records.read()
        while (
            report := await reconcile_sets(deployment.data, sources, books)
        ).behind and time.monotonic() < deadline_s:
            await asyncio.sleep(AGAIN_S)
        return report
    finally:
        await close_all(stores)
