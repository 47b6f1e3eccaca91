"""Reading the file of who may win: one user id a line, tens of millions of them.

It is read in pieces, so that beside the result (8 bytes a user) only some ten megabytes are held at any time. Only a
piece with something else than plain ids in it is looked at line by line, to tell the line that is wrong.
"""

import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from redrush.core.audience import Audience
from redrush.core.tickets import USER_BYTES_MAX, USER_PATTERN
from redrush.errors import ConfigError

PIECE_BYTES: Final = 1 << 20
LINE_BYTES_MAX: Final = 64 << 10
"""A thousand times the length of an id; without a bound a file without line ends would be read into memory whole."""

LINE_SHOWN_MAX: Final = 100
"""Characters of a wrong line that an error shows."""

_ID_BYTES: Final = b"\r\n_.:@-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LINE_ENDS: Final = re.compile("\r\n?|\n")


def load_audience(path: Path) -> Audience:
    """Return the users in the file, one a line; blank lines do not count, and white space around an id neither.

    ConfigError if it cannot be read or a line is no user id. Ten million lines take some 5 s.
    """
    # numpy is imported only where there is an audience: it costs a start 0.1 s.
    import numpy as np  # noqa: PLC0415

    digests = array("q")
    try:
        for users in _pieces(path):
            digests.frombytes(np.fromiter(map(hash, users), np.int64, len(users)).tobytes())
    except OSError as fault:
        raise ConfigError(f"{path}: the audience cannot be read: {fault.strerror}") from fault
    np.frombuffer(digests, np.int64).sort()
    return Audience(digests)


def _pieces(path: Path) -> Iterator[list[str]]:
    """Yield the users, some ten thousand at a time."""
    bytes_before = lines_before = 0
    rest = b""
    with path.open("rb") as file:
        while more := file.read(PIECE_BYTES):
            piece, end, rest = (rest + more).rpartition(b"\n")
            yield _users(path, piece, bytes_before, lines_before)
            bytes_before += len(piece) + len(end)
            lines_before += piece.count(b"\n") + len(end)
            if len(rest) > LINE_BYTES_MAX:
                raise ConfigError(f"{path}:{lines_before + 1}: is no user id: longer than {LINE_BYTES_MAX} bytes")
    yield _users(path, rest, bytes_before, lines_before)


def _users(path: Path, piece: bytes, bytes_before: int, lines_before: int) -> list[str]:
    """Return the users of these whole lines."""
    if not piece.translate(None, _ID_BYTES):
        users = piece.decode("ascii").split()
        dotted = piece.startswith(b".") or b"\n." in piece or b"\r." in piece
        if not dotted and max(map(len, users), default=0) <= USER_BYTES_MAX:
            return users
    try:
        text = piece.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {bytes_before + fault.start})") from fault
    lines = [line.strip() for line in _LINE_ENDS.split(text)]
    for number, line in enumerate(lines, start=lines_before + 1):
        if line and USER_PATTERN.fullmatch(line) is None:
            shown = line if len(line) <= LINE_SHOWN_MAX else f"{line[:LINE_SHOWN_MAX]}…"
            raise ConfigError(f'{path}:{number}: "{shown}" is not a user id')
    return [line for line in lines if line]
