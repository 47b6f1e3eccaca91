"""Lines for a terminal: styled, in tables and frames, as wide as it is, in Chinese as in English.

A line is a row of pieces, each a text and its style: words of `_CODES`, such as "bold red". All that is computed here
is how wide texts are and where they break. On a terminal styles are colours; a file or a pipe gets the texts alone.

Rejected: rich. With what it brings it is a tenth of all that is installed, on servers too; reports use little of it.
"""

import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

import msgspec

Piece = tuple[str, str]
Line = tuple[Piece, ...]
Cell = Sequence[Line]
"""Lines below each other."""

_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
WIDTH_LEAST: Final = 2
"""What has less room is as wide as this all the same: a wide character takes two columns."""
_WIDE: Final = frozenset({"W", "F"})


def line(*pieces: str | Piece) -> Line:
    """Return a line of these pieces; a text alone has no style."""
    return tuple((piece, "") if isinstance(piece, str) else piece for piece in pieces)


def width_of(text: str) -> int:
    """Return how many columns of a terminal the text takes: two for each Chinese character."""
    if text.isascii():
        return len(text)
    return sum(map(_width_of_one, text))


def _width_of_one(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


def padded(text: str, width: int) -> str:
    """Return the text with blanks up to this width; one that is wider as it is."""
    return text + " " * (width - width_of(text))


def wrapped(whole: Line, width: int) -> list[Line]:
    """Return the line in lines no wider than this, broken at blanks, or anywhere in a word that is wider alone."""
    lines: list[list[Piece]] = [[]]
    room = width = max(width, WIDTH_LEAST)
    for word in _words(whole):
        if lines[-1] and _width(word) > room:
            lines.append([])
            room = width
            if not word[0][0].strip():  # the blank at which it breaks
                continue
        for text, style in word:
            kept = text
            while kept:
                taken = _head(kept, room) if width_of(kept) > room else kept
                if not taken:
                    lines.append([])
                    room = width
                    continue
                _add(lines[-1], taken, style)
                room -= width_of(taken)
                kept = kept[len(taken) :]
    return [_without_end(pieces) for pieces in lines]


def _words(whole: Line) -> list[list[Piece]]:
    """Return blanks and words in turns; a word may have several styles. A wide character is a word by itself."""
    words: list[list[Piece]] = []
    kind_before = ""
    for text, style in whole:
        for character in text:
            kind = "blank" if character == " " else "wide" if _width_of_one(character) == 2 else "word"
            if kind != kind_before or kind == "wide":
                words.append([])
            kind_before = kind
            _add(words[-1], character, style)
    return words


def _add(pieces: list[Piece], text: str, style: str) -> None:
    """Put the text behind the pieces, into the last one if that has the same style."""
    if pieces and pieces[-1][1] == style:
        pieces[-1] = (pieces[-1][0] + text, style)
    else:
        pieces.append((text, style))


def _head(text: str, width: int) -> str:
    """Return as much of the beginning as is no wider than this."""
    for end in range(min(len(text), width), 0, -1):
        if width_of(text[:end]) <= width:
            return text[:end]
    return ""


def _width(pieces: Iterable[Piece]) -> int:
    return sum(width_of(text) for text, _ in pieces)


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a table. Where that is too wide, a column that breaks is made narrower, and its texts wrapped."""

    heading: str = ""
    style: str = ""
    to_the_right: bool = False
    breaks: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]], width: int, gap: int = 2) -> list[Line]:
    """Return the table as lines, with its headings, if there are any. Only one column may break."""
    filled = [[_cell(*pair) for pair in zip(columns, row, strict=True)] for row in rows]
    if any(column.heading for column in columns):
        filled.insert(0, [[line((column.heading, "dim"))] for column in columns])
    widths = [max((_width(one) for row in filled for one in row[place]), default=0) for place in range(len(columns))]
    over = sum(widths) + gap * (len(columns) - 1) - width
    for place, column in enumerate(columns):
        if column.breaks and over > 0:
            widths[place] = max(8, widths[place] - over)
    return [one for row in filled for one in _row(columns, row, widths, gap)]


def _cell(column: Column, cell: str | Cell) -> Cell:
    return [line((cell, column.style))] if isinstance(cell, str) else cell


def _row(columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int], gap: int) -> list[Line]:
    cells = [[part for one in cell for part in wrapped(one, room)] for cell, room in zip(row, widths, strict=True)]
    lines: list[Line] = []
    for at in range(max(map(len, cells))):
        pieces: list[Piece] = []
        for place, (column, cell) in enumerate(zip(columns, cells, strict=True)):
            shown = cell[at] if at < len(cell) else ()
            blanks = (" " * (widths[place] - _width(shown)), "")
            pieces += [blanks, *shown] if column.to_the_right else [*shown, blanks]
            pieces.append((" " * gap, ""))
        lines.append(_without_end(pieces))
    return lines


def _without_end(pieces: list[Piece]) -> Line:
    """Return the line without the blanks that it ends with."""
    while pieces:
        text, style = pieces.pop()
        if kept := text.rstrip(" "):
            return (*pieces, (kept, style))
    return ()


def framed(body: Sequence[Line], title: str, style: str, width: int) -> list[Line]:
    """Return the lines in a frame of this width, with a title in its upper edge."""
    width = max(width, WIDTH_LEAST + 6)
    inside = width - 6
    lines: list[Line] = [()]
    for one in body:
        lines += wrapped(one, inside)
    lines.append(())
    name = _head(title, inside)
    left = (width - 4 - width_of(name)) // 2
    right = width - 4 - width_of(name) - left
    top = line(("╭" + "─" * left, style), (f" {name} ", f"bold {style}"), ("─" * right + "╮", style))
    sides = [line(("│  ", style), *one, " " * (inside - _width(one)), ("  │", style)) for one in lines]
    return [top, *sides, line(("╰" + "─" * (width - 2) + "╯", style))]


class Terminal:
    """Writes lines to a stream. `width` is that of the terminal, or 80; `is_live` says that it is one on which lines
    can be renewed."""

    def __init__(self, stream: TextIO | None = None, width: int | None = None) -> None:
        """By default it is standard output, as wide as COLUMNS or the terminal say."""
        self._stream = stream or sys.stdout
        self.width = width or shutil.get_terminal_size((80, 24)).columns
        self.is_live = self._stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._colours = self.is_live and not os.environ.get("NO_COLOR")
        self._renewed = 0

    def show(self, lines: Iterable[Line]) -> None:
        """Write the lines, wrapped where they are too wide. What was to be renewed makes way for them."""
        self.say(part for one in lines for part in wrapped(one, self.width))

    def say(self, lines: Iterable[Line] | str) -> None:
        """Write the lines as they are: each stays one for whoever copies it."""
        self.renew(())
        self._write([line(lines)] if isinstance(lines, str) else lines)

    def renew(self, lines: Sequence[Line]) -> None:
        """Write the lines in place of those of the last time. Only where `is_live`."""
        if self._renewed:
            self._stream.write(f"\x1b[{self._renewed}F\x1b[J")
        self._renewed = len(lines)
        self._write(wrapped(one, self.width - 1)[0] for one in lines)

    def _write(self, lines: Iterable[Line]) -> None:
        text = "".join("".join(map(self._styled, one)) + "\n" for one in lines)
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()

    def _styled(self, piece: Piece) -> str:
        text, style = piece
        if not style or not self._colours or not text:
            return text
        return f"\x1b[{';'.join(_CODES[word] for word in dict.fromkeys(style.split()))}m{text}\x1b[0m"
