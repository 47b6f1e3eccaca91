"""Bringing back the journal of a data directory: what `redrush set rebuild|promote|honour` do where there is no stack.

They mean what they mean for a set. *Rebuild* makes the journal anew of all that is sound of the old one and of the
records. Grants that were acknowledged and are in neither are known by their number only, from the witness: so many of
the slots that came next are kept back, and nobody is granted them. *Honour* enters such grants again by the receipts
of their winners. *Promote* goes on with a journal as it is, where nobody is left who could say what it lacks.

A journal that was rebuilt or promoted is another one, of the next generation, so that no copy of the old one is ever
taken for it. The old files are kept beside it.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from redrush.control.data_dir import DataDir
from redrush.control.event import load_event
from redrush.control.generations import note_generation
from redrush.control.journal_keeper import JournalKeeper, SealedUp, with_remedy, witnessed_by
from redrush.control.keys import check_known_keys, key_digests, load_keys
from redrush.control.sealing import seal_sha256
from redrush.control.witness import OTHERS, Witness, Witnessed
from redrush.core.sets.division import Division, SetPlace
from redrush.errors import ConfigError, RedrushError
from redrush.operate.receipts_file import NoneIsOurs, read_receipts
from redrush.operate.set_orders import NeedsYes
from redrush.ports.journal import Identity
from redrush.ports.log_rows import Row, chain_after, record_of, row_of
from redrush.ports.pot_terms import terms_of
from redrush.ports.records import RecordsDamaged
from redrush.ports.store import Granted, StoreCorrupt
from redrush.records.sqlite import SQLITE_RECORDS, SqliteRecords, set_aside
from redrush.settle.honouring import Honoured, Honouring
from redrush.stores.pots import Pots
from redrush.stores.sqlite import SqliteStore
from redrush.stores.sqlite.identity import new_identity
from redrush.stores.sqlite.lock import JournalLock
from redrush.stores.sqlite.salvage import REBUILT, Salvaged, note_heard, replace_journal, salvage
from redrush.wiring.embedded_part import EMBEDDED_SET


class Mended(msgspec.Struct, frozen=True):
    """A journal that is in use again: its generation, its last record, what was kept back, and where the old one is."""

    generation: int
    last_seq: int
    made_of: str
    kept_back: int
    old: str | None


class Left(msgspec.Struct, frozen=True):
    """All that is left of a journal."""

    journal: Salvaged
    rebuilt: Salvaged
    recorded: list[Row]
    recorded_log: str
    witnessed: Witnessed | None


@contextmanager
def held(data_dir: DataDir) -> Iterator[None]:
    """Keep servers away. Raises StoreInUse if one runs, ConfigError for a directory that is no event's."""
    if data_dir.deployment.exists():
        raise ConfigError(f"{data_dir.root}: is the directory of a stack: name the set")
    data_dir.require()
    lock = JournalLock(data_dir.journal)
    try:
        yield
    finally:
        lock.release()


def rebuild_data_dir(data_dir: DataDir, why: str, who: str, *, yes: bool) -> Mended:
    """Make the journal anew of what is left.

    RedrushError if it is whole; NeedsYes where it is not known how much will be missing, unless `yes`.
    """
    with held(data_dir):
        left = what_is_left(data_dir)
        made_of, rows = _longest(left)
        if left.journal.why is None and rows == left.journal.rows and _lacks_nothing(left):
            raise RedrushError(f"{data_dir.journal}: is whole, nothing is to be rebuilt")
        if left.witnessed is None and not yes:
            raise NeedsYes(
                f"{data_dir.root}: without {data_dir.witness.name} nobody can say how many grants are missing after "
                f"log record {rows[-1][0] if rows else 0}, the last one left ({made_of}); --yes goes on with that"
            )
        return begin_anew(data_dir, left, rows, Order("rebuild", made_of, why, who))


def promote_data_dir(data_dir: DataDir, why: str, who: str, *, yes: bool) -> Mended:
    """Go on with the journal as it is, in this directory.

    NeedsYes says what may be lost, unless `yes`; RedrushError where it is damaged, or lacks what is known: then a
    rebuild loses less.
    """
    with held(data_dir):
        left = what_is_left(data_dir)
        rebuild = f"`redrush set rebuild --data {data_dir.root} --why …`"
        if left.journal.why is not None:
            raise RedrushError(f"{data_dir.journal}: {left.journal.why}; {rebuild} makes it anew of what is sound")
        if not _lacks_nothing(left):
            raise RedrushError(
                f"{data_dir.journal}: lacks grants that were acknowledged; {rebuild} loses fewer of them"
            )
        if not yes:
            raise NeedsYes(
                f"{data_dir.journal}: goes up to log record {left.journal.seq}; what was granted after that, by a "
                "server on another copy too, will be granted again; add --yes to go on with it nevertheless"
            )
        return begin_anew(data_dir, left, left.journal.rows, Order("promote", "the journal", why, who))


