"""Whose the time of a loop is that several campaigns share: who asks for less than an equal part is not short of it.

A gate that is short of processor time refuses some of its users (`redrush.core.load.levels`). Where a process serves
several campaigns its loop is late for all of them, whoever asks so much. To refuse users of a campaign that asks little
frees no time, and is unjust: a flood on one campaign would shut half of the people out of all others. So only those
shed load for the loop that ask for an equal part of its time or more. What belongs to no campaign, such as answers to
those who ask too often, is told under a name of its own, and has a part like any other.
"""

from collections.abc import Hashable
from typing import Final

KEPT: Final = 0.8
"""What a look leaves of the answers before it: with five looks in a window of admission, about a window counts."""

NOTHING: Final = 0.5
"""Who had fewer answers lately takes no part."""


class _Part:
    __slots__ = ("ever", "lately", "told")

    def __init__(self, ever: int) -> None:
        self.ever = ever
        self.lately = 0.0
        self.told = True


class LoopShare:
    """See the module. `begin` each look, then have everybody tell."""

    def __init__(self) -> None:
        self._parts: dict[Hashable, _Part] = {}

    def begin(self) -> None:
        """Begin a look: who did not tell in the last one is gone."""
        self._parts = {who: part for who, part in self._parts.items() if part.told}
        for part in self._parts.values():
            part.told = False

    def told(self, who: Hashable, answers_ever: int) -> None:
        """This one has had so many answers, from the start on; the first time nothing is known of before."""
        if (part := self._parts.get(who)) is None:
            self._parts[who] = _Part(answers_ever)
            return
        part.lately = part.lately * KEPT + max(0, answers_ever - part.ever)
        part.ever, part.told = answers_ever, True

    def has_its_part(self, who: Hashable) -> bool:
        """Whether this one had an equal part of the answers lately, or more; who is alone always has."""
        part = self._parts.get(who)
        lately = [one.lately for one in self._parts.values() if one.lately >= NOTHING]
        mine = 0.0 if part is None else part.lately
        return len(lately) < 2 or mine * len(lately) >= sum(lately)
