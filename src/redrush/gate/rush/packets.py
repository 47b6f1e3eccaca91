"""A rush for packets: claims of one round, from the ticket to the answer.

Losers are answered at once from memory. Whoever may win is *parked*: the connection waits while a batch of claims is
made durable, and meanwhile the next batch gathers, with no timer; one call of the store, and one fsync, then serve
tens to hundreds of users. The batch answers by writing to the parked connections: there is no task and no future per
request. Parking and batches are the lanes' (`redrush.gate.lanes`); what may be concluded from memory about grants of
other gates is told by `redrush.gate.knowledge.knowledge`.
"""

from collections.abc import Container

from redrush.core.rush.pace_shares import Released
from redrush.core.rush.release import ReleaseFilter
from redrush.dependency import Unanswered
from redrush.gate.knowledge.knowledge import Knowledge
from redrush.gate.pots import SetPot
from redrush.gate.queries import refused
from redrush.gate.rush.granted import GrantedAnswers
from redrush.gate.rush.rush import Floor, Rush
from redrush.http.route import Waiter


class Packets(Rush):
    """The route of `POST /v1/rounds/{round}/grab` for a round of packets."""

    __slots__ = ("_draw", "_release")

    def __init__(
        self, knows: Knowledge, floor: Floor, granted: GrantedAnswers, audience: Container[str] | None
    ) -> None:
        super().__init__(knows, floor, granted, audience)
        self._draw = floor.draw
        self._release: ReleaseFilter | None = None
        self.set_pace(self.round.release_per_s)

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer a claim at once, or park it (None). The order of the checks is the order of certainty: what a user
        has won stays won after the close; then time; then whether they may; then whether anything is left."""
        rest = self._repeats.get(user)
        if rest is not None:
            self.counts.repeat += 1
            return self._granted.head + rest
        pot = self._only_pot or self.home(user)
        known = pot.known.get(user)
        if known is not None:
            if pot.lane.undecided(pot, user):
                return pot.lane.park(waiter, user, pot, self._now_us())
            return self._repeat(user, known)
        now_us = self._now_us()
        if now_us < self._opens_us:
            return self._before(waiter, user, now_us)
        if now_us >= self._closes_us:
            return self._after_the_close(pot, waiter, user)
        if self._audience is not None and user not in self._audience:
            if user in self.knows.winners:  # who won at another gate, and was taken off the audience since, keeps it
                return self._queries.answer(waiter, self._grant_or_not_eligible(pot, user))
            self.counts.not_eligible += 1
            return self._not_eligible
        if self.knows.sold_out:
            return self._sold_out(pot, waiter, user, now_us)
        release = self._release
        if (release is not None and not release.admit(now_us, self._draw())) or now_us < pot.dry_until_us:
            return self._miss(pot, waiter, user, now_us)
        lane = pot.lane
        return self._park(pot, waiter, user, now_us) if lane.valve.shedding else lane.park(waiter, user, pot, now_us)

    def _sold_out(self, pot: SetPot, waiter: Waiter, user: str, now_us: int) -> bytes | None:
        """Say so, unless the user may have won at another gate, as far as is known: that is for the store to tell."""
        if pot.complete and user not in self.knows.winners:
            self.counts.empty += 1
            return self._empty
        return self._park(pot, waiter, user, now_us)

    async def _grant_or_not_eligible(self, pot: SetPot, user: str) -> bytes:
        claimed = await self._queries.claimed_by(pot, user)
        if isinstance(claimed, Unanswered):
            return refused(claimed)
        if claimed is not None:
            return self._repeat(user, claimed)
        self.counts.not_eligible += 1
        self._wake()
        return self._not_eligible

    def _miss(self, pot: SetPot, waiter: Waiter, user: str, now_us: int) -> bytes | None:
        """Tell the user to try again, unless they may have won: that is for the store to tell."""
        if user in self.knows.winners:
            return pot.lane.park(waiter, user, pot, now_us)
        self.counts.missed += 1
        return self._missed

    def _park(self, pot: SetPot, waiter: Waiter, user: str, now_us: int) -> bytes | None:
        """Park the claim, unless the set's valve refuses it: whoever may have won asks for what is theirs, whatever the
        level."""
        valve = pot.lane.valve
        if valve.shedding and user not in self.knows.winners:
            refusal = valve.refuses(user)
            if refusal is not None:
                return refusal
        return pot.lane.park(waiter, user, pot, now_us)

    def released(self) -> Released | None:
        """See `Rush.released`."""
        release = self._release
        return Released(release.released, release.seen) if release is not None and self._awake else None

    def set_pace(self, release_per_s: float | None) -> None:
        """Let `release_per_s` packets a second through the shake filter from now on; None lets every claim through."""
        if release_per_s is None:
            self._release = None
        elif self._release is None:
            self._release = ReleaseFilter(release_per_s)
        else:
            self._release.set_pace(release_per_s, self._now_us())
