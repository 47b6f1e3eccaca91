"""What happened, over all sets of a deployment: export and reconciliation, for commands."""

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, TextIO, TypeVar

from redrush.config import DeploymentFile
from redrush.config.deployment_file import Duty
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event
from redrush.control.keys import load_keys
from redrush.control.sealing import SealedCampaign
from redrush.ports.store import LogRecord
from redrush.settle.export import Format, granted_in, write_grants
from redrush.settle.finding import Found, find_user
from redrush.settle.reconcile import Report
from redrush.settle.reconcile.chain import LogEnd
from redrush.settle.reconcile.sets import SetSource, reconcile_sets
from redrush.stores.valkey import ValkeyStore
from redrush.wiring.role import division_of
from redrush.wiring.set_stores import close_all, open_records, open_stores

_Result = TypeVar("_Result")

RECORDED_WITHIN_S: Final = 10.0
"""How long `reconcile` waits for the recorders to record what is in the logs."""
AGAIN_S: Final = 0.2


def export_deployment(deployment: DeploymentFile, file_format: Format, out: TextIO) -> None:
    """Write every grant of all sets to `out`, a line each. Raises RedrushError if a set or the records are away."""
    _read(deployment, lambda log, sealed: write_grants(log, sealed.campaign, sealed.amounts, file_format, out))


def find_in_deployment(deployment: DeploymentFile, user: str) -> Found:
    """Return what the user was granted in any set. Raises RedrushError if a set or the records are away."""
    keys = load_keys(DataDir(deployment.data)).receipts
    return _read(deployment, lambda log, sealed: find_user(log, user, sealed.campaign, sealed.amounts, keys))


def _read(deployment: DeploymentFile, work: Callable[[Iterable[LogRecord], SealedCampaign], _Result]) -> _Result:
    """Return what `work`, in a thread, makes of the grants of all sets, in order of their instants."""

    async def read() -> _Result:
        sealed = load_event(DataDir(deployment.data)).sealed
        stores = await open_stores(deployment, sealed.campaign.id, Duty.WARDEN)
        records = {spec.id: open_records(spec) for spec in deployment.sets}
        try:
            granted = await granted_in([(records[set_id], store) for set_id, store in stores.items()])
            return await asyncio.to_thread(work, granted, sealed)
        finally:
            await close_all(stores)
            for journalled in records.values():
                journalled.close()

    return asyncio.run(read())


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
    rounds: dict[str, set[str]] = {spec.id: set() for spec in deployment.sets}
    for round_ in campaign.rounds:
        for share in division.shares(round_.id):
            rounds[share.set].add(round_.id)
    stores = await open_stores(deployment, campaign.id, Duty.WARDEN)
    try:
        sources = [
            SetSource(
                spec.id,
                spec.records.read(),
                stores[spec.id],
                frozenset(rounds[spec.id]),
                partial(_end_of, stores[spec.id]),
            )
            for spec in deployment.sets
        ]
        deadline_s = time.monotonic() + RECORDED_WITHIN_S
        while (report := await reconcile_sets(deployment.data, sources)).behind and time.monotonic() < deadline_s:
            await asyncio.sleep(AGAIN_S)
        return report
    finally:
        await close_all(stores)
