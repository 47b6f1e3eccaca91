"""The lines of a campaign, five times a second: told of by gates, moved, shown, and written down.

In the serving process of the embedded form that is one loop (`redrush.wiring.embedded_lines`). On a stack the control
role moves them (`LinesOfAll`); each gate tells it what it has counted, and hears in the answer how they stand
(`LinesElsewhere`). While the control role is away the lines stand: who was called may go in, and who has a pass keeps
it.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from redrush.control.control_api import Operation
from redrush.control.data_dir import DataDir
from redrush.control.line_files import LineFiles
from redrush.control.lines import Lines
from redrush.core.rush.line import LineState
from redrush.core.rush.serving import MOVES_PER_S
from redrush.errors import ConfigError, RedrushError
from redrush.gate.rush.line import WaitingRoom
from redrush.wiring.asking import Asking
from redrush.wiring.role import Parts, Surroundings
from redrush.wiring.steering import Steering

KEPT_EVERY: Final = MOVES_PER_S
"""Moves after which is written down how far the lines are: once a second."""


LEVEL_READING: Final = "gate.level"
"""The share of users that gates refuse: so much less is called."""

TELL_MAX_S: Final = 0.5
"""How long the control role's answer is waited for: the next report says all that this one did."""

STANDS_US: Final = 3_000_000
"""How long the lines stand after the control role has started: until every gate has told what it has."""

IDLE_S: Final = 1.0
"""How long is waited between two looks while no line is to be moved."""


class LinesOfAll:
    """Moves the lines of all gates of a stack, in the control role."""

    def __init__(
        self, around: Surroundings, operating: Steering, notes: DataDir, on_fault: Callable[[RedrushError], None]
    ) -> None:
        """`notes` is where this role may write; `on_fault` hears when it cannot: the lines go on."""
        now_us = around.clock.now_us
        self._lines = Lines(around.sealed.campaign, now_us, now_us() + STANDS_US)
        self._operating = operating
        self._files = LineFiles(notes)
        self._on_fault = on_fault

    def find(self, round_id: str) -> LineState | None:
        """Return how the line of a round stands; None: it has none."""
        return self._lines.find(round_id)

    def operations(self) -> Iterator[Operation]:
        """Yield what gates tell by."""
        return self._lines.operations()

    async def start(self, parts: Parts) -> None:
        """Go on where a life before this one has left off. ConfigError for files that cannot be read."""
        if self._lines.rounds:
            kept = {one: await asyncio.to_thread(self._files.load, one) for one in self._lines.rounds}
            self._lines.restore({round_id: one for round_id, one in kept.items() if one is not None})
            parts.add("lines", self.run())

    async def run(self) -> None:
        """Move the lines, for ever."""
        moves = 0
        while True:
            level = self._operating.readings().get(LEVEL_READING, 0.0)
            self._lines.move(self._operating.board.snapshot, 1.0 - level)
            moves += 1
            if moves % KEPT_EVERY == 0:
                try:
                    await keep(self._lines, self._files)
                except OSError as fault:
                    self._on_fault(ConfigError(f"{fault.filename}: cannot be written: {fault.strerror}"))
            await asyncio.sleep(1 / MOVES_PER_S)


class LinesElsewhere:
    """Tells the control role what a gate of a stack has counted, and shows how the lines stand."""

    def __init__(
        self,
        rooms: Callable[[], Sequence[WaitingRoom]],
        now_us: Callable[[], int],
        control: Asking,
    ) -> None:
        self._rooms = rooms
        self._now_us = now_us
        self._control = control
        self._life = f"gate {secrets.token_hex(8)}"

    async def run(self) -> None:
        """Tell and hear, for ever."""
        while True:
            now_us = self._now_us()
            if rooms := {room.round.id: room for room in self._rooms() if room.moves_at(now_us)}:
                await self._tell(rooms)
                await asyncio.sleep(1 / MOVES_PER_S)
            else:
                await asyncio.sleep(IDLE_S)

    async def _tell(self, rooms: Mapping[str, WaitingRoom]) -> None:
        told = {round_id: room.places.told(self._now_us()) for round_id, room in rooms.items()}
        fields = {"gate": self._life, "lines": msgspec.to_builtins(told, str_keys=True)}
        answered = await self._control.ask("POST", "/v1/lines/told", fields, TELL_MAX_S, "move the lines")
        if answered is None:
            return
        heard = msgspec.convert(answered, _Heard)
        for round_id, state in heard.lines.items():
            enough = heard.enough[round_id]
            rooms[round_id].places.heard(told[round_id], enough=enough, serving=state.serving)
            rooms[round_id].show(state)


class _Heard(msgspec.Struct, frozen=True):
    lines: dict[str, LineState]
    enough: dict[str, bool]


async def keep(lines: Lines, files: LineFiles) -> None:
    """Write down how far the lines are. Raises OSError."""
    for round_id, kept in lines.kept().items():
        if kept.serving >= 0:
            await asyncio.to_thread(files.keep, round_id, kept)
