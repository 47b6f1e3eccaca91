"""What goes wrong and is outlived: counted, logged once, and told of for some seconds, in every form."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.disk_room import with_room
from redrush.errors import RedrushError

TROUBLED_S: Final = 5.0
"""How long after its last fault a part still counts as troubled: parts that go on by themselves report each try."""


class Troubles:
    """The faults that parts report while they go on: logged when they begin, counted, and asked about for readiness."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._last: dict[str, tuple[float, str]] = {}
        self._counts: dict[str, int] = {}

    def listener(self, part: str) -> Callable[[RedrushError], None]:
        """Return what a part calls at a fault."""
        return lambda fault: self._hear(part, str(fault), with_room(str(fault), fault))

    def current(self) -> str | None:
        """Return a fault of the last seconds, or None."""
        now_s = asyncio.get_running_loop().time()
        for part, (at_s, fault) in self._last.items():
            if now_s - at_s < TROUBLED_S:
                return f"{part}: {fault}"
        return None

    def readings(self) -> Iterator[Value]:
        """Yield how many faults each part has had."""
        for part, count in self._counts.items():
            yield figures.FAULTS(count, part)

    def _hear(self, part: str, fault: str, told: str) -> None:
        now_s = asyncio.get_running_loop().time()
        at_s, before = self._last.get(part, (-TROUBLED_S, ""))
        self._counts[part] = self._counts.get(part, 0) + 1
        self._last[part] = (now_s, fault)
        if before != fault or now_s - at_s >= TROUBLED_S:
            self._log.warning("trouble, goes on", part=part, fault=told)
