"""The lines of a campaign in the serving process: told of, moved, shown and written down, five times a second."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from redrush.control.line_files import LineFiles
from redrush.control.lines import Lines
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.serving import MOVES_PER_S
from redrush.core.steering.switches import Snapshot
from redrush.errors import ConfigError, RedrushError
from redrush.gate.rush.line import WaitingRoom

HERE: Final = "this process"
"""The only gate."""

KEPT_EVERY: Final = MOVES_PER_S
"""Moves after which is written down how far the lines are: once a second."""


IDLE_S: Final = 1.0
"""How long is waited between two looks while no line is to be moved."""


class OwnLines:
    """See the module. `recall` once, then `run`."""

    def __init__(
        self,
        lines: Lines,
        files: LineFiles,
        rooms: Callable[[], Sequence[WaitingRoom]],
        now_us: Callable[[], int],
        snapshot: Callable[[], Snapshot],
        room_left: Callable[[], float],
        on_fault: Callable[[RedrushError], None],
    ) -> None:
        """`room_left` is the share of the pace that what is behind the lines can take. `on_fault` hears when the files
        cannot be written; the lines go on."""
        self._lines = lines
        self._files = files
        self._rooms = rooms
        self._now_us = now_us
        self._snapshot = snapshot
        self._room_left = room_left
        self._on_fault = on_fault
        self._moves = 0

    def amend(self, campaign: Campaign) -> None:
        """Go on with the rounds and times of this campaign."""
        self._lines.amend(campaign)

    def recall(self) -> None:
        """Go on where a life before this one has left off. Blocks; ConfigError for files that cannot be read."""
        kept = {}
        for room in self._rooms():
            if (one := self._files.load(room.round.id)) is not None:
                kept[room.round.id] = one
            room.places.remember(self._files.given(room.round.id))
        self._lines.restore(kept, self._now_us())
        if kept:
            self._move()

    async def run(self) -> None:
        """Move the lines, for ever."""
        while True:
            now_us = self._now_us()
            if any(room.moves_at(now_us) for room in self._rooms()):
                self._move()
                await self.write()
                await asyncio.sleep(1 / MOVES_PER_S)
            else:
                await asyncio.sleep(IDLE_S)

    def _move(self) -> None:
        rooms = {room.round.id: room for room in self._rooms()}
        told = {round_id: room.places.told() for round_id, room in rooms.items()}
        enough = self._lines.hear(HERE, told)
        self._lines.move(self._now_us(), self._snapshot(), self._room_left())
        for round_id, heard in enough.items():
            state = self._lines.state(round_id)
            rooms[round_id].places.heard(told[round_id], enough=heard, serving=state.serving)
            rooms[round_id].show(state)

    async def write(self, *, last: bool = False) -> None:
        """Write down who has joined since, and now and then how far the lines are; no claim waits for it."""
        try:
            for room in self._rooms():
                if room.places.fresh:
                    given, room.places.fresh = room.places.fresh, []
                    await asyncio.to_thread(self._files.append, room.round.id, given)
            self._moves += 1
            if last or self._moves % KEPT_EVERY == 0:
                for round_id, kept in self._lines.kept().items():
                    if kept.serving >= 0:
                        await asyncio.to_thread(self._files.keep, round_id, kept)
        except OSError as fault:
            self._on_fault(ConfigError(f"{fault.filename}: cannot be written: {fault.strerror}"))
