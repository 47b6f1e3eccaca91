"""All lines of one campaign, moved together: what gates tell of them, what operators have set, and how they stand.

Whoever has the switchboard moves the lines, so there is one `serving` of each: the serving process of the embedded
form, the control role of a stack. The rules are in `redrush.core.rush.serving`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from redrush.control.control_api import Fields, Operation
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.line import LineState
from redrush.core.rush.serving import Kept, Serving, Told
from redrush.core.steering.switches import Snapshot, line_closed_of, line_pace_of, line_paused_of

GATES_MAX: Final = 4_096
"""Lives of gates that tell of their lines; the one that was heard longest ago is forgotten beyond it."""


class _Telling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    gate: str
    lines: dict[str, Told]


class Lines:
    """See the module. Lives on the event loop; no call waits for anything."""

    def __init__(self, campaign: Campaign, now_us: Callable[[], int], stand_until_us: int = 0) -> None:
        """The lines stand until then: by that time all gates must have told of whom they have."""
        self._stand_until_us = stand_until_us
        self._now_us = now_us
        self._lines: dict[str, Serving] = {}
        self._states: dict[str, LineState] = {}
        self._gates: dict[str, None] = {}
        self.amend(campaign)

    def amend(self, campaign: Campaign) -> None:
        """Go on with the rounds and times of this campaign."""
        for round_ in campaign.rounds:
            if round_.line is None:
                continue
            line = self._lines.get(round_.id)
            if line is None:
                self._lines[round_.id] = Serving(round_.line, round_.opens_us, round_.closes_us)
                self._states[round_.id] = LineState()
            else:
                line.set_times(round_.opens_us, round_.closes_us)

    def restore(self, kept: Mapping[str, Kept]) -> None:
        """Go on where the lines stood when a life before this one ended."""
        for round_id, one in kept.items():
            if round_id in self._lines:
                self._lines[round_id].restore(one, self._now_us())

    @property
    def rounds(self) -> list[str]:
        """Those that have a line."""
        return list(self._lines)

    def hear(self, gate: str, told: Mapping[str, Told]) -> dict[str, bool]:
        """Take what a life of a gate has counted; return of which lines that was enough, and not the whole is wanted
        next time."""
        now_us = self._now_us()
        self._gates.pop(gate, None)
        self._gates[gate] = None
        if len(self._gates) > GATES_MAX:
            self._forget(next(iter(self._gates)))
        known = {round_id: one for round_id, one in told.items() if round_id in self._lines}
        return {round_id: self._lines[round_id].hear(gate, one, now_us) for round_id, one in known.items()}

    def _forget(self, gate: str) -> None:
        del self._gates[gate]
        for line in self._lines.values():
            line.forget(gate)

    def move(self, snapshot: Snapshot, room: float = 1.0) -> None:
        """Call whose turn it is. `room` is the share of the pace that what is behind the lines can take."""
        now_us = self._now_us()
        if now_us < self._stand_until_us:
            room = 0.0
        for round_id, line in self._lines.items():
            if line_pace_of(round_id) in snapshot.values:
                pace = snapshot.number(line_pace_of(round_id)) or 0.0
                paused, closed = snapshot.flag(line_paused_of(round_id)), snapshot.flag(line_closed_of(round_id))
            else:  # a switchboard of an earlier start does not know the line yet
                pace, paused, closed = line.terms.pace_per_s, False, False
            line.move(now_us, pace, room=room, paused=paused)
            self._states[round_id] = line.state(paused=paused, closed=closed)

    def find(self, round_id: str) -> LineState | None:
        """Return how a line stands; None: the round has none."""
        return self._states.get(round_id)

    def state(self, round_id: str) -> LineState:
        """Return how a line stands. KeyError: the round has none."""
        return self._states[round_id]

    def kept(self) -> dict[str, Kept]:
        """Return what has to outlive the process."""
        return {round_id: line.kept() for round_id, line in self._lines.items()}

    # -- the part of the control API by which gates tell

    def operations(self) -> Iterator[Operation]:
        """Yield the operation by which a gate tells what it has counted, and hears how the lines stand."""
        if self._lines:
            yield Operation("POST", "/v1/lines/told", self._take)

    async def _take(self, fields: Fields, _who: str) -> tuple[int, dict[str, Any]]:
        try:
            telling = msgspec.convert(fields, _Telling, str_keys=True)
        except msgspec.ValidationError as fault:
            return 400, {"detail": f'send {{"gate": "…", "lines": {{round: counts, …}}}}: {fault}'}
        enough = self.hear(telling.gate, telling.lines)
        states = {round_id: msgspec.to_builtins(self._states[round_id]) for round_id in enough}
        return 200, {"lines": states, "enough": enough}
