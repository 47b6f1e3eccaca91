"""What commands ask of a data directory whose server may run or not: its grants, one user, a reconciliation."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final, TextIO

from redrush.control.campaigns import keeper_of_books
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event
from redrush.control.journal_keeper import JournalKeeper, commands_that_mend, with_remedy, witnessed_by
from redrush.control.keys import load_keys
from redrush.control.packet_tables import with_packets
from redrush.control.pot_file import pots_in
from redrush.control.sealing import SealedCampaign
from redrush.core.rush.holding import PotTables
from redrush.errors import ConfigError, RedrushError
from redrush.ports.message_book import NewMessage
from redrush.ports.records import Records
from redrush.ports.store import StoreCorrupt
from redrush.records.sqlite import SQLITE_RECORDS
from redrush.records.sqlite.packets import SqlitePacketBook
from redrush.settle.export import ExportedGrant, Format, grants, write_grants
from redrush.settle.finding import Found, find_user
from redrush.settle.messages.announcing import MessagesOfLog
from redrush.settle.reconcile import Report, reconcile
from redrush.settle.recorder import Recorder
from redrush.stores.sqlite import LogReader, SqliteStore, StoreInUse

RECORDED_WITHIN_S: Final = 10.0
"""How long `reconcile` waits for a running server to record what is in its journal."""


def export_grants(data_dir: DataDir, file_format: Format, out: TextIO) -> None:
    """Write every grant of the data directory's journal to `out`, a line each; a server may be running."""
    sealed = load_event(data_dir).sealed
    with _journal_of(data_dir) as log, _pots_of(data_dir) as pots:
        write_grants(log.records(), sealed.campaign, sealed.amounts, file_format, out, pots)


def exported_grants(data_dir: DataDir) -> Iterator[ExportedGrant]:
    """Yield every grant of the data directory's journal; a server may be running."""
    sealed = load_event(data_dir).sealed
    with _journal_of(data_dir) as log, _pots_of(data_dir) as pots:
        yield from grants(log.records(), sealed.campaign, sealed.amounts, pots)


def messages_to_winners(data_dir: DataDir) -> Iterator[NewMessage]:
    """Yield what each winner of the data directory's journal is to be told, by each notifier that is to tell it."""
    event = load_event(data_dir)
    with _journal_of(data_dir) as log, _pots_of(data_dir) as pots:
        messages = MessagesOfLog(event.sealed.campaign, event.open.messages, event.sealed.amounts, pots)
        for record in log.records():
            yield from messages.of(record)


def find_in_data_dir(data_dir: DataDir, user: str) -> Found:
    """Return what the user was granted, by the data directory's journal; a server may be running."""
    sealed = load_event(data_dir).sealed
    keys = load_keys(data_dir).receipts
    with _journal_of(data_dir) as log, _pots_of(data_dir) as pots:
        return find_user(log.records(), user, sealed.campaign, sealed.amounts, keys, pots)


@contextmanager
def _pots_of(data_dir: DataDir) -> Iterator[PotTables]:
    """Yield what finds the tables of pots that are no rounds, group packets among them."""
    others = pots_in(data_dir.pots)
    if not data_dir.packets.exists():
        yield others
        return
    with closing(SqlitePacketBook.open_path(data_dir.packets)) as book:
        yield with_packets(book, others)


@contextmanager
def _journal_of(data_dir: DataDir) -> Iterator[LogReader]:
    """Yield a reader of the journal. A journal that is damaged, or gone, ends in a sentence with what helps."""
    check_served(data_dir)
    try:
        with LogReader(data_dir.journal) as log:
            yield log
    except StoreCorrupt as fault:
        raise RedrushError(str(with_remedy(fault, data_dir))) from fault
    except ConfigError as fault:
        if witnessed_by(data_dir) is None:  # there was no journal yet, or it is of a newer version
            raise
        raise RedrushError(f"{fault}; {commands_that_mend(data_dir)}") from fault


def check_served(data_dir: DataDir) -> None:
    """ConfigError where the campaign was never served; RedrushError, with what helps, where its journal is gone."""
    if data_dir.journal.is_file():
        return
    if witnessed_by(data_dir) is None and not data_dir.records.exists():
        raise ConfigError(
            f"{data_dir.root}: the campaign is sealed, but was never served from here, so nothing is granted yet; "
            "`redrush serve` begins"
        )
    raise RedrushError(f"{data_dir.journal} is missing; {commands_that_mend(data_dir)}")


def reconcile_data_dir(data_dir: DataDir) -> Report:
    """Bring the records up to date, then return the reconciliation of the data directory.

    If a server is running it records by itself and is given `RECORDED_WITHIN_S`; what it has not recorded then is
    reported as behind. Otherwise what a crash left unrecorded is recorded here.
    """
    sealed = load_event(data_dir).sealed
    check_served(data_dir)
    bills_of = keeper_of_books(data_dir).root
    try:
        asyncio.run(_catch_up(data_dir, sealed))
    except StoreInUse:
        deadline_s = time.monotonic() + RECORDED_WITHIN_S
        while (report := reconcile(data_dir.root, bills_of)).behind and time.monotonic() < deadline_s:
            time.sleep(0.1)
        return report
    except RedrushError:
        pass  # what keeps the records from being brought up to date is for the report to name
    return reconcile(data_dir.root, bills_of)


async def _catch_up(data_dir: DataDir, sealed: SealedCampaign) -> None:
    """Record the rest of the journal, as far as it can be recorded. Raises StoreInUse if a server is running."""
    keeper = JournalKeeper(data_dir, SQLITE_RECORDS, lambda _what: None)
    store = await SqliteStore.open_path(data_dir.journal, keeper=keeper)
    records = keeper.records
    with _pots_of(data_dir) as pots:
        await _record_rest(store, records, sealed, pots)
    records.close()
    await store.close()


async def _record_rest(store: SqliteStore, records: Records, sealed: SealedCampaign, pots: PotTables) -> None:
    faulted = asyncio.Event()
    recorder = Recorder(
        store, records, sealed.campaign, sealed.amounts, pots=pots, on_fault=lambda _fault: faulted.set()
    )
    running = asyncio.create_task(recorder.run())
    # The recorder tries again for ever; whoever reconciles wants to be told what the records lack.
    ends = [asyncio.create_task(recorder.caught_up()), asyncio.create_task(faulted.wait())]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()
        await recorder.stop(drain=False)
        await running
