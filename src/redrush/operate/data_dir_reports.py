"""What commands ask of a data directory whose server may run or not: its grants, one user, a reconciliation."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final, TextIO, TypeVar

from redrush.control.campaigns import keeper_of_books
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event
from redrush.control.journal_keeper import JournalKeeper, commands_that_mend, with_remedy, witnessed_by
from redrush.control.keys import load_keys
from redrush.control.packet_tables import with_packets
from redrush.control.pot_file import pots_in
from redrush.control.sealing import SealedCampaign
from redrush.core.rush.group import packet_of
from redrush.core.rush.holding import PotTables, SlotTable, no_pots
from redrush.errors import ConfigError, NewerVersion, RedrushError
from redrush.operate.event_log import EventLog
from redrush.ports.records import Records
from redrush.ports.store import StoreCorrupt
from redrush.records.sqlite import SQLITE_RECORDS
from redrush.records.sqlite.book_mark import mark_path
from redrush.records.sqlite.file import check_there
from redrush.records.sqlite.packets import BOOK, SqlitePacketBook
from redrush.settle.export import Format
from redrush.settle.finding import Found
from redrush.settle.reconcile import Report, reconcile
from redrush.settle.reconcile.evidence import is_of_now
from redrush.settle.recorder import Recorder
from redrush.stores.sqlite import LogReader, SqliteStore, StoreInUse

_Result = TypeVar("_Result")

RECORDED_WITHIN_S: Final = 10.0
"""How long `reconcile` waits for a running server to record what is in its journal."""


def export_grants(data_dir: DataDir, file_format: Format, out: TextIO) -> None:
    """Write every grant of the data directory's journal to `out`, a line each; a server may be running."""
    made_of_log(data_dir, lambda log: log.write_grants(file_format, out))


def find_in_data_dir(data_dir: DataDir, user: str) -> Found:
    """Return what the user was granted, by the data directory's journal; a server may be running."""
    keys = load_keys(data_dir).receipts
    return made_of_log(data_dir, lambda log: log.find(user, keys))


def made_of_log(data_dir: DataDir, work: Callable[[EventLog], _Result]) -> _Result:
    """Return what `work` makes of the data directory's journal; a server may be running."""
    event = load_event(data_dir)
    with _journal_of(data_dir) as log, _pots_of(data_dir) as pots:
        return work(EventLog(log.records(), event, pots, has_pots=pots is not no_pots))


@contextmanager
def _pots_of(data_dir: DataDir) -> Iterator[PotTables]:
    """Yield what finds the tables of pots that are no rounds, group packets among them. Of a packet whose book is gone
    it raises ConfigError."""
    others = pots_in(data_dir.pots)
    if not data_dir.packets.exists():
        yield _told_gone(data_dir, others) if mark_path(data_dir.packets).exists() else others
        return
    with closing(SqlitePacketBook.open_as_it_is(data_dir.packets)) as book:
        yield with_packets(book, others)


def _told_gone(data_dir: DataDir, others: PotTables) -> PotTables:
    """Return what finds the tables of pots, where the book of packets is gone."""

    def table(pot: str) -> SlotTable | None:
        if packet_of(pot) is not None:
            check_there(data_dir.packets, BOOK)
        return others(pot)

    return table


@contextmanager
def _journal_of(data_dir: DataDir) -> Iterator[LogReader]:
    """Yield a reader of the journal. A journal that is damaged, or gone, ends in a sentence with what helps."""
    check_served(data_dir)
    try:
        with _reader_of(data_dir) as log:
            yield log
    except StoreCorrupt as fault:
        raise RedrushError(str(with_remedy(fault, data_dir))) from fault


def _reader_of(data_dir: DataDir) -> LogReader:
    """Return a reader of the journal. RedrushError, with what helps, where another file is in its place."""
    try:
        return LogReader(data_dir.journal)
    except NewerVersion:
        raise
    except ConfigError as fault:
        if witnessed_by(data_dir) is None:  # there was no journal yet
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
    reported as behind. Otherwise what a crash left unrecorded is recorded here; not where a file is of an earlier
    redrush, for recording would bring it to this one's version.
    """
    sealed = load_event(data_dir).sealed
    check_served(data_dir)
    bills_of = keeper_of_books(data_dir).root
    if not (is_of_now(data_dir.journal) and is_of_now(data_dir.records)):
        return reconcile(data_dir.root, bills_of)
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
