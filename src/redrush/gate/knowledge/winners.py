"""Who has won in a round, as far as a gate must know it to answer losers from memory.

Winners of this gate are known by name, those of other gates are in the sets' logs only. To keep their names would cost
hundreds of bytes each in every gate; to ask the store about everybody who comes after the end would let the whole crowd
through to it. So a gate keeps cells instead of names: whoever finds a cell of theirs empty has certainly not won.
Whoever finds both full has won, or is one of few (1 in 70 at most) who share them with winners, and the store is asked.

The cells are bytes rather than bits: setting and reading one costs half. Two cells a user instead of one cost nothing
for most losers, who find the first one empty, and leave a quarter of the doubtful ones.

Every gate adds every winner of the event, so what that costs grows with the number of gates: winners are added by the
array (0.2 µs each; one by one it was 0.5).
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS_PER_PACKET_MIN: Final = 16

CELLS_MAX: Final = 1 << 26
"""64 MiB a round. Above 4 million packets more losers than said have to be asked about: at 20 million one in five."""


class WinnersFilter:
    """See the module. The cells are made when the first winner is added: most rounds of a day are far away."""

    __slots__ = ("_array", "_cells", "_mask", "_shift")

    def __init__(self, packets: int) -> None:
        """`packets` is about how many winners there will be; more of them make the filter less sharp, never wrong."""
        self._shift = (min(CELLS_MAX, CELLS_PER_PACKET_MIN * max(packets, 1)) - 1).bit_length()
        self._mask = (1 << self._shift) - 1
        self._cells = bytearray()
        # Only a gate among others has a filter: the start of the embedded form is 0.1 s quicker without numpy. It is
        # loaded here rather than with the first winner, who would have to wait for it.
        import numpy as np  # noqa: PLC0415

        self._array: NDArray[np.uint8] = np.frombuffer(self._cells, np.uint8)

    def add(self, users: Collection[str]) -> None:
        """Remember these as winners."""
        import numpy as np  # noqa: PLC0415

        if not self._cells:
            self._cells = bytearray(self._mask + 1)
            self._array = np.frombuffer(self._cells, np.uint8)
        digests = np.fromiter(map(hash, users), np.int64, len(users))
        self._array[digests & self._mask] = 1
        self._array[digests >> self._shift & self._mask] = 1

    def __contains__(self, user: str) -> bool:
        """Whether the user may be one of those added; False is certain."""
        cells, mask = self._cells, self._mask
        if not cells:
            return False
        digest = hash(user)
        return cells[digest & mask] == 1 and cells[digest >> self._shift & mask] == 1
