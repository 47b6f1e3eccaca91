"""Claims of one round, from the ticket to the answer.

Losers are answered at once from memory. Whoever may win is *parked*: the connection waits while a batch of claims is
made durable, and meanwhile the next batch gathers, with no timer; one call of the store, and one fsync, then serve
tens to hundreds of users. The batch answers by writing to the parked connections: there is no task and no future per
request. Parking and batches are the lanes' (`redrush.gate.lanes`), one for each set that the round is divided over.

The gate of the embedded form is the only one: its store knows every grant, and what it says is empty is sold out. A
gate among others knows less, and two rules make up for it:

- *Empty* is final, so it is said only when the round as a whole was found sold out (`sell_out`, by whoever watches all
  its sets). A user whose own set has nothing left before that has *missed*: slots are being moved there.
- A winner of another gate is not known here by name. Before such a loser's answer is given from memory the winners'
  filter has to rule the user out, and for a final answer it has to be complete for the user's set; otherwise the store
  is asked, by a claim while the round is open (in a pot that is empty that is a reading) and by `find` afterwards.

Long, because the order of the checks of a claim, and what each of them answers, is one thing to be read at once.
"""

import contextlib
from collections.abc import Callable, Container, Sequence
from typing import Final

from redrush.core.rush.campaign import Round
from redrush.core.rush.clocks import ClockCheck
from redrush.core.rush.instants import http_date, rfc3339
from redrush.core.rush.outcomes import Outcome
from redrush.core.rush.phase import Phase, phase_of
from redrush.core.rush.release import ReleaseFilter
from redrush.core.sets.division import home
from redrush.dependency import Refusal
from redrush.errors import RedrushError
from redrush.gate.admission import Admission
from redrush.gate.grants import GrantWriter
from redrush.gate.knowledge.winners import WinnersFilter
from redrush.gate.lanes import Batch, Gauge, Home, Lane, Manners
from redrush.gate.queries import Queries, refused
from redrush.gate.round_counts import RoundCounts
from redrush.http import answers
from redrush.http.route import Waiter
from redrush.ports.store import (
    EARLY,
    EMPTY,
    HELD_OUT,
    LATE,
    LIMIT,
    Claim,
    Claimed,
    ClaimResult,
    StoreFailed,
    StoreUnavailable,
)

REPEATS_REMEMBERED_MAX = 131_072
"""Winners of a round whose repeated answer is kept as bytes, some 75 MB: who asks twice is likely to ask again. When it
is full it starts anew."""

DRY_US: Final = 20_000
"""How long nobody is sent to a set that had nothing left: moves of slots take longer, and the crowd of the set that is
dry first would otherwise all go through to it."""

_NEVER_US: Final = 1 << 62

TIME_FRESH_US: Final = 10_000
"""How old a `server_time` may be when it is sent."""

_GRANTED = '{"outcome":"granted","grant":'
_NEW = ',"repeat":false}'
_REPEAT = ',"repeat":true}'


