"""The values of a draft's text as a form has them: read, and changed so that comments stay (tomlkit). Calls block."""

import re
from typing import Any, Final

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Table

from redrush.errors import ConfigError

FORM_CHARS_MAX: Final = 60_000
"""Of a text that is read for a form. What keeps comments takes time that grows with the square of what it reads: some
seconds for this much at the worst, many minutes for as much as a campaign file may have."""


NOT_READ: Final = (TOMLKitError, ValueError, RecursionError)
"""What tomlkit raises for what is no TOML, and for numbers of thousands of digits and thousands of levels, which may be
TOML."""


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A value of the text, as a form has it."""

    path: str
    key: str
    value: str


def fields_of(text: str) -> list[Field]:
    """Return the plain values of the text, in its order, for a form; none if it is no TOML, too long for one, or too
    deep."""
    if len(text) > FORM_CHARS_MAX:
        return []
    try:
        found: list[Field] = []
        _collect(tomlkit.parse(text), "", found)
    except NOT_READ:
        return []
    return found


def _collect(table: Any, prefix: str, found: list[Field]) -> None:
    for key, value in table.items():
        path = f"{prefix}{key}"
        if isinstance(value, AoT):
            for index, one in enumerate(value):
                _collect(one, f"{path}[{index}].", found)
        elif isinstance(value, Table):
            _collect(value, f"{path}.", found)
        elif isinstance(value, str):
            found.append(Field(path=path, key=key, value=str(value)))
        elif hasattr(value, "as_string"):
            found.append(Field(path=path, key=key, value=value.as_string()))


def set_value(text: str, path: str, value: str) -> str:
    """Return the text with another value at a key that it has, of the same type; comments stay. ConfigError if there is
    no such key, the value is none of its type, or the text is too long for a form."""
    if len(text) > FORM_CHARS_MAX:
        raise ConfigError(f"the text has more than {FORM_CHARS_MAX:,} characters: change it as text, not by a form")
    try:
        document = tomlkit.parse(text)
    except RecursionError:
        raise ConfigError("the text is nested too deeply, so no value of it can be changed by a form") from None
    except NOT_READ as fault:
        raise ConfigError(f"the text is no TOML, so no value of it can be changed: {fault}") from None
    *steps, last = re.findall(r"[^.\[\]]+", path) or [path]
    table: Any = document
    try:
        for step in steps:
            table = table[int(step)] if isinstance(table, list) else table[step]
        old = table[last]
    except (KeyError, IndexError, TypeError, ValueError):
        raise ConfigError(f'the text has no "{path}"') from None
    if isinstance(old, str):
        table[last] = value
        return tomlkit.dumps(document)
    try:
        new = tomlkit.value(value)
    except NOT_READ:
        raise ConfigError(f'{path}: "{value[:80]}" is no value as TOML has it') from None
    table[last] = new
    return tomlkit.dumps(document)
