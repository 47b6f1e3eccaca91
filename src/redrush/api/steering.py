"""Steering with a second look: what an order would do, then the order itself, bound to what was seen.

A preview is answered with a token that says who has seen what. Confirming carries the token and a reason; if anybody
has switched since, the control port refuses, and nothing was changed. What cannot be undone asks for a typed name.
Switches that are protected need a second person, whom any change of the proposal asks anew; in an emergency one person
may go ahead with a reason, which everybody is shown.
"""

import fnmatch
import secrets
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.api.access import Actor
from redrush.api.accounts import Role
from redrush.api.diary import Diary
from redrush.api.event_link import Links
from redrush.api.seals import Refused, Seals
from redrush.control.durable_file import write_durably
from redrush.control.event import load_campaign
from redrush.control.json_file import load_json
from redrush.control.orders import ApplyPlaybook, ChangeOrder, Preview, ReleaseSwitch, SetSwitch, UndoPlaybook, Value
from redrush.core.rush.instants import rfc3339_s
from redrush.core.steering.switches import ANSWER_ENDED
from redrush.errors import ConfigError, RedrushError
from redrush.operate.switching import Holder

SEEN_MAX_S: Final = 300
"""How long a preview may be confirmed."""
GLASS_S: Final = 3_600
"""How long everybody is shown that somebody went ahead alone."""
PROPOSALS_MAX: Final = 500
"""Kept; the oldest that are over are forgotten, and stand in the log."""
LATE_MAX_S: Final = 60
"""A schedule whose time passed while the console was away for longer is suspended, never made up for."""
IN_THE_CONSOLE: Final = "in the console"


