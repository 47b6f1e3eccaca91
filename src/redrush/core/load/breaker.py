"""A circuit breaker: whoever does not answer is left alone for a while, so that nobody waits in vain.

    up ──so many failures in a row──► away ──a pause──► trying: one call goes through, the others are refused
     ▲                                  ▲                 │
     └───────────answered───────────────┼─────────────────┤
                                        └──not answered───┘   and the next pause is twice as long, up to a maximum

A pure machine: instants are handed in, and no one ever waits in it. Failures in a row, and not a share of all: a call
that is answered shows that the dependency lives, whatever became of the one before, and a server that hangs answers
nobody. Rejected: counting in windows, which with thousands of good answers in the window notices a server that hangs
only after thousands of bad ones.

A call that was let through before the state changed says nothing about what holds now: its report is recognised by its
*permit*, and not counted. Nor is the failure of a call that was let through before another was answered: a few that
hang among many that are answered are over last, all in a row, and are no absence. Permits count up, so what trips the
breaker is never remembered but as numbers, and its memory is constant.

A lane of a gate (`redrush.gate.lanes`) is a machine of the same three states, of batches instead of calls.
"""

from enum import StrEnum

import msgspec


class State(StrEnum):
    """How a dependency is, as far as is known."""

    UP = "up"
    AWAY = "away"
    TRYING = "trying"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """When a dependency counts as away, and when it is tried again."""

    failures: int
    """So many in a row."""
    window_s: float
    """A row that began longer ago than this is forgotten: rare failures of a dependency that is hardly used."""
    pause_s: float
    """From going away to the first try; doubled after each that fails."""
    pause_max_s: float
    trial_max_s: float
    """A try that nobody reported on for this long has failed."""


class Breaker:
    """One dependency. Instants are seconds of any clock that does not jump, in order."""

    def __init__(self, rule: Rule) -> None:
        self.state = State.UP
        self.failures = 0
        """Calls that failed, in all."""
        self.refused = 0
        """Calls that were not made, in all."""
        self._rule = rule
        self._permit = 0
        """The last one that was given."""
        self._void = 0
        """Permits up to this one are of another state."""
        self._answered = 0
        """Permits up to this one were given before the last answer."""
        self._row = 0
        self._row_began_s = 0.0
        self._away_since_s = 0.0
        self._pause_s = rule.pause_s
        self._retry_at_s = 0.0
        self._trial_ends_s = 0.0

    def admit(self, now_s: float) -> int | None:
        """Return the permit to make a call now, which is to be reported with its end; None: it must not be made."""
        if self.state is State.TRYING and now_s >= self._trial_ends_s:
            self._go_away(now_s)
        if self.state is State.AWAY and now_s >= self._retry_at_s:
            self._become(State.TRYING)
            self._trial_ends_s = now_s + self._rule.trial_max_s
        elif self.state is not State.UP:
            self.refused += 1
            return None
        self._permit += 1
        return self._permit

    def succeeded(self, permit: int | None = None) -> None:
        """The call was answered. Without a permit: by whoever is the only caller, and keeps the pauses by itself."""
        if permit is not None and permit <= self._void:
            return
        self._row = 0
        self._answered = self._permit
        if self.state is not State.UP:
            self._pause_s = self._rule.pause_s
            self._become(State.UP)

    def failed(self, now_s: float, permit: int | None = None, *, began_s: float | None = None) -> None:
        """The call was not answered, or with a fault of the dependency. `began_s`: when it was made, if that is known;
        the dependency counts as away from then on."""
        self.failures += 1
        if permit is not None and permit <= max(self._void, self._answered):
            return
        if self.state is not State.UP:
            self._go_away(now_s)
            return
        began_s = now_s if began_s is None else began_s
        if self._row == 0 or now_s - self._row_began_s > self._rule.window_s:
            self._row, self._row_began_s = 0, began_s
        self._row += 1
        if self._row >= self._rule.failures:
            self._away_since_s = self._row_began_s
            self._go_away(now_s)

    def away_s(self, now_s: float) -> float:
        """Return for how long it has been away, tries that failed included; 0 while it is up."""
        return 0.0 if self.state is State.UP else max(0.0, now_s - self._away_since_s)

    def retry_in_s(self, now_s: float) -> float:
        """Return how long to wait before a call has a chance to be admitted; 0: now."""
        if self.state is State.UP:
            return 0.0
        return max(0.0, (self._retry_at_s if self.state is State.AWAY else self._trial_ends_s) - now_s)

    def _go_away(self, now_s: float) -> None:
        self._retry_at_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, self._rule.pause_max_s)
        self._become(State.AWAY)

    def _become(self, state: State) -> None:
        self.state = state
        self._row = 0
        self._void = self._permit  # what was permitted before is of another time