RESTORED: Final = "restore"
"""What is done where a backup was put back: how old that is was said before, and receipts were asked for."""


class Order(msgspec.Struct, frozen=True):
    """An operator's order about a journal: what to do, what to make the journal of, why, and who wants it."""

    what: str
    made_of: str
    why: str
    who: str


def begin_anew(data_dir: DataDir, left: Left, rows: list[Row], order: Order) -> Mended:
    """Put a journal of these rows, of the next generation, in the place of the old one."""
    pots = Pots()
    for row in rows:
        pots.restore(record_of(row))
    generation = _next_generation(left)
    withheld = _withhold(pots, left.witnessed, generation)
    rows = [*rows, *withheld]
    known = _identity_of(left) or new_identity()
    identity = msgspec.structs.replace(
        known,
        journal=new_identity().journal,
        generation=generation,
        home=None,
        is_unsure=known.is_unsure or (order.what != RESTORED and left.witnessed is None),
    )
    old = replace_journal(data_dir.journal, identity, rows)
    _tell_the_others(data_dir, identity, rows, pots, left.recorded)
    done = Mended(generation, pots.seq, order.made_of, len(withheld), None if old is None else str(old))
    note_generation(data_dir, {**msgspec.structs.asdict(order), **msgspec.structs.asdict(done)})
    return done


def what_is_left(data_dir: DataDir) -> Left:
    journal, rebuilt = salvage(data_dir.journal), salvage(data_dir.journal.with_name(data_dir.journal.name + REBUILT))
    recorded: list[Row] = []
    log = ""
    if data_dir.records.exists():
        with suppress(RedrushError):
            records = SqliteRecords.open_path(data_dir.records)
            try:
                log = records.mark().log
                recorded = list(records.journal())
            except RedrushError:
                recorded = []
            finally:
                records.close()
    return Left(journal, rebuilt, recorded, log, witnessed_by(data_dir))


def _longest(left: Left) -> tuple[str, list[Row]]:
    """Return what to make the journal of, and its rows: of beginnings of one log the longest."""
    found = [("the records", left.recorded), ("the journal", left.journal.rows)]
    if left.rebuilt.why is None:
        found.append(("the journal that was being made anew", left.rebuilt.rows))
    if left.witnessed is not None:
        mark = left.witnessed.mark
        agreeing = [(name, rows) for name, rows in found if chain_at(rows, mark.seq) in (None, mark.chain)]
        found = agreeing or found
    # Of two that part the records go first: they have been a second copy all along.
    name, rows = found[0]
    for other_name, other in found[1:]:
        if len(other) >= len(rows) and starts_with(other, rows):
            name, rows = other_name, other
    return name, rows


def starts_with(rows: list[Row], beginning: list[Row]) -> bool:
    return rows[: len(beginning)] == beginning


def chain_at(rows: Iterable[Row], seq: int) -> str | None:
    """Return the fingerprint of the rows up to `seq`, None if they do not go so far."""
    chain, last = "", 0
    for row in rows:
        if row[0] > seq:
            break
        chain, last = chain_after(chain, row), row[0]
    return chain if last == seq else None


def _lacks_nothing(left: Left) -> bool:
    """Whether the journal has all that witness and records know, and is the one that they know."""
    identity, rows = left.journal.identity, left.journal.rows
    own = "" if identity is None else identity.journal
    if left.witnessed is not None:
        mark = left.witnessed.mark
        if left.witnessed.identity.journal != own or chain_at(rows, mark.seq) != mark.chain:
            return False
    return left.recorded_log not in ("", own) or starts_with(rows, left.recorded)


def _identity_of(left: Left) -> Identity | None:
    if left.journal.identity is not None:
        return left.journal.identity
    return None if left.witnessed is None else left.witnessed.identity


def _next_generation(left: Left) -> int:
    known = [left.journal.identity, None if left.witnessed is None else left.witnessed.identity]
    return 1 + max((identity.generation for identity in known if identity is not None), default=1)


