"""What is going on now: one snapshot a half second, computed once, and the same bytes for everybody who looks.

Figures are counters of the processes, summed here; rates and quantiles are taken over the time between two snapshots. A
ring keeps the last minutes for charts. Nothing is asked of the event more often for there being more people who look,
and while nobody does, it is asked every `IDLE_S` only.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from redrush.api.diary import Line
from redrush.api.event_link import EventLink, Links
from redrush.api.money import Money, Purses, in_all
from redrush.api.rates import Rates, Summed
from redrush.control.switch_log import Entry
from redrush.core.rush.instants import rfc3339
from redrush.core.steering.switches import REPORTING_DROPPED
from redrush.errors import RedrushError

EVERY_S: Final = 0.5
IDLE_S: Final = 5.0
RING_MAX: Final = 1_200
"""Ten minutes at two a second."""
MARKS_MAX: Final = 200
"""Changes drawn on charts, the newest."""
CAMPAIGNS_MAX: Final = 16
"""Campaigns that are looked at each time: those with a round open now, the first ones."""


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """One campaign now."""

    id: str
    name: str
    rehearsal: bool
    """Its money is play money, and in no sum over campaigns."""
    rounds: list[dict[str, Any]]
    away: str | None = None
    money: Money | None = None
    """None: not known yet, or not any more."""
    lags: dict[str, float | None] = {}
    """How far recording and paying are behind: log records, and seconds of each."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one moment."""

    id: int
    at: str
    at_ms: int
    away: str | None
    """Why nothing is known, None if something is."""
    campaigns: list[Campaign]
    figures: dict[str, float | None]
    """Of all processes together: what `POINTS` names."""
    sets: list[dict[str, Any]]
    processes: list[dict[str, Any]]
    clocks: list[dict[str, Any]]
    """How far each clock is ahead of that of the process that tells it, in s, and by how much that may be wrong."""
    version: int | None
    """Of the switches."""
    hot: list[dict[str, Any]] = []
    """The rounds that most claims are about, over all campaigns, the most asked first."""


POINTS: Final = (
    "claims_s",
    "grants_s",
    "refused_s",
    "p50_ms",
    "p99_ms",
    "level",
    "parked",
    "connections",
    "records_behind",
    "problems",
    "records_behind_s",
    "payouts_behind_s",
    "money_granted",
    "money_paid",
)
"""What is kept of each snapshot for charts, in this order, after its instant."""


