"""What rushes of every kind have in common: a time, pots in sets, what operators have set, and prebuilt answers.

A rush *sleeps* until somebody asks for it, and again when nobody has for some seconds: then it has no prebuilt answers,
and no second of the gate is spent on it. Waking costs a claim of an awake rush nothing, because a sleeping one looks as
if it never opened, and whoever asks before the opening is looked at twice.
"""

from collections.abc import Callable, Container, Sequence
from typing import Any, Final

import msgspec

from redrush.core.rush.campaign import Round
from redrush.core.rush.clocks import ClockCheck
from redrush.core.rush.instants import http_date, rfc3339
from redrush.core.rush.outcomes import Outcome
from redrush.core.rush.pace_shares import Released
from redrush.core.rush.phase import Phase, phase_of
from redrush.core.sets.division import home
from redrush.dependency import Unanswered
from redrush.gate.admission import Admission
from redrush.gate.answer_times import AnswerTimes
from redrush.gate.knowledge.knowledge import Knowledge
from redrush.gate.lanes import AskedPot, Parked
from redrush.gate.pots import SetPot, warm_up
from redrush.gate.queries import Queries, refused
from redrush.gate.round_counts import RoundCounts
from redrush.gate.rush.granted import GrantedAnswers
from redrush.http import answers
from redrush.http.route import Waiter
from redrush.ports.store import EARLY, LATE, Claimed, ClaimResult

TIME_FRESH_US: Final = 10_000
"""How old a `server_time` may be when it is sent."""

SLEEPS_AFTER_S: Final = 10
"""A rush that has had no claim for this many seconds has its prebuilt answers taken away."""

_NEVER_US: Final = 1 << 62


class Floor(msgspec.Struct, frozen=True):
    """What all rushes of a gate stand on."""

    admission: Admission
    queries: Queries
    now_us: Callable[[], int]
    draw: Callable[[], float]
    """Lots in [0, 1)."""
    clock_check: ClockCheck
    """Asked once a batch: against which clock rounds are held besides `now_us`."""
    awake: "set[Rush]"
    """Rushes that have prebuilt answers, to be renewed every second."""
    times: AnswerTimes


