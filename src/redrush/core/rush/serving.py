"""Who moves the line: so that people go in at the pace that was set, however many of those who are called do not come.

Five times a second `move` is told the time, and by then what the gates have heard: who joined (how many early ones, how
many late ones by the fifth of a second in which they came), and who went in. It then calls as many as are missing:
what should have gone in by now, less what has, less what is still to be expected of those who were called
(`redrush.core.rush.turnout`). Who does not come is written off when the grace is over, and others are called instead;
so the pace holds in the long run whatever was guessed. Never more than one second's worth is caught up, for what stands
behind the line was sized for the pace.

`serving` goes over the people in the order of their places: the early ones are spread evenly, for their places are
drawn; the late ones are counted by the fifth of a second. It never goes beyond what all gates have told of, so a place
that is still to be given is never called before its time.

Rejected: a fixed number each minute (AWS's inlet: who comes late finds the hall full or empty), a regulator on what
went in alone (people come seconds after the call, and it swings), positions instead of places (see
`redrush.core.rush.line`).
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from redrush.core.rush.line import NEVER, START, LineState, LineTerms, Mark, Order
from redrush.core.rush.turnout import AGES_S, Turnout

MOVES_PER_S: Final = 5
BUCKET_US: Final = 200_000
"""Late comers are counted by so much time."""
SILENT_US: Final = 3_000_000
"""A gate that was not heard for so long is waited for no more: the line goes on over those whom it has not told of."""
CATCH_UP_S: Final = 1.0
"""Of the pace, what is caught up at most."""
HASTE_MAX: Final = 2.0
"""Times the pace, that is called at most: also when much is to be caught up, or suddenly nobody comes any more."""
MARKS_MAX: Final = 12
BUCKETS_MAX: Final = 1 << 15
"""Late buckets kept: nearly two hours in which somebody came at every moment; later people are counted with the last
one."""
CALLED_OVER_S: Final = 5.0
"""The time that `called_per_s` is a mean of."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one gate has counted since it began: told again it changes nothing, and a report that is lost is made up for
    by the next."""

    until_us: int = 0
    """Everybody who came before this instant is counted here."""
    whole: bool = False
    """Whether `late` begins with the first bucket, and not with the last one of the last report that was heard."""
    early: int = 0
    """Who has a drawn place."""
    joined_late: int = 0
    late: Mapping[int, int] = {}
    """Who came later, by bucket: `bucket_of` their place."""
    came: Sequence[int] = ()
    """Who went in, by the age of their call (`redrush.core.rush.turnout.AGES_S`)."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What has to outlive the process. Everything else is in the passes, told anew by the gates, or learnt anew."""

    version: int = 1
    serving: int
    early: int
    """Who has a drawn place. Gates that are no more cannot tell of theirs again."""
    joined_late: int


def bucket_of(place: int) -> int:
    """Return the bucket that a late place is counted in."""
    return place // BUCKET_US


