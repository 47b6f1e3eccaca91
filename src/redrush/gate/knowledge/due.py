"""What is due at an instant, the next one first: a heap, and beside it what is in it."""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush


class Due:
    """Pots by an instant, in µs since the epoch. A pair is there once, however often it is added, and that is found
    without a search: all rounds of a gate may be added again at once."""

    __slots__ = ("_heap", "_pairs")

    def __init__(self, pairs: Iterable[tuple[int, str]] = ()) -> None:
        self._pairs = set(pairs)
        self._heap = list(self._pairs)
        heapify(self._heap)

    def __len__(self) -> int:
        return len(self._pairs)

    def add(self, at_us: int, pot_id: str) -> None:
        """Have the pot at that instant, too."""
        if (at_us, pot_id) not in self._pairs:
            self._pairs.add((at_us, pot_id))
            heappush(self._heap, (at_us, pot_id))

    def first(self) -> tuple[int, str] | None:
        """Return the next instant and its pot; None: there is none."""
        return self._heap[0] if self._heap else None

    def pop(self) -> tuple[int, str]:
        """Take the first out, and return it. IndexError: there is none."""
        first = heappop(self._heap)
        self._pairs.remove(first)
        return first
