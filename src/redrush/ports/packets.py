"""The book of group packets: what was created, by whom, and as what it was split. It decides nothing.

The book is no projection: what a packet is, and what its shares hold, is written here before anybody can have one, and
is nowhere else. That a packet is paid, who has what of it, and that its rest went back is in the log of its set; the
`Stage` that the book has of it only says where to look, after a crash, and may be behind.

All calls block: they are made from threads. What returned is durable. All adapters pass one suite,
`tests/conformance/test_packet_books.py`.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Protocol

import msgspec

from redrush.core.rush.group import Packet
from redrush.errors import RedrushError

__all__ = ["BookFailed", "Booked", "Packet", "PacketBook", "PerhapsPaid", "Stage"]


class BookFailed(RedrushError):
    """The book's storage failed (disk full, I/O error), or is away. It may be tried again."""


class PerhapsPaid(BookFailed):
    """A packet that is not there to be grabbed, and that may be paid all the same: its set was away when it was to be
    opened, or has lost it. Whoever asks is told to come back, never that there is none such."""

    def __init__(self, packet: str) -> None:
        super().__init__(f"packet {packet} is not open, and may be paid: whoever opens it may not have got to it yet")


class Stage(IntEnum):
    """Where a packet is, as far as the book has been told."""

    UNPAID = 0
    """Nobody is about to pay it."""
    PAYING = 1
    """Its payment was asked for, and may have been made: the set knows."""
    OPEN = 2
    """It was paid."""
    OVER = 3
    """Nothing of it can be granted any more, and what was left went back."""


class Booked(msgspec.Struct, frozen=True, gc=False):
    """A packet as the book has it."""

    packet: Packet
    stage: Stage


class PacketBook(Protocol):
    """See the module. Every call may raise BookFailed."""

    def add(self, packets: Sequence[Booked]) -> list[Booked]:
        """Write these down, and return each as the book has it then: where the sender has a packet of the same named
        request already that one, and nothing is written."""

    def keep(self, packets: Sequence[Booked]) -> None:
        """Write these over what was there of the same ids."""

    def turn(self, ids: Iterable[str], stage: Stage) -> None:
        """Let these packets have this stage."""

    def find(self, packet: str) -> Booked | None:
        """Return the packet of that id."""

    def find_each(self, packets: Sequence[str]) -> list[Booked | None]:
        """Return the packets of these ids, in their order."""

    def of_sender(self, user: str, limit: int) -> list[Booked]:
        """Return up to so many packets of the sender, those that were created last first."""

    def given_minor(self, users: Iterable[str], since_us: int) -> dict[str, int]:
        """Return, for each of these senders, what their packets come to that were split to be paid since then."""

    def paying(self, after: str, limit: int) -> list[Booked]:
        """Return up to so many packets that are being paid and whose ids are above `after`, in order of their ids."""

    def any_under_way(self) -> bool:
        """Whether there is any packet that is being paid, or open."""

    def due(self, now_us: int, limit: int) -> list[Booked]:
        """Return up to so many open packets that nobody gets anything of by now, those that closed first first."""

    def close(self) -> None:
        """Release the files."""
