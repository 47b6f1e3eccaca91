"""The server of what is no rush: the console and the login, on uvicorn. It ends in good order as ours do."""

from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from redrush.http.ending import when_told_to_stop


class AsgiServer(uvicorn.Server):
    """One that has ended in good order when it was told to: uvicorn ends so and then raises the signal once more, as if
    it had been killed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn, which calls this in the running loop."""
        when_told_to_stop(self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True
