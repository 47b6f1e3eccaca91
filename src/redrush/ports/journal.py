"""A journal of one's own: which one it is, and who compares it with what is known of it elsewhere.

What tells a journal from every other one, and from a copy of itself, is kept inside it with a digest of its own, and
outside by whoever compares it. Only a store that is one file needs this: servers of a set are compared by their warden.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from redrush.ports.log_rows import Row

DIGEST_BYTES: Final = 8


class JournalHome(msgspec.Struct, frozen=True):
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
    home: JournalHome | None = None
    is_unsure: bool = False
    """Whether it may lack grants of which nobody is left who knows, until an operator says that winners were heard."""


class Recovered(Protocol):
    """What a journal holds when it was opened, before it is used."""

    @property
    def identity(self) -> Identity:
        """Which journal it is."""

    @property
    def seq(self) -> int:
        """The number of its last record."""

    @property
    def chain(self) -> str:
        """The fingerprint of its log."""

    @property
    def chains(self) -> Mapping[int, str]:
        """The fingerprints after the records that were asked for, as far as the journal has them."""

    def granted(self) -> dict[str, int]:
        """Return how many slots each pot has granted."""


def digest(content: bytes) -> str:
    """Return what tells that the content was damaged."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest()


class Keeper(Protocol):
    """`asks` and `admit` are called once, under the journal's lock, in a thread; the rest by the writer's thread."""

    def asks(self, path: Path) -> Collection[int]:
        """Return the seqs that others know a fingerprint of. Raises ConfigError if the journal cannot be the right one:
        it is not even opened, or made, then."""

    def admit(self, recovered: Recovered) -> Identity:
        """Return the identity under which the journal is served. Raises RedrushError if it lacks what others know."""

    def note(self, rows: Sequence[Row], chain: str) -> None:
        """These rows are durable, `chain` is the fingerprint up to the last of them; nobody was told so yet."""

    def sync_now_and_then(self) -> None:
        """Make durable what was noted, if that was not done lately."""

    def sync(self) -> None:
        """Make durable what was noted."""

    def close(self) -> None:
        """Release the files."""


class NobodyElse:
    """The keeper of a journal that nobody knows anything of: a benchmark's, a test's."""

    def asks(self, path: Path) -> Collection[int]:
        return ()

    def admit(self, recovered: Recovered) -> Identity:
        return recovered.identity

    def note(self, rows: Sequence[Row], chain: str) -> None:
        pass

    def sync_now_and_then(self) -> None:
        pass

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass
