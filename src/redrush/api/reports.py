"""Reports of events: made by `redrush report` in a process of its own at the lowest priority, once a campaign is over
or when somebody asks, and never while a round is open or soon is: nothing is taken from a live event.

One at a time. The last ones are kept, each with its pages, in a directory that nothing rests on.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.api.access import Actor
from redrush.api.beside import run_beside
from redrush.api.diary import Diary
from redrush.api.drills import Drills
from redrush.api.event_link import Links
from redrush.api.seals import Refused
from redrush.control.data_dir import DataDir
from redrush.control.json_file import keep_json, load_json
from redrush.core.money.currency import format_amount
from redrush.core.rush.instants import rfc3339_s
from redrush.errors import ConfigError
from redrush.operate.campaigns import all_listings

FILES: Final = {
    "report.html": "text/html",
    "report.zh.html": "text/html",
    "report.json": "application/json",
}
"""What `redrush report` writes, and what each is."""
KEPT_MAX: Final = 100
MAKE_MAX_S: Final = 3_600.0
AFTER_S: Final = 300
"""So long after its last round a report is made by itself: what is won has been recorded and, mostly, paid by then."""
LATE_MAX_S: Final = 86_400
"""What is over for longer gets one only when somebody asks."""
ITSELF: Final = "redrush"
"""Who has made what nobody asked for."""
TICK_S: Final = 15.0


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A report that was made, or why it was not."""

    id: str
    campaign: str
    name: str
    by: str
    why: str
    at: str
    said: str
    """Why there is no report; "": there is one."""
    holds: bool = False
    """Whether everything that was checked is right."""
    granted: int = 0
    granted_total: str = ""
    """Of money, as text with all places of the currency."""
    currency: str = ""
    files: list[str] = []


class Reported(msgspec.Struct, frozen=True):
    """What there is, the newest first, and the campaign whose report is being made, by whom, since when."""

    running: dict[str, str] | None
    reports: list[Made]


class _File(msgspec.Struct, frozen=True):
    reports: tuple[Made, ...] = ()


class Reports:
    """See the module. `stop` it at the end."""

    def __init__(self, links: Links, drills: Drills, diary: Diary, now_s: Callable[[], int]) -> None:
        """Reads what was made. ConfigError if that cannot be read."""
        self._links = links
        self._drills = drills
        self._diary = diary
        self._now_s = now_s
        self._root = links.data_dir.reports
        self._index = self._root / "reports.json"
        self._file = load_json(self._index, _File, _File(), "a list of reports")
        self._making: asyncio.Task[None] | None = None
        self.running: dict[str, str] | None = None

    def told(self) -> Reported:
        """Return what there is."""
        return Reported(self.running, list(reversed(self._file.reports)))

    def one(self, report: str) -> Made:
        """Return one of them. Refused for none such."""
        found = next((one for one in self._file.reports if one.id == report), None)
        if found is None:
            raise Refused(404, f'there is no report "{report}"; the last {KEPT_MAX} are kept')
        return found

    def path(self, report: str, file: str) -> Path:
        """Return where a file of a report is. Refused for none such."""
        if file not in self.one(report).files:
            raise Refused(404, f'report {report} has no file "{file}"')
        return self._root / report / file

    async def begin(self, actor: Actor, campaign: str | None, why: str) -> Reported:
        """Begin to make the report of a campaign; return what `told` does. Refused while one is made, while a drill is
        played, and while a round is open or soon is; ConfigError for no such campaign."""
        link = self._links.of(campaign)
        await self._refuse_unless_quiet()
        self._refuse_another()  # somebody may have begun one while it was looked whether all is quiet
        name = campaign or self._links.campaigns()[0]["campaign"]
        self._diary.note(actor.name, "make report", name, why, actor.address)
        self._begin(name, link.data_dir, actor.name, why)
        return self.told()

    async def tick(self) -> None:
        """Make the report of a campaign that is over, if none was made since, and nothing is going on."""
        if self.running is not None or self._drills.running is not None:
            return
        due = await asyncio.to_thread(self._due)
        if due is not None and await self._drills.live() is None and self.running is None:
            self._begin(due, self._links.of(due).data_dir, ITSELF, "")

    async def stop(self) -> None:
        """End what is made."""
        if self._making is not None and not self._making.done():
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)

    def _refuse_another(self) -> None:
        if self.running is not None:
            raise Refused(409, f"the report of {self.running['campaign']} is being made; look again in a moment")

    async def _refuse_unless_quiet(self) -> None:
        self._refuse_another()
        self._drills.refuse_another()
        if (live := await self._drills.live()) is not None:
            raise Refused(409, f"{live}; a report would take what its crowd needs: make it when nothing is open")

    def _due(self) -> str | None:
        now_s = self._now_s()
        made = {one.campaign: one.at for one in self._file.reports}
        for listing in all_listings(self._links.data_dir):
            over_s = max(one.closes_us for one in listing.rounds) // 1_000_000
            long_since = rfc3339_s(over_s)
            if AFTER_S <= now_s - over_s < LATE_MAX_S and made.get(listing.id, "") < long_since:
                return listing.id
        return None

    def _begin(self, campaign: str, data_dir: DataDir, by: str, why: str) -> None:
        self.running = {"campaign": campaign, "by": by, "at": rfc3339_s(self._now_s())}
        self._making = asyncio.create_task(self._make(campaign, data_dir, by, why), name=f"report of {campaign}")

    async def _make(self, campaign: str, data_dir: DataDir, by: str, why: str) -> None:
        at = rfc3339_s(self._now_s())
        made_id = f"{campaign}-{at.translate({ord(sign): None for sign in '-:'})}"
        directory = self._root / made_id
        try:
            words = ("report", "--data", str(data_dir.root.absolute()), "--out", str(directory.absolute()), "--json")
            ran = await run_beside(words, MAKE_MAX_S)
            report = ran.told
            if report is None or "verdicts" not in report:
                made = Made(id=made_id, campaign=campaign, name=campaign, by=by, why=why, at=at, said=ran.said)
            else:
                made = await asyncio.to_thread(_made, report, directory, made_id, by, why, at)
            await asyncio.to_thread(self._keep, made)
        finally:
            self.running = None

    def _keep(self, made: Made) -> None:
        """Write down what was made, and let go of what is beyond the last ones. ConfigError if the disk refuses."""
        kept = (*self._file.reports, made)
        file = _File(kept[-KEPT_MAX:])
        try:
            self._root.mkdir(mode=0o700, exist_ok=True)
        except OSError as fault:
            raise ConfigError(f"{self._index}: cannot be written: {fault.strerror}") from fault
        keep_json(self._index, file)
        self._file = file
        for gone in kept[:-KEPT_MAX]:
            shutil.rmtree(self._root / gone.id, ignore_errors=True)


def _made(report: dict[str, Any], directory: Path, made_id: str, by: str, why: str, at: str) -> Made:
    currency = report["currency"]
    return Made(
        id=made_id,
        campaign=report["campaign"],
        name=report["name"],
        by=by,
        why=why,
        at=at,
        said="",
        holds=all(one["holds"] for one in report["verdicts"]),
        granted=sum(one["granted"] for one in report["rounds"]),
        granted_total=format_amount(sum(one["granted_minor"] for one in report["rounds"]), currency),
        currency=currency,
        files=[name for name in FILES if (directory / name).is_file()],
    )
