"""A file of listed items, such as seats: one id a line, or the first column of a CSV file from a spreadsheet."""

import csv
from pathlib import Path
from typing import Final

from redrush.core.identity.encodings import decoded
from redrush.named_file import read_named

ITEMS_MAX: Final = 100_000
"""Items of one round: their ids stand in the seal."""
ITEM_SIGNS_MAX: Final = 64
ITEMS_BYTES_MAX: Final = 32_000_000

HEADINGS: Final = frozenset({"id", "item", "seat", "sku", "编号", "座位"})
"""What the first line may say instead of an item, in whatever case."""


def read_items(path: Path) -> tuple[str, ...]:
    """Return the ids in their order. Raises ValueError, with the line, for blanks, duplicates and what cannot be read.

    Ids that differ in nothing but their case, or in spaces around them, are duplicates: people would take one for the
    other.
    """
    try:
        data = read_named(path, ITEMS_BYTES_MAX)
    except OSError as fault:
        raise ValueError(f"{path} cannot be read: {fault.strerror}") from fault
    if len(data) > ITEMS_BYTES_MAX:
        raise ValueError(f"{path} is larger than {ITEMS_BYTES_MAX:,} bytes; a list of items has one id a line")
    text = decoded(data, str(path))
    seen: dict[str, int] = {}
    items: list[str] = []
    reader = csv.reader(text.splitlines())
    for row in reader:
        item = row[0].strip() if row else ""
        if reader.line_num == 1 and item.casefold() in HEADINGS:
            continue
        _check(path, reader.line_num, item, seen)
        items.append(item)
    if not items:
        raise ValueError(f"{path} lists no items: write one id a line")
    if len(items) > ITEMS_MAX:
        raise ValueError(f"{path} lists {len(items):,} items; at most {ITEMS_MAX:,} are possible in one round")
    return tuple(items)


def _check(path: Path, line: int, item: str, seen: dict[str, int]) -> None:
    if not item:
        raise ValueError(f"{path}:{line} is blank: each line has the id of one item")
    if len(item) > ITEM_SIGNS_MAX or not item.isprintable():
        raise ValueError(f"{path}:{line} is no id: at most {ITEM_SIGNS_MAX} signs, all of which can be seen")
    first = seen.setdefault(item.casefold(), line)
    if first != line:
        raise ValueError(f'{path}:{line} has "{item}" a second time, it stands in line {first}: an item is sold once')
