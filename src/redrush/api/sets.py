"""What only a person decides about a set of a deployment, with a second look: what may be lost by it, then the order.

An order is bound to the set as it was seen: its epoch and its primary. What may lose grants is confirmed by the set's
name, typed; where an admin protects `set.*`, nobody does it without breaking the glass. Making a set anew takes
minutes, so it goes on behind the answer, and what became of it is told with the sets.
"""

import asyncio
import fnmatch
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.api.access import Actor
from redrush.api.diary import Diary
from redrush.api.event_link import Links
from redrush.api.seals import SEEN_BEFORE, Refused, Seals
from redrush.api.steering import IN_THE_CONSOLE, Steering
from redrush.core.rush.instants import rfc3339_s
from redrush.errors import RedrushError
from redrush.operate.set_orders import AFTER_A_LOSS, RESTS_ON, NeedsYes, describe_sets, for_all, lower, what_is_lost
from redrush.operate.switching import Holder


class SetVerb(StrEnum):
    """What is ordered."""

    LOWER = "lower"
    RELEASE = "release"
    PROMOTE = "promote"
    REBUILD = "rebuild"

    @property
    def at_server(self) -> bool:
        """Whether it is about one server of the set."""
        return self in {SetVerb.PROMOTE, SetVerb.REBUILD}


ORDERED_MAX: Final = 1_000
"""Orders that are remembered: more than anybody gives while a token is good."""
TO_TYPE: Final = frozenset({SetVerb.RELEASE, SetVerb.PROMOTE, SetVerb.REBUILD})
"""By these grants may be lost, or are given up."""


class SetAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order about a set, or one of its servers; of a campaign of its own, if one is named."""

    verb: SetVerb
    set: str
    address: str | None = None
    campaign: str | None = None


class SetSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What an order would do now."""

    asked: SetAsked
    says: str
    token: str
    type_name: str | None
    needs_glass: bool


class _Seen(msgspec.Struct, frozen=True):
    asked: SetAsked
    epoch: int
    primary: str | None


class Sets:
    """See the module."""

    def __init__(self, links: Links, steering: Steering, diary: Diary, now_s: Callable[[], int]) -> None:
        self._links = links
        self._steering = steering
        self._diary = diary
        self._now_s = now_s
        self._seals = Seals(now_s, SEEN_BEFORE)
        self._ordered: deque[str] = deque(maxlen=ORDERED_MAX)
        """Tokens of orders that were given: each is good once, for a set is seen to change only some moments later."""
        self._rebuilding: asyncio.Task[None] | None = None
        self.rebuilt: dict[str, Any] | None = None
        """What became of the last order to make a set anew."""

    async def listed(self, campaign: str | None) -> dict[str, Any]:
        """Return the sets of a deployment, none of one server; and what became of the last that was made anew."""
        path = self._links.of(campaign).deployment_path
        return {"sets": [] if path is None else await asyncio.to_thread(describe_sets, path), "rebuilt": self.rebuilt}

    async def preview(self, actor: Actor, asked: SetAsked) -> SetSeen:
        """Return what the order would do. Refused where there is no such set or server, RedrushError for what hinders
        it."""
        if asked.verb.at_server and not asked.address:
            raise Refused(400, f"{asked.verb}: say which server, host:port")
        path = self._deployment(asked.campaign)
        state = await self._state(path, asked.set)
        says = await asyncio.to_thread(_what_it_does, path, state, asked)
        return SetSeen(
            asked=asked,
            says=says,
            token=self._seals.seal(actor.name, _Seen(asked, state["epoch"], state["primary"])),
            type_name=asked.set if asked.verb in TO_TYPE else None,
            needs_glass=self._steering.is_protected([_named(asked)]),
        )

    async def confirm(
        self, actor: Actor, token: str, why: str, typed: str = "", *, break_glass: bool = False
    ) -> dict[str, Any]:
        """Do what was seen. Refused if the set is not as it was, or its name was not typed, or there is no reason."""
        seen = self._seals.opened(actor.name, token, _Seen)
        asked = seen.asked
        if not why.strip():
            raise Refused(400, "say why, for whoever looks into it later")
        if asked.verb in TO_TYPE and typed.strip() != asked.set:
            raise Refused(400, f'type "{asked.set}" to confirm: grants may be lost by this')
        self._refuse_again(token)
        path = self._deployment(asked.campaign)
        state = await self._state(path, asked.set)
        self._refuse_again(token)  # somebody may have sent it twice at once
        if (state["epoch"], state["primary"]) != (seen.epoch, seen.primary):
            raise Refused(409, "the set has another primary meanwhile, so nothing was done; look again")
        if asked.verb is SetVerb.REBUILD and self._rebuilding is not None and not self._rebuilding.done():
            raise Refused(409, "a set is being made anew, so nothing was done; wait for its end")
        if self._steering.is_protected([_named(asked)]):
            if not break_glass:
                raise Refused(409, "this needs a second person, and a set does not wait for one: break the glass")
            self._steering.went_ahead(actor, f"{asked.verb} {asked.set} {asked.address or ''}".strip(), why)
        self._ordered.append(token)
        self._diary.note(
            actor.name, f"set {asked.verb}", f"{asked.set} {asked.address or ''}".strip(), why, actor.address
        )
        holder = Holder(said=IN_THE_CONSOLE, by=actor.name)
        if asked.verb is SetVerb.REBUILD:
            return self._rebuild(path, asked, why, holder)
        return {"done": await asyncio.to_thread(_carry_out, path, asked, why, holder)}

    def _refuse_again(self, token: str) -> None:
        if token in self._ordered:
            raise Refused(409, "this was ordered already; look again at what another order would do")

    def _rebuild(self, path: Path, asked: SetAsked, why: str, holder: Holder) -> dict[str, Any]:
        self.rebuilt = {"set": asked.set, "by": holder.by, "at": rfc3339_s(self._now_s()), "running": True, "said": ""}
        self._rebuilding = asyncio.create_task(self._made_anew(path, asked, why, holder), name=f"rebuild {asked.set}")
        return {"done": f"{asked.set} is being made anew on {asked.address}"}

    async def _made_anew(self, path: Path, asked: SetAsked, why: str, holder: Holder) -> None:
        assert self.rebuilt is not None
        try:
            said = await asyncio.to_thread(_carry_out, path, asked, why, holder)
        except RedrushError as fault:
            said = str(fault)
        self.rebuilt = {**self.rebuilt, "running": False, "said": said}

    def _deployment(self, campaign: str | None) -> Path:
        path = self._links.of(campaign).deployment_path
        if path is None:
            raise Refused(
                409,
                "this event is one server, whose journal is mended while it is stopped: redrush set rebuild, or "
                "promote, --data DIR",
            )
        return path

    async def _state(self, path: Path, set_id: str) -> dict[str, Any]:
        states = await asyncio.to_thread(describe_sets, path)
        state = next((one for one in states if one["set"] == set_id), None)
        if state is None:
            raise Refused(404, f'there is no set "{set_id}", or nobody watches over it')
        return state


