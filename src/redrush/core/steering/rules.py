"""Automatic rules: a reading that crosses a threshold applies a playbook, and its return undoes it.

Each rule is a small state machine over readings and instants that are handed in. Three things keep it from flapping:
two thresholds (it comes back at another value than it left at), a time that the reading must stay crossed, or back
(`after_s`), and a minimum time in force (`hold_s`).

Whether the playbook is in force is asked, never remembered: a person may have undone it. Then the rule is *overruled*:
it does nothing until its reading has come back once. A rule never undoes what a person applied.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from redrush.core.steering.figures import FIGURES

READINGS: Final[Mapping[str, str]] = {row.reading: row.help for row in FIGURES if row.reading is not None}
"""What a rule can be about, and what it says. Whoever runs the rules gives the values it has; a rule without its
reading stands still."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """Applies `playbook` when `reading` is beyond `leaves_at`, undoes it when it is back at `returns_at`.

    Beyond is above if `leaves_at` is the greater of the two, else below.
    """

    name: str
    playbook: str
    reading: str
    leaves_at: float
    returns_at: float
    after_s: float
    hold_s: float

    def beyond(self, value: float) -> bool:
        """Whether the reading has left its range."""
        return value > self.leaves_at if self.leaves_at >= self.returns_at else value < self.leaves_at

    def back(self, value: float) -> bool:
        """Whether the reading is well within its range again."""
        return value <= self.returns_at if self.leaves_at >= self.returns_at else value >= self.returns_at


class Move(Enum):
    """What a rule wants done with its playbook."""

    NOTHING = "nothing"
    APPLY = "apply"
    UNDO = "undo"


class RuleState:
    """One rule while it is watched. `step` it at every reading, in order of time."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.overruled = False
        self._beyond_since_s: float | None = None
        self._back_since_s: float | None = None
        self._in_force_since_s: float | None = None

    def step(self, now_s: float, value: float | None, *, in_force: bool, enabled: bool) -> Move:
        """Return what to do now. `in_force`: whether this rule's playbook is, by this rule's doing; None: no reading.

        A wish is repeated at every step until `in_force` tells that it was done, so whoever cannot do it just goes on.
        """
        if self._in_force_since_s is not None and not in_force:
            self.overruled = enabled  # switched off it undoes by itself, and has nobody's word against it
            self._in_force_since_s = None
        if in_force and self._in_force_since_s is None:
            self._in_force_since_s = now_s
        if not enabled:
            self._beyond_since_s = self._back_since_s = None
            return Move.UNDO if in_force else Move.NOTHING
        if value is None:
            self._beyond_since_s = self._back_since_s = None
            return Move.NOTHING
        self._beyond_since_s = _since(self._beyond_since_s, now_s, holds=self.rule.beyond(value))
        self._back_since_s = _since(self._back_since_s, now_s, holds=self.rule.back(value))
        if self._back_since_s is not None:
            self.overruled = False
        return self._wish(now_s)

    def done(self, move: Move, now_s: float) -> None:
        """Call when what `step` wished is done: so that it is told from what a person does."""
        self._in_force_since_s = now_s if move is Move.APPLY else None

    def _wish(self, now_s: float) -> Move:
        rule = self.rule
        if self._in_force_since_s is None:
            due = self._beyond_since_s is not None and now_s - self._beyond_since_s >= rule.after_s
            return Move.APPLY if due and not self.overruled else Move.NOTHING
        held = now_s - self._in_force_since_s >= rule.hold_s
        due = self._back_since_s is not None and now_s - self._back_since_s >= rule.after_s
        return Move.UNDO if held and due else Move.NOTHING


def _since(since_s: float | None, now_s: float, *, holds: bool) -> float | None:
    if not holds:
        return None
    return now_s if since_s is None else since_s
