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

_LOOKED_AT_BYTES: Final = 4096
_COMMON_HAN: Final = re.compile("[\u4e00-\u9fff]")


def other_encoding(beginning: bytes) -> str | None:
    """Return what a text with this beginning is surely encoded in, if that is not UTF-8; None if it may be UTF-8."""
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
    return f"it looks like {encoding}; save it as UTF-8, or: iconv -f {encoding} -t UTF-8 FILE"