def names_an_order(pattern: str) -> bool:
    """Whether orders about sets may be called by this name, or pattern, where it is said what needs a second person."""
    return any(fnmatch.fnmatchcase(f"set.{verb}", ".".join(pattern.split(".")[:2])) for verb in SetVerb)


def _named(asked: SetAsked) -> str:
    """Return what the order is called where it is said what needs a second person."""
    return f"set.{asked.verb}.{asked.set}"


def _what_it_does(path: Path, state: dict[str, Any], asked: SetAsked) -> str:
    try:
        match asked.verb:
            case SetVerb.LOWER:
                in_step = [one["address"] for one in state["replicas"] if one["in_step"]]
                rests = RESTS_ON["replica" if in_step else "disk"]
                return f"{state['primary'] or 'its primary'} goes on with the replicas that it has now: {rests}"
            case SetVerb.PROMOTE:
                return what_is_lost(state, asked.address or "")
            case SetVerb.RELEASE:
                from redrush.operate.releasing import release_set  # noqa: PLC0415 - one machine has no Valkey client

                release_set(path, asked.set, "", Holder(), yes=False)
            case SetVerb.REBUILD:
                from redrush.operate.set_restoring import what_rebuild_does  # noqa: PLC0415 - as above

                return what_rebuild_does(path, asked.set, asked.address or "")
    except NeedsYes as told:
        return str(told).partition("; add --yes")[0]
    raise AssertionError(f"{asked.verb} told nothing")


def _carry_out(path: Path, asked: SetAsked, why: str, holder: Holder) -> str:
    """Do it, and return what became of it."""
    match asked.verb:
        case SetVerb.LOWER:
            parts = lower(path, asked.set, why, holder)
            return f"{asked.set}: its primary goes on with the replicas it has{for_all(parts)}"
        case SetVerb.RELEASE:
            from redrush.operate.releasing import release_set  # noqa: PLC0415 - as above

            count = release_set(path, asked.set, why, holder, yes=True)
            return f"{asked.set}: {count} lost grants are written off"
        case SetVerb.PROMOTE:
            from redrush.operate.set_restoring import promote  # noqa: PLC0415 - as above

            promoted = promote(path, asked.set, asked.address or "", why, holder, yes=True)
            unasked = ", ".join(promoted.unasked)
            more = f"; {unasked} did not say which slots were moved: reconcile tells" if unasked else ""
            return f"{asked.set}: {asked.address} is the primary{for_all(promoted.parts)}{more}; {AFTER_A_LOSS}"
        case SetVerb.REBUILD:
            from redrush.operate.set_restoring import rebuild  # noqa: PLC0415 - as above

            rebuilt = rebuild(path, asked.set, asked.address or "", why, holder, yes=True)
            made = f"rebuilt on {asked.address} up to log record {rebuilt.last_seq}, epoch {rebuilt.epoch}"
            return f"{asked.set}: {made}; {AFTER_A_LOSS}"
