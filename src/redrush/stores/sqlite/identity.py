"""Which journal this is: what tells it from every other one, and from a copy of itself.

It is kept inside the journal with a digest of its own, and outside by whoever compares the journal with what they know.
"""

import hashlib
import secrets
from typing import Final

import msgspec

JOURNAL_ID_BYTES: Final = 8
DIGEST_BYTES: Final = 8


class Home(msgspec.Struct, frozen=True):
    """Where a journal lives: the machine, the directory, and that directory's inode, which no copy of it has."""

    machine: str
    directory: str
    inode: int


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A journal's own. One that was rebuilt is another journal, of the next generation."""

    journal: str
    generation: int = 1
    seal: str | None = None
    """SHA-256 of the sealed campaign it grants for; None until that is sealed."""
    keys: dict[str, str] = {}
    """A digest of each secret key, by ring and id: of the keys that receipts and tickets were signed with."""
    home: Home | None = None


def new_identity(generation: int = 1) -> Identity:
    """Return the identity of a journal that nobody has seen."""
    return Identity(journal=secrets.token_hex(JOURNAL_ID_BYTES), generation=generation)


def digest(content: bytes) -> str:
    """Return what tells that the content was damaged."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest()
