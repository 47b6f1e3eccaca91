"""What one request of a participant came to."""

import os

import msgspec

from redrush.client.answers import Grant
from redrush.client.http import aiohttp
from redrush.client.policy import Step
from redrush.core.rush.outcomes import Outcome


class Asked(msgspec.Struct, frozen=True):
    """See the module: what follows it, and how it was answered."""

    step: Step
    outcome: Outcome | None = None
    grant: Grant | None = None
    status: int = 0
    unproven: bool = False
    """The ticket must be exchanged before it can claim."""
    in_line: bool = False
    """The round has a waiting room, out of which no ticket of ours leads, or no longer."""
    play: int | None = None
    plays_left: int | None = None


def unreached_why(fault: Exception) -> str:
    """Return in a few words why no connection came to be."""
    cause = fault.os_error if isinstance(fault, aiohttp.ClientConnectorError) else fault
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.errno is not None:
        # Those of a name that is not found are negative, and have no text in the system's table.
        return os.strerror(cause.errno).lower() if cause.errno > 0 else str(cause.strerror).lower()
    return str(cause)
