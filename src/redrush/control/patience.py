"""When to try again what was tried and not done: at once if anything has changed since, else after growing pauses."""

from typing import Final

from redrush.resting import next_question_s

TRY_AGAIN_MAX_S: Final = 2.0
"""From one try to the next, while nothing changes: what was refused for long is mended by a person, if at all."""


class Patience:
    """Of one who does a step at a time. Instants are seconds of any clock that does not jump."""

    def __init__(self) -> None:
        self._tried: object = None
        self._since_s = self._tried_s = 0.0
        self.is_first = True
        """Whether what is tried now was not tried before."""

    def is_too_soon(self, what: object, now_s: float) -> bool:
        """Return whether just this (the step, and what it rests on) was tried a moment ago. Else it counts as tried."""
        self.is_first = what != self._tried
        if self.is_first:
            self._tried, self._since_s = what, now_s
        elif now_s - self._tried_s < next_question_s(now_s - self._since_s, 0.0, TRY_AGAIN_MAX_S):
            return True
        self._tried_s = now_s
        return False

    def done(self) -> None:
        """What was tried is done: the same would be another step."""
        self._tried = None
