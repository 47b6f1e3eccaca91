"""How the switches reach a process that is not the one where they are set."""

from collections.abc import AsyncIterator
from typing import Protocol

from redrush.core.steering.switches import Snapshot


class SwitchLine(Protocol):
    """Where a gate or a recorder hears what the switches are."""

    def snapshots(self) -> AsyncIterator[Snapshot]:
        """Yield what holds now, as far as it is known, and then every newer version that is heard of, for as long as
        the caller iterates; go on by itself after a lost connection. Versions in between may be left out."""
