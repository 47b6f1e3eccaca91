"""The opening checklist of a round: what has to be right before a crowd comes, looked up where it can be.

What only a person can know (whether the rehearsal went well, whether the page is on the CDN) is signed, with a reason
and a name; so may be what is not green. A signature is for what was found then, and is
gone when something else is found.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from redrush.api.access import Actor
from redrush.api.capacity import Capacities, have_of, is_enough
from redrush.api.diary import Diary
from redrush.api.drills import Drills
from redrush.api.event_link import EventLink, Links
from redrush.api.live import Live
from redrush.api.seals import Refused
from redrush.control.event import Event, load_event
from redrush.control.json_file import keep_json, load_json
from redrush.control.orders import ListSwitches
from redrush.core.rush.instants import rfc3339
from redrush.core.steering.switches import ANSWER_ENDED, SETTLEMENT_PAUSED
from redrush.errors import RedrushError

APART_MAX_S: Final = 0.05
"""Clocks that are further apart are told of: gates would open at different moments."""
DRILL_DAYS: Final = 30
"""A drill that passed longer ago says little of what runs now."""
SIGNATURES_MAX: Final = 2_000
CAPACITY: Final = "capacity"
BY_PERSON: Final = {
    CAPACITY: "the gates can take the crowd that is expected (redrush drill overload tells)",
    "page": "the page is published, and its hashes match (redrush publish)",
    "notices": "whoever is on call is reached by notices",
    "money": "the provider's balance covers what may be won",
    "rehearsal": "this was rehearsed (Dry run of its draft, or redrush drill dry-run)",
}
"""What a person signs, and what for; the capacity is looked up where a list says how many may come."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list."""

    name: str
    ok: bool
    """Green, or signed."""
    found: str
    """What was found, or has to be known."""
    by_person: bool = False
    signed_by: str | None = None
    why: str | None = None


class Checklist(msgspec.Struct, frozen=True, kw_only=True):
    """The list of one round; it may open when `ready`."""

    campaign: str
    round: str
    opens_at: str
    ready: bool
    items: list[Item]


class _Signature(msgspec.Struct, frozen=True, kw_only=True):
    campaign: str
    round: str
    item: str
    found: str
    who: str
    why: str


class _File(msgspec.Struct, frozen=True):
    signatures: tuple[_Signature, ...] = ()


