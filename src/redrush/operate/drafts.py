"""Campaign files that are being written: in the directory of an event, checked as `redrush check` does, and added.

The text is the truth. A form changes a value in it, and comments stay (tomlkit). What a draft would hand out is shown
of a fresh split with another seed: the sealed amounts are nobody's to read before the opening.
"""

import asyncio
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.config import CampaignFile, load_campaign_file
from redrush.config.code_list import BadCodes, read_codes
from redrush.config.toml_file import FILE_BYTES_MAX, Wrong, check_id, tables_of
from redrush.control.data_dir import DataDir
from redrush.control.durable_file import sync_directory, write_durably
from redrush.control.user_list import read_users
from redrush.core.money.currency import format_amount
from redrush.core.money.splitting import split
from redrush.core.rush.campaign import Kind
from redrush.core.rush.instants import rfc3339_s
from redrush.errors import ConfigError, RedrushError
from redrush.operate.checking import WARNING, check_campaign
from redrush.operate.cloning import LIST_NAME, clone_of, copy_lists
from redrush.operate.draft_form import set_value
from redrush.operate.draft_lists import check_lists, check_unused
from redrush.operate.noting import Noting

DRAFTS_MAX: Final = 500
FILES_MAX: Final = 50
"""Lists beside one draft: of users, or of codes."""
UPLOAD_BYTES_MAX: Final = 512 << 20
"""Ten million ids are some 120 MB."""
DISK_LEFT_MIN: Final = 1 << 30
"""What a list leaves on the disk: the journal of a running event may be on it, and stops where nothing is left."""
SHOWN_PACKETS_MAX: Final = 200_000
"""A round with more is shown by a split of so many, with the same mean."""
CODES: Final = "code"
"""A list whose name has it in it is one of codes."""
CODES_BYTES_MAX: Final = 4 << 20
"""Of a list of codes that is looked at when it comes, for they are held in memory; a longer one is for the check."""
BARS: Final = 12
EDITION_CHARS: Final = 32
_FAULT: Final = re.compile(r"^.*?\.toml(?::(?P<line>\d+))?: (?:(?P<key>[\w.\[\]\"-]+): )?(?P<said>.*)$", re.DOTALL)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, where, in the validator's own words."""

    line: int | None
    key: str | None
    said: str

    @property
    def located(self) -> str:
        """The sentence with its key, where that is not beside it."""
        return self.said if self.key is None else f"{self.key}: {self.said}"


class Bar(msgspec.Struct, frozen=True):
    """How many packets of a fresh split are between two amounts."""

    least: str
    most: str
    count: int


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a draft would do, or what is wrong with it."""

    ok: bool
    problems: list[Problem]
    says: list[str]
    warnings: list[str]
    rounds: list[dict[str, Any]] = []
    """What each round hands out, and when: fields as `redrush check --json` has them."""
    splits: dict[str, list[Bar]]
    """Of each round of packets."""
    edition: str = ""
    """Names the text: who says so when they write it again writes over no other one."""
    seen: str = ""
    """Names the draft with its lists: who says so lets that be served, and nothing that was written since."""


class Uploaded(msgspec.Struct, frozen=True, kw_only=True):
    """A list of users or codes that came."""

    file: str
    bytes: int
    sha256: str
    lines: int
    problems: list[str]


class WrittenMeanwhile(RedrushError):
    """Somebody has kept another text of a draft since it was looked at: `text`, which is there."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(
            f'somebody else has written draft "{name}" since you looked, so nothing was kept; look at it, and keep '
            "yours again if it shall stand"
        )
        self.text = text


def id_in(text: str) -> str:
    """Return the id that a campaign file gives its campaign; "": it gives none, or is no TOML."""
    try:
        return str(tables_of(text, "")["campaign"]["id"])
    except (ConfigError, KeyError, TypeError):
        return ""


def edition_of(text: str) -> str:
    """Return what names this text of a draft among those before and after it."""
    return hashlib.sha256(text.encode()).hexdigest()[:EDITION_CHARS]


def templates() -> dict[str, str]:
    """Return a commented campaign file for each kind of campaign."""
    found = {}
    for entry in resources.files("redrush.cli").iterdir():
        name = re.fullmatch(r"sample(?:_(\w+))?\.toml", entry.name)
        if name is not None and name[1] != "deployment":
            found[name[1] or "packets"] = entry.read_text(encoding="utf-8")
    return dict(sorted(found.items()))