def _withhold(pots: Pots, witnessed: Witnessed | None, generation: int) -> list[Row]:
    """Keep back as many of the next slots as were granted and are not known to whom.

    Of pots that were counted together it is not known which of them lacks grants: each keeps back as many.
    """
    rows: list[Row] = []
    granted = pots.granted()
    counted = {} if witnessed is None else witnessed.mark.granted
    others = [pot for pot in granted if pot not in counted]
    for name, count in counted.items():
        of_name = others if name == OTHERS else [name] if name in granted else []  # one may not have been opened yet
        missing = count - sum(granted[pot] for pot in of_name)
        for pot in of_name if missing > 0 else ():
            slots = pots.next_slots(pot, max(0, missing - pots.withheld(pot)))
            rows += [row_of(pots.withhold(pot, slot, generation)) for slot in slots]
    return rows


def _tell_the_others(data_dir: DataDir, identity: Identity, rows: list[Row], pots: Pots, recorded: list[Row]) -> None:
    """Let witness and records know of the new journal."""
    chain = ""
    for row in rows:
        chain = chain_after(chain, row)
    Witness(data_dir.witness, identity, pots.seq, chain, pots.granted()).close()
    if not data_dir.records.exists():
        return
    try:
        if recorded and starts_with(rows, recorded):
            records = SqliteRecords.open_path(data_dir.records)
            try:
                records.belong_to(identity.journal)
            finally:
                records.close()
            return
    except (ConfigError, RecordsDamaged):
        pass
    set_aside(data_dir.records)


def honour_data_dir(
    data_dir: DataDir, receipts_file: Path, why: str, who: str, tell: Callable[[int, Honoured], None]
) -> None:
    """See to it that the grants are there which the receipts of the file state, one a line; `-` is stdin.

    Then note that winners were heard.

    `tell` hears what became of each, by its line. Raises StoreInUse while a server runs; ConfigError if the file cannot
    be read: nothing was done. NoneIsOurs where all are of somebody else.
    """
    if not asyncio.run(_honour(data_dir, read_receipts(receipts_file), tell)):
        raise NoneIsOurs(receipts_file, data_dir.root)
    _note_heard(data_dir, why, who)


def nobody_has_one(data_dir: DataDir, why: str, who: str) -> None:
    """Note that nobody has a receipt of what the journal may lack.

    RedrushError where it knows how many grants it lacks. Raises StoreInUse while a server runs.
    """
    if not _note_heard(data_dir, why, who):
        raise RedrushError(
            f"{data_dir.root}: knows how many grants it lacks, so there is nothing to say with --none; `redrush set "
            f"release --data {data_dir.root} --why …` lets slots go on that are kept back for winners"
        )


def _note_heard(data_dir: DataDir, why: str, who: str) -> bool:
    """Note an operator's word about what may be lost; return whether one was needed."""
    with held(data_dir):
        was_unsure = note_heard(data_dir.journal)
    if was_unsure:
        note_generation(data_dir, {"what": "honour", "why": why, "who": who})
    return was_unsure


async def opened_journal(data_dir: DataDir) -> SqliteStore:
    """Return the journal's store, compared with what else is known and with every pot of the campaign open.

    Raises StoreInUse while a server runs, StoreCorrupt with what helps.
    """
    event, keys = load_event(data_dir), load_keys(data_dir)

    def seal_up(identity: Identity) -> SealedUp:
        check_known_keys(data_dir, identity.keys, keys)
        return SealedUp(seal_sha256(data_dir), key_digests(keys))

    keeper = JournalKeeper(data_dir, SQLITE_RECORDS, lambda _what: None, seal_up)
    try:
        store = await SqliteStore.open_path(data_dir.journal, keeper=keeper)
    except StoreCorrupt as fault:
        raise with_remedy(fault, data_dir) from fault
    keeper.records.close()
    campaign = event.sealed.campaign
    await store.open([terms_of(pot, pot.slots) for pot in campaign.pots])
    for added in event.open.added:
        if added.new is None:
            await store.give(added.round, (added.slots,), added.transfer)
    return store


async def _honour(data_dir: DataDir, receipts: Iterable[str], tell: Callable[[int, Honoured], None]) -> bool:
    sealed, keys = load_event(data_dir).sealed, load_keys(data_dir)
    store = await opened_journal(data_dir)
    campaign = sealed.campaign

    async def enter(_set_id: str, grant: Granted) -> str | None:
        return await store.enter(grant.pot, grant.first_slot, grant.users[0], grant.at_us)

    try:
        division = Division(campaign, [SetPlace(EMBEDDED_SET)])
        stores = {EMBEDDED_SET: store}
        honouring = Honouring(campaign, sealed.amounts, keys.receipts, division, stores, enter)
        return await honouring.honour_all(receipts, tell)
    finally:
        await store.close()
