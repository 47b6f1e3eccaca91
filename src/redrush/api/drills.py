"""Drills from the console: played by `redrush drill` on processes of their own, never on the event's, and never while
the event has a round open or soon: they take every core that they get. A rehearsal's rounds stand in no drill's way.

One at a time. What became of the last ones is kept; their files are not.
"""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from redrush.api.access import Actor
from redrush.api.beside import run_beside
from redrush.api.diary import Diary
from redrush.api.seals import Refused
from redrush.control.data_dir import DataDir
from redrush.control.json_file import keep_json, load_json
from redrush.core.rush.instants import rfc3339, rfc3339_s
from redrush.errors import RedrushError
from redrush.operate.campaigns import all_listings

DRY_RUN: Final = "dry-run"
"""The drill that plays a campaign of somebody's (`redrush.drill.dry_run`)."""
AHEAD_S: Final = 900
"""No drill is begun so long before a round opens."""
KEPT_MAX: Final = 50
LIST_MAX_S: Final = 60.0
PLAY_MAX_S: Final = 3_600.0


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a drill."""

    drill: str
    by: str
    why: str
    at: str
    passed: bool
    said: str
    """Why there is no report; "": there is one."""
    took_s: float | None = None
    verdicts: list[dict[str, Any]] = []
    figures: dict[str, Any] = {}
    seen: str = ""
    """Of a dry run: names the draft that was played, with its lists. "": it was changed while it was played."""


class Draft(NamedTuple):
    """A draft that is to be played."""

    path: Path
    seen: str
    """Names it with its lists."""
    now: Callable[[], str]
    """Returns what names it later on, in a thread; RedrushError if it is gone."""


class _File(msgspec.Struct, frozen=True):
    played: tuple[Played, ...] = ()


class Drills:
    """See the module. `stop` it at the end."""

    def __init__(self, data_dir: DataDir, path: Path, diary: Diary, now_us: Callable[[], int]) -> None:
        """`path` is the file of what became of drills. ConfigError if it cannot be read."""
        self._data_dir = data_dir
        self._path = path
        self._diary = diary
        self._now_us = now_us
        self._file = load_json(path, _File, _File(), "a list of drills")
        self._known: list[dict[str, str]] | None = None
        self._playing: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self.running: dict[str, str] | None = None
        """The drill that is being played, by whom, since when; None: none."""

    async def listed(self) -> dict[str, Any]:
        """Return which drills there are, the one that is being played, and what became of the last ones."""
        if self._known is None:
            ran = await run_beside(("drill", "list", "--json"), LIST_MAX_S)
            if ran.code or (told := ran.told) is None:
                raise Refused(503, f"which drills there are cannot be told: {ran.said}")
            self._known = list(told["drills"])
        return {"drills": self._known, "running": self.running, "played": list(reversed(self._file.played))}

    async def begin(self, actor: Actor, name: str, why: str, *, short: bool) -> dict[str, Any]:
        """Begin to play a drill; return what `listed` does. Refused for none such, while one is played, and while a
        round of the event is open or soon is."""
        await self._refuse_unless_quiet()
        known = (await self.listed())["drills"]
        if name not in {one["name"] for one in known}:
            raise Refused(404, f'there is no drill "{name}"; there are {", ".join(one["name"] for one in known)}')
        return await self._begin(actor, name, (name,), why, short=short)

    async def begin_dry_run(self, actor: Actor, draft: Draft, why: str, *, short: bool) -> dict[str, Any]:
        """Begin to play a draft of somebody's, as `begin` does a drill."""
        await self._refuse_unless_quiet()
        words = (DRY_RUN, "--campaign", str(draft.path.absolute()))
        return await self._begin(actor, f"{DRY_RUN} {draft.path.stem}", words, why, short=short, draft=draft)

    def last_dry_run(self, name: str) -> Played | None:
        """Return what became of the last dry run of a draft; None if none is known."""
        return next((one for one in reversed(self._file.played) if one.drill == f"{DRY_RUN} {name}"), None)

    def last_passed(self) -> Played | None:
        """Return the last drill that has passed; None if none is known."""
        return next((one for one in reversed(self._file.played) if one.passed), None)

    async def _refuse_unless_quiet(self) -> None:
        self.refuse_another()
        if (live := await self.live()) is not None:
            raise Refused(409, f"{live}; a drill would take what its crowd needs: play it when nothing is open")

    def refuse_another(self) -> None:
        """Refused while a drill is played."""
        if self.running is not None:
            raise Refused(409, f"the drill {self.running['drill']} is being played; wait for its end, or end it")

    async def live(self) -> str | None:
        """Return which round of the event is open, or soon is; None: nothing is going on."""
        return await asyncio.to_thread(self._live)

    async def _begin(
        self, actor: Actor, name: str, words: tuple[str, ...], why: str, *, short: bool, draft: Draft | None = None
    ) -> dict[str, Any]:
        self.refuse_another()  # somebody may have begun one while it was looked whether all is quiet
        self._diary.note(actor.name, "begin drill", f"{name}{'' if short else ', the long form'}", why, actor.address)
        self.running = {"drill": name, "by": actor.name, "at": self._now()}
        playing = self._play(name, words, actor.name, why, short=short, draft=draft)
        self._playing = asyncio.create_task(playing, name=f"drill {name}")
        return await self.listed()

    def end(self, actor: Actor) -> None:
        """End the drill that is being played. Refused if there is none."""
        if self.running is None or self._process is None:
            raise Refused(409, "no drill is being played")
        self._diary.note(actor.name, "end drill", self.running["drill"], address=actor.address)
        self._process.send_signal(signal.SIGTERM)

    async def stop(self) -> None:
        """End what is played."""
        if self._playing is not None and not self._playing.done():
            self._playing.cancel()
            await asyncio.gather(self._playing, return_exceptions=True)

    def _now(self) -> str:
        return rfc3339_s(self._now_us() // 1_000_000)

    def _live(self) -> str | None:
        now_us = self._now_us()
        for listing in all_listings(self._data_dir):
            if (
                listing.ended_at is None
                and not listing.rehearsal
                and (one := listing.near(now_us, AHEAD_S * 1_000_000)) is not None
            ):
                doing = "is open" if one.opens_us <= now_us else f"opens at {rfc3339(one.opens_us)}"
                return f"round {one.id} of {listing.id} {doing}"
        return None

    async def _play(
        self, name: str, words: tuple[str, ...], by: str, why: str, *, short: bool, draft: Draft | None
    ) -> None:
        at = self._now()
        directory = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="redrush-drill-"))
        try:
            arguments = (*words, "--data", str(directory), "--json", *(("--short",) if short else ()))
            ran = await run_beside(("drill", *arguments), PLAY_MAX_S, self._started)
            report = ran.told
            if report is None or "verdicts" not in report:
                played = Played(drill=name, by=by, why=why, at=at, passed=False, said=ran.said)
            else:
                played = Played(
                    drill=name, by=by, why=why, at=at, passed=bool(report["passed"]), said="", took_s=report["took_s"],
                    verdicts=report["verdicts"], figures=report["figures"],
                )  # fmt: skip
            seen = "" if draft is None else await asyncio.to_thread(_as_played, draft)
            self.keep(msgspec.structs.replace(played, seen=seen))
        finally:
            self.running = self._process = None
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    def _started(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def keep(self, played: Played) -> None:
        """Write down what became of a drill. ConfigError if the disk refuses."""
        file = _File((*self._file.played, played)[-KEPT_MAX:])
        keep_json(self._path, file)
        self._file = file


def _as_played(draft: Draft) -> str:
    """Return what names the draft that was played; "" if it is another one by now: which of both was is not known."""
    try:
        return draft.seen if draft.now() == draft.seen else ""
    except RedrushError:
        return ""