class Verb(StrEnum):
    """What is asked."""

    SET = "set"
    RELEASE = "release"
    APPLY = "apply"
    UNDO = "undo"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A change that somebody asks for: of a switch, or a playbook."""

    verb: Verb
    name: str
    value: Value | None = None
    campaign: str | None = None
    """Which campaign's; None: the first one's."""

    def order(self, why: str) -> ChangeOrder:
        """Return it as the control API has it. Refused for `set` without a value."""
        match self.verb:
            case Verb.SET:
                if self.value is None:
                    raise Refused(400, f'say what "{self.name}" shall be: "value"')
                return SetSwitch(self.name, self.value, why)
            case Verb.RELEASE:
                return ReleaseSwitch(self.name, why)
            case Verb.APPLY:
                return ApplyPlaybook(self.name, why)
            case Verb.UNDO:
                return UndoPlaybook(self.name, why)


class Previewed(msgspec.Struct, frozen=True, kw_only=True):
    """What a change would do now."""

    asked: Asked
    version: int
    changes: list[dict[str, Any]]
    kept: list[dict[str, Any]]
    token: str
    type_name: str | None
    """What has to be typed to confirm it, where it cannot be undone for those whom it concerns; None: nothing."""
    needs_approval: bool
    live: bool


class _Seen(msgspec.Struct, frozen=True):
    who: str
    asked: Asked
    version: int
    expires_s: int


EDITED: Final = "this proposal was edited or decided meanwhile, so nothing was done; look at what it is now"


class State(StrEnum):
    """Of a proposal or a schedule."""

    IN_REVIEW = "in review"
    APPROVED = "approved"
    WAITING = "waiting"
    SUSPENDED = "suspended"
    APPLIED = "applied"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing becomes of it any more."""
        return self in {State.APPLIED, State.CANCELLED}


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A change that waits: for a second person, or for its time (`due_s`)."""

    id: str
    by: str
    at_s: int
    asked: Asked
    why: str
    before: dict[str, Value]
    """The values that it was to replace when it was made: others suspend it."""
    after: dict[str, Value]
    state: State
    approved_by: str | None = None
    due_s: int | None = None
    needs_approval: bool = True
    edition: int = 1
    """Grows with each edit: whoever approves says which one they have seen."""
    said: str = ""
    """Why it is suspended."""


class _File(msgspec.Struct, frozen=True, kw_only=True):
    proposals: tuple[Proposal, ...] = ()
    needs_approval: tuple[str, ...] = ()
    glass: tuple[dict[str, str], ...] = ()


class Steering:
    """See the module."""

    def __init__(self, links: Links, path: Path, diary: Diary, now_s: Callable[[], int]) -> None:
        """`path` is the file of proposals. ConfigError if it cannot be read."""
        self._links = links
        self._path = path
        self._diary = diary
        self._now_s = now_s
        self._seals = Seals()
        self._file = load_json(path, _File, _File(), "a list of proposals")
        self._under_way: set[str] = set()
        """Proposals that are being done, which nobody else touches."""

    # -- a second look

    async def preview(self, actor: Actor, asked: Asked) -> Previewed:
        """Return what the change would do now. Refused for what cannot be done."""
        link = self._links.of(asked.campaign)
        told = await link.carry_out(Preview(asked.order("")), Holder(by=actor.name))
        version = int(told["version"])
        changed = [change["switch"] for change in told["changes"]]
        return Previewed(
            asked=asked,
            version=version,
            changes=told["changes"],
            kept=told["kept"],
            token=self._seals.seal(_Seen(actor.name, asked, version, self._now_s() + SEEN_MAX_S)),
            type_name=self._to_type(asked, told["changes"]),
            needs_approval=self.is_protected(changed or [asked.name]),
            live=told["live"],
        )

    async def confirm(
        self, actor: Actor, token: str, why: str, typed: str = "", *, break_glass: bool = False, ahead: int = 0
    ) -> dict[str, Any]:
        """Do what was seen. Refused if it is not what it was, was not typed, or needs somebody else. `ahead`: so many
        changes were confirmed just before that were seen together with this one."""
        seen = self._seen(actor, token)
        version = seen.version + ahead
        previewed = await self.preview(actor, seen.asked)
        if previewed.version != version:
            raise Refused(
                409, "somebody has switched meanwhile, so nothing was changed; look again at what it would do"
            )
        if previewed.type_name is not None and typed.strip() != previewed.type_name:
            raise Refused(400, f'type "{previewed.type_name}" to confirm: this cannot be taken back for those it meets')
        if previewed.needs_approval:
            if not break_glass:
                raise Refused(409, "a second person has to approve this: propose it, or break the glass with a reason")
            if not why.strip():
                raise Refused(400, "say why you go ahead alone: everybody will see it")
            self._break_glass(actor, seen.asked, why)
        return await self._do(seen.asked, actor.name, why, version)

    def seen(self, actor: Actor, token: str) -> Asked:
        """Return what a preview was about. Refused for one that is too old, or somebody else's."""
        return self._seen(actor, token).asked

    def is_protected(self, switches: list[str]) -> bool:
        """Whether a change of these needs a second person."""
        patterns = self._file.needs_approval
        return any(fnmatch.fnmatchcase(name, pattern) for name in switches for pattern in patterns)

    @property
    def protected(self) -> tuple[str, ...]:
        """The names, and patterns of names, that need a second person."""
        return self._file.needs_approval

    def protect(self, actor: Actor, patterns: list[str]) -> None:
        """Let changes of these need a second person."""
        wanted = tuple(dict.fromkeys(one.strip() for one in patterns if one.strip()))[:100]
        self._diary.note(actor.name, "protect", ", ".join(wanted) or "nothing", address=actor.address)
        self._keep(msgspec.structs.replace(self._file, needs_approval=wanted))

    def glass(self) -> list[dict[str, str]]:
        """Return who went ahead alone lately, with what and why."""
        since = rfc3339_s(self._now_s() - GLASS_S)
        return [one for one in self._file.glass if one["at"] >= since]

    # -- a second person, and a later time

    def proposals(self) -> list[Proposal]:
        """Return all, the newest first."""
        return list(reversed(self._file.proposals))

    async def propose(self, actor: Actor, asked: Asked, why: str, due_s: int | None = None) -> Proposal:
        """Propose a change: for a second person, and for a time if one is given. Refused for what cannot be done."""
        if due_s is not None and due_s <= self._now_s():
            raise Refused(400, "the time of a schedule has to be in the future")
        previewed = await self.preview(actor, asked)
        if not previewed.changes:
            raise Refused(409, "this would change nothing now, so there is nothing to wait for")
        protected = previewed.needs_approval or due_s is None
        proposal = Proposal(
            id=secrets.token_hex(4),
            by=actor.name,
            at_s=self._now_s(),
            asked=asked,
            why=why,
            before={one["switch"]: one["from"] for one in previewed.changes},
            after={one["switch"]: one["to"] for one in previewed.changes},
            state=State.IN_REVIEW if protected else State.WAITING,
            due_s=due_s,
            needs_approval=protected,
        )
        self._diary.note(actor.name, "propose" if due_s is None else "schedule", _said(asked), why, actor.address)
        kept = [*self._file.proposals, proposal]
        while len(kept) > PROPOSALS_MAX:
            over = next((one for one in kept if one.state.over), None)
            if over is None:
                raise Refused(409, f"{PROPOSALS_MAX} changes wait already; cancel some")
            kept.remove(over)
        self._keep(msgspec.structs.replace(self._file, proposals=tuple(kept)))
        return proposal

    async def edit(self, actor: Actor, proposal_id: str, asked: Asked, why: str) -> Proposal:
        """Change a proposal: whoever edits it stands for it, and an approval that it had is gone."""
        found = self._open(proposal_id)
        previewed = await self.preview(actor, asked)
        if self._open(proposal_id) != found:
            raise Refused(409, EDITED)
        self._diary.note(actor.name, "edit proposal", f"{found.id}: {_said(asked)}", why, actor.address)
        protected = found.needs_approval or previewed.needs_approval
        return self._replace(
            found,
            by=actor.name,
            asked=asked,
            why=why,
            before={one["switch"]: one["from"] for one in previewed.changes},
            after={one["switch"]: one["to"] for one in previewed.changes},
            state=State.IN_REVIEW if protected else State.WAITING,
            approved_by=None,
            needs_approval=protected,
            edition=found.edition + 1,
            said="",
        )

    def approve(self, actor: Actor, proposal_id: str, edition: int | None = None) -> Proposal:
        """Approve somebody else's proposal. Refused for one's own, and for another edition than the one that was seen
        (None: whichever it is)."""
        found = self._open(proposal_id)
        if edition not in {None, found.edition}:
            raise Refused(409, EDITED)
        if found.by == actor.name:
            raise Refused(403, "a proposal is approved by somebody else than who made it")
        if found.state is not State.IN_REVIEW:
            raise Refused(409, f"this proposal is {found.state}")
        self._diary.note(actor.name, "approve", f"{found.id}: {_said(found.asked)}", found.why, actor.address)
        state = State.APPROVED if found.due_s is None else State.WAITING
        return self._replace(found, state=state, approved_by=actor.name)

    def cancel(self, actor: Actor, proposal_id: str) -> Proposal:
        """Let nothing become of a proposal."""
        found = self._open(proposal_id)
        self._diary.note(actor.name, "cancel", f"{found.id}: {_said(found.asked)}", address=actor.address)
        return self._replace(found, state=State.CANCELLED)

    async def apply(self, actor: Actor, proposal_id: str) -> Proposal:
        """Do what was approved, under the name of who proposed it. Refused if its base has changed: it is suspended."""
        found = self._open(proposal_id)
        if found.state is not State.APPROVED:
            raise Refused(409, f"this proposal is {found.state}, and only an approved one is applied")
        self._diary.note(actor.name, "apply", f"{found.id}: {_said(found.asked)}", found.why, actor.address)
        done = await self._carry_out(found)
        if done.state is State.SUSPENDED:
            raise Refused(409, done.said)
        return done

    async def tick(self) -> None:
        """Do what is due. Every second, from one task."""
        now_s = self._now_s()
        for one in self._file.proposals:
            if one not in self._file.proposals:
                continue  # edited or cancelled while another one was done
            if one.due_s is None or one.due_s > now_s or one.state.over or one.state is State.SUSPENDED:
                continue
            if one.state is State.IN_REVIEW:
                self._replace(one, state=State.SUSPENDED, said="nobody had approved it when its time came")
            elif now_s - one.due_s > LATE_MAX_S:
                self._replace(one, state=State.SUSPENDED, said="the console was not running when its time came")
            else:
                await self._carry_out(one)

    async def _carry_out(self, one: Proposal) -> Proposal:
        """Do it if it would still replace what it was to replace; otherwise suspend it, and say why."""
        link = self._links.of(one.asked.campaign)
        self._under_way.add(one.id)
        try:
            told = await link.carry_out(Preview(one.asked.order("")), Holder(by=one.by))
            if {change["switch"]: change["from"] for change in told["changes"]} != one.before:
                raise RedrushError("what it was to replace was changed meanwhile; look again, and edit or cancel it")
            why = f"{one.why} (approved by {one.approved_by})" if one.approved_by else one.why
            await self._do(one.asked, one.by, why, int(told["version"]))
        except (RedrushError, Refused) as fault:
            return self._replace(one, state=State.SUSPENDED, said=str(fault))
        finally:
            self._under_way.discard(one.id)
        return self._replace(one, state=State.APPLIED)

    async def _do(self, asked: Asked, who: str, why: str, version: int) -> dict[str, Any]:
        holder = Holder(said=IN_THE_CONSOLE, by=who, expects=version)
        return await self._links.of(asked.campaign).carry_out(asked.order(why), holder)

    def _break_glass(self, actor: Actor, asked: Asked, why: str) -> None:
        if not actor.role.may(Role.OPERATOR):
            raise Refused(403, "this needs the role operator")
        self.went_ahead(actor, _said(asked), why)

    def went_ahead(self, actor: Actor, what: str, why: str) -> None:
        """Let everybody see that one person went ahead alone."""
        line = self._diary.note(actor.name, "break glass", what, why, actor.address)
        glass = {"at": line.at, "who": actor.name, "what": what, "why": line.why}
        self._keep(msgspec.structs.replace(self._file, glass=(*self._file.glass[-19:], glass)))

    def _open(self, proposal_id: str) -> Proposal:
        found = next((one for one in self._file.proposals if one.id == proposal_id), None)
        if found is None:
            raise Refused(404, f'there is no proposal "{proposal_id}"')
        if found.state.over:
            raise Refused(409, f"this proposal is {found.state}")
        if found.id in self._under_way:
            raise Refused(409, "this proposal is being applied just now; look again in a moment")
        return found

    def _replace(self, old: Proposal, **fields: Any) -> Proposal:
        new = msgspec.structs.replace(old, **fields)
        proposals = tuple(new if one.id == old.id else one for one in self._file.proposals)
        self._keep(msgspec.structs.replace(self._file, proposals=proposals))
        return new

    def _keep(self, file: _File) -> None:
        try:
            write_durably(self._path, msgspec.json.format(msgspec.json.encode(file)))
        except OSError as fault:
            raise ConfigError(f"{self._path}: cannot be written, nothing was done: {fault.strerror}") from fault
        self._file = file

    def _to_type(self, asked: Asked, changes: list[dict[str, Any]]) -> str | None:
        """An end of claims is told to people who go away then: nothing brings them back."""
        for change in changes:
            if change["switch"].startswith(ANSWER_ENDED) and change["to"] is True:
                of_round = change["switch"].removeprefix(ANSWER_ENDED).removeprefix(".")
                return of_round or load_campaign(self._links.of(asked.campaign).data_dir).id
        return None

    def _seen(self, actor: Actor, token: str) -> _Seen:
        seen = self._seals.opened(token, _Seen)
        if seen.who != actor.name or seen.expires_s <= self._now_s():
            raise Refused(409, "this was seen too long ago, or by somebody else; look again")
        return seen


def _said(asked: Asked) -> str:
    value = "" if asked.value is None else f" to {asked.value}"
    where = "" if asked.campaign is None else f" of {asked.campaign}"
    return f"{asked.verb} {asked.name}{value}{where}"
