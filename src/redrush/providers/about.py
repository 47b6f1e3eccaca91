"""What a signed answer is about. A signature tells who has said it, and not to which question: an answer about another
number is as genuine, and says nothing of the one that was asked for."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

from redrush.ports.provider import Absent, Rejected, Unknown

ANOTHERS: Final = Unknown("the answer is about another number")

_S = TypeVar("_S")


class Verified(Protocol):
    """An answer whose signature is right."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """What it says."""


def state_of(
    answer: Verified | Absent | Rejected | Unknown, asked: Mapping[str, str], read: Callable[[Mapping[str, Any]], _S]
) -> _S | Absent | Unknown:
    """Return the state of what was `asked` for, names with their numbers, as `read` reads it; being turned away tells
    nothing of it."""
    if isinstance(answer, Rejected):
        return Unknown(answer.why, answer.retry_after_s)
    if isinstance(answer, Absent | Unknown):
        return answer
    return read(answer.fields) if _is_about(answer.fields, asked) else ANOTHERS


def _is_about(said: Mapping[str, Any], numbers: Mapping[str, str]) -> bool:
    """Whether the answer has these numbers under these names, as far as it has something there."""
    return all((said.get(name) or number) == number for name, number in numbers.items())
