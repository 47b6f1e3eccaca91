"""A prize of a draw as a gate sees it: its pot, and which of its slots are in play now."""

from bisect import bisect_right
from typing import Any, Final

from redrush.core.money.currency import format_amount
from redrush.core.rush.draw import DrawTerms, Lots, Prize
from redrush.gate.knowledge.knowledge import Knowledge
from redrush.gate.rush.granted import GrantedAnswers

UNDECIDED_US: Final = 1_000_000
"""A claim on a released slot that was not decided within this is not waited for: it was turned away, or its set is
gone, and the slot goes to somebody else. The store still gives it once."""


class Stock:
    """See the module. Not thread-safe: it lives on the event loop."""

    __slots__ = ("_instants", "_sent", "_sent_at_us", "following", "granted", "knows", "lots", "number", "prize")

    def __init__(
        self, number: int, prize: Prize, knows: Knowledge, granted: GrantedAnswers, lots: Lots, following: int | None
    ) -> None:
        """`number` is its place among the prizes; `following` that of what a play gets when this one is gone."""
        self.number = number
        self.prize = prize
        self.knows = knows
        self.granted = granted
        self.following = following
        self.lots = lots
        self._instants: list[int] = []
        self._sent = 0
        self._sent_at_us = 0
        self.amended()

    def amended(self) -> None:
        """The round opens or closes at another instant."""
        if self.prize.spread:
            self._instants = self.lots.instants(self.prize, self.knows.pot.opens_us, self.knows.pot.closes_us)

    def released(self, now_us: int) -> int:
        """Return how many slots have been released by now, of a prize that is released."""
        if self.prize.spread:
            return bisect_right(self._instants, now_us)
        passed_s = (now_us - self.knows.pot.opens_us) / 1e6
        return min(self.prize.count, int((self.prize.per_second or 0.0) * passed_s))

    def in_play(self, now_us: int) -> bool:
        """Whether a slot has been released that nobody has, and nobody is about to have."""
        if self.knows.sold_out:
            return False
        if self._sent and now_us - self._sent_at_us > UNDECIDED_US:
            self._sent = 0
        return self.released(now_us) > self.knows.claimed + self._sent

    def sent(self, now_us: int) -> None:
        """A claim on a released slot is under way."""
        self._sent += 1
        self._sent_at_us = now_us

    def decided(self) -> None:
        """A claim that was sent was decided, or could not be."""
        self._sent = max(0, self._sent - 1)


def told_of(terms: DrawTerms, commitment: str, currency: str) -> dict[str, Any]:
    """Return what the public state of a draw says of it: all that it promises, and the hash of its key."""
    prizes = [
        {
            "id": prize.id,
            "name": prize.name,
            "holds": prize.holds,
            "count": prize.count,
            "amount": format_amount(prize.each_minor, currency) if prize.each_minor else None,
            "odds": None if prize.odds is None else f"{prize.odds[0]}/{prize.odds[1]}",
            "release": "spread" if prize.spread else prize.per_second,
            "per_user": prize.limit_per_user,
            "otherwise": prize.otherwise,
        }
        for prize in terms.prizes
    ]
    told: dict[str, Any] = {
        "prizes": [{key: value for key, value in prize.items() if value is not None} for prize in prizes],
        "commitment": commitment,
    }
    if terms.floor is not None:
        told["floor"] = {"within": terms.floor.within, "prize": terms.floor.prize}
    return told
