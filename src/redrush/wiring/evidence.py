"""What happened, over all sets of a deployment: export and reconciliation, for commands."""

import asyncio
import time
from typing import Final, TextIO

from redrush.config import DeploymentFile
from redrush.control.data_dir import DataDir
from redrush.control.sealing import load_sealed
from redrush.settle.export import Format, export_sets
from redrush.settle.reconcile import Report
from redrush.settle.reconcile.sets import SetSource, reconcile_sets
from redrush.wiring.role import division_of
from redrush.wiring.set_stores import close_all, open_records, open_stores

RECORDED_WITHIN_S: Final = 10.0
"""How long `reconcile` waits for the recorders to record what is in the logs."""
AGAIN_S: Final = 0.2


def export_deployment(deployment: DeploymentFile, file_format: Format, out: TextIO) -> None:
    """Write every grant of all sets to `out`, a line each. Raises RedrushError if a set or the records are away."""
    asyncio.run(_export(deployment, file_format, out))


async def _export(deployment: DeploymentFile, file_format: Format, out: TextIO) -> None:
    sealed = load_sealed(DataDir(deployment.data))
    stores = await open_stores(deployment, sealed.campaign.id)
    records = {spec.id: open_records(spec) for spec in deployment.sets}
    try:
        sets = [(records[set_id], store) for set_id, store in stores.items()]
        await export_sets(sets, sealed.campaign, sealed.amounts, file_format, out)
    finally:
        await close_all(stores)
        for journalled in records.values():
            journalled.close()


def reconcile_deployment(deployment: DeploymentFile) -> Report:
    """Return the reconciliation of all sets, once everything is recorded or `RECORDED_WITHIN_S` is over.

    What the recorders have not recorded then is reported as behind.
    """
    return asyncio.run(_reconcile(deployment))


async def _reconcile(deployment: DeploymentFile) -> Report:
    campaign = load_sealed(DataDir(deployment.data)).campaign
    division = division_of(deployment, campaign)
    rounds: dict[str, set[str]] = {spec.id: set() for spec in deployment.sets}
    for round_ in campaign.rounds:
        for share in division.shares(round_.id):
            rounds[share.set].add(round_.id)
    stores = await open_stores(deployment, campaign.id)
    try:
        sources = [
            SetSource(spec.id, spec.records.read(), stores[spec.id], frozenset(rounds[spec.id]))
            for spec in deployment.sets
        ]
        deadline_s = time.monotonic() + RECORDED_WITHIN_S
        while (report := await reconcile_sets(deployment.data, sources)).behind and time.monotonic() < deadline_s:
            await asyncio.sleep(AGAIN_S)
        return report
    finally:
        await close_all(stores)
