"""Who may win, for tens of millions of users in a gate's memory: 8 bytes each.

An id is kept as its 64-bit hash, by Python's own SipHash, whose key is drawn anew for every process: nobody outside can
make an id that collides, and among 10 million members an id that is none passes with a chance of 5 in 10^13. The hashes
stand sorted in one array, and a table says where those with the same first 16 bits begin, so a look-up searches among
some hundred neighbours: half a microsecond.

Processes that share an audience by forking share its key with it. Rejected: a frozenset of the ids (1.2 GB for ten
million), a hash table of the digests (twice the memory for a third of the time).
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

PREFIX_BITS: Final = 16
_PREFIX_SHIFT: Final = 64 - PREFIX_BITS
_PREFIX_OFFSET: Final = 1 << (PREFIX_BITS - 1)


class Audience:
    """A set of user ids; see the module."""

    __slots__ = ("_added", "_digests", "_removed", "_starts")

    def __init__(self, digests: "array[int]") -> None:
        """From the sorted `hash(user)` of each member, as signed 64-bit integers. One may stand in it twice."""
        self._digests = digests
        self._added: set[int] = set()
        self._removed: set[int] = set()
        firsts = ((prefix - _PREFIX_OFFSET) << _PREFIX_SHIFT for prefix in range(1 << PREFIX_BITS))
        self._starts = array("q", [bisect_left(digests, first) for first in firsts])
        self._starts.append(len(digests))

    def add(self, users: Iterable[str]) -> None:
        """Make these members too: some 60 bytes each, so for the few who are added while an event runs."""
        digests = set(map(hash, users))
        self._removed -= digests
        self._added |= digests

    def remove(self, users: Iterable[str]) -> None:
        """Make these members no more, until they are added again."""
        digests = set(map(hash, users))
        self._added -= digests
        self._removed |= digests

    def __contains__(self, user: object) -> bool:
        """Whether the user is a member."""
        digest = hash(user)
        prefix = (digest >> _PREFIX_SHIFT) + _PREFIX_OFFSET
        starts, digests = self._starts, self._digests
        end = starts[prefix + 1]
        place = bisect_left(digests, digest, starts[prefix], end)
        if place < end and digests[place] == digest:
            return digest not in self._removed
        return digest in self._added


class AllowedAudience:
    """Who may win where some may not: members of an audience, or everybody, less those on a list of blocked users.

    A look-up is two, so it is only used where there is such a list. Who is on it is not let in by being added to the
    audience; without an audience, removing somebody blocks them, and adding them takes that back.
    """

    __slots__ = ("_audience", "_blocked")

    def __init__(self, audience: Audience | None, blocked: Audience) -> None:
        """`audience` None: everybody but those blocked."""
        self._audience = audience
        self._blocked = blocked

    def add(self, users: Iterable[str]) -> None:
        """Let these win too."""
        if self._audience is None:
            self._blocked.remove(users)
        else:
            self._audience.add(users)

    def remove(self, users: Iterable[str]) -> None:
        """Let these win no more."""
        if self._audience is None:
            self._blocked.add(users)
        else:
            self._audience.remove(users)

    def __contains__(self, user: object) -> bool:
        """Whether the user may win."""
        return user not in self._blocked and (self._audience is None or user in self._audience)


Eligible = Audience | AllowedAudience
"""Who may win, where not everybody with a ticket may."""
