"""Remembers what each user was promised, and notices when a later answer breaks the promise.

A user and round may have several requests under way at once (double taps, tries after a lost answer), and their
answers may come in any order. What may never happen: two different grants, two answers that both claim to be the
first, a "repeat" to somebody who asked only once, or anything but the same grant to somebody who already held it when
asking.
"""

from collections.abc import Sequence
from enum import StrEnum

from redrush.drill.answers import GrantedBody
from redrush.drill.observations import Acknowledged


class Breach(StrEnum):
    """A broken promise."""

    OTHER_GRANT = "other_grant"
    TWO_FIRSTS = "two_firsts"
    REPEAT_WITHOUT_FIRST = "repeat_without_first"
    GRANT_DENIED = "grant_denied"
    WRONG_ROUND = "wrong_round"


class Witness:
    """Keyed by round index and user index; memory is one entry per grant and per user who asked."""

    def __init__(self, rounds: Sequence[str], users: Sequence[str]) -> None:
        self._rounds = rounds
        self._users = users
        self._asked = [bytearray(len(users)) for _ in rounds]
        self._held: dict[tuple[int, int], Acknowledged] = {}
        self._since_s: dict[tuple[int, int], float] = {}
        self._firsts: set[tuple[int, int]] = set()
        self.breaches: dict[Breach, int] = {}

    @property
    def acknowledged(self) -> list[Acknowledged]:
        """Every grant that was answered, once per user and round, in order of the answers."""
        return list(self._held.values())

    def asked(self, round_index: int, user: int) -> None:
        """A request of this user is sent."""
        counts = self._asked[round_index]
        if counts[user] < 255:
            counts[user] += 1

    def granted(self, round_index: int, user: int, body: GrantedBody, now_s: float) -> None:
        """An answer `granted` arrived."""
        key, grant = (round_index, user), body.grant
        if grant.round != self._rounds[round_index]:
            self._note(Breach.WRONG_ROUND)
        if not body.repeat:
            if key in self._firsts:
                self._note(Breach.TWO_FIRSTS)
            self._firsts.add(key)
        elif self._asked[round_index][user] < 2:
            self._note(Breach.REPEAT_WITHOUT_FIRST)
        answer = Acknowledged(
            self._rounds[round_index], self._users[user], grant.id, grant.slot,
            grant.amount, grant.currency, grant.granted_at, grant.receipt,
        )  # fmt: skip
        held = self._held.setdefault(key, answer)
        if held is answer:
            self._since_s[key] = now_s
        elif held != answer:
            self._note(Breach.OTHER_GRANT)

    def denied(self, round_index: int, user: int, sent_s: float) -> None:
        """An answer `missed`, `empty` or `not_eligible` arrived to a request sent at `sent_s`."""
        since_s = self._since_s.get((round_index, user))
        if since_s is not None and since_s < sent_s:
            self._note(Breach.GRANT_DENIED)

    def _note(self, breach: Breach) -> None:
        self.breaches[breach] = self.breaches.get(breach, 0) + 1
