"""What happened, over all sets of a deployment: export and reconciliation, for commands."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, Generic, TextIO, TypeVar

import msgspec

from redrush.config import DeploymentFile
from redrush.config.deployment_file import Duty
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event
from redrush.control.keys import load_keys
from redrush.control.pot_file import PotFile
from redrush.control.sealing import SealedCampaign
from redrush.core.money.currency import parse_amount
from redrush.errors import RedrushError
from redrush.operate.set_orders import what_mends
from redrush.ports.message_book import NewMessage
from redrush.ports.store import LogRecord, StoreUnavailable
from redrush.settle.export import ExportedGrant, Format, granted_in, grants, write_grants
from redrush.settle.finding import Found, find_user
from redrush.settle.messages.announcing import MessagesOfLog
from redrush.settle.reconcile import Report
from redrush.settle.reconcile.chain import LogEnd
from redrush.settle.reconcile.sets import SetSource, reconcile_sets
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
    _read(deployment, lambda log, sealed: write_grants(log, sealed.campaign, sealed.amounts, file_format, out)).check()


def made_of_grants(
    deployment: DeploymentFile, work: Callable[[Iterable[ExportedGrant], SealedCampaign], _Result]
) -> _Result:
    """Return what `work` makes of the grants of all sets. Raises RedrushError if the records are away, or a set cannot
    be read: what it has granted last may be missing."""
    pots = PotFile(DataDir(deployment.data).pots).table
    read = _read(deployment, lambda log, sealed: work(grants(log, sealed.campaign, sealed.amounts, pots), sealed))
    read.check()
    return read.found


def messages_to_winners_of(deployment: DeploymentFile, work: Callable[[Iterator[NewMessage]], None]) -> None:
    """Let `work` have what each winner of all sets is to be told, by each notifier that is to tell it. Raises as
    `made_of_grants`."""
    terms = load_event(DataDir(deployment.data)).open.messages
    pots = PotFile(DataDir(deployment.data).pots).table

    def made(log: Iterable[LogRecord], sealed: SealedCampaign) -> None:
        messages = MessagesOfLog(sealed.campaign, terms, sealed.amounts, pots)
        work(message for record in log for message in messages.of(record))

    _read(deployment, made).check()


def granted_in_deployment(deployment: DeploymentFile) -> Counter[str]:
    """Return what each user was granted in all sets, in minor units. Raises as `made_of_grants`."""

    def added_up(exported: Iterable[ExportedGrant], sealed: SealedCampaign) -> Counter[str]:
        granted: Counter[str] = Counter()
        for grant in exported:
            granted[grant.user] += parse_amount(grant.amount, sealed.campaign.currency)
        return granted

    return made_of_grants(deployment, added_up)


def find_in_deployment(deployment: DeploymentFile, user: str) -> tuple[Found, tuple[str, ...]]:
    """Return what the user was granted in any set, and why there may be more. Raises RedrushError if the records are
    away."""
    keys = load_keys(DataDir(deployment.data)).receipts
    read = _read(deployment, lambda log, sealed: find_user(log, user, sealed.campaign, sealed.amounts, keys))
    return read.found, read.doubts


class _Read(msgspec.Struct, Generic[_Result], frozen=True):
    """What was made of the logs, and a sentence for each set of which only the records could be read."""

    found: _Result
    doubts: tuple[str, ...]

    def check(self) -> None:
        """Raise RedrushError if a set could not be read."""
        if self.doubts:
            raise RedrushError("; ".join(self.doubts))


def _read(deployment: DeploymentFile, work: Callable[[Iterable[LogRecord], SealedCampaign], _Result]) -> _Read[_Result]:
    """Return what `work`, in a thread, makes of the grants of all sets, in order of their instants."""

    async def read() -> tuple[_Result, dict[str, StoreUnavailable]]:
        sealed = load_event(DataDir(deployment.data)).sealed
        stores = await open_stores(deployment, sealed.campaign.id, Duty.WARDEN)
        records = {spec.id: open_records(spec) for spec in deployment.sets}
        away: dict[str, StoreUnavailable] = {}
        names = {id(store): set_id for set_id, store in stores.items()}
        try:
            granted = await granted_in(
                [(records[set_id], store) for set_id, store in stores.items()],
                lambda store, fault: away.update({names[id(store)]: fault}),
            )
            return await asyncio.to_thread(work, granted, sealed), away
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
