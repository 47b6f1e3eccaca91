"""Capacity against plan: what the crowds of the campaigns need, what gates there are for them, and what they do now.

What is needed is computed as `redrush check` does it (`redrush.core.load.capacity`), from the length of the audience's
list; where everybody with a ticket may come, only a person knows how many that is, and may say so here.
"""

import asyncio
import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.api.event_link import EventLink, Links
from redrush.api.live import Live, Snapshot
from redrush.control.durable_file import Stamp, stamp_of
from redrush.control.event import load_open_terms
from redrush.core.load.capacity import GATE_REQUESTS_PER_S, Need, gates_for, need_of
from redrush.errors import RedrushError

CAMPAIGNS_MAX: Final = 50
"""Campaigns that are planned for, those whose rounds open next."""
LISTS_MAX: Final = 200
PIECE_BYTES: Final = 1 << 20


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What one campaign needs at its next opening, or at that of the round that is open."""

    campaign: str
    name: str
    round: str
    opens_at: str
    need: Need | None
    """None: how many come is not known."""
    why: str = ""
    """Why it is not known."""
    enough: bool | None = None
    """Whether there is as much as this one needs."""


class Have(msgspec.Struct, frozen=True, kw_only=True):
    """What gates there are that answer, and how much that is."""

    gates: int
    requests_per_s: int
    connections: int | None
    """As the open files allow; None: not known."""
    sets: int


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """What is used."""

    requests_per_s: float | None
    connections: float | None
    waiting: float | None


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """Plan, what there is, and what is used now."""

    plans: list[Plan]
    together: Need | None
    """Of those that open within one another's start: the most that comes at once. None: nothing is known."""
    together_enough: bool | None
    have: Have
    now: Now


class Capacities:
    """See the module."""

    def __init__(self, links: Links, live: Live, now_us: Callable[[], int]) -> None:
        self._links = links
        self._live = live
        self._now_us = now_us
        self._people: dict[Path, tuple[Stamp | None, int]] = {}

    async def told(self, people: int | None = None) -> Capacity:
        """Return it. `people`: how many come to a campaign of which no list says it."""
        if self._live.latest is None:
            await self._live.look()
        assert self._live.latest is not None
        have = have_of(self._live.latest)
        plans = [await self._plan(one, have, people) for one in self._due()]
        together = come_together(plans)
        figures = self._live.latest.figures
        return Capacity(
            plans=plans,
            together=together,
            together_enough=None if together is None else is_enough(together, have),
            have=have,
            now=Now(
                requests_per_s=figures.get("claims_s"),
                connections=figures.get("connections"),
                waiting=figures.get("parked"),
            ),
        )

    async def need(self, link: EventLink, people: int | None = None) -> tuple[Need | None, str]:
        """Return what a campaign needs, and why that is not known."""
        try:
            terms = await asyncio.to_thread(load_open_terms, link.data_dir)
            deployment = link.deployment
            listed = terms.audience if deployment is None else deployment.audience or terms.audience
            if listed is not None:
                people = await asyncio.to_thread(self._length_of, listed)
        except (RedrushError, OSError) as fault:
            return None, str(fault)
        if people is None:
            return None, "everybody with a ticket may come"
        return need_of(people, terms.client.start_window_ms), ""

    def _due(self) -> Sequence[Mapping[str, Any]]:
        """Return the campaigns with a round that is open or to come, those first whose round opens first."""
        found = [one for one in self._links.campaigns() if one["state"] in {"open", "ahead"}]
        return sorted(found, key=lambda one: str(self._next_round(one)["opens_at"]))[:CAMPAIGNS_MAX]

    def _next_round(self, campaign: Mapping[str, Any]) -> Mapping[str, Any]:
        now = datetime.datetime.fromtimestamp(self._now_us() / 1e6, datetime.UTC).isoformat()
        rounds = sorted(campaign["rounds"], key=lambda one: str(one["opens_at"]))
        return next((one for one in rounds if str(one["closes_at"])[:19] >= now[:19]), rounds[-1])

    async def _plan(self, campaign: Mapping[str, Any], have: Have, people: int | None) -> Plan:
        need, why = await self.need(self._links.of(campaign["campaign"]), people)
        round_ = self._next_round(campaign)
        return Plan(
            campaign=campaign["campaign"],
            name=campaign["name"],
            round=round_["round"],
            opens_at=round_["opens_at"],
            need=need,
            why=why,
            enough=None if need is None else is_enough(need, have),
        )

    def _length_of(self, path: Path) -> int:
        """Return how many lines a list has. OSError if it cannot be read. Calls block, a tenth of a second for ten
        million; it is read anew only when it was written."""
        stamp = stamp_of(path)
        known = self._people.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        count, last = 0, b"\n"
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                count, last = count + piece.count(b"\n"), piece[-1:]
        count += last != b"\n"
        while len(self._people) >= LISTS_MAX:
            self._people.pop(next(iter(self._people)))
        self._people[path] = (stamp, count)
        return count


def have_of(snapshot: Snapshot) -> Have:
    """Return what gates there are that answer: who says how many connections there may be is one."""
    gates = [one for one in snapshot.processes if one.get("connections_max") is not None]
    return Have(
        gates=len(gates),
        requests_per_s=len(gates) * GATE_REQUESTS_PER_S,
        connections=int(sum(one["connections_max"] for one in gates)) if gates else None,
        sets=len(snapshot.sets),
    )


def is_enough(need: Need, have: Have) -> bool:
    """Return whether there is as much as is needed."""
    fits = have.connections is None or need.connections <= have.connections
    return fits and need.requests_per_s <= have.requests_per_s


def come_together(plans: Sequence[Plan]) -> Need | None:
    """Return the most that comes at once: of the crowds that begin while another one comes."""
    known = [(_at_s(one.opens_at), one.need) for one in plans if one.need is not None]
    best: Need | None = None
    for at_s, _ in known:
        crowd = [need for from_s, need in known if from_s <= at_s < from_s + need.within_s]
        requests_per_s = sum(one.requests_per_s for one in crowd)
        if best is None or requests_per_s > best.requests_per_s:
            people = sum(one.people for one in crowd)
            best = Need(
                people=people,
                within_s=max(one.within_s for one in crowd),
                requests_per_s=requests_per_s,
                gates=max(1, gates_for(requests_per_s)),
                connections=people,
            )
    return best


def _at_s(instant: str) -> float:
    return datetime.datetime.fromisoformat(instant).timestamp()
