"""Guessing what a text is encoded in that is not UTF-8, so that whoever saved it can be told what to do."""

import re
from typing import Final

UTF8_MARK: Final = b"\xef\xbb\xbf"
"""The byte order mark that some editors write before UTF-8; it is no part of the text."""

_MARKS: Final = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}

_PACKED: Final = {
    b"\x1f\x8b": ("gzip", "it is packed with gzip; unpack it first: gunzip FILE"),
    b"PK\x03\x04": ("zip", "it is a zip archive, as spreadsheets (.xlsx) are; save what is in it as text (CSV UTF-8)"),
    b"\xfd7zXZ\x00": ("xz", "it is packed with xz; unpack it first: unxz FILE"),
    b"\x28\xb5\x2f\xfd": ("zstd", "it is packed with zstd; unpack it first: unzstd FILE"),
}
"""No texts at all, by how they begin: their name, and what to do with one."""

_LOOKED_AT_BYTES: Final = 4096
_COMMON_HAN: Final = re.compile("[\u4e00-\u9fff]")


def other_encoding(beginning: bytes) -> str | None:
    """Return what a text with this beginning is surely encoded in, or packed with, if that is not UTF-8; None if it may
    be UTF-8."""
    for mark, (name, _) in _PACKED.items():
        if beginning.startswith(mark):
            return name
    for mark, name in _MARKS.items():
        if beginning.startswith(mark):
            return name
    head = beginning[:_LOOKED_AT_BYTES]
    # Every second byte of plain letters in UTF-16 is zero, and no text in UTF-8 has a zero at all.
    return "UTF-16" if 4 * head.count(0) > len(head) else None


def encoding_around(data: bytes, at: int) -> str | None:
    """Return the likely encoding of a text whose byte `at` cannot be UTF-8, or None."""
    start = max(data.rfind(b"\n", 0, at), data.rfind(b"\r", 0, at)) + 1
    ends = [end for end in (data.find(b"\n", at), data.find(b"\r", at)) if end >= 0]
    line = data[start : min(ends, default=len(data))][:_LOOKED_AT_BYTES]
    try:
        text = line.decode("gbk")
    except UnicodeDecodeError:
        return None
    return "GBK" if _COMMON_HAN.search(text) else None


def saved_as(encoding: str | None) -> str:
    """Return what to tell of a file that is not UTF-8, to stand behind a sentence."""
    if encoding is None:
        return "save it as UTF-8"
    for name, what in _PACKED.values():
        if name == encoding:
            return what
    return f"it looks like {encoding}; save it as UTF-8, or: iconv -f {encoding} -t UTF-8 FILE"


def decoded(data: bytes, name: str) -> str:
    """Return the text of a whole file in UTF-8, without its mark. ValueError says that it is none, where, and what to
    do; `name` stands for the file."""
    try:
        return data.removeprefix(UTF8_MARK).decode("utf-8")
    except UnicodeDecodeError as fault:
        why = saved_as(other_encoding(data) or encoding_around(data, fault.start))
        raise ValueError(f"{name} is not UTF-8 text (byte {fault.start}); {why}") from None