class Drafts:
    """The drafts of one directory. Calls block."""

    def __init__(self, data_dir: DataDir) -> None:
        self._data_dir = data_dir
        self._root = data_dir.root / "console-drafts"

    def list(self) -> "list[dict[str, str]]":
        """Return their names, the newest first."""
        found = sorted(self._root.glob("*/*.toml"), key=lambda path: -path.stat().st_mtime)
        return [{"name": path.stem, "changed_at": rfc3339_s(int(path.stat().st_mtime))} for path in found]

    def begin(self, name: str, kind: str, noted: Noting = None) -> str:
        """Begin a draft from the template of a kind, and return its text. ConfigError if the name is taken."""
        sample = templates().get(kind)
        if sample is None:
            raise ConfigError(f'"{kind}" is no kind of campaign; there are {", ".join(templates())}')
        return self._new(name, sample.replace("{id}", name), noted)

    def clone(self, name: str, of: str, noted: Noting = None) -> str:
        """Begin a draft as a copy of another one, under its own id. ConfigError as for `begin`."""
        text = self.read(of)
        return self._new(name, set_value(text, "campaign.id", name), noted)

    def clone_served(self, name: str, of: DataDir, opens: str, noted: Noting = None) -> str:
        """Begin a draft as a copy of the campaign of a directory, which may be over, at other times
        (`redrush.operate.cloning`). ConfigError as for `begin`."""
        cloned = clone_of(of, name, opens)
        text = self._new(name, cloned.text, noted)
        copy_lists(cloned.lists, self.path(name).parent)
        return text

    def read(self, name: str) -> str:
        """Return the text. ConfigError if there is no such draft."""
        try:
            return self.path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f'there is no draft "{name}"') from None

    def write(self, name: str, text: str, noted: Noting = None) -> None:
        """Keep another text. ConfigError if there is no such draft, or it is too long."""
        self.read(name)
        self._keep(name, text, noted)

    def check_seen(self, name: str, seen: str | None) -> str:
        """Return the text that is there, if it is the edition that was `seen` (None: whichever it is). ConfigError if
        there is no such draft; WrittenMeanwhile for another edition."""
        text = self.read(name)
        if seen not in {None, edition_of(text)}:
            raise WrittenMeanwhile(name, text)
        return text

    def remove(self, name: str, noted: Noting = None) -> None:
        """Remove a draft with its lists. ConfigError if there is none."""
        self.read(name)
        check_unused(self.path(name).parent, self._data_dir)
        if noted is not None:
            noted()
        try:
            shutil.rmtree(self.path(name).parent)
        except OSError as fault:
            raise ConfigError(f'draft "{name}" cannot be removed now: {fault.strerror}; try again') from fault

    def files(self, name: str) -> tuple[dict[str, Any], ...]:
        """Return the lists beside a draft, with how long they are, and when they came. ConfigError if there is no such
        draft."""
        self.read(name)
        beside = sorted(self.path(name).parent.iterdir())
        return tuple(
            {"name": one.name, "bytes": one.stat().st_size, "changed_ns": one.stat().st_mtime_ns}
            for one in beside
            if LIST_NAME.fullmatch(one.name)
        )

    def base(self, name: str) -> str:
        """Return a hash of a draft and of when its lists were written: they may be long. ConfigError as for `read`."""
        beside = [(one["name"], one["bytes"], one["changed_ns"]) for one in self.files(name)]
        return hashlib.sha256(msgspec.json.encode((self.read(name), beside))).hexdigest()

    def check(self, name: str, now_us: int) -> Checked:
        """Return what the draft would do, or what is wrong with it."""
        path = self.path(name)
        edition, seen = edition_of(self.read(name)), self.base(name)
        try:
            self._check_lists(name)
            campaign = load_campaign_file(path)
            fields, lines = check_campaign(campaign, str(path), now_us)
            splits = _splits(campaign)
        except RedrushError as fault:
            return Checked(
                ok=False, problems=[problem_of(str(fault))], says=[], warnings=[], splits={}, edition=edition, seen=seen
            )
        # Warnings stand among the lines, too.
        said = [line.replace(str(path), path.name) for line in lines if not line.startswith(WARNING)]
        return Checked(
            ok=True, problems=[], says=said, warnings=list(fields["warnings"]), rounds=fields["rounds"], splits=splits,
            edition=edition, seen=seen,
        )  # fmt: skip

    def load(self, name: str) -> CampaignFile:
        """Return the campaign. ConfigError says what is wrong."""
        self._check_lists(name)
        return load_campaign_file(self.path(name))

    def _check_lists(self, name: str) -> None:
        check_lists(self.path(name), self.read(name), self._data_dir)

    async def take(self, name: str, file: str, pieces: AsyncIterator[bytes], noted: Noting = None) -> Uploaded:
        """Keep a list that comes in pieces, beside the draft, and say what is in it. ConfigError for what is no name of
        a list, and for one that is too long. It is noted once it is there whole, before it takes its place."""
        self.read(name)
        if LIST_NAME.fullmatch(file) is None:
            raise ConfigError(f'"{file}" is no name of a list: letters, digits, - _ and ., ending with .csv or .txt')
        directory = self.path(name).parent
        beside_it = {path.name for path in directory.iterdir()} - {file}
        if len(beside_it) > FILES_MAX:
            raise ConfigError(f'draft "{name}" has {FILES_MAX} lists, no more are possible')
        beside, size, lines, digest = directory / f"{file}.{secrets.token_hex(4)}.new", 0, 0, hashlib.sha256()
        try:
            with beside.open("wb") as out:
                async for piece in pieces:
                    size, lines = size + len(piece), lines + piece.count(b"\n")
                    if size > UPLOAD_BYTES_MAX:
                        raise ConfigError(f"{file}: longer than {UPLOAD_BYTES_MAX >> 20} MiB; bring it as a file")
                    if shutil.disk_usage(directory).free < DISK_LEFT_MIN + len(piece):
                        raise ConfigError(f"{file}: the disk has too little left for it, and the event needs that")
                    digest.update(piece)
                    out.write(piece)
                out.flush()
                os.fsync(out.fileno())
            if noted is not None:
                noted()
            beside.replace(directory / file)
            sync_directory(directory)
        except OSError as fault:
            raise ConfigError(f"{directory / file}: cannot be written: {fault.strerror}") from fault
        finally:
            beside.unlink(missing_ok=True)
        problems = await asyncio.to_thread(_faults, directory / file)
        return Uploaded(file=file, bytes=size, sha256=digest.hexdigest(), lines=lines, problems=problems)

    def path(self, name: str) -> Path:
        """Return where a draft is. ConfigError for what is no name of one."""
        try:
            check_id("name", name)
        except Wrong as fault:
            raise ConfigError(str(fault)) from None
        return self._root / name / f"{name}.toml"

    def _new(self, name: str, text: str, noted: Noting) -> str:
        path = self.path(name)
        if path.exists():
            raise ConfigError(f'there is a draft "{name}" already')
        if len(self.list()) >= DRAFTS_MAX:
            raise ConfigError(f"there are {DRAFTS_MAX} drafts, no more are possible; remove some")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._keep(name, text, noted)
        return text

    def _keep(self, name: str, text: str, noted: Noting) -> None:
        content = text.encode()
        if len(content) > FILE_BYTES_MAX:
            raise ConfigError(f"{name}.toml: larger than {FILE_BYTES_MAX} bytes")
        path = self.path(name)
        if noted is not None:
            noted()
        try:
            write_durably(path, content)
        except OSError as fault:
            raise ConfigError(f"{path}: cannot be written: {fault.strerror}") from fault


