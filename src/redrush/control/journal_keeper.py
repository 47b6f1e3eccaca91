"""Whether a journal is the one, and all of the one, that this event has granted by: asked at every start, before the
first grant.

Three know something of it that is not in it: the *witness* beside it (`redrush.control.witness`), the *records*, by
their cursor and the fingerprint of the log there, and the journal's own *identity*, which names the sealed campaign,
the keys and the directory that it belongs to. What is known and missing is refused with the command that helps. The
table of all cases is in docs/promises.md, a test for each in tests/acceptance/rollback.
"""

import platform
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final

import msgspec

from redrush.control.data_dir import DataDir
from redrush.control.witness import Witness, Witnessed, read_witness
from redrush.errors import ConfigError
from redrush.ports.journal import Identity, JournalHome, Recovered
from redrush.ports.log_rows import Row
from redrush.ports.records import JournalRecords, RecordsDamaged, RecordsFiles, RecordsMark
from redrush.ports.store import StoreCorrupt

MACHINE_ID: Final = Path("/etc/machine-id")

Tell = Callable[[str], None]
"""Hears what was mended without anybody's help."""


class JournalLost(ConfigError):
    """The journal is not there, or lacks what others know of it. Nothing was started."""


class SealedUp(msgspec.Struct, frozen=True):
    """The sealed files as the journal remembers them: the campaign's SHA-256, a digest of each key."""

    sha256: str
    keys: dict[str, str]


SealUp = Callable[[Identity], SealedUp]
"""Seals the campaign, or reads what is sealed; checks the keys. Called once the journal is known for the right one."""


def home_of(data_dir: DataDir) -> JournalHome:
    """Return where the directory is: this machine, its path, its inode."""
    try:
        machine = MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine = ""
    root = data_dir.root.resolve()
    return JournalHome(machine or platform.node(), str(root), root.stat().st_ino)


def witnessed_by(data_dir: DataDir) -> Witnessed | None:
    """Return what the witness says; None if it says nothing, for whatever reason."""
    try:
        return read_witness(data_dir.witness)
    except (OSError, ValueError):
        return None


