"""A backup of a data directory: all of it, of one moment, while the server runs; and back again.

Records first, then the journal, so that the journal has at least what is recorded. Each is copied in one read
transaction, which holds up neither claims nor the recorder. A manifest with the hash of every file is written last: a
backup without one is not finished.

The other campaigns of the directory, `campaigns/ID`, are backups of their own below it, with a manifest each.

A restored journal is of a new generation, for nobody knows what was granted after the backup was made: what the
directory still knows of that (its witness, its records, receipts) is compared first, for all campaigns before the first
one is put back.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import apsw
import msgspec

from redrush.control.campaigns import directory_of, load_listings
from redrush.control.data_dir import DataDir
from redrush.control.durable_file import sync_directory, write_durably
from redrush.control.event import load_campaign
from redrush.control.keys import load_keys
from redrush.control.switch_mark import mark_of
from redrush.core.identity.receipts import verify_receipt
from redrush.core.rush.instants import rfc3339
from redrush.errors import ConfigError, RedrushError
from redrush.operate.mending import RESTORED, Left, Mended, Order, begin_anew, chain_at, starts_with, what_is_left
from redrush.ports.log_rows import Row, record_of
from redrush.ports.store import grants_of
from redrush.records.sqlite.file import set_aside
from redrush.settle.whole_log import permanent_grants
from redrush.stores.sqlite.lock import JournalLock
from redrush.stores.sqlite.salvage import salvage

VERSION: Final = 1
MANIFEST: Final = "manifest.json"
PAGES_AT_ONCE: Final = 2_000
PIECE_BYTES: Final = 1 << 20

SEALED: Final = ("campaign.json", "amounts.i64", "keys.json")
"""They never change after the first start: any backup has them as they must be."""

OPTIONAL: Final = ("switches.jsonl", "event.json", "written.json", "control-token", "operators.json",
                   "generations.jsonl", "audience-additions.jsonl", "pots.jsonl", "codes.jsonl", "campaigns.json",
                   "campaigns.jsonl", "accounts.json", "console.jsonl", "console-sets.json", "console-proposals.json",
                   "console-checklists.json", "console-drills.json", "console-schedules.json", "sale-keys.json",
                   "erasures.jsonl", "client_policy.json", "proof_of_work.json", "plans.json")  # fmt: skip
"""The last three are of releases before `event.json`."""

BOOKS: Final = ("payments.db", "messages.db", "packets.db", "sales.db")
"""Databases that are no projection of anything: put back as they were, and compared with their marks at a start."""

Progress = Callable[[str, int, int], None]
"""Hears of a file's name, how much of it is done, and how much it is."""


class CopiedFile(msgspec.Struct, frozen=True):
    """A file of a backup."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """The files of a backup, with the log record up to which it goes."""

    version: int
    campaign: str
    made_at: str
    journal: str
    generation: int
    seq: int
    chain: str
    grants: int
    files: dict[str, CopiedFile]
    campaigns: tuple[str, ...] = ()
    """The ids of the other campaigns; each is a backup of its own, `campaigns/ID`."""


class Restored(msgspec.Struct, frozen=True):
    """A campaign that was put back, by its directory."""

    directory: Path
    manifest: Manifest
    mended: Mended


def backup(data_dir: DataDir, to: Path, tell: Progress) -> Manifest:
    """Copy the whole directory to `to`, a new or empty one; a server may be running. ConfigError if that cannot be."""
    if data_dir.deployment.exists():
        raise ConfigError(f"{data_dir.root}: is the directory of a stack; back up its database and its sets instead")
    try:
        _make_empty(to)
        # The list first: a campaign that is added meanwhile is in the next backup.
        listed = [(one.id, directory_of(data_dir, one.id)) for one in load_listings(data_dir)]
        others = tuple(id_ for id_, directory in listed if directory.journal.exists())
        names = _copy_files(data_dir, to, ("campaigns.json",), tell)
        made_at = rfc3339(time.time_ns() // 1_000)
        for id_ in others:
            copy = directory_of(DataDir(to), id_).root
            _make_empty(copy)
            _backup_one(directory_of(data_dir, id_), copy, made_at, tell)
        return _backup_one(data_dir, to, made_at, tell, names, others)
    except OSError as fault:
        raise ConfigError(f"{fault.filename or to}: the backup cannot be written: {fault.strerror}") from fault


def _make_empty(to: Path) -> None:
    """Make a directory of its owner's alone, with nothing in it. ConfigError if there is something."""
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    to.chmod(0o700)
    if any(to.iterdir()):
        raise ConfigError(f"{to}: is not empty; name a new directory for each backup")


