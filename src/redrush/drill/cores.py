"""One core for the server and one for the crowd, where the machine has two: else they take time from each other, and a
latency says as much about the crowd as about the server. Nothing needs privileges: children inherit what their parent
may use at the moment of their start."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec


class Cores(msgspec.Struct, frozen=True):
    """Which core whose is; None: any."""

    server: int | None
    crowd: int | None

    @property
    def note(self) -> str:
        """How they were shared, as a report says it."""
        if self.server is None:
            return "Server and crowd shared the only core, so each took time from the other."
        return f"The server had core {self.server} and the crowd core {self.crowd}, each with the system beside it."


def share_cores() -> Cores:
    """Return two of the cores that this process may use; nobody is bound to any where there are fewer."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return Cores(usable[0], usable[1]) if len(usable) > 1 else Cores(None, None)


@contextmanager
def confined_to(core: int | None) -> Iterator[None]:
    """Within this, processes that are started have only this core; None changes nothing."""
    if core is None:
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
