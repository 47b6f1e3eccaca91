"""The mark of a switch log: how far the log is, in a small file beside it, for the case that the log is not there any
more, was cut, or is an older copy.

It is written after each line of the log, and before anybody is told that the line holds. A log that has what the mark
says, and more, is the log after a crash between the two; one that has less, or other lines, is not what was switched. A
mark that is missing or damaged says nothing: it is made anew.
"""

import hashlib
from pathlib import Path
from typing import Final

import msgspec

from redrush.control.durable_file import write_durably

DIGEST_BYTES: Final = 16


class SwitchMark(msgspec.Struct, frozen=True):
    """The version after the last line, how long the log was then, and a digest of all of that."""

    version: int
    bytes: int
    digest: str


class _Kept(msgspec.Struct, frozen=True):
    mark: SwitchMark
    digest: str


def mark_of(log: Path) -> Path:
    """Return where the mark of a log is."""
    return log.with_suffix(".mark")


def digest_of(content: bytes) -> str:
    """Return what tells one content from another."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest()


def keep_mark(log: Path, mark: SwitchMark) -> None:
    """Write the mark of the log durably. Raises OSError."""
    kept = _Kept(mark, digest_of(msgspec.json.encode(mark)))
    write_durably(mark_of(log), msgspec.json.encode(kept) + b"\n")


def read_mark(log: Path) -> SwitchMark | None:
    """Return the mark of the log; None if there is none, or a damaged one. Raises OSError."""
    try:
        kept = msgspec.json.decode(mark_of(log).read_bytes(), type=_Kept)
    except (FileNotFoundError, ValueError):
        return None
    return kept.mark if kept.digest == digest_of(msgspec.json.encode(kept.mark)) else None


def lacks(mark: SwitchMark, content: bytes, version: int) -> str | None:
    """Return what a log of this content, which goes up to this version, lacks of what the mark knows; None: nothing."""
    if len(content) >= mark.bytes and digest_of(content[: mark.bytes]) == mark.digest:
        return None
    if version < mark.version:
        return f"ends at change {version}, and there were {mark.version}"
    return f"has other changes up to {mark.version} than those that were made"
