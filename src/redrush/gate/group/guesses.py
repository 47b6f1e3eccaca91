"""How often one may say a wrong word: per user, per address, and per packet.

Only wrong words count. Who has said too many is told so without being looked at, and neither is anybody else at a
packet that too many wrong words were said to: otherwise a crowd of accounts would go on where one had to stop. The
limits are a gate's own; several gates let several times as much.
"""

from collections.abc import Callable
from typing import Final

from redrush.core.load.buckets import Buckets, Rate

OF_USER: Final = Rate(5 / 60, 6)
OF_ADDRESS: Final = Rate(50 / 60, 50)
"""A home, or a whole company behind one address."""
OF_PACKET: Final = Rate(30 / 60, 60)
"""A word of four signs that people choose is one of some thousands: at this pace the rest of a day is some hundred
thousand guesses of all attackers together, and nobody's packet lasts so long once its friends have come."""

CELLS: Final = 1 << 14
"""Of each half of a table: only who guessed wrong within minutes occupies one."""

RETRY_S: Final = 12
"""What a user's limit lets through again after, and what those are told who reached one."""


class Guesses:
    """See the module. Not thread-safe."""

    __slots__ = ("_addresses", "_now_s", "_packets", "_users")

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._users = Buckets(OF_USER, CELLS)
        self._addresses = Buckets(OF_ADDRESS, CELLS)
        self._packets = Buckets(OF_PACKET, CELLS)

    def may_guess(self, user: str, address: bytes, packet: str) -> bool:
        """Whether what the user says may be looked at."""
        now_s = self._now_s()
        return (
            self._users.has_room(_digest(user), now_s)
            and self._packets.has_room(_digest(packet), now_s)
            and (not address or self._addresses.has_room(_digest(address), now_s))
        )

    def was_wrong(self, user: str, address: bytes, packet: str) -> None:
        """Count a wrong word."""
        now_s = self._now_s()
        self._users.take(_digest(user), now_s)
        self._packets.take(_digest(packet), now_s)
        if address:
            self._addresses.take(_digest(address), now_s)


def _digest(key: object) -> int:
    return hash(key) & 0x3FFFFFFFFFFFFFFF
