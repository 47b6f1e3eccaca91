"""The lines of a campaign in the serving process, which is the only gate."""

import asyncio
from collections.abc import Sequence
from typing import Final

from redrush.control.event import Event
from redrush.control.line_files import LineFiles
from redrush.control.lines import Lines
from redrush.core.rush.serving import MOVES_PER_S
from redrush.errors import ConfigError
from redrush.gate.rush.line import WaitingRoom
from redrush.wiring.embedded_part import Part
from redrush.wiring.lines import IDLE_S, KEPT_EVERY, keep

HERE: Final = "this process"


class OwnLines(Part):
    """See the module."""

    async def open(self) -> None:
        """Go on where a life before this one has left off. ConfigError for files that cannot be read."""
        self._now_us = self.ground.process.clock.now_us
        self._lines = Lines(self.ground.sealed.campaign, self._now_us)
        self._files = LineFiles(self.ground.data_dir)
        self._on_fault = self.ground.process.troubles.listener("the lines")
        self._moves = 0
        await asyncio.to_thread(self._recall)

    def _rooms(self) -> Sequence[WaitingRoom]:
        return self.ground.gate.waiting_rooms

    def _recall(self) -> None:
        kept = {}
        for room in self._rooms():
            if (one := self._files.load(room.round.id)) is not None:
                kept[room.round.id] = one
            room.places.remember(self._files.given(room.round.id))
        self._lines.restore(kept)
        if kept:
            self._move()

    def begin(self) -> None:
        """Move them."""
        self._moving = self.ground.tasks.add("lines", self._run())

    async def amend(self, event: Event) -> None:
        """Go on with its rounds and times."""
        self._lines.amend(event.sealed.campaign)

    async def stop(self) -> None:
        """Write down where they are."""
        self._moving.cancel()
        await asyncio.wait([self._moving])
        await self._write(last=True)

    async def _run(self) -> None:
        while True:
            now_us = self._now_us()
            if any(room.moves_at(now_us) for room in self._rooms()):
                self._move()
                await self._write()
                await asyncio.sleep(1 / MOVES_PER_S)
            else:
                await asyncio.sleep(IDLE_S)

    def _move(self) -> None:
        """Move them, by the share of the pace that what is behind them can take."""
        rooms = {room.round.id: room for room in self._rooms()}
        told = {round_id: room.places.told(self._now_us()) for round_id, room in rooms.items()}
        enough = self._lines.hear(HERE, told)
        self._lines.move(self.ground.steering.board.snapshot, 1.0 - self.ground.gate.admission.level)
        for round_id, heard in enough.items():
            state = self._lines.state(round_id)
            rooms[round_id].places.heard(told[round_id], enough=heard, serving=state.serving)
            rooms[round_id].show(state)

    async def _write(self, *, last: bool = False) -> None:
        """Write down who has joined since, and now and then how far the lines are; no claim waits for it."""
        try:
            for room in self._rooms():
                if room.places.fresh:
                    given, room.places.fresh = room.places.fresh, []
                    await asyncio.to_thread(self._files.append, room.round.id, given)
            self._moves += 1
            if last or self._moves % KEPT_EVERY == 0:
                await keep(self._lines, self._files)
        except OSError as fault:
            self._on_fault(ConfigError(f"{fault.filename}: cannot be written: {fault.strerror}"))
