"""What a signed answer is about. A signature tells who has said it, and not to which question: an answer about another
number is as genuine, and says nothing of the one that was asked for."""

from collections.abc import Mapping
from typing import Any, Final

from redrush.ports.provider import Unknown

ANOTHERS: Final = Unknown("the answer is about another number")


def is_about(said: Mapping[str, Any], numbers: Mapping[str, str]) -> bool:
    """Whether the answer has these numbers under these names, as far as it has something there."""
    return all((said.get(name) or number) == number for name, number in numbers.items())
