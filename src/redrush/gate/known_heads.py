"""Heads of requests that were read before, and what serves them: the look-up of the short way.

A head is known by what stands before its ticket and after it. It is found by the two lengths and then compared, which
costs a third of hashing 600 bytes. Few heads share their lengths; browsers that differ in one digit of a version do.
"""

from redrush.gate.route import Endpoint

HEADS_MAX = 4_096
"""Distinct heads remembered (browser versions × paths); beyond it the memory starts anew."""

HEADS_OF_ONE_SHAPE_MAX = 32
"""Heads of the same two lengths; a new one takes the place of the oldest, so that comparing stays short."""

HEAD_BYTES_MAX = 4_096
"""A longer head takes the long way every time."""


class KnownHeads:
    """See the module. `start` and `end` are where the ticket stands in `data`; both its length if it has none."""

    def __init__(self) -> None:
        self._by_shape: dict[tuple[int, int], list[tuple[bytes, bytes, Endpoint]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, data: bytes, start: int, end: int) -> Endpoint | None:
        """Return what serves the request with this head, or None if it is not known."""
        for before, after, endpoint in self._by_shape.get((start, len(data) - end), ()):
            if data.startswith(before) and data.endswith(after):
                return endpoint
        return None

    def remember(self, data: bytes, start: int, end: int, endpoint: Endpoint) -> None:
        """Let `find` know the head from now on."""
        if len(data) > HEAD_BYTES_MAX or self.find(data, start, end) is not None:
            return
        if self._count >= HEADS_MAX:
            self.clear()
        heads = self._by_shape.setdefault((start, len(data) - end), [])
        if len(heads) >= HEADS_OF_ONE_SHAPE_MAX:
            heads.pop(0)
            self._count -= 1
        heads.append((data[:start], data[end:], endpoint))
        self._count += 1

    def clear(self) -> None:
        """Forget everything."""
        self._by_shape.clear()
        self._count = 0