def problem_of(sentence: str) -> Problem:
    """Return where a validator's sentence points to."""
    found = _FAULT.match(sentence)
    if found is None:
        return Problem(line=None, key=None, said=sentence)
    line = None if found["line"] is None else int(found["line"])
    return Problem(line=line, key=found["key"], said=found["said"])


def _splits(file: CampaignFile) -> dict[str, list[Bar]]:
    """Return, for each round of packets, how its amounts would lie: of a split with a seed of its own."""
    found = {}
    for round_ in file.rounds:
        if round_.kind not in {Kind.LUCKY, Kind.LUCKY_DOUBLE_MEAN, Kind.EQUAL} or not round_.packets:
            continue
        packets = min(round_.packets, SHOWN_PACKETS_MAX)
        total = round_.total_minor * packets // round_.packets
        try:
            amounts = split(round_.kind, total, packets, round_.min_minor, round_.max_minor, secrets.token_bytes(16))
        except ValueError:
            continue
        least, most = int(amounts.min()), int(amounts.max())
        step = max(1, -(-(most - least + 1) // BARS))
        found[round_.id] = [
            Bar(
                format_amount(low, file.currency),
                format_amount(min(low + step - 1, most), file.currency),
                int(((amounts >= low) & (amounts < low + step)).sum()),
            )
            for low in range(least, most + 1, step)
        ]
    return found


def _faults(path: Path) -> list[str]:
    """Return what is wrong with a list of users, or of codes (whose name says so), as a start would tell it."""
    try:
        if path.suffix == ".csv" and CODES in path.name.lower():
            if path.stat().st_size > CODES_BYTES_MAX:
                return []
            return [one.replace(str(path), path.name) for one in read_codes(path).doubts]
        read_users(path)
    except (RedrushError, BadCodes) as fault:
        return [str(fault).replace(str(path), path.name)]
    return []