class RoundClaims:
    """The route of `POST /v1/rounds/{round}/grab` for one round. Not thread-safe: it lives on the event loop."""

    def __init__(  # noqa: PLR0913 - everything a round needs is handed in here, once, by the assembly
        self,
        round_: Round,
        *,
        homes: Sequence[Home],
        manners: Manners,
        admission: Admission,
        winners: WinnersFilter | None,
        writer: GrantWriter,
        now_us: Callable[[], int],
        draw: Callable[[], float],
        gauge: Gauge,
        audience: Container[str] | None,
        queries: Queries,
        failed: Callable[[StoreFailed], None],
        clock_check: ClockCheck,
    ) -> None:
        """`homes`: the sets that the round is divided over, in order. `winners` is None in the only gate of an event,
        else the filter that whoever follows the sets' logs fills. `clock_check` is asked once a batch."""
        self.round = round_
        self.counts = RoundCounts()
        self.sold_out = False
        self.refills = 0
        """How often slots were given to the round: what was found out before the last time is void."""
        self.packets = round_.slots.count
        """Slots of the round: its own, and what is known to have joined it from rounds before."""
        self.winners = winners
        self.lanes = tuple(
            Lane(one, round_.id, manners, gauge, self._decide, admission=admission, now_us=now_us) for one in homes
        )
        self.admission = admission
        self._only_lane = self.lanes[0] if len(self.lanes) == 1 else None
        self._writer = writer
        self._now_us = now_us
        self._draw = draw
        self._audience = audience
        self._failed = failed
        self._clock_check = clock_check
        self._clock_in_doubt = False
        self._opens_us = round_.opens_us
        self._closes_us = round_.closes_us
        self._ended = False
        self.ended_us: int | None = None
        """Since when operators have the round ended; None: they have not."""
        self._release = ReleaseFilter(round_.release_per_s) if round_.release_per_s is not None else None
        self._repeats: dict[str, bytes] = {}
        self._queries = queries
        self.tick()

    async def warm_up(self) -> None:
        """Open the round's pots, and learn from the stores who has won already and, for the only gate, whether anything
        is left."""
        for lane in self.lanes:
            await lane.warm_up()
        if self.winners is None:
            states = [await lane.store.state(lane.pot) for lane in self.lanes]
            self.sold_out = not any(state.left for state in states)
            self.count_packets(sum(state.left + state.claimed_ever - state.returned_ever for state in states))

    def tick(self) -> None:
        """Renew the prebuilt answers, whose heads carry the date, and look after the lanes. Call every second."""
        for lane in self.lanes:
            lane.check()
        now_us = self._now_us()
        head = f"Date: {http_date(now_us)}\r\nCache-Control: no-store\r\n"
        advised_ms = self.admission.advised_ms
        advice = {} if advised_ms is None else {"interval_ms": advised_ms}
        self._missed = answers.json_answer({"outcome": Outcome.MISSED} | advice, head)
        self._empty = answers.json_answer({"outcome": Outcome.EMPTY}, head)
        self._closed = answers.json_answer({"outcome": Outcome.CLOSED}, head)
        self._not_eligible = answers.json_answer({"outcome": Outcome.NOT_ELIGIBLE}, head)
        self._say_not_open(now_us)
        self._granted_head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{head}Content-Length: ".encode()

    def _say_not_open(self, now_us: int) -> None:
        """Renew what tells clients how late it is here: whoever waits for the opening sets their clock by it."""
        self._not_open_until_us = now_us + TIME_FRESH_US
        self._not_open = answers.json_answer(
            {"outcome": Outcome.NOT_OPEN, "opens_at": rfc3339(self.round.opens_us), "server_time": rfc3339(now_us)},
            f"Date: {http_date(now_us)}\r\nCache-Control: no-store\r\n",
        )

    def advise(self) -> None:
        """Renew what tells clients how often to ask. Call when that has changed."""
        if self.phase() is Phase.OPEN:
            self.tick()

    # -- switches

    def set_pace(self, release_per_s: float | None) -> None:
        """Let so many packets a second through the shake filter from now on; None lets every claim through."""
        if release_per_s is None:
            self._release = None
        elif self._release is None:
            self._release = ReleaseFilter(release_per_s)
        else:
            self._release.set_pace(release_per_s, self._now_us())

    def set_ended(self, ended: bool) -> None:
        """Answer every claim as after the close, or no longer. Claims that are parked already are decided."""
        if ended != self._ended:
            self._ended = ended
            self.ended_us = self._now_us() if ended else None
            if not ended:
                self.refilled()  # that nobody can win any more holds no longer
        self._hold_against()

    def doubt_clock(self, in_doubt: bool) -> None:
        """Refuse every claim because nobody knows what time it is here, or no longer. Who has won is still told."""
        self._clock_in_doubt = in_doubt
        self._hold_against()

    def _hold_against(self) -> None:
        """Set the instants that a claim is held against: an ended round, or a doubt, costs a claim nothing more."""
        if self._ended:
            self._opens_us, self._closes_us = 0, 0
        else:
            self._opens_us = _NEVER_US if self._clock_in_doubt else self.round.opens_us
            self._closes_us = self.round.closes_us

    # -- one claim

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer a claim at once, or park it (None). The order of the checks is the order of certainty: what a user
        has won stays won after the close; then time; then whether they may; then whether anything is left."""
        rest = self._repeats.get(user)
        if rest is not None:
            self.counts.repeat += 1
            return self._granted_head + rest
        lane = self._only_lane or self.home(user)
        known = lane.known.get(user)
        if known is not None:
            if lane.undecided(user):
                return lane.park(waiter, user, self._now_us())
            self.counts.repeat += 1
            return self._repeat_answer(user, known)
        now_us = self._now_us()
        if now_us < self._opens_us:
            return self._before(now_us)
        if now_us >= self._closes_us:
            return self._after_the_close(lane, waiter, user)
        if self._audience is not None and user not in self._audience:
            self.counts.not_eligible += 1
            return self._not_eligible
        if self.sold_out:
            return self._sold_out(lane, waiter, user, now_us)
        release = self._release
        if (release is not None and not release.admit(now_us, self._draw())) or now_us < lane.dry_until_us:
            return self._miss(lane, waiter, user, now_us)
        return self._park(lane, waiter, user, now_us) if lane.valve.shedding else lane.park(waiter, user, now_us)

    def _before(self, now_us: int) -> bytes:
        """Answer a claim that comes before the opening, or at a gate that does not know whether it does."""
        if self._clock_in_doubt:
            self.counts.clock_in_doubt += 1
            return answers.CLOCK_IN_DOUBT
        self.counts.not_open += 1
        if now_us >= self._not_open_until_us:
            self._say_not_open(now_us)
        return self._not_open

    def _park(self, lane: Lane, waiter: Waiter, user: str, now_us: int) -> bytes | None:
        """Park the claim, unless the set's valve refuses it: whoever may have won asks for what is theirs, whatever the
        level."""
        valve, winners = lane.valve, self.winners
        if valve.shedding and (winners is None or user not in winners):
            refusal = valve.refuses(user)
            if refusal is not None:
                return refusal
        return lane.park(waiter, user, now_us)

    def home(self, user: str) -> Lane:
        """Return the lane that the user's claims take."""
        return self.lanes[home(user, len(self.lanes))]

    def _sold_out(self, lane: Lane, waiter: Waiter, user: str, now_us: int) -> bytes | None:
        """Say so, unless the user may have won at another gate, as far as is known: that is for the store to tell."""
        winners = self.winners
        if winners is None or (lane.complete and user not in winners):
            self.counts.empty += 1
            return self._empty
        return self._park(lane, waiter, user, now_us)

    def _miss(self, lane: Lane, waiter: Waiter, user: str, now_us: int) -> bytes | None:
        """Tell the user to try again, unless the filter says that they may have won: that is for the store to tell."""
        if self.winners is not None and user in self.winners:
            return lane.park(waiter, user, now_us)
        self.counts.missed += 1
        return self._missed

    # -- the end of a batch

    async def _decide(self, lane: Lane, batch: Batch) -> None:
        refills = self.refills
        now_us = self._now_us()
        forbids = self._clock_check.forbids(self.round, now_us)
        if forbids is not None:
            lane.left(batch)
            for _, waiter in batch.claims:
                waiter.send(self._before(self._now_us()) if forbids == "early" else self._unsure())
            return
        # Whoever is parked came before the close, so the last batch is granted within the round too.
        at_us = min(now_us, self.round.closes_us - 1)
        try:
            pot = self.round.id
            results = await lane.store.claim([Claim(pot, user) for user, _ in batch.claims], at_us)
        except StoreUnavailable:
            lane.went_away(batch)
            return
        except StoreFailed as fault:
            self._fail(lane, batch, fault)
            return
        except Exception as fault:  # noqa: BLE001 - whatever it was, what became of the batch is unknown
            broken = StoreFailed(f"claims of round {self.round.id}: the store broke off with {fault!r}")
            if lane.shared:  # it may be repaired while the other lanes go on
                lane.went_away(batch)
                self._failed(broken)
            else:
                self._fail(lane, batch, broken)
            return
        lane.decided(batch)
        self._answer(lane, batch, results, refills)

    def _answer(self, lane: Lane, batch: Batch, results: Sequence[ClaimResult], refills: int) -> None:
        counts = self.counts
        counts.batches += 1
        for (user, waiter), result in zip(batch.claims, results, strict=True):
            if result is EMPTY or result is HELD_OUT or result is LIMIT:  # the last two are of other kinds of pots
                waiter.send(self._nothing_left(lane, refills))
                continue
            if result is EARLY or result is LATE:
                waiter.send(self._before(self._now_us()) if result is EARLY else self._late_at_the_set())
                continue
            if result.repeat:
                counts.repeat += 1
            else:
                counts.granted += 1
            waiter.send(self._grant_answer(user, result))

    def _nothing_left(self, lane: Lane, refills: int) -> bytes:
        """Return the answer to a claim that the store had no slot for."""
        if self.winners is None:
            self.sold_out = refills == self.refills
        elif not self.sold_out:
            if refills == self.refills:
                lane.dry_until_us = self._now_us() + DRY_US
            self.counts.missed += 1
            return self._missed
        self.counts.empty += 1
        return self._empty

    def _unsure(self) -> bytes:
        """Return the answer to a claim that is too late by one clock and not by another: nothing final."""
        self.counts.clock_in_doubt += 1
        return answers.CLOCK_IN_DOUBT

    def _late_at_the_set(self) -> bytes:
        """Return the answer to a claim that came to its set after the close, and has no grant there."""
        if self._now_us() < self.round.closes_us - self._clock_check.bound_us:
            return self._unsure()
        self.counts.closed += 1
        return self._closed

    def _fail(self, lane: Lane, batch: Batch, fault: StoreFailed) -> None:
        """The fate of the batch is unknown, and so it stays: nobody on this lane is told anything but to come back."""
        lane.broke(batch)
        self._failed(fault)

    async def drained(self) -> None:
        """Return when every claim parked so far is decided."""
        for lane in self.lanes:
            await lane.drained()

    def close(self) -> None:
        """Let nothing outlive the gate."""
        for lane in self.lanes:
            lane.close()

    # -- what happens to the round as a whole

    def refilled(self) -> None:
        """Slots were given to a pot: nobody is told that it is empty until that was found out again."""
        self.refills += 1
        self.sold_out = False
        for lane in self.lanes:
            lane.complete = False
            lane.dry_until_us = 0

    async def recount(self) -> None:
        """Find out how many slots the only gate's pots have: some were given to them."""
        with contextlib.suppress(RedrushError):  # of the store: it tells others too
            states = [await lane.store.state(lane.pot) for lane in self.lanes]
            self.count_packets(sum(state.left + state.claimed_ever - state.returned_ever for state in states))

    def count_packets(self, slots: int) -> None:
        """So many slots were seen in the round's pots. Slots on their way between two sets are in none of them for a
        moment, so what was seen once is not taken back."""
        self.packets = max(self.packets, slots)

    def began_anew(self) -> None:
        """A set of the round may have lost grants: they, and what was concluded from them, have to be learned again."""
        self._repeats.clear()
        self.refilled()

    def sell_out(self, refills: int) -> None:
        """Every slot in every set was found to be granted, when `refills` was what it is said to be."""
        self.sold_out = refills == self.refills

    def complete(self, lane: Lane, refills: int) -> None:
        """The filter has every winner of the lane's pot, and no other can come, provided nothing was given since."""
        lane.complete = refills == self.refills

    # -- what is asked one by one

    async def find(self, user: str) -> str | Refusal | None:
        """Return the user's grant as JSON, or None, or why the set was not asked. Raises StoreUnavailable and
        StoreFailed."""
        claimed = await self._queries.find(self.home(user), user)
        if claimed is None or isinstance(claimed, Refusal):
            return claimed
        return self._writer.write(user, claimed.slot, claimed.at_us)

    def _after_the_close(self, lane: Lane, waiter: Waiter, user: str) -> bytes | None:
        winners = self.winners
        if winners is not None and (user in winners or not lane.complete):
            # A round that operators have ended early must not send its whole crowd to the stores. For some seconds this
            # gate does not know all winners of others, and what is final may be said to none of them: ask again.
            if not self._ended or user in winners or self._now_us() >= self.round.closes_us:
                return self._queries.answer(waiter, self._grant_or_closed(lane, user))
            if self._now_us() >= self.round.opens_us:
                self.counts.missed += 1
                return self._missed
        self.counts.closed += 1
        return self._closed

    async def _grant_or_closed(self, lane: Lane, user: str) -> bytes:
        claimed = await self._queries.find(lane, user)
        if claimed is None:
            self.counts.closed += 1
            return self._closed
        if isinstance(claimed, Refusal):
            return refused(claimed)
        self.counts.repeat += 1
        return self._repeat_answer(user, claimed)

    # -- answers

    def _grant_answer(self, user: str, claimed: Claimed) -> bytes:
        return self._granted_head + self._granted_rest(user, claimed, _REPEAT if claimed.repeat else _NEW)

    def _repeat_answer(self, user: str, claimed: Claimed) -> bytes:
        if len(self._repeats) >= REPEATS_REMEMBERED_MAX:
            self._repeats.clear()
        rest = self._repeats[user] = self._granted_rest(user, claimed, _REPEAT)
        return self._granted_head + rest

    def _granted_rest(self, user: str, claimed: Claimed, ending: str) -> bytes:
        """Return what follows the head of an answer that carries a grant, from the content's length on."""
        grant = self._writer.write(user, claimed.slot, claimed.at_us)
        # The grant and what is around it are ASCII, so their length in characters is that in bytes.
        return f"{len(_GRANTED) + len(grant) + len(ending)}\r\n\r\n{_GRANTED}{grant}{ending}".encode()

    def phase(self) -> Phase:
        """Return where the round is now, as participants see it."""
        if self._ended:
            return Phase.CLOSED
        return phase_of(self.round, self._now_us())
