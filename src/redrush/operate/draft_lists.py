"""Which lists a draft may name: those that were brought to it, and those of campaigns that are there already.

Whoever writes drafts is at a console and not on the machine. What the validator says of a list quotes its lines, and
codes are given away, so a draft that named any file of the machine would show it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from redrush.config.toml_file import tables_of
from redrush.control.data_dir import DataDir
from redrush.control.written import load_written
from redrush.errors import ConfigError, RedrushError
from redrush.operate.campaigns import list_campaigns
from redrush.operate.cloning import LIST_NAME

KEYS: Final = frozenset({"audience", "blocked", "codes", "items", "followers"})
"""Whose values are paths of lists. A picture or a sound is shown to nobody unless it is one."""
DEPTH_MAX: Final = 20
"""How deep tables and lists are looked into. No key of a campaign file is nearly as deep; what is, the validator
refuses before it reads any list."""
ADDRESSES: Final = ("http://", "https://", "postgresql://")


def check_lists(path: Path, text: str, data_dir: DataDir) -> None:
    """ConfigError, with its key, for a list that the text of a draft of this directory names and may not."""
    known: set[Path] | None = None
    for where, value in _lists_in(text):
        named = path.parent / value
        if named.parent == path.parent and LIST_NAME.fullmatch(named.name) is not None:
            continue
        if known is None:
            there = [DataDir(Path(one["directory"])) for one in list_campaigns(data_dir)]
            known = {one for directory in there for one in _lists_of(directory)}
        if "\0" in value or named.resolve() not in known:
            raise ConfigError(
                f'{path}: {where}: "{value}" is not beside the draft; bring the list to it, and write its name alone'
            )


def check_unused(directory: Path, data_dir: DataDir) -> None:
    """ConfigError if a campaign of the data directory that was not ended reads a list that is in the directory of a
    draft: its server reads it at the next start."""
    for one in list_campaigns(data_dir):
        if one["ended_at"] is not None:
            continue
        for path in _lists_of(DataDir(Path(one["directory"]))):
            if path.parent == directory.resolve():
                raise ConfigError(
                    f'campaign "{one["campaign"]}" is served with {path.name} of this draft, and reads it at each '
                    "start, so nothing was removed; end the campaign first"
                )


def _lists_of(data_dir: DataDir) -> Iterator[Path]:
    try:
        written = load_written(data_dir)
    except RedrushError:
        return
    if written is not None:
        for _, value in _lists_in(written.text):
            yield (Path(written.directory) / value).resolve()


def _lists_in(text: str) -> Iterator[tuple[str, str]]:
    """Yield the key and the value of each list that the text names; none if it is no TOML, as the validator says."""
    try:
        tables = tables_of(text, "")
    except ConfigError:
        return
    yield from _named(tables, "", DEPTH_MAX)


def _named(value: Any, at: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth == 0:
        return
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from _named(one, f"{at}[{index}]", depth - 1)
    elif isinstance(value, dict):
        for key, one in value.items():
            where = f"{at}.{key}" if at else key
            if key in KEYS and isinstance(one, str) and not one.startswith(ADDRESSES):
                yield where, one
            else:
                yield from _named(one, where, depth - 1)
