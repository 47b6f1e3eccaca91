"""Levels: which users' claims a gate lets go to a store that cannot decide all of them.

After DAGOR, the overload control of WeChat (Zhou et al., "Overload Control for Scaling WeChat Microservices", SoCC
2018), with its two-part priority: what is asked, and who asks. Claims come before everything that can wait (own
grants), and among equals a user's *grade* decides, a keyed hash of user and hour. So under overload the same users are
let through for an hour, whatever gate they ask and however often, instead of everybody once and nobody to the end; and
in the next hour it is others. A gate admits what is below a threshold, `admitted`; the *level* that operators and
metrics see is the share of the users whose claims it refuses, 0 when all is well.

Where this differs from the paper, and why:

- Windows of a tenth of a second, not one: the wave of a rush is over in seconds, and afterwards the gate has to be
  itself again within one.
- The paper lowers the threshold by 5 % and raises it by 1 % a window, and takes 45 windows to shed nine claims in ten.
  Here what the store did decide in the window is known, so the threshold goes there at once: to the number of claims
  that it decided, less 2 %, by the counts of what was asked for at each grade. Raised it is by 2 %, or by 10 % where
  claims hardly waited; and when what is asked for is less than what was found to be possible, it opens at once.
- 1,024 grades, not 128: at twenty times the load, one of 128 is a sixth of what is let through.
- What a claim waits for may be the store, or the gate itself when its processor is the bottleneck. Refusing helps
  against the first. A refusal costs a gate nearly what any loser costs, so against the second it helps little, and from
  half of the users on not at all: `SHED_FOR_GATE_MAX`.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final
from zlib import crc32

import msgspec

GRADES: Final = 1_024
"""Grades of users: fine enough that one of them is 2 % of what is let through at twenty times the load."""
_GRADE_BITS: Final = 10
_WORD_BITS: Final = 32
_WORD_MASK: Final = (1 << _WORD_BITS) - 1

EVERYTHING: Final = 2 * GRADES
"""The threshold below which all claims are, and all that can wait (from GRADES on)."""

COUNTED_GRADES: Final = 16
"""Grades that are counted together: 64 counts a set, and within one all are taken to be alike."""
COUNTS: Final = GRADES // COUNTED_GRADES

WINDOW_S: Final = 0.1
CLAIMS_MIN: Final = 8
"""Waits of fewer claims say nothing about a window."""
OVERLOADED_WINDOWS_MIN: Final = 2
"""In a row, before anybody is refused: one is a hiccup of a disk, and the limit on who may wait stands before it."""
LATE_WINDOWS_MIN: Final = 3
"""The same for a late loop: neighbours on the machine make one late for a moment."""

LOWER_BY: Final = 0.02
"""What is refused beyond what the store could not decide, so that the queue becomes shorter."""
LOWER_AT_ONCE_MAX: Final = 0.3
"""Of what was known to be possible: in the window in which a wave ends the store decides little, and long waits end."""
RAISE_BY: Final = 0.02
RAISE_IDLE_BY: Final = 0.10
"""Where claims waited less than half of what they may, or hardly longer than they have to."""
IDLE_OF_USUAL: Final = 0.75
RAISE_BLIND_BY: Final = 0.25
"""Where nobody knows yet what is possible: after a level that was set before the opening."""
TURNED_AWAY_MAX: Final = 0.10
"""Share of claims that found no place from which on the store is overloaded, however short the others waited."""

OPEN_GRADES: Final = GRADES // 5
"""How much a window with nothing to refuse, or to count, opens: in half a second it is all open."""
ADMITTED_MIN: Final = 8
"""Some are always let through: who lets nobody through never learns that the store is well again."""

SHED_FOR_GATE_MAX: Final = 0.5
"""Share of users that is refused at most because the gate itself is short of processor time."""
SHED_FOR_GATE_STEP: Final = 0.1

FORGET: Final = 0.5
"""What a window leaves of the counts before it: too few claims come in one to tell the grades apart."""


def grade_key(secret: bytes, hour: int) -> int:
    """Return the key of the grades in an hour (hours since the epoch); odd, as multiplicative hashing wants it."""
    digest = blake2b(b"grades %d" % hour, key=secret[:64], digest_size=_WORD_BITS // 8).digest()
    return int.from_bytes(digest, "big") | 1


def grade(user: str, key: int) -> int:
    """Return the user's grade, 0 to GRADES − 1; the lower, the longer admitted. Same in every process with the key."""
    return (crc32(user.encode()) * key & _WORD_MASK) >> (_WORD_BITS - _GRADE_BITS)


class AdmissionTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What operators decide about admission; `[admission]` in campaign and deployment files."""

    queueing_target_ms: int = 5
    """Mean time from a claim's arrival to the start of its batch above which a set is overloaded. Who is let in is
    answered within some four times this."""
    loop_late_target_ms: int = 50
    """The same for how late the gate's own loop is."""
    wait_max_ms: int = 500
    """A claim that has waited longer is refused instead of being sent to the store: its client is about to give up."""
    level_at_opening: float = 0.0
    """The level at the opening of each round; the crowd of its first tenth of a second cannot be counted before."""
    interval_max_ms: int = 30_000
    """The longest interval that clients are told, however high the level."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted in one window. The waits are of claims that left the queue in it."""

    lasts_s: float
    taken: int
    """Claims that left the queue, to the store or because they had waited too long."""
    waited_s: float
    """How long they had waited, all together."""
    turned_away: int
    """Claims that found no place, or lost it."""
    decided: int
    waiting_more: int
    """Claims that wait at its end, less those that waited at its beginning."""
    asked: Sequence[int] | None
    """Claims that asked to be let in, by groups of COUNTED_GRADES; None where nobody counted, as nobody was refused."""
    wait_mean_max_s: float
    """Mean wait above which the store is overloaded."""
    usual_s: float
    """What a batch of a few claims takes: half of it is waited before a store that has nothing else to do."""
    late: bool
    """Whether the gate's own loop is late."""


