"""What the shares of packets hold, where nothing but the notes of their pots says so: for whoever follows a set's log.

A note comes by in the log before anything of its pot is granted, so most tables are at hand when they are needed. The
last TABLES_MAX are; older ones, and those from before a start, are found in the journal.
"""

import threading
from array import array
from collections.abc import Callable
from typing import Final

from redrush.core.rush.group import packet_of
from redrush.core.rush.holding import PotTables, SlotTable
from redrush.core.rush.packet_note import NotAPacket, packet_in

TABLES_MAX: Final = 65_536
"""Tables at hand: some thirty megabytes, where a packet has ten shares."""


class NotedTables:
    """The tables of packets; calls may come from any thread."""

    def __init__(self, note: Callable[[str], str | None], others: PotTables) -> None:
        """`note` finds the note of a pot in the journal, None if it has none there; `others` has the other tables."""
        self._note = note
        self._others = others
        self._tables: dict[str, SlotTable] = {}
        self._lock = threading.Lock()

    def hear(self, pot: str, note: str) -> None:
        """A pot was opened with this note."""
        packet = packet_of(pot)
        if packet is None:
            return
        try:
            table = SlotTable(array("q", packet_in(note, packet).amounts))
        except NotAPacket:
            return  # whoever needs it says so
        with self._lock:
            while len(self._tables) >= TABLES_MAX:
                del self._tables[next(iter(self._tables))]
            self._tables[pot] = table

    def table(self, pot: str) -> SlotTable | None:
        """Return the table of a pot that is no round; None: there is none. Raises what `note` and `others` raise."""
        if packet_of(pot) is None:
            return self._others(pot)
        if (known := self._tables.get(pot)) is None and (note := self._note(pot)) is not None:
            self.hear(pot, note)
            known = self._tables.get(pot)
        return known