class Live:
    """See the module. `run` it as a task."""

    def __init__(
        self, links: Links, now_us: Callable[[], int], purses: Purses, glass: Callable[[], list[dict[str, str]]] = list
    ) -> None:
        """`purses` know of money, `glass` tells who went ahead alone lately, which everybody is shown."""
        self._links = links
        self._now_us = now_us
        self._glass = glass
        self._purses = purses
        self._number = 0
        self._ring: deque[list[float | None]] = deque(maxlen=RING_MAX)
        self._marks: deque[dict[str, Any]] = deque(maxlen=MARKS_MAX)
        self._before: tuple[int, dict[str, Summed]] | None = None
        self._version: int | None = None
        self._looking: Counter[str] = Counter()
        self._woken = asyncio.Event()
        self._newer = asyncio.Event()
        self.latest: Snapshot | None = None
        self.event: bytes = b""
        """The latest snapshot as it goes to streams."""

    @property
    def streams(self) -> int:
        """How many look."""
        return self._looking.total()

    def streams_of(self, who: str) -> int:
        """How many of these are one person's."""
        return self._looking[who]

    def history(self) -> dict[str, Any]:
        """Return what charts begin with: points by column, and the changes that were made."""
        return {"columns": ["at_ms", *POINTS], "points": list(self._ring), "marks": list(self._marks)}

    async def run(self) -> None:
        """Look, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            await self.look()
            rest_s = EVERY_S if self._looking else IDLE_S
            self._woken.clear()
            if self._looking:
                await asyncio.sleep(max(0.05, began_s + rest_s - loop.time()))
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(rest_s):
                        await self._woken.wait()

    async def stream(self, who: str, still: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Yield each snapshot as an event, the latest one first, and a comment where there was none for long; while
        whoever looks may `still` do so."""
        self._looking[who] += 1
        self._woken.set()
        try:
            yield b"retry: 2000\n\n" + self.event
            while True:
                newer = False
                with suppress(TimeoutError):
                    async with asyncio.timeout(15.0):
                        newer = await self._newer.wait()
                if not still():
                    return
                yield self.event if newer else b": still here\n\n"
        finally:
            self._looking -= Counter([who])

    async def look(self) -> None:
        """Look once."""
        now_us = self._now_us()
        self._number += 1
        try:
            snapshot = await self._look(now_us)
        except RedrushError as fault:
            self._before = None
            snapshot = _nothing(self._number, now_us, str(fault))
        self.latest = snapshot
        self._ring.append([snapshot.at_ms, *(snapshot.figures.get(name) for name in POINTS)])
        await self._mark(snapshot.version)
        body = msgspec.json.encode({"now": snapshot, "marks": list(self._marks)[-8:], "glass": self._glass()})
        self.event = b"id: %d\nevent: live\ndata: %s\n\n" % (self._number, body)
        newer, self._newer = self._newer, asyncio.Event()
        newer.set()

    async def _look(self, now_us: int) -> Snapshot:
        link = self._links.first
        addresses = link.processes()
        asked = await asyncio.gather(
            *(link.get("/v1/figures", address) for address in addresses.values()), return_exceptions=True
        )
        told = {name: one["figures"] for name, one in zip(addresses, asked, strict=True) if isinstance(one, dict)}
        faults = [one for one in asked if isinstance(one, RedrushError)]
        if not told:
            raise faults[0] if faults else RedrushError("no process of the event is known")
        now = {name: Summed(rows) for name, rows in told.items()}
        since_us, before = self._before or (now_us, {})
        self._before = (now_us, now)
        rates = Rates(now, before, (now_us - since_us) / 1e6)
        due = self._due()
        money = self._purses.now([one["campaign"] for one in due])
        campaigns = await asyncio.gather(
            *(self._campaign(one, rates, money, is_first=number == 0) for number, one in enumerate(due))
        )
        version = await self._switches(link)
        return Snapshot(
            id=self._number,
            at=rfc3339(now_us),
            at_ms=now_us // 1_000,
            away=None,
            campaigns=list(campaigns),
            figures=rates.figures()
            | in_all([money[one["campaign"]] for one in due if one["campaign"] in money and not one["rehearsal"]]),
            sets=rates.sets(),
            processes=[
                {
                    "name": name,
                    "answers": name in told,
                    "why": None if isinstance(one, dict) else str(one),
                    **(rates.of_process(name) if name in told else {}),
                }
                for name, one in zip(addresses, asked, strict=True)
            ],
            clocks=[{"process": name, **clock} for name, one in now.items() for clock in one.clocks()],
            version=version,
            hot=rates.hot(due[0]["campaign"]),
        )

    async def _switches(self, link: EventLink) -> int | None:
        """Return the version of the switches, which also say whether reports are wanted at all."""
        try:
            found = await link.get("/v1/switches")
        except RedrushError:
            return None
        self.reporting_dropped = any(
            row["name"] == REPORTING_DROPPED and row["value"] is True for row in found["switches"]
        )
        return int(found["version"])

    reporting_dropped = False

    def _due(self) -> list[dict[str, Any]]:
        listed = self._links.campaigns()
        return [listed[0], *(one for one in listed[1:] if one["state"] == "open")][:CAMPAIGNS_MAX]

    async def _campaign(
        self, listed: Mapping[str, Any], rates: Rates, money: Mapping[str, Money], *, is_first: bool
    ) -> Campaign:
        try:
            stock = await self._links.of(listed["campaign"]).get("/v1/stock")
            rounds, away = stock["rounds"], None
        except RedrushError as fault:
            rounds, away = [{**one, "pot": one["round"], "known": False} for one in listed["rounds"]], str(fault)
        # A process with one campaign does not say which; of several, the first may be without its name too.
        names = {listed["campaign"], None} if is_first else {listed["campaign"]}
        own = money.get(listed["campaign"])
        granted = {} if own is None else own.granted_of
        return Campaign(
            id=listed["campaign"],
            name=listed["name"],
            rehearsal=listed["rehearsal"],
            rounds=[
                {**row, **rates.of_round(names, row["round"]), "money_granted": granted.get(row["pot"])}
                for row in rounds
            ],
            away=away,
            money=own,
            lags=rates.lags(names),
        )

    def mark(self, line: Line) -> None:
        """Take what the console itself wrote down into the marks."""
        told = {"at": line.at, "who": line.who, "what": f"{line.what} {line.about}", "action": line.what}
        self._marks.append({**told, "about": line.about, "version": f"console-{line.number}"})

    async def _mark(self, version: int | None) -> None:
        """Take the changes that are new into the marks."""
        if version is None or version == self._version:
            return
        with suppress(RedrushError):
            known = self._version or 0
            entries = await self._links.first.audit()
            self._marks.extend(mark_of(one) for one in entries[-MARKS_MAX:] if one["version"] > known)
            self._version = version


def mark_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a chart shows of an entry of the switches' log."""
    decoded = msgspec.convert(entry, Entry)
    what = msgspec.to_builtins(decoded.what)
    about = what.get("switch") or what.get("playbook") or what.get("set") or ""
    return {
        "at": decoded.at,
        "who": decoded.who,
        "what": f"{what['action']} {about}",
        "action": what["action"],
        "about": about,
        "version": decoded.version,
    }


def _nothing(number: int, now_us: int, why: str) -> Snapshot:
    return Snapshot(
        id=number,
        at=rfc3339(now_us),
        at_ms=now_us // 1_000,
        away=why,
        campaigns=[],
        figures={},
        sets=[],
        processes=[],
        clocks=[],
        version=None,
    )
