"""TOML files with errors that say file, line and key: what campaign and deployment files have in common.

`tomllib` does not keep positions, so line numbers come from a scan of the text. What is wrong with a value is found
either by msgspec, from the types, or by a rule, which raises `Wrong` with the key (or a ValueError within `wrong_at`).
"""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from redrush.config.toml_hints import meant, type_meant
from redrush.config.toml_shapes import homes_of
from redrush.core.identity.encodings import UTF8_MARK, encoding_around, other_encoding, saved_as
from redrush.core.money.feasibility import ImpossibleSplit
from redrush.errors import ConfigError
from redrush.named_file import read_named

FILE_BYTES_MAX = 4_000_000

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.ASCII | re.IGNORECASE)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)

_File = TypeVar("_File")
_Value = TypeVar("_Value")


class Wrong(Exception):
    """A key's value is wrong; carries where, for the line number."""

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(sentence)
        self.path = path


class wrong_at:  # noqa: N801 - reads as a phrase: with wrong_at("round[0].lasts")
    """Turns a rule's ValueError or ImpossibleSplit into a `Wrong` at this key."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, fault: BaseException | None, _traceback: object) -> None:
        if isinstance(fault, ValueError | ImpossibleSplit):
            raise Wrong(self._path, str(fault)) from fault


def check_id(path: str, value: str) -> None:
    """Raise Wrong unless the value is an id."""
    if _ID.fullmatch(value) is None:
        raise Wrong(path, f'"{value}" is not an id: 1 to 32 letters, digits, - and _, starting with a letter or digit')


def file_at(path: str, directory: Path, value: str) -> Path:
    """Return the file that a value names, relative to `directory`. Raises Wrong for an address, of which a path would
    lose a slash, and which nobody fetches, and for what no system takes for a path."""
    if _ADDRESS.match(value) is not None:
        raise Wrong(path, f'"{value}" is an address; fetch it, and write the path of the file here')
    if "\0" in value:
        raise Wrong(path, f"{value!r} is no path of a file: it has a NUL character")
    return directory / value


def read_text(path: Path, kind: str, *, or_pipe: bool = False) -> str:
    """Return the text of the file, which should be a `kind` file; `or_pipe`: or of a pipe. ConfigError if it cannot be
    read."""
    try:
        data = read_named(path, FILE_BYTES_MAX, or_pipe=or_pipe)
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX} bytes; this is no {kind} file")
    if (encoding := other_encoding(data)) is not None:
        raise ConfigError(f"{path}: is not UTF-8 text; {saved_as(encoding)}")
    data = data.removeprefix(UTF8_MARK)
    try:
        # Of the line ends that Python knows TOML takes LF and CR LF; its reader tells of others.
        return data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        why = saved_as(encoding_around(data, fault.start))
        raise ConfigError(f"{path}:{line}: is not UTF-8 text (byte {fault.start}); {why}") from None


def tables_of(text: str, name: str) -> dict[str, Any]:
    """Return the tables of a TOML text; `name` stands for the file in errors."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        sentence, _, position = str(fault).partition(" (at ")
        line = _AT_LINE.match(position)
        number = int(line[1]) if line else text.count("\n") + 1
        if (twice := _twice(sentence, text, number)) is not None:
            raise ConfigError(f"{name}:{twice[0]}: {twice[1]}") from fault
        where = f"{name}:{number}"
        if (told := meant(text.split("\n")[number - 1])) is not None:
            raise ConfigError(f"{where}: {told}") from fault
        raise ConfigError(f"{where}: not valid TOML: {sentence[:1].lower()}{sentence[1:]}") from fault
    except (ValueError, RecursionError) as fault:
        # tomllib lets out what it meets within: numbers of thousands of digits, arrays of thousands of levels.
        where = f"{name}:{_too_much_at(text)}"
        raise ConfigError(f"{where}: not valid TOML: a value is too long or nested too deeply") from fault


def _too_much_at(text: str) -> int:
    """Return the line at which tomllib gives up for what it meets within: what ends before it is read, or no TOML."""
    lines = text.split("\n")

    def gives_up(count: int) -> bool:
        try:
            tomllib.loads("\n".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            return False
        except (ValueError, RecursionError):
            return True
        return False

    return bisect_left(range(1, len(lines)), True, key=gives_up) + 1


def parse(
    text: str,
    name: str,
    shape: type[_File],
    build: Callable[[_File], _Value],
    listed: Mapping[str, Sequence[str]],
) -> _Value:
    """Return what `build` makes of the text, read as a `shape`; `listed` are the values of keys that have but
    a few, for errors.

    ConfigError says file, line and key; `build` raises Wrong for what the types cannot say.
    """
    tables = tables_of(text, name)
    try:
        return build(msgspec.convert(tables, shape))
    except msgspec.ValidationError as fault:
        sentence, _, position = str(fault).partition(" - at `")
        path = position.rstrip("`").removeprefix("$.")
        found = _value_at(tables, path)
        unknown = _UNKNOWN.fullmatch(sentence)
        homes = [] if unknown is None else homes_of(unknown[1], shape, path)
        raise ConfigError(_located(text, name, path, _plain(sentence, path, listed, found, homes))) from None
    except Wrong as fault:
        raise ConfigError(_located(text, name, fault.path, str(fault))) from None


_AT_LINE = re.compile(r"line (\d+)")
_DECLARED_TWICE = re.compile(r"Cannot declare \((.+)\) twice")
_TWICE_INLINE = re.compile(r"Duplicate inline table key '(.+)'")
_PART = re.compile(r"'([^']*)'")


def _twice(sentence: str, text: str, number: int) -> tuple[int, str] | None:
    """Return the line of a key or table that stands there for the second time, and what to tell, if it is that which
    tomllib says of the text up to line `number`; else None."""
    if (inline := _TWICE_INLINE.match(sentence)) is not None:
        return number, f"{inline[1]} stands there twice; keep one of them"
    if (table := _DECLARED_TWICE.match(sentence)) is not None:
        return number, f"the table [{'.'.join(_PART.findall(table[1]))}] stands there twice; make one of them"
    if sentence != "Cannot overwrite a value":
        return None
    before = [found for found in _lines_of_keys(text) if found[1] <= number]
    if not before:
        return None
    key, second = before[-1]
    first = next(line for found, line in before if found == key)
    where = f", first in line {first}" if first != second else ""
    return second, f"{key} stands there twice{where}; keep one of them"


_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`")
_MISSING = re.compile(r"Object missing required field `(.+)`")
_ENUM = re.compile(r"Invalid (?:enum )?value '?(.+?)'?")


_TYPE = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def _value_at(tables: dict[str, Any], path: str) -> Any:
    """Return the value at a path like "round[1].total", or None."""
    value: Any = tables
    for step in _STEP.finditer(path):
        try:
            value = value[step[1]] if step[1] is not None else value[int(step[2])]
        except (KeyError, IndexError, TypeError):
            return None
    return value


_AMOUNTS = frozenset(
    {"total", "min", "max", "price", "budget", "amount", "share_max", "sender_day_max", "threshold", "worth"}
)
_NAMES = frozenset({"id", "name", "currency"})


def _quoted(key: str, number: float) -> str:
    """Return what was probably meant by a number where a text belongs: an amount, a name or a duration."""
    if key in _AMOUNTS:
        return f'"{number:.2f}"'
    return f'"{number}"' if key in _NAMES else f'"{number:g}s"'


def _plain(sentence: str, path: str, listed: Mapping[str, Sequence[str]], value: Any, homes: Sequence[str]) -> str:
    """Say what msgspec found at `path`, where `value` stands, in the words of the file; `homes` are the tables that
    have the key which this one has not."""
    key = path.rpartition(".")[2]
    if (found := _TYPE.fullmatch(sentence)) and not isinstance(value, bool):
        expected = found[1].split(" | ")
        if "str" in expected and isinstance(value, int | float):
            return f"is a number; here a text in quotes is expected: {key} = {_quoted(key, value)}"
        if isinstance(value, str) and {"int", "float"}.intersection(expected):
            return f'"{value}" is text; here a number is expected, without quotes'
        if expected == ["array"] and isinstance(value, dict) and path == key:
            return f"is one table, and there may be several: write [[{key}]]"
    if found and (told := type_meant(value, found[1].split(" | "))) is not None:
        return f"is {told[0]}; here {told[1]} is expected"
    if found := _UNKNOWN.fullmatch(sentence):
        if homes:
            return f'unknown key "{found[1]}"; it belongs to {" or ".join(homes)}'
        return f'unknown key "{found[1]}"'
    if found := _MISSING.fullmatch(sentence):
        return f'the key "{found[1]}" is missing'
    if (found := _ENUM.fullmatch(sentence)) and (values := listed.get(path.rpartition(".")[2])):
        allowed = ", ".join(f'"{value}"' for value in values)
        return f'"{found[1]}" is none of {allowed}'
    return sentence[:1].lower() + sentence[1:]


def _located(text: str, name: str, path: str, sentence: str) -> str:
    """Put file, line and key before the sentence. `path` is like "round[1].total"."""
    key = path
    if unknown := re.fullmatch(r'unknown key "(.+?)"(?:; it belongs to .+)?', sentence):
        key = f"{path}.{unknown[1]}".lstrip(".")
    lines: dict[str, int] = {}
    for found, number in _lines_of_keys(text):
        lines.setdefault(found, number)
    # The table around it is as near as a line-wise scan comes to a key in a table that is written in one line.
    candidates = (key, path, path.rpartition(".")[0])
    line = next((lines[candidate] for candidate in candidates if candidate in lines), 1)
    return f"{name}:{line}: {key}: {sentence}" if key else f"{name}:{line}: {sentence}"


_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]\]?")
_NAME = r"""["']?[A-Za-z0-9_-]+["']?"""
_KEY = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=")
_AROUND_A_STEP = " \t\"'"
_STEPS_MAX = 8
"""Of a dotted key (a.b.c = 1) that are looked at, which is more than any file has."""


def _lines_of_keys(text: str) -> Iterator[tuple[str, int]]:
    """Yield path and line of each table header and key, as far as a line-wise scan can tell."""
    table = ""
    seen: dict[str, Any] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if header := _HEADER.match(line):
            table = header[2]
            if header[1] == "[[":
                yield table, number
                seen[table] = seen.get(table, -1) + 1
                table = f"{table}[{seen[table]}]"
            elif (array := table.partition(".")[0]) in seen:
                table = table.replace(array, f"{array}[{seen[array]}]", 1)
            yield table, number
        elif key := _KEY.match(line):
            path = table
            for step in key[1].split(".", _STEPS_MAX)[:_STEPS_MAX]:
                path = f"{path}.{step.strip(_AROUND_A_STEP)}".lstrip(".")
                yield path, number
