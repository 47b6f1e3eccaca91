"""Lists of codes: a CSV file with one code a line, in the first column or in the one named `code`.

A list is refused for what would hurt a winner: a code that stands twice (two people would have the same), one that is
blank or has a sign in it that nobody can type. Codes that only look alike (`O` and `0`, `I` and `1`) are possible, and
told: whoever reads one aloud may be given the other's.
"""

import csv
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from redrush.core.identity.encodings import decoded
from redrush.named_file import read_named

CODES_MAX: Final = 1_000_000
"""Codes of one prize: they are held in memory."""
CODE_CHARS_MAX: Final = 200
FILE_BYTES_MAX: Final = 256 << 20
TOLD_MAX: Final = 10
"""Lines that are told of what is wrong; the count tells of the rest."""

_NAME: Final = "code"
_LOOK_ALIKE: Final = str.maketrans("OQIL|ZSBG", "001112586")
"""Signs that are taken for one another, in print or by ear."""


class CodeList(msgspec.Struct, frozen=True):
    """Codes in order of the file, and sentences about those that look alike."""

    codes: tuple[str, ...]
    doubts: tuple[str, ...] = ()

    def first(self, count: int) -> "CodeList":
        """Return the first `count` of them."""
        return self if count >= len(self.codes) else CodeList(self.codes[:count])

    @property
    def sha256(self) -> str:
        """The hash that tells this list from any other."""
        return hashlib.sha256("\n".join(self.codes).encode()).hexdigest()


class BadCodes(ValueError):
    """The list cannot be used; the sentence says why, with lines."""


def read_codes(path: Path) -> CodeList:
    """Return the codes of the file. Raises BadCodes for a list that cannot be used, and OSError as the disk does."""
    data = read_named(path, FILE_BYTES_MAX)
    if len(data) > FILE_BYTES_MAX:
        raise BadCodes(f"{path} is larger than {FILE_BYTES_MAX >> 20} MB; this is no list of codes")
    try:
        text = decoded(data, str(path))
    except ValueError as fault:
        raise BadCodes(str(fault)) from None
    return codes_of(text, str(path))


def codes_of(text: str, name: str) -> CodeList:
    """Return the codes that the text lists; `name` stands for the file in sentences. Raises BadCodes."""
    numbered = list(_column(text))
    if not numbered:
        raise BadCodes(f"{name} has no codes: write one a line")
    if len(numbered) > CODES_MAX:
        raise BadCodes(f"{name} has {len(numbered):,} codes; a prize has at most {CODES_MAX:,}")
    wrong = _wrong(numbered)
    if wrong:
        more = f"; and {len(wrong) - TOLD_MAX:,} more" if len(wrong) > TOLD_MAX else ""
        raise BadCodes(f"{name}: {'; '.join(wrong[:TOLD_MAX])}{more}")
    return CodeList(tuple(code for _, code in numbered), tuple(_alike(numbered, name)))


def _column(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and code of each row; empty lines at the end are none."""
    reader = csv.reader(text.rstrip().splitlines())
    at = 0
    for number, row in enumerate(reader):
        names = [cell.strip().lower() for cell in row]
        if number == 0 and _NAME in names:
            at = names.index(_NAME)
            continue
        yield reader.line_num, row[at].strip() if at < len(row) else ""


def _wrong(numbered: Sequence[tuple[int, str]]) -> list[str]:
    seen: dict[str, int] = {}
    wrong = []
    for line, code in numbered:
        if not code:
            wrong.append(f"line {line} is blank")
        elif len(code) > CODE_CHARS_MAX:
            wrong.append(f"line {line} has {len(code)} signs, a code has at most {CODE_CHARS_MAX}")
        elif not code.isprintable():
            wrong.append(f"line {line} has a sign in it that cannot be seen")
        elif code in seen:
            wrong.append(f"line {line} is the same code as line {seen[code]}")
        else:
            seen[code] = line
    return wrong


def _alike(numbered: Sequence[tuple[int, str]], name: str) -> Iterator[str]:
    seen: dict[str, int] = {}
    told = more = 0
    for line, code in numbered:
        folded = code.upper().translate(_LOOK_ALIKE)
        first = seen.setdefault(folded, line)
        if first == line:
            continue
        if told == TOLD_MAX:
            more += 1
            continue
        told += 1
        yield f"{name}: the codes in lines {first} and {line} look alike"
    if more:
        yield f"{name}: {more:,} more codes look like another one"
