"""The files of a data directory, read as an outsider would: nothing here knows how the engine writes them."""

import hashlib
import json
import os
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from redrush.errors import ConfigError, NewerVersion, RedrushError

VERSIONS: Final = (1, 2)


class Readable(NamedTuple):
    """Which versions of a SQLite file are read here: the number in its header says that it is one, the next to it the
    version."""

    application_id: int
    oldest: int
    newest: int


READABLE: Final = {
    "journal.db": Readable(0x7264726A, 1, 3),
    "records.db": Readable(0x52525243, 7, 7),
    "packets.db": Readable(0x5252504B, 1, 4),
    "payments.db": Readable(0x52525042, 1, 2),
    "sales.db": Readable(0x52525353, 1, 2),
}
"""By the file's name. What is of another version is told of, never taken for something that agrees."""

ADDED: Final = "added:"
"""Transfers that begin so give slots to a round that an amendment has added: they come from nowhere."""

REST: Final = "rest:"
"""Transfers that begin so take slots out of a pot that is no round, and back to the sponsor: they join no other."""

CACHE_KIB: Final = 64 * 1024
"""Page cache of each file: the joins of a million grants stay in memory."""
BUSY_MAX_MS: Final = 5_000
"""How long a file may be kept by somebody else, as one that is just made anew is."""


class RoundTerms(msgspec.Struct, frozen=True):
    """What was agreed for one round, or for one prize of a draw; its own slots are `first_slot` … `first_slot` +
    `slot_count` − 1."""

    id: str
    opens_us: int
    closes_us: int
    total_minor: int
    first_slot: int
    slot_count: int
    added: tuple[tuple[int, int], ...] = ()
    """First slot and count of what was added to it later; `total_minor` is with that."""
    limit: int = 1
    """Grants that a user may have of it."""
    holds: str | None = None
    """What each slot holds that is no money: "code", or the whole of it."""
    items: tuple[str, ...] = ()
    """The same for each slot, where each holds something else."""

    @property
    def own(self) -> tuple[tuple[int, int], ...]:
        """First slot and count of each run of the round's own slots, those that were added included."""
        return ((self.first_slot, self.slot_count), *self.added)


class Terms(msgspec.Struct, frozen=True):
    """What was agreed before the opening. `amounts[slot]` is in minor units."""

    campaign: str
    currency: str
    rounds: dict[str, RoundTerms]
    amounts: "array[int]"
    amounts_match: bool
    """Whether the amounts tables are those whose hashes were sealed."""
    added: dict[str, tuple[str, list[tuple[int, int]]]] = {}
    """By transfer id, what joins rounds that were there: the pot, and runs of slots."""
    bases: dict[str, tuple[int, int]] = {}
    """By pot that is no round: where its slots, which it numbers from 0, stand in `amounts`, and how many there are."""
    holds: dict[int, str] = {}
    """By place in `amounts`, what a slot holds that is no money."""
    sponsored: set[str] = set()
    """Packets that nobody but the sponsor pays, of those that say so when they are opened."""

    def add_noted(self, notes: Iterable[tuple[str, str]], tell: Callable[[str], object]) -> None:
        """Let the shares of packets join the amounts that no file has: their pots were opened with what they hold."""
        for pot, note in notes:
            try:
                said = json.loads(note)
                shares = [int(share) for share in said["a"]]
                if said.get("o"):
                    self.sponsored.add(pot)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                tell(f"{pot}: what it was opened with is not readable: {error!r}")
                continue
            if pot in self.bases:
                base, count = self.bases[pot]
                if self.amounts[base : base + count].tolist() != shares:
                    tell(f"{pot}: was opened with other shares than it was split in")
                continue
            if not shares or min(shares) < 1:
                tell(f"{pot}: was opened with shares of {shares}")
            self.bases[pot] = len(self.amounts), len(shares)
            self.amounts.extend(shares)

    def base(self, pot: str) -> int:
        """Return what to add to a slot of the pot for its place in `amounts`; 0 for rounds, which share numbers."""
        return self.bases[pot][0] if pot in self.bases else 0

    def place(self, pot: str, slot: int) -> int | None:
        """Return the place of a slot in `amounts`, or None if the pot has no such slot."""
        base, count = self.bases.get(pot, (0, len(self.amounts) - sum(count for _, count in self.bases.values())))
        return base + slot if 0 <= slot < count else None

    def placed(self, pot: str, slot: int, count: int) -> int:
        """Return the place of the first of these slots of a pot. Raises ValueError if a pot that is no round lacks one;
        of rounds nothing is asked."""
        if pot not in self.bases:
            return slot
        base, so_many = self.bases[pot]
        if slot < 0 or count < 0 or slot + count > so_many:
            raise ValueError(f"pot {pot} has no slots {slot} to {slot + count - 1}")
        return base + slot


