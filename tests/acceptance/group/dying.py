"""Runs `redrush` so that it dies at a step of a packet: `python -m tests.acceptance.group.dying POINT PASS serve …`.

The process is the real one, from the command line down; around one call of its parts stands what kills it.
"""

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from redrush.cli.main import main
from redrush.records.sqlite.packets import SqlitePacketBook
from redrush.settle.paying.payments import Payments
from redrush.stores.sqlite import SqliteStore

CALLS: Final[dict[str, tuple[type, str]]] = {
    "created": (SqlitePacketBook, "add"),
    "spent": (Payments, "spend_each"),
    "split": (SqlitePacketBook, "keep"),
    "opened": (SqliteStore, "open"),
    "noted": (SqlitePacketBook, "turn"),
    "taken": (SqliteStore, "take"),
    "credited": (Payments, "credit_each"),
}
"""The steps of a packet, in their order, and the call that each is."""

POINTS: Final = [f"{when} {step}" for step in CALLS for when in ("before", "after")]


def die() -> None:
    """End this process as `kill -9` does. The interpreter lock is held, so no other thread does another step."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str, passes: int) -> None:
    """Let the process die at this pass of the point."""
    when, _, step = point.partition(" ")
    owner, name = CALLS[step]
    call: Callable[..., Any] = getattr(owner, name)
    left = [passes]

    def passed(at: str) -> None:
        if at == when:
            left[0] -= 1
            if not left[0]:
                die()

    @functools.wraps(call)
    def blocking(*args: Any, **named: Any) -> Any:
        passed("before")
        result = call(*args, **named)
        passed("after")
        return result

    @functools.wraps(call)
    async def waiting(*args: Any, **named: Any) -> Any:
        passed("before")
        result = await call(*args, **named)
        passed("after")
        return result

    setattr(owner, name, blocking if owner is SqlitePacketBook else waiting)


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]))
    del sys.argv[1:3]
    main()
