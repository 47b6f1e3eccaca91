"""A campaign that is served, or was, once more: its file as it was written, under another id, at other times.

All rounds move by one shift, so that the first one opens when it is asked for; nothing of what was sealed comes along:
no amounts, no keys, no codes (they are given away already). Lists of users and items are copied where they still are.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import DateTime

from redrush.config import NOW, WrittenFile, check_year
from redrush.control.data_dir import DataDir
from redrush.control.event import load_campaign
from redrush.control.written import load_written
from redrush.errors import ConfigError
from redrush.page.sounds import ENDS
from redrush.page.terms import MOMENTS

LISTS: Final = (".csv", ".txt")
LIST_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\.(csv|txt)", re.ASCII)
"""How a list beside a draft may be called."""
CODES: Final = "codes"
"""The key of what is given once: a copy needs codes of its own."""
PICTURE: Final = "picture"
SOUNDS: Final = tuple(f".{end}" for end in ENDS.values())
INSTANTS: Final = ("opens", "until")


class Cloned(msgspec.Struct, frozen=True):
    """The text of a copy, and the lists that it names, where they are, by the name that they have beside it."""

    text: str
    lists: Mapping[str, Path]


def clone_of(data_dir: DataDir, campaign_id: str, opens: str) -> Cloned:
    """Return the copy of the campaign of a directory, with `campaign_id` for its id, whose first round opens at `opens`
    (an instant with its offset). ConfigError for what is none, and where no text was kept."""
    wanted = _instant(opens)
    written = load_written(data_dir)
    if written is None:
        raise ConfigError(
            f"{data_dir.root}: an earlier release has prepared this campaign, and kept no text of it; begin with its "
            "file: bring it as a draft"
        )
    try:
        document = tomlkit.parse(written.text)
    except TOMLKitError as fault:
        raise ConfigError(f"{data_dir.written}: the text is no TOML: {fault}") from fault
    document["campaign"]["id"] = campaign_id
    _move(document, data_dir, wanted)
    lists = dict(_lists(document, written))  # before the text is written down: it names them otherwise
    return Cloned(tomlkit.dumps(document), lists)


def copy_lists(lists: Mapping[str, Path], to: Path) -> None:
    """Copy lists into a directory. ConfigError if the disk refuses."""
    for name, path in lists.items():
        try:
            shutil.copyfile(path, to / name)
        except OSError as fault:
            raise ConfigError(f"{path}: cannot be copied to {to / name}: {fault.strerror}") from fault


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError(f'"{text}" is no instant: write it like 2027-02-06T20:00:00+08:00') from None
    if at.tzinfo is None:
        raise ConfigError(f'"{text}" says no zone: write it like 2027-02-06T20:00:00+08:00')
    offset = at.utcoffset()
    if offset is not None and offset % timedelta(minutes=1):  # TOML has no such offset
        raise ConfigError(f'"{text}" has an offset with seconds: write it like 2027-02-06T20:00:00+08:00')
    try:
        check_year(at)
    except ValueError as wrong:
        raise ConfigError(str(wrong)) from None
    return at


def _move(document: Any, data_dir: DataDir, wanted: datetime) -> None:
    """Move every round by the shift that lets the first one open at `wanted`, and write all in its offset."""
    sealed = {
        one.id: datetime.fromtimestamp(one.opens_us // 1_000_000, UTC)  # of "now" nobody means the fraction
        for one in load_campaign(data_dir).rounds
    }
    rounds = list(document["round"])
    opens = [sealed.get(str(one["id"])) if one["opens"] == NOW else one["opens"] for one in rounds]
    known = [at for at in opens if at is not None]
    if not known:
        raise ConfigError(f"{data_dir.root}: when the rounds of this campaign opened is not known any more")
    shift = wanted - min(known)
    for round_, at in zip(rounds, opens, strict=True):
        if at is None:
            continue
        try:
            _write(round_, "opens", at + shift, wanted)
            if (until := round_.get("until")) is not None:
                _write(round_, "until", until + shift, wanted)
        except OverflowError:
            raise ConfigError(f"then round {round_['id']} would open after the last year that there is") from None


def _write(round_: Any, key: str, at: datetime, like: datetime) -> None:
    """Write an instant at a key, in the offset of another one; what stands behind it on its line stays."""
    written = tomlkit.value(_spelled(at.astimezone(like.tzinfo)))
    assert isinstance(written, DateTime)
    if (was := round_.item(key) if hasattr(round_, "item") else None) is not None:
        written.trivia.comment_ws, written.trivia.comment = was.trivia.comment_ws, was.trivia.comment
    round_[key] = written


def _spelled(at: datetime) -> str:
    text = at.isoformat()
    return text.removesuffix("+00:00") + "Z" if at.utcoffset() == timedelta(0) else text


def _lists(document: Any, written: WrittenFile) -> Iterator[tuple[str, Path]]:
    """Yield the lists that the text names, and let it name each as one beside it. Pictures and sounds stay where they
    are, and so does a list whose name none beside a draft may have, or another one has."""
    taken: dict[str, Path] = {}
    for table, key, text in _named(document):
        path = Path(written.directory) / text
        is_list = key != CODES and text.endswith(LISTS) and path.is_file()
        if is_list and LIST_NAME.fullmatch(path.name) is not None and taken.setdefault(path.name, path) == path:
            table[key] = path.name
            yield path.name, path
        elif is_list or key == PICTURE or (key in MOMENTS and text.lower().endswith(SOUNDS)):
            table[key] = str(path)


def _named(value: Any) -> Iterator[tuple[Any, str, str]]:
    """Yield each text of the tables: the table, its key, and what it says."""
    if isinstance(value, list):
        for one in value:
            yield from _named(one)
    elif isinstance(value, dict):
        for key, one in list(value.items()):
            if isinstance(one, str):
                yield value, str(key), str(one)
            else:
                yield from _named(one)