def read_terms(data_dir: Path) -> Terms:
    """Read campaign.json and amounts.i64, and what amendments have made of it. Raises ConfigError if a file is missing,
    or is something else."""
    raw = _read(data_dir / "amounts.i64")
    path = data_dir / "campaign.json"
    try:
        text = _read(path)
        sealed = json.loads(text)
        if sealed["version"] not in VERSIONS:
            raise ConfigError(f"{path} has version {sealed['version']}; this redrush reads version {VERSIONS[-1]}")
        before = text[: text.rindex(b',\n  "sha256"')] if sealed["version"] == VERSIONS[-1] else b""
        if before and hashlib.sha256(before).hexdigest() != sealed["sha256"]:
            raise ConfigError(f"{path} was changed since it was sealed: its hash is another one")
        campaign = sealed["campaign"]
        rounds = {terms.id: terms for entry in campaign["rounds"] for terms in _round_terms(entry)}
        terms = (str(campaign["id"]), str(campaign["currency"]), rounds)
        sha256 = sealed["amounts_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not a sealed campaign: {error!r}") from error
    amounts_match = hashlib.sha256(raw).hexdigest() == sha256
    amounts_match, raw, added = _read_amended(data_dir, rounds, amounts_match, raw)
    amounts = array("q")
    if len(raw) % amounts.itemsize:
        raise ConfigError(f"{data_dir / 'amounts.i64'} is not a table of 64-bit numbers: it has {len(raw)} bytes")
    amounts.frombytes(raw)
    if sys.byteorder == "big":
        amounts.byteswap()
    bases, holds = _read_pots(data_dir / "pots.jsonl", amounts)
    bases |= _read_packets(data_dir / "packets.db", amounts)
    for round_ in rounds.values():
        holds |= {round_.first_slot + at: f"item:{item}" for at, item in enumerate(round_.items)}
        if round_.holds is not None:
            holds |= {
                round_.first_slot + at: f"code:{at}" if round_.holds == "code" else round_.holds
                for at in range(round_.slot_count)
            }
    return Terms(*terms, amounts, amounts_match, added, bases, holds)


def _read_amended(
    data_dir: Path, rounds: dict[str, RoundTerms], amounts_match: bool, raw: bytes
) -> tuple[bool, bytes, dict[str, tuple[str, list[tuple[int, int]]]]]:
    """Bring the rounds to what amendments have made of them; return whether all tables of amounts match, these, and
    what joins rounds that were there."""
    event = data_dir / "event.json"
    added: dict[str, tuple[str, list[tuple[int, int]]]] = {}
    try:
        amended = json.loads(_read(event))["open"] if event.exists() else {}
        for number, addition in enumerate(amended.get("added", ()), start=1):
            table = _read(data_dir / f"amounts-{number}.i64")
            amounts_match &= hashlib.sha256(table).hexdigest() == addition["amounts_sha256"]
            raw += table
            _add(addition, rounds, added)
        for round_id, times in amended.get("rounds", {}).items():
            instants = {"opens_us": int(times["opens_us"]), "closes_us": int(times["closes_us"])}
            for pot in [pot for pot in rounds if pot == round_id or pot.startswith(f"{round_id}.")]:
                rounds[pot] = msgspec.structs.replace(rounds[pot], **instants)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{event} is not what is open of the campaign: {error!r}") from error
    return amounts_match, raw, added


def _read_pots(path: Path, amounts: "array[int]") -> tuple[dict[str, tuple[int, int]], dict[int, str]]:
    """Read the tables of pots that are no rounds, each a line; their amounts join the others. A line that was cut short
    is of a pot that was never opened."""
    bases: dict[str, tuple[int, int]] = {}
    holds: dict[int, str] = {}
    for line in _read(path).splitlines(keepends=True) if path.exists() else ():
        if not line.endswith(b"\n"):
            break
        try:
            table = json.loads(line)
            bases[table["pot"]] = base, _ = len(amounts), len(table["amounts"])
            amounts.extend(table["amounts"])
            for (first, count), kind, names in table["parts"]:
                for at in range(count):
                    named = {"code": f"code:{at}", "unit": "unit"}.get(kind)
                    holds[base + first + at] = named or f"{kind}:{names[at if kind == 'item' else 0]}"
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ConfigError(f"{path} has a line that is no table of a pot: {error!r}") from error
    return bases, holds


