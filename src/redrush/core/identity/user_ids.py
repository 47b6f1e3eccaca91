"""User ids: what may be one, and how one is written where other signs have a meaning.

An id is whatever the organiser's systems call a user: an e-mail address, a telephone number, `auth0|5f7c`, 张伟. It is
kept in Unicode's normal form C, so that what looks the same is the same, and it has no white space and nothing that
cannot be seen: two ids that differ only in what nobody sees would be two winners whom nobody can tell apart.

Ids are checked and normalised when a ticket is issued and when a list is read, never for a claim. In tickets, receipts
and challenges, which are ASCII with dots, tildes and ampersands between their fields, every byte of an id but plain
letters, digits and `_ . : @ -` is escaped as in URLs, `%E5`. Ids of plain signs alone are written as they are.
"""

import re
import unicodedata
from typing import Final
from urllib.parse import quote, unquote

USER_BYTES_MAX: Final = 256
"""Of an id in UTF-8."""

ESCAPED_BYTES_MAX: Final = 3 * USER_BYTES_MAX
"""Of an id with every byte escaped."""

PLAIN: Final = "_.:@-"
"""Signs that are never escaped, beside ASCII letters and digits."""

_PLAIN_ID: Final = re.compile(f"[A-Za-z0-9{PLAIN}]*", re.ASCII)

_UNSEEN: Final = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0\U0001d159\U0001d173-\U0001d17a"
    "\U000e0100-\U000e01ef"
)
"""Signs that Unicode counts as printable, and that show nothing. Those that choose how an emoji looks are not here."""

NOT_SEEN: Final = re.compile(f"[{_UNSEEN}]")
"""Finds what `str.isprintable` lets pass."""


def normalised(text: str) -> str:
    """Return the text in the form in which ids are kept."""
    return unicodedata.normalize("NFC", text)


def checked_user(text: str) -> str:
    """Return the id in its normal form. ValueError, with a sentence for whoever wrote it, if it is none."""
    user = normalised(text)
    if (fault := fault_of(user)) is not None:
        raise ValueError(f'"{shortened(text)}" is not a user id: {fault}')
    return user


def fault_of(user: str) -> str | None:
    """Return why a text in normal form is no user id, None if it is one."""
    if not user:
        return "it is empty"
    if user.isprintable() and " " not in user and NOT_SEEN.search(user) is None:
        size = len(user.encode())
        return None if size <= USER_BYTES_MAX else f"it is {size} bytes long in UTF-8, the longest is {USER_BYTES_MAX}"
    for sign in user:
        if sign.isspace():
            return f"it has white space in it ({written(sign)})"
        if not sign.isprintable() or NOT_SEEN.match(sign):
            return f"it has a sign in it that cannot be seen ({written(sign)})"
    raise AssertionError("what is not printable, a space or unseen was just found in it")


def escaped(user: str) -> str:
    """Return the id in ASCII with nothing but letters, digits, `_ . : @ -` and `%` with two hex digits."""
    if _PLAIN_ID.fullmatch(user) is not None:
        return user
    return quote(user, safe=PLAIN).replace("~", "%7E")


def unescaped(text: str) -> str:
    """Return the id that `escaped` has written so."""
    return unquote(text) if "%" in text else text


SHOWN_MAX: Final = 100
"""Characters of a wrong text that an error shows."""


def shortened(text: str) -> str:
    """Return a text from outside as an error can show it: cut, and everything in it visible."""
    shown = visible(text[:SHOWN_MAX])
    return shown if len(text) <= SHOWN_MAX else f"{shown}…"


def visible(text: str) -> str:
    """Return the text with `\\u200b` or the like for every sign that would not be seen, or would steer a terminal."""
    if text.isprintable() and NOT_SEEN.search(text) is None:
        return text
    return "".join(sign if sign.isprintable() and NOT_SEEN.match(sign) is None else written(sign) for sign in text)


STEERING: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Finds signs that steer a terminal or turn a text around; no line break or tab, and none that joins an emoji."""


def legible(text: str) -> str:
    """Return a text of any lines with `\\x1b` or the like for every sign of STEERING; others stay as they are."""
    return STEERING.sub(lambda found: written(found[0]), text)


def written(sign: str) -> str:
    """Return one sign as its number: `\\x1b`, `\\u200b`, `\\U000e0100`; a space as "a space"."""
    if sign == " ":
        return "a space"
    code = ord(sign)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
