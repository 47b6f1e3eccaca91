"""The tables of pots that are no rounds, in a file beside the seal: what their slots hold.

Whoever opens such a pot writes its table down before, durably: nobody is granted a slot of which it is not known what
it holds. A line is one pot, and lines are only added. The last may be cut short by a crash; its pot was not opened
then, and the next writer takes it away. Recorders and others read on where a pot is not known to them yet.
"""

import os
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from redrush.core.rush.campaign import Slots
from redrush.core.rush.holding import Holds, Part, PotTables, SlotTable, no_pots
from redrush.errors import ConfigError

POTS_MAX: Final = 1_000_000
"""Pots of one campaign; where each stands in the file is held in memory."""


class _Line(msgspec.Struct, frozen=True):
    pot: str
    amounts: list[int]
    parts: list[tuple[tuple[int, int], str, tuple[str, ...]]]


class PotFile:
    """One file. One process adds to it; any number read."""

    def __init__(self, path: Path) -> None:
        """Opens nothing yet: a file that is not there has no pots."""
        self._path = path
        self._at: dict[str, int] = {}
        self._read_to = 0

    def add(self, tables: Mapping[str, SlotTable]) -> None:
        """Write down these pots' tables; when this has returned they may be opened. A known pot is left as it is.

        Raises ConfigError if the disk refuses, a line cannot be read, or there would be more than POTS_MAX pots.
        """
        self._read_on()
        fresh = {pot: table for pot, table in tables.items() if pot not in self._at}
        if len(self._at) + len(fresh) > POTS_MAX:
            raise ConfigError(f"{self._path}: would have more than {POTS_MAX:,} pots")
        lines = [msgspec.json.encode(_line_of(pot, table)) + b"\n" for pot, table in fresh.items()]
        try:
            with open(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
                file.truncate(self._read_to)
                file.seek(self._read_to)
                file.write(b"".join(lines))
                file.flush()
                os.fsync(file.fileno())
        except OSError as fault:
            raise ConfigError(f"{self._path}: cannot be written: {fault.strerror}") from fault
        self._read_on()

    def table(self, pot: str) -> SlotTable | None:
        """Return the pot's table, or None if there is no such pot. Raises ConfigError if the file cannot be read."""
        if pot not in self._at:
            self._read_on()
        if pot not in self._at:
            return None
        with open(self._path, "rb") as file:
            file.seek(self._at[pot])
            return _table_of(self._decoded(file.readline()))

    def _read_on(self) -> None:
        if not self._path.exists():
            return
        with open(self._path, "rb") as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._at[self._decoded(line).pot] = self._read_to
                self._read_to += len(line)

    def _decoded(self, line: bytes) -> _Line:
        try:
            return msgspec.json.decode(line, type=_Line)
        except ValueError as fault:
            raise ConfigError(f"{self._path}: has a line that is no table of a pot: {fault}") from fault


def _line_of(pot: str, table: SlotTable) -> _Line:
    parts = [((part.slots.first, part.slots.count), part.holds.value, part.names) for part in table.parts]
    return _Line(pot, [int(amount) for amount in table[:]], parts)


def _table_of(line: _Line) -> SlotTable:
    parts = [_part(*part) for part in line.parts]
    return SlotTable(array("q", line.amounts), parts)


def _part(slots: tuple[int, int], holds: str, names: tuple[str, ...]) -> Part:
    return Part(Slots(*slots), Holds(holds), names)


def pots_in(path: Path) -> PotTables:
    """Return what finds the tables of the file; `no_pots` where there is none now."""
    return PotFile(path).table if path.exists() else no_pots