def _read_packets(path: Path, amounts: "array[int]") -> dict[str, tuple[int, int]]:
    """Read what the shares of group packets hold; their amounts join the others. One that was never split has none."""
    bases: dict[str, tuple[int, int]] = {}
    if not path.exists():
        return bases
    with one_state_of(path, "a book of packets") as book:
        for packet, content in book.execute("SELECT id, content FROM packets WHERE paid_us IS NOT NULL"):
            try:
                shares = [int(share) for share in json.loads(content)["amounts"]]
            except (ValueError, KeyError, TypeError):
                continue  # whoever looks through the book says so
            bases[f"packet:{packet}"] = len(amounts), len(shares)
            amounts.extend(shares)
    return bases


def _add(
    addition: dict[str, Any], rounds: dict[str, RoundTerms], added: dict[str, tuple[str, list[tuple[int, int]]]]
) -> None:
    """Add what one amendment has added: a round, or packets of one."""
    if addition["new"] is not None:
        rounds |= {terms.id: terms for terms in _round_terms(addition["new"])}
        return
    first_slot, slot_count = addition["slots"]
    round_ = rounds[addition["round"]]
    rounds[round_.id] = msgspec.structs.replace(
        round_,
        total_minor=round_.total_minor + int(addition["total_minor"]),
        added=(*round_.added, (first_slot, slot_count)),
    )
    transfer = f"{ADDED}{round_.id}:{first_slot}:{addition['amounts_sha256'][:16]}"
    added[transfer] = (round_.id, [(first_slot, slot_count)])


def _round_terms(entry: dict[str, Any]) -> Iterator[RoundTerms]:
    """Yield what was agreed for a round or a sale, or for each prize of a draw."""
    first_slot, slot_count = map(int, entry["slots"])
    times = int(entry["opens_us"]), int(entry["closes_us"])
    if (sale := entry.get("sale")) is not None:
        items, limit = tuple(sale.get("items", ())), int(sale.get("limit_per_user", 1))
        holds = None if items else "unit"
        yield RoundTerms(entry["id"], *times, 0, first_slot, slot_count, limit=limit, holds=holds, items=items)
        return
    if entry.get("draw") is None:
        yield RoundTerms(entry["id"], *times, int(entry["total_minor"]), first_slot, slot_count)
        return
    for prize in entry["draw"]["prizes"]:
        count, kind = int(prize["count"]), prize["holds"]
        yield RoundTerms(
            f"{entry['id']}.{prize['id']}",
            *times,
            count * int(prize.get("each_minor", 0)),
            first_slot,
            count,
            limit=int(prize.get("limit_per_user", 1)),
            holds={"money": None, "code": "code"}.get(kind, f"{kind}:{prize['id']}"),
        )
        first_slot += count


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def one_state_of(path: Path, what: str) -> Iterator[apsw.Connection]:
    """Open a SQLite file for reading, within one transaction: one state of it, while others may write.

    Raises ConfigError if the file is missing, is not `what`, or of a version that is not read here, RedrushError if it
    is damaged; this also for what is raised by queries in the block.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is missing")
    try:
        with closing(apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            connection.set_busy_timeout(BUSY_MAX_MS)
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            connection.execute("BEGIN")
            _check_version(connection, path)
            yield connection
    except (apsw.SQLError, apsw.NotADBError) as error:  # the former for a table or a column that it lacks
        raise ConfigError(f"{path} is not {what} of redrush: {error}") from error
    except apsw.CorruptError as error:
        raise RedrushError(f"{path} is damaged: {error}") from error
    except apsw.Error as error:
        raise RedrushError(f"{path} cannot be read: {error}") from error


def is_of_now(path: Path) -> bool:
    """Whether a server of this redrush would leave a file of the version that it is of: there may be none, or one that
    cannot be read."""
    try:
        with closing(apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            version = _version_of(connection)
    except apsw.Error:
        return True
    return not 0 < version < READABLE[path.name].newest


def _version_of(connection: apsw.Connection) -> int:
    return int(str(connection.pragma("user_version")))


def _check_version(connection: apsw.Connection, path: Path) -> None:
    """Raise ConfigError for a version that is not read here; what another program wrote has none of ours."""
    readable = READABLE.get(path.name)
    if readable is None or connection.pragma("application_id") != readable.application_id:
        return
    version = _version_of(connection)
    if version > readable.newest:
        raise NewerVersion(
            f"{path} is of version {version}, this redrush reads version {readable.newest}: "
            "use the redrush that wrote it"
        )
    if version < readable.oldest:
        raise ConfigError(
            f"{path} is of version {version}, this redrush reads version {readable.newest}: start the server by this "
            "redrush first, which brings it there, or reconcile by the redrush that wrote it"
        )