class JournalKeeper:
    """Fulfils `redrush.ports.journal.Keeper` for a data directory. After `admit`, `records` are open.

    For whoever reads only (`seal_up` is None) nothing is made anew, and a directory that is a copy will do.
    """

    def __init__(self, data_dir: DataDir, files: RecordsFiles, tell: Tell, seal_up: SealUp | None = None) -> None:
        self._files = files
        self._data_dir = data_dir
        self._tell = tell
        self._seal_up = seal_up
        self._records: JournalRecords | None = None
        self._recorded = RecordsMark("", 0, "")
        self._witnessed: Witnessed | None = None
        self._witness: Witness | None = None
        self._is_admitted = False

    @property
    def records(self) -> JournalRecords:
        """The records of the journal; whoever takes them closes them."""
        assert self._records is not None
        return self._records

    def asks(self, path: Path) -> Collection[int]:
        """See the port. Raises JournalLost if there is no journal, and there was one."""
        self._witnessed = witnessed_by(self._data_dir)
        self._open_records()
        known = max(self._recorded.seq, 0 if self._witnessed is None else self._witnessed.mark.seq)
        if known and not (path.exists() and path.stat().st_size):
            self._close_records()
            raise JournalLost(f"{path} is missing, and its log went up to record {known}: {self._mend()}")
        return {self._recorded.seq, *(() if self._witnessed is None else (self._witnessed.mark.seq,))}

    def admit(self, recovered: Recovered) -> Identity:
        """See the port. Raises JournalLost, or ConfigError where another file is not the one it was."""
        try:
            identity = self._admit(recovered)
        except BaseException:
            self.close()
            raise
        self._is_admitted = True
        return identity

    def _admit(self, recovered: Recovered) -> Identity:
        identity = recovered.identity
        self._check_witness(recovered)
        self._check_records(recovered)
        if self._seal_up is None:
            return identity
        home = home_of(self._data_dir)
        if identity.home is not None:
            self._check_home(identity.home, home)
        if identity.seal is not None and not self._data_dir.campaign.exists():
            raise ConfigError(
                f"{self._data_dir.campaign}: is missing, and was granted by; {self._restore('campaign.json')}"
            )
        sealed = self._seal_up(identity)
        if identity.seal not in (None, sealed.sha256):
            raise ConfigError(
                f"{self._data_dir.campaign}: is not the one that was granted by; {self._restore('campaign.json')}"
            )
        identity = msgspec.structs.replace(identity, seal=sealed.sha256, keys=sealed.keys, home=home)
        self._witness_for(identity, recovered)
        self.records.belong_to(identity.journal)
        return identity

    def _check_witness(self, recovered: Recovered) -> None:
        witnessed, identity = self._witnessed, recovered.identity
        if witnessed is None:
            if identity.home is not None and recovered.seq and not self._recorded.seq:
                raise JournalLost(
                    f"{self._data_dir.journal}: {self._data_dir.witness.name} and the records are gone, so nobody can "
                    f"say whether it has all that was granted; `redrush set promote --data {self._data_dir.root} "
                    "--why … --yes` goes on with it as it is, then `redrush set honour --data "
                    f"{self._data_dir.root} --receipts FILE` enters what winners have receipts of"
                )
            if identity.home is not None:
                self._tell(f"{self._data_dir.witness}: was missing or damaged, and is made anew")
            return
        if witnessed.identity.journal != identity.journal:
            if not witnessed.mark.seq and not recovered.seq:
                return
            raise JournalLost(
                f"{self._data_dir.journal}: is another journal than the one that was granted by (that one is "
                f"{witnessed.identity.journal}, of generation {witnessed.identity.generation}, this one "
                f"{identity.journal}, of generation {identity.generation}): {self._mend()}"
            )
        self._need("the witness", recovered, witnessed.mark.seq, witnessed.mark.chain)

    def _check_records(self, recovered: Recovered) -> None:
        recorded, identity = self._recorded, recovered.identity
        if recorded.log in ("", identity.journal):
            self._need("the records", recovered, recorded.seq, recorded.chain)
        elif recorded.seq:
            if self._witnessed is None:
                raise JournalLost(f"{self._data_dir.journal}: the records are of another journal: {self._mend()}")
            self._make_records_anew("are of another journal")

    def _need(self, who: str, recovered: Recovered, seq: int, chain: str) -> None:
        journal = self._data_dir.journal
        if seq > recovered.seq:
            raise JournalLost(
                f"{journal}: ends at log record {recovered.seq}, and {who} had record {seq}: grants are missing that "
                f"were acknowledged; {self._mend()}"
            )
        if recovered.chains.get(seq) != chain:
            raise JournalLost(f"{journal}: has other log records up to {seq} than {who} had; {self._mend()}")

    def _check_home(self, known: JournalHome, found: JournalHome) -> None:
        """A directory may be moved, on one machine; a copy of it is another event, or a second server of this one."""
        if found.inode == known.inode or (found.machine, found.directory) == (known.machine, known.directory):
            return
        original = Path(known.directory)
        if found.machine == known.machine and not _is_directory(original, known.inode):
            return
        where = known.directory if found.machine == known.machine else f"{known.directory} of another machine"
        raise JournalLost(
            f"{self._data_dir.root}: is a copy of {where}, and two servers on copies grant the same slots twice; serve "
            "that one, or, if it is never served again: "
            f"`redrush set promote --data {self._data_dir.root} --why … --yes`"
        )

    def _mend(self) -> str:
        return commands_that_mend(self._data_dir)

    def _restore(self, name: str) -> str:
        return f"`redrush restore BACKUP --data {self._data_dir.root} --only {name}` puts it back from any backup"

    # -- the records

    def _open_records(self) -> None:
        path = self._data_dir.records
        try:
            self._records = self._files.open_path(path, self._tell)
            self._recorded = self._records.mark()
        except (ConfigError, RecordsDamaged) as fault:
            if self._seal_up is None:
                raise
            self._make_records_anew(f"cannot be used ({fault})")

    def _make_records_anew(self, why: str) -> None:
        self._close_records()
        aside = self._files.set_aside(self._data_dir.records)
        self._tell(f"{self._data_dir.records}: {why}; they are made anew from the journal, what was there is {aside}")
        self._records = self._files.open_path(self._data_dir.records, self._tell)
        self._recorded = RecordsMark("", 0, "")

    def _close_records(self) -> None:
        if self._records is not None:
            self._records.close()
            self._records = None

    # -- the witness

    def _witness_for(self, identity: Identity, recovered: Recovered) -> None:
        try:
            self._witness = Witness(
                self._data_dir.witness, identity, recovered.seq, recovered.chain, recovered.granted()
            )
        except OSError as fault:
            raise ConfigError(f"{self._data_dir.witness}: cannot be written: {fault.strerror}") from fault

    def note(self, rows: Sequence[Row], chain: str) -> None:
        """See the port."""
        if self._witness is not None:
            self._witness.note(rows, chain)

    def sync_now_and_then(self) -> None:
        """See the port."""
        if self._witness is not None:
            self._witness.sync_now_and_then()

    def sync(self) -> None:
        """See the port."""
        if self._witness is not None:
            self._witness.sync()

    def close(self) -> None:
        """See the port. The records are somebody else's once the journal was admitted."""
        if not self._is_admitted:
            self._close_records()
        if self._witness is not None:
            self._witness.close()


def _is_directory(path: Path, inode: int) -> bool:
    try:
        return path.stat().st_ino == inode
    except OSError:
        return False


def with_remedy(fault: StoreCorrupt, data_dir: DataDir) -> JournalLost:
    """Return the fault with the commands that help."""
    return JournalLost(f"{data_dir.journal}: {fault}; {commands_that_mend(data_dir)}")


def commands_that_mend(data_dir: DataDir) -> str:
    """Return, in words, what brings a journal back that is damaged, or lacks what was acknowledged."""
    root = data_dir.root
    return (
        f"`redrush set rebuild --data {root} --why …` makes it anew of what is left, then "
        f"`redrush set honour --data {root} --receipts FILE` enters what is missing"
    )