class Checklists:
    """See the module."""

    def __init__(
        self,
        links: Links,
        live: Live,
        capacities: Capacities,
        drills: Drills,
        path: Path,
        diary: Diary,
        now_us: Callable[[], int],
    ) -> None:
        """`path` keeps the signatures. ConfigError if it cannot be read."""
        self._links = links
        self._live = live
        self._capacities = capacities
        self._drills = drills
        self._path = path
        self._diary = diary
        self._now_us = now_us
        self._file = load_json(path, _File, _File(), "signatures of checklists")

    async def of(self, campaign: str | None, round_id: str) -> Checklist:
        """Return the list of a round as it is now. Refused if there is no such round."""
        link = self._links.of(campaign)
        event = load_event(link.data_dir)
        found = event.sealed.campaign.round(round_id)
        if found is None:
            raise Refused(404, f'campaign {event.sealed.campaign.id} has no round "{round_id}"')
        items = [*_sealed(event), *await self._running(link, round_id)]
        items.append(self._drill())
        looked_up = {CAPACITY: await self._capacity(link)}
        items += [looked_up.get(one.name) or one for one in _by_person()]
        name = event.sealed.campaign.id
        signed = [self._signed(name, round_id, item) for item in items]
        return Checklist(
            campaign=name,
            round=round_id,
            opens_at=rfc3339(found.opens_us),
            ready=all(item.ok for item in signed),
            items=signed,
        )

    async def sign(self, actor: Actor, campaign: str | None, round_id: str, item: str, why: str) -> Checklist:
        """Sign a line that is not green, with the reason. Refused without one, and for a line that there is not."""
        if not why.strip():
            raise Refused(400, "say why it is fine all the same")
        listed = await self.of(campaign, round_id)
        line = next((one for one in listed.items if one.name == item), None)
        if line is None:
            raise Refused(404, f'the list has no line "{item}"')
        about = f"{listed.campaign}/{round_id}: {item}"
        self._diary.note(actor.name, "sign", about, why, actor.address)
        signature = _Signature(
            campaign=listed.campaign, round=round_id, item=item, found=line.found, who=actor.name, why=why[:500]
        )
        kept = [one for one in self._file.signatures if (one.campaign, one.round, one.item) != _place(signature)]
        file = _File((*kept[-SIGNATURES_MAX:], signature))
        keep_json(self._path, file, ", nothing was signed")
        self._file = file
        return await self.of(campaign, round_id)

    def _signed(self, campaign: str, round_id: str, item: Item) -> Item:
        place = (campaign, round_id, item.name)
        found = next((one for one in self._file.signatures if _place(one) == place and one.found == item.found), None)
        if found is None or (item.ok and not item.by_person):
            return item
        return msgspec.structs.replace(item, ok=True, signed_by=found.who, why=found.why)

    def _drill(self) -> Item:
        """Return when a drill has passed last that was played from here."""
        played = self._drills.last_passed()
        since = rfc3339(self._now_us() - DRILL_DAYS * 86_400_000_000)
        if played is None or played.at < since:
            return Item(name="drill", ok=False, found=f"none has passed from here in the last {DRILL_DAYS} days")
        return Item(name="drill", ok=True, found=f"{played.drill} has passed, on {played.at[:10]}")

    async def _capacity(self, link: EventLink) -> Item | None:
        """Return whether the gates that answer can take whom the list of the audience names; None: there is none."""
        need, _ = await self._capacities.need(link)
        if need is None or self._live.latest is None:
            return None
        have = have_of(self._live.latest)
        found = (
            f"{need.people:,} people within {need.within_s:g} s: {need.requests_per_s:,} requests/s and "
            f"{need.connections:,} connections are planned with; there are {have.requests_per_s:,} and "
            f"{have.connections or 0:,}"
        )
        return Item(name=CAPACITY, ok=is_enough(need, have), found=found)

    async def _running(self, link: EventLink, round_id: str) -> list[Item]:
        """Return what the running event says of itself."""
        try:
            stock = await link.get("/v1/stock")
        except RedrushError as fault:
            return [Item(name="server", ok=False, found=str(fault))]
        rows = [one for one in stock["rounds"] if one["round"] == round_id]
        known = bool(rows) and all(one["known"] for one in rows)
        items = [
            Item(name="server", ok=True, found="the control port answers"),
            Item(name="stores", ok=known, found="every store answers" if known else "a store does not answer"),
        ]
        if self._live.latest is None:
            await self._live.look()
        latest = self._live.latest
        assert latest is not None
        silent = [one["name"] for one in latest.processes if not one["answers"]]
        items.append(
            Item(name="processes", ok=not silent, found=f"silent: {', '.join(silent)}" if silent else "all answer")
        )
        apart = [one for one in latest.clocks if abs(one["ahead_s"]) + (one["error_s"] or 0.0) > APART_MAX_S]
        names = ", ".join(f"{one['clock']} {one['ahead_s'] * 1e3:+.0f} ms" for one in apart)
        within = f"all within {APART_MAX_S * 1e3:.0f} ms"
        items.append(Item(name="clocks", ok=not apart, found=names or within))
        problems = latest.figures.get("problems") or 0
        items.append(
            Item(name="records", ok=not problems, found=f"{problems:.0f} disagreements" if problems else "all agree")
        )
        return [*items, *await _switches(link, round_id)]


async def _switches(link: EventLink, round_id: str) -> list[Item]:
    """Return whether a switch keeps the round from being what it is meant to be."""
    rows = (await link.read(ListSwitches()))["switches"]
    values = {row["name"]: row["value"] for row in rows}
    ended = values.get(ANSWER_ENDED) is True or values.get(f"{ANSWER_ENDED}.{round_id}") is True
    paused = values.get(SETTLEMENT_PAUSED) is True
    other = [row["name"] for row in rows if row["value"] != row["default"]]
    return [
        Item(name="not ended", ok=not ended, found="claims are answered as ended" if ended else "claims are answered"),
        Item(name="settlement", ok=not paused, found="is paused" if paused else "goes on"),
        Item(name="switches", ok=not other, found=f"set: {', '.join(other)}" if other else "all as by default"),
    ]


def _sealed(event: Event) -> list[Item]:
    """Return what the directory says: it is sealed, or there would be no event."""
    audience, books = event.open.audience, event.open.playbooks
    there = audience is None or audience.is_file()
    who = "everybody with a ticket" if audience is None else str(audience.name)
    return [
        Item(name="sealed", ok=True, found="instants and amounts are sealed"),
        Item(name="audience", ok=there, found=who if there else f"{who} is not there any more"),
        Item(name="playbooks", ok=bool(books), found=", ".join(one.name for one in books) or "there are none"),
    ]


def _by_person() -> list[Item]:
    return [Item(name=name, ok=False, found=what, by_person=True) for name, what in BY_PERSON.items()]


def _place(signature: _Signature) -> tuple[str, str, str]:
    return signature.campaign, signature.round, signature.item
