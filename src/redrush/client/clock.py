"""The server's time on a client's monotonic clock: pure.

`server_time` in a public answer is built once a second and may come from a cache, so it is never ahead and may be a
second or two behind when it arrives. Each answer therefore gives a lower bound of the offset, `server_time` minus when
it arrived; the largest of them is the best, and half of the shortest round trip is what it took on its way back.
A client that errs is late, not early: it never asks before the opening because of it, but for half a round trip.
"""


class ServerClock:
    """`observe` answers, then convert. All instants are seconds; the local ones on one monotonic clock."""

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._round_trip_s = float("inf")

    @property
    def known(self) -> bool:
        """Whether any answer has told the server's time."""
        return self._offset_s is not None

    def observe(self, sent_s: float, received_s: float, server_s: float) -> None:
        """An answer stated `server_s`, seconds since the Unix epoch."""
        bound_s = server_s - received_s
        self._offset_s = bound_s if self._offset_s is None else max(self._offset_s, bound_s)
        self._round_trip_s = min(self._round_trip_s, received_s - sent_s)

    def until_s(self, server_s: float, now_s: float) -> float:
        """Return how many seconds from now the server's clock will show `server_s`; negative if it has passed.

        The time must be known.
        """
        assert self._offset_s is not None
        return server_s - (now_s + self._offset_s + self._round_trip_s / 2)
