"""Campaign files for tests, as text: every test says only what matters to it. Imports nothing of redrush."""

import re
from typing import Final

OFF: Final = '[limits]\nuser_per_second = "off"\n'
"""A further table: users may ask as often as they like."""

_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T.*")


def campaign(*rounds: str, id: str = "c", name: str = "n", tables: str = "", **more: str | int) -> str:  # noqa: A002 - the key's name
    """Return a campaign file: its own keys, `tables` as they are written, and the rounds; or a plain one."""
    head = _keys({"id": id, "name": name, "currency": "CNY", **more})
    return f"[campaign]\n{head}{tables}{''.join(rounds or (a_round(),))}"


def a_round(
    id: str = "r1",  # noqa: A002 - the key's name
    total: str = "1.00",
    packets: int = 100,
    *,
    kind: str = "equal",
    opens: str = "now",
    lasts: str = "1h",
    **more: str | int,
) -> str:
    """Return the table of a round; `more` are further keys, of which "min" and "max" are the bounds of a lucky one."""
    keys = {"id": id, "opens": opens, "lasts": lasts, "kind": kind, "total": total, "packets": packets, **more}
    return f"[[round]]\n{_keys(keys)}"


def lucky(id: str = "r1", total: str = "100.00", packets: int = 100, **more: str | int) -> str:  # noqa: A002 - the key's name
    """Return a round of lucky packets, of 0.01 to 20.00 unless `more` says otherwise."""
    return a_round(id, total, packets, **{"kind": "lucky", "min": "0.01", "max": "20.00", **more})  # type: ignore[arg-type]


def _keys(keys: dict[str, str | int]) -> str:
    return "".join(f"{name} = {_written(value)}\n" for name, value in keys.items())


def _written(value: str | int) -> str:
    """An instant is no string in TOML."""
    return f"{value}" if isinstance(value, int) or _INSTANT.fullmatch(value) else f'"{value}"'
