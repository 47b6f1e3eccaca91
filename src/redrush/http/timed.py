"""Times answers, at once or later, where a claim's nanoseconds are not at stake."""

from collections.abc import Callable

from redrush.core.load.histogram import Histogram
from redrush.http.route import Route, StandIn, Waiter


class TimedWaiter(StandIn):
    """Whoever waits, and since when."""

    __slots__ = ("_now_us", "_since_us", "_times")

    def __init__(self, waiter: Waiter, times: Histogram, now_us: Callable[[], int]) -> None:
        super().__init__(waiter)
        self._times = times
        self._now_us = now_us
        self._since_us = now_us()

    def send(self, answer: bytes) -> None:
        """Take the answer, and count how long it took."""
        self.answered()
        self.waiter.send(answer)

    def answered(self) -> None:
        """Count how long the answer took, which is there now."""
        self._times.add(self._now_us() - self._since_us)


class Timed:
    """A route whose answers are counted by how long they take, from when it is asked."""

    def __init__(self, route: Route, times: Histogram, now_us: Callable[[], int]) -> None:
        self._route = route
        self._times = times
        self._now_us = now_us

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer as the route does."""
        timed = TimedWaiter(waiter, self._times, self._now_us)
        answer = self._route.serve(timed, user)
        if answer is not None:
            timed.answered()
        return answer
