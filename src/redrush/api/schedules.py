"""Drafts that wait for the time at which they are to be served, as new campaigns.

A schedule holds for what was seen when it was made: a draft that is written to after it, or a list of its, suspends it,
as does a campaign of that id that is served by then, and a console that did not run when its time came. What is
suspended is shown and changes nothing; whoever still wants it makes another one.
"""

import asyncio
import secrets
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from redrush.api.access import Actor
from redrush.api.accounts import Accounts, Role
from redrush.api.diary import Diary
from redrush.api.drafting import DRAFT_CHANGED, Drafting
from redrush.api.seals import Refused
from redrush.api.steering import ITSELF, LATE_MAX_S, check_due
from redrush.control.json_file import keep_json, load_json
from redrush.core.rush.instants import rfc3339_s
from redrush.errors import RedrushError

SCHEDULES_MAX: Final = 200
"""Kept; the oldest that are over are forgotten, and stand in the log."""


class ScheduleState(StrEnum):
    """What becomes of one."""

    WAITING = "waiting"
    BEGUN = "being added"
    ADDED = "added"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing becomes of it any more."""
        return self in {ScheduleState.ADDED, ScheduleState.CANCELLED}

    @property
    def waits(self) -> bool:
        """Whether its time is to come, or it is being carried out."""
        return self in {ScheduleState.WAITING, ScheduleState.BEGUN}


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A draft that is to be served as a new campaign."""

    id: str
    draft: str
    campaign: str
    """The id of the campaign that it becomes."""
    by: str
    at: str
    """When it was made."""
    due: str
    due_s: int
    why: str
    state: ScheduleState
    said: str = ""
    """Why it is suspended."""
    base: str
    """A hash of the draft and its lists as they were seen."""


class _File(msgspec.Struct, frozen=True):
    schedules: tuple[Schedule, ...] = ()


class Schedules:
    """See the module. `tick` is for one task."""

    def __init__(
        self, drafting: Drafting, accounts: Accounts, path: Path, diary: Diary, now_s: Callable[[], int]
    ) -> None:
        """`path` is the file of them. ConfigError if it cannot be read."""
        self._drafting = drafting
        self._accounts = accounts
        self._path = path
        self._diary = diary
        self._now_s = now_s
        self._file = load_json(path, _File, _File(), "a list of scheduled campaigns")

    def all(self) -> list[Schedule]:
        """Return all, the newest first."""
        return list(reversed(self._file.schedules))

    def of_draft(self, name: str) -> list[Schedule]:
        """Return those of a draft that are not over, the newest first."""
        return [one for one in self.all() if one.draft == name and not one.state.over]

    async def make(self, actor: Actor, name: str, due_s: int, why: str, seen: str | None = None) -> Schedule:
        """Let a draft be served at a time. Refused if it is not what was `seen` (None: whatever it is), for a time that
        is over or beyond a year, a draft that is not fine or opens before that, and where the campaign is served, or
        waits, already."""
        now_s = self._now_s()
        check_due(due_s, now_s)
        due = rfc3339_s(due_s)
        checked = await self._drafting.check(name)
        if not checked.ok:
            raise Refused(409, f"the draft is not finished: {checked.problems[0].located}")
        campaign = (await asyncio.to_thread(self._drafting.drafts.load, name)).id
        if campaign in self._drafting.known():
            raise Refused(409, f"campaign {campaign} is there already; only a new one is scheduled")
        if any(one.campaign == campaign and one.state.waits for one in self._file.schedules):
            raise Refused(409, f"campaign {campaign} is scheduled already; cancel that first")
        early = next((one for one in checked.rounds if one["opens"] != "now" and one["opens"][:19] < due[:19]), None)
        if early is not None:
            raise Refused(409, f"round {early['id']} opens at {early['opens']}, before the campaign would be there")
        base = await self._drafting.base(name, seen)
        if base != checked.seen:
            raise Refused(409, DRAFT_CHANGED)
        made = Schedule(
            id=secrets.token_hex(4), draft=name, campaign=campaign, by=actor.name, at=rfc3339_s(now_s), due=due,
            due_s=due_s, why=why, state=ScheduleState.WAITING, base=base,
        )  # fmt: skip
        kept = [*self._file.schedules, made]
        while len(kept) > SCHEDULES_MAX:
            over = next((one for one in kept if one.state.over), None)
            if over is None:
                raise Refused(409, f"{SCHEDULES_MAX} campaigns wait already; cancel some")
            kept.remove(over)
        self._diary.note(actor.name, "schedule campaign", f"{campaign} at {due}", why, actor.address)
        self._keep(kept)
        return made

    def cancel(self, actor: Actor, schedule_id: str) -> Schedule:
        """Let nothing become of one. Refused for none such, and one that is over or being carried out."""
        found = next((one for one in self._file.schedules if one.id == schedule_id), None)
        if found is None:
            raise Refused(404, f'there is no schedule "{schedule_id}"')
        if found.state.over or found.state is ScheduleState.BEGUN:
            raise Refused(409, f"this schedule is {found.state}")
        self._diary.note(actor.name, "cancel schedule", f"{found.campaign} at {found.due}", address=actor.address)
        return self._replace(found, ScheduleState.CANCELLED)

    async def tick(self) -> None:
        """Suspend what does not hold any more, and carry out what is due. Every second, from one task."""
        for one_id in [one.id for one in self._file.schedules if one.state.waits]:
            # Of now: somebody may have cancelled it while another one was carried out.
            one = next((found for found in self._file.schedules if found.id == one_id), None)
            if one is not None and one.state.waits:
                await self._look_at(one)

    async def _look_at(self, one: Schedule) -> None:
        if one.state is ScheduleState.BEGUN and one.campaign in self._drafting.known():
            self._replace(one, ScheduleState.ADDED)  # it was, just before the console died
            return
        now_s = self._now_s()
        try:
            self._check(one, await asyncio.to_thread(self._drafting.drafts.base, one.draft))
            if one.due_s > now_s:
                return
            if now_s - one.due_s > LATE_MAX_S:
                raise RedrushError("the console was not running when its time came")
            begun = self._replace(one, ScheduleState.BEGUN)
            actor = Actor(name=one.by, role=Role.OPERATOR, address=ITSELF)
            await self._drafting.place(actor, one.draft, one.why, yes=True)
            self._replace(begun, ScheduleState.ADDED)
        except (RedrushError, Refused) as fault:
            self._suspend(one, str(fault))

    def _check(self, one: Schedule, base: str) -> None:
        """RedrushError for what is not as it was when the schedule was made."""
        if base != one.base:
            raise RedrushError("the draft was changed since; look at it, and schedule it again")
        if one.campaign in self._drafting.known():
            raise RedrushError(f"campaign {one.campaign} is there meanwhile")
        self._accounts.require_still(one.by, Role.OPERATOR)

    def _suspend(self, one: Schedule, said: str) -> None:
        self._diary.note(ITSELF, "suspend schedule", f"{one.campaign} at {one.due}", said)
        self._replace(one, ScheduleState.SUSPENDED, said)

    def _replace(self, old: Schedule, state: ScheduleState, said: str = "") -> Schedule:
        new = msgspec.structs.replace(old, state=state, said=said)
        self._keep([new if one.id == old.id else one for one in self._file.schedules])
        return new

    def _keep(self, schedules: list[Schedule]) -> None:
        file = _File(tuple(schedules))
        keep_json(self._path, file, ", nothing was done")
        self._file = file
