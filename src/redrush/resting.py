"""A sleep that somebody may cut short; and how long to sleep between questions about what does not come."""

import asyncio
import contextlib
from typing import Final

DELAY_SHARE: Final = 0.1
"""Of a wait, whatever its length: so much later than it was over it is noticed at most."""


def next_question_s(waited_s: float, least_s: float, most_s: float) -> float:
    """Return the pause before the next question, after waiting for so long: from `least_s` to `most_s`. Asking again
    and again for what only a person can mend would take a part of a core from everybody else, for as long as it lasts.
    """
    return min(max(least_s, DELAY_SHARE * waited_s), most_s)


async def rest(duration_s: float, unless: asyncio.Event) -> None:
    """Return after `duration_s`, or as soon as the event is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(duration_s):
            await unless.wait()
