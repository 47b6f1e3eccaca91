"""What the tables of a file are, by the types that it is read as: for who wrote a key into the wrong one."""

import re
from collections.abc import Iterator
from typing import Any, Final

from msgspec import inspect

HOMES_MAX: Final = 2
"""A key that more tables have, as `id`, says nothing of where it was meant to be."""

DEPTH_MAX: Final = 4
"""Tables within tables that are looked into."""


def homes_of(key: str, shape: type[Any], path: str) -> list[str]:
    """Return the tables of a file read as `shape` that have the key, as their headers are written; none if there are
    many. `path` is that of the table in which it stands, like "round[1]": it has no such key, whatever its kind."""
    here = re.sub(r"\[\d+\]", "", path)
    found = {name: header for name, header in _homes(key, inspect.type_info(shape), "", "") if name != here}
    return list(found.values()) if len(found) <= HOMES_MAX else []


def _homes(key: str, kind: inspect.Type, name: str, header: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the header of each table below this one, and of itself, that has the key."""
    match kind:
        case inspect.StructType(fields=fields) if name.count(".") < DEPTH_MAX:
            for field in fields:
                if name and field.encode_name == key:
                    yield name, header
                below = f"{name}.{field.encode_name}".lstrip(".")
                yield from _homes(key, field.type, below, f"[{below}]")
        case inspect.ListType(item_type=item):
            yield from _homes(key, item, name, f"[{header}]")
        case inspect.UnionType(types=kinds):
            for one in kinds:
                yield from _homes(key, one, name, header)
        case _:
            pass
