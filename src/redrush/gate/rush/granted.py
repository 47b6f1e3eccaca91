"""Answers that carry a grant, as bytes: those of a batch, and those that are asked for again."""

from typing import Final, Protocol

from redrush.http import answers
from redrush.ports.store import Claimed

REPEATS_REMEMBERED_MAX = 131_072
"""Winners of a round whose repeated answer is kept as bytes, some 75 MB: who asks twice is likely to ask again. When it
is full it starts anew."""

_GRANTED: Final = '{"outcome":"granted","grant":'
NEW: Final = ',"repeat":false}'
"""What follows the grant where it was made just now."""
REPEAT: Final = ',"repeat":true}'
"""The same where it is an earlier one."""
_NEW_SIGNS: Final = len(NEW)


class Writer(Protocol):
    """Writes the grants of a round; a `GrantWriter`, mostly."""

    def write(self, user: str, slot: int, at_us: int, /) -> str:
        """Return the grant as JSON, ASCII alone."""


class Fronts(dict[int, str]):
    """What stands before the grant in an answer, by the length of the grant and what follows it: there are few."""

    __slots__ = ("_head",)

    def __init__(self, head: str) -> None:
        """`head` is what the answer begins with, up to the name of the content's length."""
        super().__init__()
        self._head = head

    def __missing__(self, length: int) -> str:
        front = self[length] = f"{self._head}{len(_GRANTED) + length}\r\n\r\n{_GRANTED}"
        return front


class GrantedAnswers:
    """The answers of one round's winners. `renew` it before the first one, and every second."""

    __slots__ = ("_fronts", "head", "repeats", "writer")

    def __init__(self, writer: Writer) -> None:
        self.repeats: dict[str, bytes] = {}
        """What follows the head of a repeated answer, by user, of those that have asked again."""
        self._fronts = Fronts("")
        self.head = b""
        """What such an answer begins with, up to the name of the content's length."""
        self.writer = writer

    def renew(self, head: str) -> None:
        """Let answers have these header lines from now on; the date is among them."""
        front = answers.head_before_length(200, headers=head)
        self._fronts = Fronts(front)
        self.head = front.encode()

    def forget(self) -> None:
        """Keep nothing in memory: the round sleeps."""
        self.repeats.clear()
        self._fronts, self.head = Fronts(""), b""

    def answer(self, user: str, claimed: Claimed) -> bytes:
        """Return the answer to a claim that was decided just now."""
        if claimed.repeat:
            return self.head + self._rest(user, claimed, REPEAT)
        # As `_rest` does, in one piece: every winner is answered here.
        grant = self.writer.write(user, claimed.slot, claimed.at_us)
        return f"{self._fronts[len(grant) + _NEW_SIGNS]}{grant}{NEW}".encode()

    def repeat(self, user: str, claimed: Claimed) -> bytes:
        """Return the answer to somebody who has won before, and remember it."""
        if len(self.repeats) >= REPEATS_REMEMBERED_MAX:
            self.repeats.clear()
        rest = self.repeats[user] = self._rest(user, claimed, REPEAT)
        return self.head + rest

    def of_play(self, user: str, claimed: Claimed, play: int, left: int) -> bytes:
        """Return the answer to a play of a draw, after which so many are left."""
        of_play = f',"play":{play},"plays_left":{left}'
        return self.head + self._rest(user, claimed, f"{of_play}{REPEAT if claimed.repeat else NEW}")

    def _rest(self, user: str, claimed: Claimed, ending: str) -> bytes:
        """Return what follows the head of an answer that carries a grant, from the content's length on."""
        grant = self.writer.write(user, claimed.slot, claimed.at_us)
        # The grant and what is around it are ASCII, so their length in characters is that in bytes.
        return f"{len(_GRANTED) + len(grant) + len(ending)}\r\n\r\n{_GRANTED}{grant}{ending}".encode()