class Levels:
    """The threshold of one set in one gate. `step` at the end of each window; pure."""

    def __init__(self) -> None:
        self.admitted = EVERYTHING
        """What is below it is admitted: a user's grade for a claim, GRADES more for what can wait."""
        self._found = EVERYTHING  # the same by counting alone, whatever operators want
        self._floor = 0.0
        self.for_gate = False
        """Whether somebody is refused because the gate is short of time, rather than the store."""
        self._possible_per_s: float | None = None
        self._overloaded = 0
        self._late = 0
        self._asked = [0.0] * COUNTS
        self._decided = 0.0
        self._counted_s = 0.0

    @property
    def level(self) -> float:
        """Share of the users whose claims are refused."""
        return max(0.0, 1 - self.admitted / GRADES)

    def preset(self, level: float) -> None:
        """Begin with at least this level: a crowd is expected of which only a part can be served."""
        self._possible_per_s = None
        self._find(min(self._found, _ceiling(level)))

    def set_floor(self, level: float) -> None:
        """Hold at least this level from now on; what is found by counting goes on beneath."""
        self._floor = level
        self._find(self._found)

    def step(self, window: Window) -> None:
        """Take in a window, and find the threshold of the next."""
        self._count(window)
        left = window.taken + window.turned_away
        let_in_per_s = max(0, left + window.waiting_more) / window.lasts_s
        overloaded = left >= CLAIMS_MIN and (
            window.waited_s > window.wait_mean_max_s * window.taken
            or window.turned_away > TURNED_AWAY_MAX * window.taken
        )
        self._overloaded = self._overloaded + 1 if overloaded else 0
        self._late = self._late + 1 if window.late and left >= CLAIMS_MIN else 0
        if overloaded and (self._found < GRADES or self._overloaded >= OVERLOADED_WINDOWS_MIN):
            self.for_gate = False
            # A crowd that has just come was not there to be decided before; a single window is uneven, if not less.
            decided_per_s = max(window.decided / window.lasts_s, self._decided / self._counted_s)
            self._lower(let_in_per_s, decided_per_s)
        elif self._late >= LATE_WINDOWS_MIN or (self.for_gate and self._late):
            self.for_gate = True
            lower = min(self._found, GRADES) - int(GRADES * SHED_FOR_GATE_STEP)
            self._find(max(lower, min(self._found, _ceiling(SHED_FOR_GATE_MAX))))
        elif not overloaded:
            self._raise(window, let_in_per_s)

    def _count(self, window: Window) -> None:
        self._counted_s = self._counted_s * FORGET + window.lasts_s
        self._decided = self._decided * FORGET + window.decided
        if window.asked is None:
            self._asked = [0.0] * COUNTS
        else:
            self._asked = [before * FORGET + now for before, now in zip(self._asked, window.asked, strict=True)]

    def _lower(self, let_in_per_s: float, decided_per_s: float) -> None:
        """Admit what the store was found to decide, less a little."""
        possible_per_s = min(decided_per_s, let_in_per_s) * (1 - LOWER_BY)
        if self._possible_per_s is not None:
            possible_per_s = max(possible_per_s, self._possible_per_s * (1 - LOWER_AT_ONCE_MAX))
        self._possible_per_s = possible_per_s
        fits = self._fitting(possible_per_s)
        if fits is None:  # nobody was refused so far, so nobody counted: users of all grades came alike
            fits = int(min(self._found, GRADES) * possible_per_s / let_in_per_s) if let_in_per_s else 0
        self._find(min(fits, self._found - 1))

    def _raise(self, window: Window, let_in_per_s: float) -> None:
        """Admit more, as far as is known to be possible, or a little more than that."""
        if self._found >= GRADES:
            self.for_gate = False
            self._find(self._found + OPEN_GRADES)
            return
        possible_per_s = self._possible_per_s
        if possible_per_s is None or self.for_gate:
            fits = int(self._found * (1 + RAISE_BLIND_BY)) + 1
        else:
            idle_s = max(window.wait_mean_max_s / 2, IDLE_OF_USUAL * window.usual_s)
            idle = window.waited_s <= idle_s * window.taken
            if let_in_per_s > possible_per_s / 2:  # it was put to the test
                possible_per_s = self._possible_per_s = possible_per_s * (1 + (RAISE_IDLE_BY if idle else RAISE_BY))
            fits = self._fitting(possible_per_s) or 0
        if sum(self._asked) < 1:  # nobody comes
            fits = self._found + OPEN_GRADES
        self._find(max(fits, self._found))

    def _fitting(self, per_s: float) -> int | None:
        """Return how far the threshold may be for `per_s` claims a second, by what was asked for; None: not counted."""
        if sum(self._asked) < 1:
            return None
        left = per_s * self._counted_s
        for group, asked in enumerate(self._asked):
            if asked > left:
                return int((group + left / asked) * COUNTED_GRADES)
            left -= asked
        return GRADES

    def _find(self, found: int) -> None:
        # Operators may shut everybody out; counting never does.
        self._found = min(max(found, ADMITTED_MIN), EVERYTHING)
        self.admitted = min(self._found, _ceiling(self._floor))


def _ceiling(level: float) -> int:
    return EVERYTHING if level <= 0 else int(GRADES * (1 - level))
