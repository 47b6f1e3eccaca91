"""Why a claim ended as it did. Expected refusals are values of this enum, never exceptions."""

from enum import StrEnum


class Outcome(StrEnum):
    """The answer to one claim, in the words of the HTTP contract."""

    GRANTED = "granted"
    MISSED = "missed"
    EMPTY = "empty"
    NOT_OPEN = "not_open"
    CLOSED = "closed"
    NOT_ELIGIBLE = "not_eligible"
    WRONG_WORD = "wrong_word"
    HELD_OUT = "held_out"
    """Nothing can be had now, but what others only hold may come back."""
    LIMIT = "limit"
    """The user has had all that one may have for now: every play, or as many grants as the pot allows."""
    IN_LINE = "in_line"
    """Of joining a line: here is the pass."""
    LINE_CLOSED = "line_closed"
    """Of joining a line: nobody more may."""
    WAITING = "waiting"
    """Of going in: it is not this place's turn yet."""
    PASSED = "passed"
    """Of going in: who was called has not come in time."""
    ADMITTED = "admitted"

    @property
    def final(self) -> bool:
        """Whether asking again cannot change the answer. A transient outcome is worth another try."""
        return self not in _TRANSIENT


_TRANSIENT = frozenset(
    {
        Outcome.MISSED,
        Outcome.NOT_OPEN,
        Outcome.WRONG_WORD,
        Outcome.LIMIT,
        Outcome.IN_LINE,
        Outcome.WAITING,
        Outcome.PASSED,
        Outcome.HELD_OUT,
    }
)
