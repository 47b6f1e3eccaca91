"""The names of a set in Valkey: its keys, which share one hash tag, and the functions of the library."""

import hashlib
import importlib.resources
import re
from typing import Final, NamedTuple

from redrush.core.rush.campaign import REST_PREFIX

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)


PARTS: Final = ("library", "pots", "claims", "holds", "moves", "entering", "calls")
"""Files of the library in their order: one text for the server, in which each uses what is before it."""


def _library() -> tuple[bytes, str]:
    folder = importlib.resources.files(__package__)
    source = "\n".join(folder.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in PARTS)
    source = source.replace("@{rest}", REST_PREFIX)
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    return source.replace("@{digest}", digest).encode(), digest


class Library(NamedTuple):
    """The library's text and its functions' names.

    These carry a digest of the text, so gates of two releases each find their own functions in the same server.
    """

    source: bytes
    claim: bytes
    claim_any: bytes
    open: bytes
    noted: bytes
    take: bytes
    give: bytes
    moved: bytes
    finish: bytes
    offer: bytes
    enter: bytes
    found: bytes
    touch: bytes
    trim: bytes
    fence: bytes
    prove: bytes
    doubt: bytes

    @classmethod
    def read(cls) -> "Library":
        """Return the library of this release."""
        source, digest = _library()
        return cls(source, *(f"redrush_{digest}_{name}".encode() for name in cls._fields[1:]))


class SetKeys:
    """The keys of one set. Ids are letters, digits, `-` and `_`; others would break the tag and are a ValueError."""

    def __init__(self, campaign_id: str, set_id: str) -> None:
        for name in (campaign_id, set_id):
            if _ID.fullmatch(name) is None:
                raise ValueError(f"{name!r} is not an id of letters, digits, - and _")
        self.name = f"{campaign_id}/{set_id}"
        tag = f"{{{self.name}}}:".encode()
        self.meta = tag + b"meta"
        self.log = tag + b"log"
        self.taken = tag + b"taken"
        self.given = tag + b"given"
        self.moved = tag + b"moved"
        self.notes = tag + b"notes"
        self.news = tag + b"news"
        self.nudge = tag + b"nudge"
        self._pot = tag + b"pot:"
        self._grants = tag + b"grants:"

    def pot(self, pot: str) -> bytes:
        """Return the key of a pot's own hash. Raises UnicodeEncodeError for an id that is not Unicode text."""
        return self._pot + pot.encode()

    def grants(self, pot: str) -> bytes:
        """Return the key of the hash of a big pot's grants. Raises as `pot` does."""
        return self._grants + pot.encode()