class Serving:
    """See the module. Pure: it is told what time it is, in microseconds; `move` goes forward only."""

    def __init__(self, terms: LineTerms, opens_us: int, closes_us: int) -> None:
        """`opens_us` and `closes_us` are those of the round."""
        self.terms = terms
        self.set_times(opens_us, closes_us)
        self.serving = NEVER
        self._turnout = Turnout(terms.grace_us / 1e6)
        self._told: dict[str, Told] = {}
        self._heard_us: dict[str, int] = {}
        self._early = self._early_told = 0
        self._late: dict[int, int] = {}
        self._joined_late = self._joined_late_told = 0
        self._due = 0.0  # who should have gone in, over who has: what `_turnout` expects counts as gone
        self._history: deque[tuple[int, int]] = deque()  # when `serving` became what
        self._lapsed = NEVER
        self._calls: deque[tuple[int, float]] = deque()
        self._moved_us: int | None = None
        self.entered = 0

    def set_times(self, opens_us: int, closes_us: int) -> None:
        """Let the round open and close at these instants; nobody was called yet."""
        self.opens_us, self.closes_us = opens_us, closes_us

    # -- what gates tell

    def hear(self, gate: str, told: Told, now_us: int) -> bool:
        """Take what a gate has counted since it began; `gate` names that life of it. Returns whether that was enough:
        of a gate that is new here the whole is wanted first."""
        self._heard_us[gate] = now_us
        before = self._told.get(gate)
        if before is None:
            if not told.whole:
                return False
            before = Told(came=told.came)  # who went in before that was called by a life before this one
        self._told[gate] = told
        self._early_told += max(0, told.early - before.early)
        self._early = max(self._early, self._early_told)
        self._joined_late_told += max(0, told.joined_late - before.joined_late)
        self._joined_late = max(self._joined_late, self._joined_late_told)
        for bucket, people in told.late.items():
            self._join(bucket, people - before.late.get(bucket, 0))
        came = [now - then for now, then in zip(told.came, _padded(before.came, len(told.came)), strict=True)]
        self.entered += sum(came)
        self._due -= sum(came)
        self._turnout.come(came)
        return True

    def _join(self, bucket: int, people: int) -> None:
        if people <= 0:
            return
        if len(self._late) >= BUCKETS_MAX and bucket not in self._late:
            bucket = max(self._late)
        if (bucket + 1) * BUCKET_US > self.serving:  # who is behind `serving` was called already
            self._late[bucket] = self._late.get(bucket, 0) + people

    def forget(self, gate: str) -> None:
        """A gate is no more. Whom it counted stays counted."""
        self._told.pop(gate, None)
        self._heard_us.pop(gate, None)

    def _told_until(self, now_us: int) -> int:
        """Return the instant up to which everybody is counted, as far as gates are heard."""
        lately = [gate for gate, heard_us in self._heard_us.items() if now_us - heard_us <= SILENT_US]
        return min((self._told[gate].until_us if gate in self._told else 0 for gate in lately), default=0)

    # -- calling

    def move(self, now_us: int, pace_per_s: float, *, room: float = 1.0, paused: bool = False) -> None:
        """Call whose turn it is by now. `room` is the share of the pace that what is behind the line can take."""
        since_us = 0 if self._moved_us is None else max(0, now_us - self._moved_us)
        self._moved_us = now_us
        self._turnout.pass_time(now_us / 1e6)
        heard = any(now_us - heard_us <= SILENT_US for heard_us in self._heard_us.values())
        if self.opens_us <= now_us < self.closes_us and heard and not paused and room > 0 and pace_per_s > 0:
            pace = pace_per_s * min(1.0, room)
            # The first move is not one after a pause: what is due then is one move's worth.
            due_s = min(since_us / 1e6, CATCH_UP_S) if self.serving != NEVER else 1 / MOVES_PER_S
            self._call(now_us, pace, pace * due_s)
        self._age(now_us)

    def _call(self, now_us: int, pace: float, due: float) -> None:
        """Call as many as are missing; `due` is what was added to what should have gone in."""
        expected = self._turnout.expected()
        self._due = min(self._due + due, expected + pace * CATCH_UP_S)
        missing = min(self._due - expected, HASTE_MAX * due)
        self.serving = max(self.serving, 0)
        if missing <= 0:
            return
        people = self._advance(missing / self._turnout.share, now_us)
        self._turnout.call(people)
        if people:
            self._calls.append((now_us, people))

    def _advance(self, people: float, now_us: int) -> float:
        """Move `serving` over so many people, or all that there are; returns how many they were."""
        left, until_us = people, self._told_until(now_us)
        if self.terms.order is Order.RANDOM and self.serving < START - 1:
            if until_us < self.opens_us and not self._early:
                return 0.0  # nobody has told yet of whom there is
            there = self._early * (1 - self.serving / START)
            if left < there:
                self.serving += int(left * START / self._early)
                return people
            left -= there
            self.serving = START - 1
            if until_us < self.opens_us:
                self.serving = int((START - 1) * (1 - 1 / (self._early + 1)))  # there may be more of them
                return people - left
        for bucket in sorted(self._late):
            begins = bucket * BUCKET_US
            ends = begins + BUCKET_US
            if ends > until_us:
                return people - left
            count = self._late[bucket]
            passed = max(0, self.serving + 1 - begins) / BUCKET_US
            there = count * (1 - passed)
            if left < there:
                self.serving = max(self.serving, begins + int(BUCKET_US * (passed + left / count)) - 1)
                return people
            left -= there
            self.serving = max(self.serving, ends - 1)
            del self._late[bucket]
        # Nobody waits. A bucket that is not over yet is for the next move: who comes in it is still to be counted.
        self.serving = max(self.serving, until_us // BUCKET_US * BUCKET_US - 1)
        return people - left

    def _age(self, now_us: int) -> None:
        """Let the time of those be over who were called a grace ago."""
        if self.serving != NEVER and (not self._history or self._history[-1][1] != self.serving):
            self._history.append((now_us, self.serving))
        while self._history and now_us - self._history[0][0] >= self.terms.grace_us:
            self._lapsed = self._history.popleft()[1]
        while self._calls and now_us - self._calls[0][0] > CALLED_OVER_S * 1e6:
            self._calls.popleft()

    # -- what is public, and what is kept

    @property
    def joined(self) -> int:
        """Who has a place."""
        return self._early + self._joined_late

    def state(self, *, paused: bool = False, closed: bool = False) -> LineState:
        """Return what everybody may know now."""
        marks = self._marks()
        places_max = self.terms.places_max
        return LineState(
            serving=self.serving,
            lapsed=self._lapsed,
            waiting=marks[-1].ahead if marks else 0,
            joined=self.joined,
            called_per_s=round(sum(people for _, people in self._calls) / CALLED_OVER_S, 2),
            paused=paused,
            closed=closed or (places_max is not None and self.joined >= places_max),
            marks=marks,
        )

    def _marks(self) -> tuple[Mark, ...]:
        """Return where how many are ahead: the early ones in one piece, the late ones in some."""
        ahead, marks = 0.0, [Mark(max(0, self.serving), 0)]
        if self.serving < START and self._early:
            ahead = self._early * (1 - max(0, self.serving) / START)
            marks.append(Mark(START, int(ahead)))
        buckets = sorted(self._late)
        each = -(-len(buckets) // (MARKS_MAX - len(marks))) if buckets else 1
        for first in range(0, len(buckets), each):
            piece = buckets[first : first + each]
            begins = piece[0] * BUCKET_US
            passed = max(0, self.serving + 1 - begins) / BUCKET_US
            if first == 0 and begins > marks[-1].place:
                marks.append(Mark(begins, int(ahead)))
            ahead += sum(self._late[bucket] for bucket in piece) - self._late[piece[0]] * min(1.0, passed)
            marks.append(Mark((piece[-1] + 1) * BUCKET_US, int(ahead)))
        return tuple(marks)

    def kept(self) -> Kept:
        """Return what has to be there after a restart."""
        return Kept(serving=self.serving, early=self._early, joined_late=self._joined_late)

    def restore(self, kept: Kept, now_us: int) -> None:
        """Go on where a life before this one has left off. Who was called then has a whole grace again."""
        self.serving = kept.serving
        self._early = kept.early
        self._joined_late = kept.joined_late
        self._age(now_us)


def _padded(counts: Sequence[int], length: int) -> list[int]:
    return [*counts, *[0] * (length - len(counts))]


def no_one_came() -> list[int]:
    """Return the counts by age before anybody has come."""
    return [0] * len(AGES_S)
