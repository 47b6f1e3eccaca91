"""What became of the sets of a deployment: each change of a primary, or of what a grant rests on, in the console's log.

Wardens decide by themselves, and tell how a set is; here is written down how it was before. What changed while no
console ran is written down at its next start, with the instant that the warden says.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.api.diary import Diary, Line
from redrush.api.event_link import Links
from redrush.control.durable_file import write_durably
from redrush.control.json_file import load_json
from redrush.errors import ConfigError, RedrushError

EVERY_S: Final = 5
WARDEN: Final = "warden"
CHANGED: Final = "set changed"
SHOWN_MAX: Final = 50


class _Was(msgspec.Struct, frozen=True):
    """A set as it was seen last."""

    epoch: int
    primary: str | None
    durability: str


class _File(msgspec.Struct, frozen=True):
    sets: dict[str, _Was] = {}


class Failovers:
    """See the module. `look` is for one task."""

    def __init__(self, links: Links, path: Path, diary: Diary, told: Callable[[Line], None]) -> None:
        """`path` is the file of how the sets were; `told` hears each line. ConfigError if it cannot be read."""
        self._links = links
        self._path = path
        self._diary = diary
        self._told = told
        self._file = load_json(path, _File, _File(), "how the sets were")

    async def look(self) -> None:
        """Look once, and write down what is another way than before. Nothing where one process serves the event."""
        if self._links.first.deployment_path is None:
            return
        try:
            sets = (await self._links.first.get("/v1/sets"))["sets"]
        except RedrushError:
            return  # how the event is, others tell
        now = {one["set"]: _Was(one["epoch"], one["primary"], one["durability"]) for one in sets}
        for one in sets:
            was, is_ = self._file.sets.get(one["set"]), now[one["set"]]
            if was is not None and was != is_:
                about = f"{one['set']}: {', '.join(_differences(was, is_))}"
                self._told(self._diary.note(WARDEN, CHANGED, about, f"since {one['since']}"))
        known = {**self._file.sets, **now}  # one of which nothing is told for a while is still what it was
        if known != self._file.sets:
            self._keep(_File(known))

    def history(self) -> list[dict[str, Any]]:
        """Return what changed lately, the newest first."""
        found = [line for line in self._diary.lines() if line.what == CHANGED]
        return [{"at": one.at, "what": one.about, "why": one.why} for one in found[: -SHOWN_MAX - 1 : -1]]

    def _keep(self, file: _File) -> None:
        try:
            write_durably(self._path, msgspec.json.encode(file))
        except OSError as fault:
            raise ConfigError(f"{self._path}: cannot be written: {fault.strerror}") from fault
        self._file = file


def _differences(was: _Was, is_: _Was) -> list[str]:
    told = zip(("primary", "rests on", "epoch"), ("primary", "durability", "epoch"), strict=True)
    pairs = [(word, getattr(was, field), getattr(is_, field)) for word, field in told]
    return [f"{word} {before or 'none'} → {after or 'none'}" for word, before, after in pairs if before != after]