def _copy_files(data_dir: DataDir, to: Path, names: Iterable[str], tell: Progress) -> list[str]:
    """Copy those of these files that there are, and return their names."""
    copied = [name for name in names if (data_dir.root / name).exists()]
    for name in copied:
        write_durably(to / name, (data_dir.root / name).read_bytes())
        tell(name, 1, 1)
    return copied


def _backup_one(
    data_dir: DataDir,
    to: Path,
    made_at: str,
    tell: Progress,
    done: Sequence[str] = (),
    others: tuple[str, ...] = (),
) -> Manifest:
    """Copy one campaign; `done` are files that are there already."""
    campaign = load_campaign(data_dir)
    names = list(done)
    # A packet is in its book before it is paid, and paid before it is in the journal: what is copied later has it all.
    for name in ("records.db", "journal.db", *BOOKS):
        if (data_dir.root / name).exists():
            _copy_database(data_dir.root / name, to / name, tell)
            names.append(name)
    amounts = sorted(path.name for path in data_dir.root.glob("amounts-*.i64"))
    lines = sorted(path.name for path in data_dir.root.glob("line-*") if path.suffix in {".json", ".tsv"})
    wanted = (*SEALED, *OPTIONAL, *amounts, *lines)
    names += _copy_files(data_dir, to, [name for name in wanted if name not in done], tell)
    copied = salvage(to / "journal.db")
    if copied.why is not None or copied.identity is None:
        raise RedrushError(f"{data_dir.journal}: {copied.why}; it is not fit for a backup")
    manifest = Manifest(
        VERSION,
        campaign.id,
        made_at,
        copied.identity.journal,
        copied.identity.generation,
        copied.seq,
        copied.chain,
        sum(1 for record in permanent_grants(map(record_of, copied.rows)) for _ in grants_of(record)),
        {name: CopiedFile((to / name).stat().st_size, _sha256(to / name)) for name in names},
        others,
    )
    write_durably(to / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


def _copy_database(source: Path, target: Path, tell: Progress) -> None:
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        reading = apsw.Connection(os.fspath(source), flags=apsw.SQLITE_OPEN_READONLY)
        reading.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        writing = apsw.Connection(os.fspath(target))
        try:
            reading.set_busy_timeout(5_000)
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # one state from here on
            with writing.backup("main", reading, "main") as copying:
                while not copying.done:
                    copying.step(PAGES_AT_ONCE)
                    tell(source.name, copying.page_count - copying.remaining, copying.page_count)
            reading.execute("COMMIT")
            writing.pragma("journal_mode", "delete")
        finally:
            writing.close(True)
            reading.close(True)
    except apsw.Error as fault:
        raise RedrushError(f"{source}: cannot be copied: {fault}") from fault
    with target.open("rb") as file:
        os.fsync(file.fileno())
    sync_directory(target.parent)


def read_manifest(source: Path, only: Sequence[str] = ()) -> Manifest:
    """Return the manifest of a backup whose files (all, or `only` these) are as they were. ConfigError if not."""
    if not source.is_dir():
        what = "is no directory" if source.exists() else "does not exist"
        raise ConfigError(f"{source}: {what}; give the directory that `redrush backup DIR --data …` has made")
    try:
        manifest = msgspec.json.decode((source / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise ConfigError(f"{source}: has no {MANIFEST}: it is no backup, or one that was not finished") from None
    except (OSError, ValueError) as fault:
        raise ConfigError(f"{source / MANIFEST}: cannot be read: {fault}") from fault
    if manifest.version != VERSION:
        raise ConfigError(f"{source}: is a backup of version {manifest.version}; this redrush reads version {VERSION}")
    for name in only:
        if name not in manifest.files:
            raise ConfigError(f"{source}: has no {name}; it has {', '.join(manifest.files)}")
    for name in only or manifest.files:
        try:
            found = _sha256(source / name)
        except OSError as fault:
            raise ConfigError(f"{source / name}: cannot be read: {fault.strerror}") from fault
        if found != manifest.files[name].sha256:
            raise ConfigError(f"{source / name}: is not what was backed up: its hash is another; take another backup")
    return manifest


def restore_files(source: Path, data_dir: DataDir, only: Sequence[str], tell: Progress) -> Manifest:
    """Put single files back: those that never change, operators' own, and books. The journal stays. ConfigError.

    A book that is an older copy is put back, and refused at the next start."""
    if databases := [name for name in only if name.endswith(".db") and name not in BOOKS]:
        raise ConfigError(f"{', '.join(databases)}: is not restored alone; leave --only out, or rebuild it")
    manifest = read_manifest(source, only)
    data_dir.create()
    lock = JournalLock(data_dir.journal)
    try:
        _put_back(source, data_dir, only, tell)
    finally:
        lock.release()
    return manifest


def restore(
    source: Path,
    data_dir: DataDir,
    *,
    receipts: Iterable[str] = (),
    as_new_generation: bool = False,
    who: str = "",
    tell: Progress,
) -> list[Restored]:
    """Put the whole backup back, and return its campaigns, the first one first. No server may be running; what was
    there is kept aside.

    ConfigError where a directory, or one of the receipts, knows of grants that the backup lacks, unless
    `as_new_generation`; nothing is put back then.
    """
    texts = [text.strip() for text in receipts if text.strip()]
    with ExitStack() as locks:
        first = _Restoring(source, data_dir, locks)
        others = first.manifest.campaigns
        places = [(directory_of(DataDir(source), id_).root, directory_of(data_dir, id_)) for id_ in others]
        parts = [first, *(_Restoring(*place, locks) for place in places)]
        if not as_new_generation:
            for part in parts:
                part.refuse_newer(texts)
        try:
            return [part.put_back(who, tell) for part in parts]
        except OSError as fault:
            raise ConfigError(f"{fault.filename or data_dir.root}: cannot be restored: {fault.strerror}") from fault


class _Restoring:
    """One campaign of a backup, and the directory that it is put back to, which no server has meanwhile."""

    def __init__(self, source: Path, data_dir: DataDir, locks: ExitStack) -> None:
        self.manifest = read_manifest(source)
        self._source = source
        self._data_dir = data_dir
        self._rows = salvage(source / "journal.db").rows
        data_dir.create()
        locks.callback(JournalLock(data_dir.journal).release)
        self._left = what_is_left(data_dir)

    def refuse_newer(self, receipts: Sequence[str]) -> None:
        """Raise ConfigError if the directory, or a receipt of its campaign, knows of more than the backup has."""
        newer = _newer(self._left, self._rows) or _newer_receipt(self._source, self._rows, receipts)
        if newer:
            raise ConfigError(
                f"{self._source}: was made at {self.manifest.made_at} and goes up to log record {self.manifest.seq}, "
                f"and {newer}: restored, that would be granted to others. `redrush set rebuild --data "
                f"{self._data_dir.root} --why …` may lose less; --as-new-generation goes on with the backup "
                "nevertheless, and keeps the slots back that are known to be missing"
            )

    def put_back(self, who: str, tell: Progress) -> Restored:
        """Put it back, as a new generation."""
        # A book that is there knows more than that of the backup does.
        books = [name for name in BOOKS if not (self._data_dir.root / name).exists()]
        files = [name for name in self.manifest.files if not name.endswith(".db") or name in books]
        _put_back(self._source, self._data_dir, files, tell)
        base = msgspec.structs.replace(self._left, journal=salvage(self._source / "journal.db"))
        order = Order(RESTORED, f"the backup of {self.manifest.made_at}", "restored from a backup", who)
        mended = begin_anew(self._data_dir, base, self._rows, order)
        tell("journal.db", 1, 1)
        return Restored(self._data_dir.root, self.manifest, mended)


def _newer(left: Left, rows: list[Row]) -> str | None:
    """Return what the directory knows that the rows lack."""
    seq = rows[-1][0] if rows else 0
    if left.witnessed is not None:
        mark = left.witnessed.mark
        if chain_at(rows, mark.seq) != mark.chain:
            return (
                f"the directory's witness knows of record {mark.seq}"
                if mark.seq > seq
                else "the witness knows another log"
            )
    for name, known in (("journal", left.journal.rows), ("records", left.recorded)):
        if not starts_with(rows, known):
            return f"the directory's {name} go{'es' if name == 'journal' else ''} up to record {known[-1][0]}"
    return None


def _newer_receipt(source: Path, rows: list[Row], texts: Sequence[str]) -> str | None:
    if not texts:
        return None
    keys = load_keys(DataDir(source)).receipts
    granted = set()
    for row in rows:
        granted |= {(grant.pot, grant.slot, grant.user) for grant in grants_of(record_of(row))}
    for text in texts:
        found = verify_receipt(keys, text)
        if found is not None and (found.round, found.slot, found.user) not in granted:
            return f"there is a receipt of {found.user} for slot {found.slot} of {found.round}, which it lacks"
    return None


def _put_back(source: Path, data_dir: DataDir, names: Iterable[str], tell: Progress) -> None:
    for name in names:
        try:
            if name in {data_dir.switches.name, data_dir.audience_additions.name}:
                mark_of(data_dir.root / name).unlink(missing_ok=True)  # it knows of what is taken back on purpose
            if name in BOOKS and (data_dir.root / name).exists():
                set_aside(data_dir.root / name)
            write_durably(data_dir.root / name, (source / name).read_bytes())
        except OSError as fault:
            raise ConfigError(f"{data_dir.root / name}: cannot be put back: {fault.strerror}") from fault
        tell(name, 1, 1)


def _sha256(path: Path) -> str:
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            hashed.update(piece)
    return hashed.hexdigest()
