"""Who compares a journal with what is known of it elsewhere, and is told how far it is."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from redrush.ports.log_rows import Row
from redrush.stores.sqlite.identity import Identity
from redrush.stores.sqlite.journal import Recovered


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
