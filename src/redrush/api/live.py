"""What is going on now: one snapshot a half second, computed once, and the same bytes for everybody who looks.

Figures are counters of the processes, summed here; rates and quantiles are taken over the time between two snapshots. A
ring keeps the last minutes for charts. Nothing is asked of the event more often for there being more people who look,
and while nobody does, it is asked every `IDLE_S` only.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from redrush.api.event_link import EventLink, Links
from redrush.control.switch_log import Entry
from redrush.core.load.histogram import quantile_us
from redrush.core.rush.instants import rfc3339
from redrush.core.steering import figures
from redrush.core.steering.figures import Interface
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
    rounds: list[dict[str, Any]]
    away: str | None = None


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
)
"""What is kept of each snapshot for charts, in this order, after its instant."""


class Live:
    """See the module. `run` it as a task."""

    def __init__(
        self, links: Links, now_us: Callable[[], int], glass: Callable[[], list[dict[str, str]]] = list
    ) -> None:
        """`glass` tells who went ahead alone lately, which everybody is shown."""
        self._links = links
        self._now_us = now_us
        self._glass = glass
        self._number = 0
        self._ring: deque[list[float | None]] = deque(maxlen=RING_MAX)
        self._marks: deque[dict[str, Any]] = deque(maxlen=MARKS_MAX)
        self._before: tuple[int, dict[str, _Summed]] | None = None
        self._version: int | None = None
        self._looking = 0
        self._woken = asyncio.Event()
        self._newer = asyncio.Event()
        self.latest: Snapshot | None = None
        self.event: bytes = b""
        """The latest snapshot as it goes to streams."""

    @property
    def streams(self) -> int:
        """How many look."""
        return self._looking

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
                    await asyncio.wait_for(self._woken.wait(), rest_s)

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield each snapshot as an event, the latest one first, and a comment where there was none for long."""
        self._looking += 1
        self._woken.set()
        try:
            yield b"retry: 2000\n\n" + self.event
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._newer.wait(), 15.0)
                    yield self.event
                    continue
                yield b": still here\n\n"
        finally:
            self._looking -= 1

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
        now = {name: _Summed(rows) for name, rows in told.items()}
        since_us, before = self._before or (now_us, {})
        self._before = (now_us, now)
        rates = _Rates(now, before, (now_us - since_us) / 1e6)
        campaigns = await asyncio.gather(
            *(self._campaign(one, rates, is_first=number == 0) for number, one in enumerate(self._due()))
        )
        version = await self._switches(link)
        return Snapshot(
            id=self._number,
            at=rfc3339(now_us),
            at_ms=now_us // 1_000,
            away=None,
            campaigns=list(campaigns),
            figures=rates.figures(),
            sets=rates.sets(),
            processes=[
                {"name": name, "answers": name in told, "why": None if isinstance(one, dict) else str(one)}
                for name, one in zip(addresses, asked, strict=True)
            ],
            clocks=[{"process": name, **clock} for name, one in now.items() for clock in one.clocks()],
            version=version,
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

    async def _campaign(self, listed: Mapping[str, Any], rates: "_Rates", *, is_first: bool) -> Campaign:
        try:
            stock = await self._links.of(listed["campaign"]).get("/v1/stock")
            rounds, away = stock["rounds"], None
        except RedrushError as fault:
            rounds, away = [{**one, "pot": one["round"], "known": False} for one in listed["rounds"]], str(fault)
        # A process with one campaign does not say which; of several, the first may be without its name too.
        names = {listed["campaign"], None} if is_first else {listed["campaign"]}
        return Campaign(
            id=listed["campaign"],
            name=listed["name"],
            rounds=[{**row, **rates.of_round(names, row["round"])} for row in rounds],
            away=away,
        )

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
    return {"at": decoded.at, "who": decoded.who, "what": f"{what['action']} {about}", "version": decoded.version}


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


class _Summed:
    """The figures of one process."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.claims: dict[tuple[str | None, str, str], float] = {}
        self.greatest: dict[str, float] = {}
        self.sums: dict[str, float] = {}
        self.of_set: dict[str, dict[str, float]] = {}
        self.counts: list[int] = []
        self._ahead_s: dict[str, float] = {}
        self._error_s: dict[str, float] = {}
        for row in rows:
            labels, name = row["labels"], row["name"]
            if name == figures.CLAIMS.name:
                key = (labels.get("campaign"), labels["round"], labels["outcome"])
                self.claims[key] = row["value"]
            elif name == figures.ANSWER_SECONDS.name and labels.get("interface") == Interface.GRAB:
                self.counts = row["counts"]
            elif name == figures.CLOCK_AHEAD.name:
                self._ahead_s[labels["clock"]] = row["value"]
            elif name == figures.CLOCK_ERROR.name:
                self._error_s[labels["clock"]] = row["value"]
            elif "value" in row:
                self._add(name, labels, row["value"])

    def clocks(self) -> list[dict[str, Any]]:
        """Return the clocks that it hears of."""
        return [
            {"clock": name, "ahead_s": ahead_s, "error_s": self._error_s.get(name)}
            for name, ahead_s in self._ahead_s.items()
        ]

    def _add(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self.greatest[name] = max(value, self.greatest.get(name, value))
        self.sums[name] = self.sums.get(name, 0.0) + value
        if (of_set := labels.get("set")) is not None:
            self.of_set.setdefault(of_set, {})[name] = value


class _Rates:
    """What has changed between two moments, over all processes."""

    def __init__(self, now: Mapping[str, _Summed], before: Mapping[str, _Summed], passed_s: float) -> None:
        self._now = now
        self._passed_s = passed_s
        self._claims: dict[tuple[str | None, str, str], float] = {}
        self._totals: dict[tuple[str | None, str, str], float] = {}
        self._counts: list[int] = []
        for name, one in now.items():
            was = before.get(name)
            for key, value in one.claims.items():
                self._totals[key] = self._totals.get(key, 0.0) + value
                if was is not None and passed_s > 0:
                    # A process that was started anew counts from nought.
                    more = max(0.0, value - was.claims.get(key, 0.0))
                    self._claims[key] = self._claims.get(key, 0.0) + more / passed_s
            if was is not None and one.counts:
                lately = [max(0, a - b) for a, b in zip(one.counts, was.counts or [0] * len(one.counts), strict=True)]
                self._counts = [a + b for a, b in zip(lately, self._counts or [0] * len(lately), strict=True)]

    def of_round(self, campaign: set[str | None], round_id: str) -> dict[str, Any]:
        """Return what becomes of the claims of a round: a second by outcome, and in all. `campaign` has the names that
        it goes by."""
        mine = {key: value for key, value in self._totals.items() if key[1] == round_id and key[0] in campaign}
        rates = {outcome: self._claims.get((of, pot, outcome)) for of, pot, outcome in mine}
        known = [rate for outcome, rate in rates.items() if rate is not None]
        return {
            "outcomes": {outcome: int(value) for (_, _, outcome), value in mine.items()},
            "rates": rates,
            "claims_s": sum(known) if known else None,
            "grants_s": rates.get("granted"),
        }

    def figures(self) -> dict[str, float | None]:
        """Return what `POINTS` names."""
        granted = [rate for (_, _, outcome), rate in self._claims.items() if outcome == "granted"]
        won = ("granted", "repeat")
        refused = [rate for (_, _, outcome), rate in self._claims.items() if outcome not in won]
        timed = any(self._counts)
        return {
            "claims_s": sum(self._claims.values()) if self._claims else None,
            "grants_s": sum(granted) if granted else None,
            "refused_s": sum(refused) if refused else None,
            "p50_ms": quantile_us(self._counts, 0.5) / 1e3 if timed else None,
            "p99_ms": quantile_us(self._counts, 0.99) / 1e3 if timed else None,
            "level": self._greatest(figures.LEVEL.name),
            "parked": self._sum(figures.PARKED.name),
            "connections": self._sum(figures.CONNECTIONS.name),
            "records_behind": self._sum(figures.RECORDS_BEHIND.name),
            "problems": self._sum(figures.RECONCILE_PROBLEMS.name),
            "reconcile_behind": self._sum(figures.RECONCILE_BEHIND.name),
            "unswept_s": self._greatest(figures.RECONCILE_UNSWEPT.name),
        }

    def sets(self) -> list[dict[str, Any]]:
        """Return what is told of each set, the worst of what the processes tell."""
        found: dict[str, dict[str, Any]] = {}
        for one in self._now.values():
            for set_id, values in one.of_set.items():
                row = found.setdefault(set_id, {"set": set_id})
                for name, value in values.items():
                    row[name] = max(value, row.get(name, value))
        return list(found.values())

    def _greatest(self, name: str) -> float | None:
        values = [one.greatest[name] for one in self._now.values() if name in one.greatest]
        return max(values) if values else None

    def _sum(self, name: str) -> float | None:
        values = [one.sums[name] for one in self._now.values() if name in one.sums]
        return sum(values) if values else None
