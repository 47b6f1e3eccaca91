"""Reading a request that came in one piece: its whole head in one strict regular expression.

What decides about a request are few lines: `Host`, `Connection`, `Content-Length`, `Content-Type`, `Origin`, the
ticket, and behind a proxy of ours `X-Forwarded-For`. Every other line has only to be well formed, so it costs nothing
whether it was seen before: CDNs and load balancers write an id of its own into every request. `HEAD` matches a head
whose every line is well formed, and returns its target and what decides of it, in order. What such a head *means* was
read before, by the careful reader (`redrush.http.reader`): `KnownHeads` remembers that by exactly what `HEAD`
returned. So nothing is judged here: two lines of one name, or a spelling that was not seen before, are simply not
known. Where a path has an open segment, another one each time, the head is remembered without it
(`redrush.http.paths.Alike`).

Whatever does not match is for the careful reader too. The expression accepts a part of what that accepts, never more;
`tests/http/test_heads.py` holds the two against each other.

How it stays fast: most names begin with a letter that no deciding name begins with; such lines are one loop. The
others are told apart by their next letters, and only deciding lines are captured. Nothing backtracks over more than a
line. Rejected: a lookahead for deciding names before every line (half as slow again), splitting into lines that are
looked up one by one (the same cost, and a memory of lines), llhttp (four times the cost).
"""

import re
from typing import Final

import msgspec

from redrush.http.paths import Alike
from redrush.http.route import Endpoint

DECIDING_MAX: Final = 7
"""Deciding lines of a head: one of each name. More take the careful way."""

HEADS_MAX: Final = 4_096
"""Distinct heads remembered, without what does not decide; beyond it the memory starts anew."""

HEAD_BYTES_MAX: Final = 4_096
"""A longer head takes the careful way: what is remembered of a head is at most this."""

_NAME_SIGNS: Final = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _token_but(letters: str) -> str:
    """Return the class of what a name may consist of (RFC 9110, 5.6.2), without these letters in either case."""
    return "[" + re.escape("".join(sign for sign in _NAME_SIGNS if sign.lower() not in letters)) + "]"


_SOUND: Final = re.fullmatch("(?:ab?c)++", "aca") is None
"""Python before 3.11.5 leaves off in the middle of the repetition where a possessive group gives up (gh-106052). There
only those are possessive that give up at their first sign, and a look back sees to it that a line is a whole one."""


def _expression() -> str:
    name = f"{_token_but('')}*+"
    text = "[ -~]*+"  # tabs and bytes above ASCII are fine too, and rare
    usual = f"{_token_but('acehioptx')}{name}"
    # What deciding names begin with, and how else names may go on from there.
    others = "|".join(
        (
            f"[Aa]cc{name}",
            f"[Xx]-(?:{_token_but('f')}{name}|[Ff]orwarded-[HhPpSs]{name})",
            f"[Cc](?:oo|{_token_but('o')}){name}",
            # Whether it has the answer already is for the careful reader: who asks so asks seldom.
            f"[Ii](?:{_token_but('f')}|[Ff]-{_token_but('n')}){name}",
            f"[Tt](?:race|{_token_but('r')}){name}",
            f"[Pp](?:ri|ra|{_token_but('r')}){name}",
        )
    )
    if _SOUND:
        harmless, line_begins = f"(?:(?:{usual}|{others}):{text}\r\n)*+", ""
    else:
        usual_lines, line_begins = f"(?:{usual}:{text}\r\n)*+", "(?<=\n)"
        harmless = f"{usual_lines}(?:{line_begins}(?:{others}):{text}\r\n{usual_lines})*"
    # Only the names are captured where a value is another's each time and looked at each time.
    deciding = (
        f"((?:[Cc]ontent-(?:[Ll]ength|[Tt]ype)|[Hh]ost|[Oo]rigin):{text}"
        # Any other word of it may give other lines a meaning, as `upgrade` does.
        "|[Cc]onnection: [Kk]eep-[Aa]live(?=\r)"
        f"|[Aa]uthorization: Bearer |[Xx]-[Ff]orwarded-[Ff]or: ){text}\r\n"
    )
    rest = f"{line_begins}\r\n"
    for _ in range(DECIDING_MAX):
        rest = f"{line_begins}(?:{deciding}{harmless}{rest}|\r\n)"
    return f"([A-Z]+ /[!->@-~]*+)(?:\\?[!-~]*+)? HTTP/1\\.1\r\n{harmless}{rest}"


HEAD: Final = re.compile(_expression().encode("ascii"))
"""Groups: method and path, then the deciding lines in order, or the name where the value is not kept; None where there
is none."""

Groups = tuple[bytes | None, ...]


class KnownHead(msgspec.Struct, frozen=True, gc=False):
    """What serves a request, and where in the groups of `HEAD` its ticket and its `X-Forwarded-For` begin, if it has
    them (else 0). `body_bytes` is what its length says."""

    endpoint: Endpoint
    body_bytes: int
    ticket: int
    forwarded: int
    alike: Alike | None = None
    """What makes the route, where it is of a segment of the path: then that of `endpoint` is only an example."""


class KnownHeads:
    """See the module."""

    def __init__(self) -> None:
        self._known: dict[Groups, KnownHead] = {}
        self.get = self._known.get
        self._alike: dict[Groups, KnownHead] = {}
        """By what stands around the open segment, in the place of the whole path."""
        self._tails: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._known) + len(self._alike)

    def find_alike(self, found: Groups) -> KnownHead | None:
        """Return the head whose groups are these but for an open segment of the path; None if there is none."""
        target = found[0] or b""
        for tail in self._tails:
            if target.endswith(tail):
                front = target[: target.rfind(b"/", 0, len(target) - len(tail)) + 1]
                head = self._alike.get((front, tail, *found[1:]))
                if head is not None:
                    return head
        return None

    def learn(self, found: Groups, body_bytes: int, endpoint: Endpoint, alike: Alike | None = None) -> None:
        """Remember the endpoint of requests with a head of these groups and a body of `body_bytes` bytes. `alike`: and
        of those whose path is like it."""
        ticket = forwarded = 0
        for number, line in enumerate(found, 1):
            name = b"" if line is None else line.lower()
            if name == b"authorization: bearer ":
                ticket = number
            elif name == b"x-forwarded-for: ":
                if forwarded:
                    return  # several lines: their texts belong together
                forwarded = number
        if endpoint.needs_ticket and not ticket:
            return
        if len(self) >= HEADS_MAX:
            self.clear()
        head = KnownHead(endpoint, body_bytes, ticket, forwarded, alike)
        if alike is None:
            self._known[found] = head
        else:
            self._tails[alike.tail] = None
            self._alike[(alike.front, alike.tail, *found[1:])] = head

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._alike.clear()
        self._tails.clear()
