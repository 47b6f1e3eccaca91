"""What the bills of WeChat Pay and Alipay have in common: lines, rows with named columns, instants, amounts in yuan
with a sign and with more places than money has, and when a bill is there."""

import re
from typing import Final

from redrush.errors import RedrushError
from redrush.providers import beijing

BILL_BYTES_MAX: Final = 512_000_000
"""Of a day: several million lines."""

READY_US: Final = 12 * 3_600 * 1_000_000
"""So long after the end of a day its bill is there, if anything moved: it is promised for ten in the morning."""

NOT_YET: Final = "it is not there yet: a day's bill comes in the next morning"

_AMOUNT: Final = re.compile(r"([+-]?)(\d{1,13})(?:\.(\d{1,2})(0*))?", re.ASCII)


class BillUnreadable(RedrushError):
    """A bill is not whole, or has something in it that no bill has."""


class Row(dict[str, str]):
    """A row of a bill, by its columns' names. BillUnreadable for a column that the bill has not, or has renamed."""

    def __missing__(self, name: str) -> str:
        raise BillUnreadable(f"the bill has no column {name}, or a row ends before it")

    def at_us(self, name: str) -> int:
        """Return the instant in this column, µs since the epoch. BillUnreadable if it states none."""
        at_us = beijing.us_of(self.get(name))
        if at_us is None:
            raise BillUnreadable(f"a row of the bill has no time: {self.get(name)!r}")
        return at_us


def text_of(content: bytes) -> str:
    """Return the text of a file, which is in UTF-8, or in the code that spreadsheets of the country write."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("gb18030", "replace")


def lines_of(text: str) -> list[str]:
    """Return the lines of a bill, which end with CR LF or with LF. Nothing else ends one: buyers write signs into
    their orders' titles that other readers take for an end of line."""
    return text.replace("\r\n", "\n").split("\n")


def minor_of(text: str | None) -> int:
    """Return the fen of a text in yuan, as "-0.10000"; nothing for an empty one. BillUnreadable for anything else."""
    text = (text or "").strip()
    if not text:
        return 0
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise BillUnreadable(f"{text[:40]!r} in the bill is no amount of whole fen")
    minor = int(match[2]) * 100 + int((match[3] or "").ljust(2, "0"))
    return -minor if match[1] == "-" else minor


def is_ready(bounds: tuple[int, int], now_us: int) -> bool:
    """Whether the bill of a day would be there, had anything moved on it."""
    return now_us >= bounds[1] + READY_US
