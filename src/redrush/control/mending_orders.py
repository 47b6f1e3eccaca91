"""The commands that mend a set, word for word as an operator gives them, for the sentences that name them."""

import shlex
from pathlib import Path

import msgspec

from redrush.control.data_dir import DataDir

ELSEWHERE = "--deploy FILE"
"""How the event is named that is no stack's: the file is wherever the operator has it."""


def named_by(data: Path) -> str:
    """Return the option that names the event of this directory to a command about its sets."""
    return f"--data {shlex.quote(str(data))}" if DataDir(data).deployment.is_file() else ELSEWHERE


class MendingOrders(msgspec.Struct, frozen=True):
    """The orders about one set; `event` is the option that names its event."""

    set: str
    event: str = ELSEWHERE

    def rebuild(self, address: object, *, yes: bool = True) -> str:
        """Return the order to make the set again on this server."""
        return self._order("set rebuild", self.set, "--address", address, "--yes" if yes else "")

    def promote(self, address: object, *, yes: bool = True) -> str:
        """Return the order to go on with this server."""
        return self._order("set promote", self.set, address, "--why …", "--yes" if yes else "")

    def completed(self, sentence: str) -> str:
        """Return a sentence in which `redrush set promote SET ADDRESS` is an order about this set."""
        head, order, rest = sentence.partition("`redrush set promote SET ")
        address, _, tail = rest.partition("`")
        return f"{head}{self.promote(address, yes=False)}{tail}" if order else sentence

    @property
    def afterwards(self) -> str:
        """What has to be said of a loss, as the end of a sentence."""
        before, after = self._order("switch set answer_ended on", "--why …"), self._order("set honour --receipts FILE")
        return f"{before} before it keeps lost slots for their winners, and {after} after it enters their receipts"

    def _order(self, *words: object) -> str:
        return f"`redrush {' '.join(filter(None, map(str, (*words, self.event))))}`"