class Rush:
    """See the module. The class of a kind has `serve`. Not thread-safe: it lives on the event loop."""

    __slots__ = ("_audience", "_awake", "_clock_in_doubt", "_closed", "_closes_us", "_counted", "_empty", "_ended",
                 "_floor", "_granted", "_head", "_missed", "_newly_from", "_not_eligible", "_not_open",
                 "_not_open_until_us", "_now_us", "_only_pot", "_opens_us", "_queries", "_quiet_s", "_removed",
                 "_repeats", "counts", "knows", "later", "parts", "pots", "round")  # fmt: skip

    def __init__(
        self,
        knows: Knowledge,
        floor: Floor,
        granted: GrantedAnswers,
        audience: Container[str] | None,
        others: Sequence[Knowledge] = (),
    ) -> None:
        """`knows` is what is known of the round's pot, and `others` of those that it has besides; `audience` who may
        win, None: everybody."""
        self.knows = knows
        self.parts = (knows, *others)
        """What is known of each pot of the round, in order of their slots."""
        self.round = knows.pot.round
        self.pots = tuple(pot for part in self.parts for pot in part.pots)
        self.counts = RoundCounts()
        self.later = 0
        """Of the answers in `counts`, those that a set was asked for alone."""
        self._only_pot = self.pots[0] if len(self.pots) == 1 else None
        self._floor = floor
        self._now_us = floor.now_us
        self._queries = floor.queries
        self._granted = granted
        self._repeats = granted.repeats
        self._audience = audience
        self._newly_from = 0
        self._awake = False
        self._removed = False
        self._quiet_s = 0
        self._counted: tuple[int, ...] = ()
        self._clock_in_doubt = False
        self._ended = False
        self._opens_us = self._closes_us = _NEVER_US
        for part in self.parts:
            part.when_void = granted.repeats.clear
        for pot in self.pots:
            pot.desk = self

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer a claim at once, or park it (None): the whole order of checks of this kind of rush."""
        raise NotImplementedError

    async def warm_up(self) -> None:
        """Open the round's pots, and learn from the stores what a start has to know. Raises what stores raise."""
        await warm_up(self.pots)
        for part in self.parts:
            await part.learn()

    async def drained(self) -> None:
        """Return when every claim parked so far is decided."""
        for part in self.parts:
            await part.drained()

    @property
    def name(self) -> str:
        """What it is switched by: the round, or its pot where that has a name of its own in the sets."""
        return self.knows.pot_id if self.knows.pot.prize is None else self.round.id

    @property
    def slots(self) -> int:
        """Slots of all its pots."""
        return sum(part.slots for part in self.parts)

    @property
    def sold_out(self) -> bool:
        """Whether every slot is known to be granted."""
        return all(part.sold_out for part in self.parts)

    @property
    def refills(self) -> int:
        """How often slots were given to the round: what was found out before the last time is void."""
        return sum(part.refills for part in self.parts)

    @property
    def advised_ms(self) -> int | None:
        """The interval that clients are told now; None while the policy's holds."""
        return self._floor.admission.advised_ms

    def share_with(self, gates: int) -> None:
        """There are so many gates, this one included: what is for all of them is shared equally."""

    def newly_answered(self) -> int:
        """Return how many claims were answered since this was asked last, but for those that a set was asked for
        alone."""
        answered = self.counts.answers - self.later
        newly, self._newly_from = answered - self._newly_from, answered
        return newly

    def home(self, user: str) -> SetPot:
        """Return the pot that the user's claims ask: that of their home set."""
        return self._only_pot or self.pots[home(user, len(self.pots))]

    def phase(self) -> Phase:
        """Return where the round is now, as participants see it."""
        if self._ended:
            return Phase.CLOSED
        return phase_of(self.round, self._now_us())

    @property
    def open_key(self) -> str | None:
        """The secret part of the round's URL while it is open; None: it has none, or it is not to be told."""
        return None

    @property
    def held_out(self) -> bool:
        """Whether nothing can be had now because all that is left is only held."""
        return False

    def public_fields(self, now_us: int) -> dict[str, Any]:
        """Return what the public state of the round says besides what it says of every kind."""
        return {}

    def state_fields(self, now_us: int) -> dict[str, Any]:
        """Return what the state file says of the round besides what it says of every kind."""
        return {}

    def plays_of(self, user: str) -> dict[str, int] | None:
        """Return the next play of the user and how many are left, as far as this gate knows; None: it is no draw."""
        return None

    # -- prebuilt answers

    def tick(self) -> None:
        """Renew the prebuilt answers, whose heads carry the date. Call every second, while it is awake."""
        counted = msgspec.structs.astuple(self.counts)
        self._quiet_s = self._quiet_s + 1 if counted == self._counted else 0
        self._counted = counted
        if self._quiet_s > SLEEPS_AFTER_S:
            self._sleep()
        else:
            self._renew(self._now_us())

    def advise(self) -> None:
        """Renew what tells clients how often to ask. Call when that has changed."""
        if self._awake and self.phase() is Phase.OPEN:
            self._renew(self._now_us())

    def _renew(self, now_us: int) -> None:
        head = self._head = f"Date: {http_date(now_us)}\r\nCache-Control: no-store\r\n"
        advised_ms = self.advised_ms
        advice = {} if advised_ms is None else {"interval_ms": advised_ms}
        self._missed = answers.json_answer({"outcome": Outcome.MISSED} | advice, head)
        self._empty = answers.json_answer({"outcome": Outcome.EMPTY}, head)
        self._closed = answers.json_answer({"outcome": Outcome.CLOSED}, head)
        self._not_eligible = answers.json_answer({"outcome": Outcome.NOT_ELIGIBLE}, head)
        self._say_not_open(now_us)
        self._granted.renew(head)

    def _say_not_open(self, now_us: int) -> None:
        """Renew what tells clients how late it is here: whoever waits for the opening sets their clock by it."""
        self._not_open_until_us = now_us + TIME_FRESH_US
        self._not_open = answers.json_answer(
            {"outcome": Outcome.NOT_OPEN, "opens_at": rfc3339(self.round.opens_us), "server_time": rfc3339(now_us)},
            f"Date: {http_date(now_us)}\r\nCache-Control: no-store\r\n",
        )

    def _wake(self) -> None:
        """Have prebuilt answers, and be held against the right instants. For whatever may be answered in its sleep."""
        if not self._awake:
            self._awake = True
            self._quiet_s = 0
            self._renew(self._now_us())
            self._hold_against()
            self._floor.awake.add(self)

    def _sleep(self) -> None:
        self._awake = False
        self._floor.awake.discard(self)
        self._hold_against()
        self._granted.forget()
        self._missed = self._empty = self._closed = self._not_eligible = self._not_open = b""

    # -- what operators set, and clocks

    def set_pace(self, release_per_s: float | None) -> None:
        """Release so much a second from now on, for kinds that release at a pace; None: as fast as they come."""

    def released(self) -> Released | None:
        """Return what was let go, and how much was asked for, for kinds that release at a pace; None while there is
        none, or nobody asks."""
        return None

    def set_ended(self, ended: bool) -> None:
        """Answer every claim as after the close, or no longer. Claims that are parked already are decided."""
        if ended != self._ended:
            self._ended = ended
            for part in self.parts:
                part.ended_us = self._now_us() if ended else None
                if not ended:
                    part.refilled()  # that nobody can win any more holds no longer
        self._hold_against()

    def doubt_clock(self, in_doubt: bool) -> None:
        """Refuse every claim because nobody knows what time it is here, or no longer. Who has won is still told."""
        self._clock_in_doubt = in_doubt
        self._hold_against()

    def amend(self, round_: Round) -> None:
        """Open and close at other instants from now on, neither of which anybody can have acted on."""
        self.round = round_
        for part, pot in zip(self.parts, round_.pots, strict=True):
            part.pot = pot
        self._hold_against()
        if self._awake:
            self._renew(self._now_us())

    def remove(self) -> None:
        """Answer everybody, from now on, that there is nothing here. Claims that are parked already are decided."""
        self._removed = True
        self._sleep()
        for pot in self.pots:
            pot.close()

    def _hold_against(self) -> None:
        """Set the instants that a claim is held against: that a round is ended, in doubt, asleep or removed costs a
        claim nothing more."""
        if not self._awake or self._removed:
            self._opens_us = _NEVER_US
        elif self._ended:
            self._opens_us, self._closes_us = 0, 0
        else:
            self._opens_us = _NEVER_US if self._clock_in_doubt else self.round.opens_us
            self._closes_us = self.round.closes_us

    # -- answers that every kind gives

    def _before(self, waiter: Waiter, user: str, now_us: int) -> bytes | None:
        """Answer a claim that comes before the opening; or is held up because the rush sleeps, or is gone."""
        if self._removed:
            return answers.NOT_FOUND
        if self._awake:
            return self._not_yet(now_us)
        self._wake()
        return self.serve(waiter, user)

    def _not_yet(self, now_us: int) -> bytes:
        """Return the answer to a claim that comes before the opening, or where nobody knows whether it does."""
        if self._clock_in_doubt:
            return self._unsure()
        self.counts.not_open += 1
        if now_us >= self._not_open_until_us:
            self._say_not_open(now_us)
        return self._not_open

    def _unsure(self) -> bytes:
        """Return the answer to a claim that is too late by one clock and not by another: nothing final."""
        self.counts.clock_in_doubt += 1
        return answers.CLOCK_IN_DOUBT

    def _late_at_the_set(self) -> bytes:
        """Return the answer to a claim that came to its set after the close, and has no grant there."""
        if self._now_us() < self.round.closes_us - self._floor.clock_check.bound_us:
            return self._unsure()
        self.counts.closed += 1
        return self._closed

    def _after_the_close(self, pot: SetPot, waiter: Waiter, user: str) -> bytes | None:
        """Answer a claim after the close: whoever may have won asks for what is theirs."""
        winners = self.knows.winners
        if user in winners or not pot.complete:
            # A round that operators have ended early must not send its whole crowd to the stores. For some seconds this
            # gate does not know all winners of others, and what is final may be said to none of them: ask again.
            if not self._ended or user in winners or self._now_us() >= self.round.closes_us:
                return self._queries.answer(self._floor.times.asks(waiter), self._grant_or_closed(pot, user))
            if self._now_us() >= self.round.opens_us:
                self.counts.missed += 1
                return self._missed
        self.counts.closed += 1
        return self._closed

    async def _grant_or_closed(self, pot: SetPot, user: str) -> bytes:
        claimed = await self._queries.claimed_by(pot, user)
        if isinstance(claimed, Unanswered):
            return refused(claimed)
        self.later += 1
        if claimed is None:
            self.counts.closed += 1
            self._wake()
            return self._closed
        return self._repeat(user, claimed)

    def _repeat(self, user: str, claimed: Claimed) -> bytes:
        """Return the answer to somebody who has won before."""
        self._wake()
        self.counts.repeat += 1
        return self._granted.repeat(user, claimed)

    async def grants_of(self, user: str) -> list[str] | Unanswered:
        """Return the user's grants as JSON, or why the set was not asked. Raises StoreUnavailable and StoreFailed."""
        claimed = await self._queries.claimed_by(self.home(user), user)
        if isinstance(claimed, Unanswered):
            return claimed
        return [] if claimed is None else [self._granted.writer.write(user, claimed.slot, claimed.at_us)]

    # -- the desk of its lanes

    def grants_at(self, pots: Sequence[AskedPot], now_us: int) -> tuple[int | None, int]:
        """See `redrush.gate.lanes.Desk`. Whoever is parked came before the close, so the last batch is granted within
        the round too."""
        if self._floor.clock_check.forbids(self.round, now_us) is not None:
            return None, len(pots)
        return min(now_us, self.round.closes_us - 1), len(pots)

    def forbidden(self, now_us: int) -> bytes:
        """See `redrush.gate.lanes.Desk`."""
        early = self._floor.clock_check.forbids(self.round, now_us) == "early"
        self._wake()
        return self._not_yet(now_us) if early else self._unsure()

    def answered(self, claims: Sequence[Parked], results: Sequence[ClaimResult], refills: int) -> None:
        """See `redrush.gate.lanes.Desk`."""
        self._wake()
        counts, answer = self.counts, self._granted.answer
        counts.batches += 1
        granted = 0
        for (user, waiter, pot, _), result in zip(claims, results, strict=True):
            if isinstance(result, Claimed):
                if result.repeat:
                    counts.repeat += 1
                else:
                    granted += 1
                waiter.send(answer(user, result))
            elif result is EARLY or result is LATE:
                waiter.send(self._not_yet(self._now_us()) if result is EARLY else self._late_at_the_set())
            else:  # pots that hold, or have other limits, are of other kinds
                waiter.send(self._nothing_left(pot, refills))
        counts.granted += granted

    def _nothing_left(self, pot: AskedPot, refills: int) -> bytes:
        """Return the answer to a claim that the store had no slot for."""
        if self.knows.nothing_left(pot, refills, self._now_us()) is Outcome.EMPTY:
            self.counts.empty += 1
            return self._empty
        self.counts.missed += 1
        return self._missed
