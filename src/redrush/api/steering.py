"""Steering with a second look: what an order would do, then the order itself, bound to what was seen.

A preview is answered with a token that says who has seen what. Confirming carries the token and a reason; if anybody
has switched since, the control port refuses, and nothing was changed. What cannot be undone asks for a typed name.
Switches that are protected need a second person, whom any change of the proposal asks anew; in an emergency one person
may go ahead with a reason, which everybody is shown.
"""

import fnmatch
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.api.access import Actor
from redrush.api.accounts import Accounts, Role
from redrush.api.diary import Diary
from redrush.api.event_link import Links
from redrush.api.proposals import EDITED, Asked, Proposal, Proposals, State
from redrush.api.seals import SEEN_BEFORE, Refused, Seals
from redrush.control.event import load_campaign
from redrush.control.orders import ListSwitches, Preview
from redrush.core.rush.instants import rfc3339_s
from redrush.core.steering.switches import ANSWER_ENDED
from redrush.errors import RedrushError
from redrush.operate.switching import Holder

GLASS_S: Final = 3_600
"""How long everybody is shown that somebody went ahead alone."""
LATE_MAX_S: Final = 60
"""A schedule whose time passed while the console was away for longer is suspended, never made up for."""
AHEAD_MAX_S: Final = 366 * 86_400
"""How far ahead a change, or a campaign, is scheduled."""
CAMPAIGNS_LOOKED_AT_MAX: Final = 100
"""For what their switches are called."""
IN_THE_CONSOLE: Final = "in the console"
ITSELF: Final = "schedule"
"""Whom the log names for what nobody did at that moment."""


def check_due(due_s: int, now_s: int) -> None:
    """Refused for a time, in seconds since the epoch, that is over, or further ahead than anybody plans: a slip of the
    pen, and perhaps of no calendar."""
    if not now_s < due_s <= now_s + AHEAD_MAX_S:
        raise Refused(400, "the time of a schedule has to be in the future, and within a year")


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
    asked: Asked
    version: int


class Steering:
    """See the module."""

    def __init__(self, links: Links, accounts: Accounts, path: Path, diary: Diary, now_s: Callable[[], int]) -> None:
        """`path` is the file of proposals. ConfigError if it cannot be read."""
        self._links = links
        self._accounts = accounts
        self._diary = diary
        self._now_s = now_s
        self._seals = Seals(now_s, SEEN_BEFORE)
        self._waiting = Proposals(path)

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
            token=self._seals.seal(actor.name, _Seen(asked, version)),
            type_name=self._to_type(asked, told["changes"]),
            needs_approval=self.is_protected(changed or [asked.name]),
            live=told["live"],
        )

    async def confirm(
        self, actor: Actor, token: str, why: str, typed: str = "", *, break_glass: bool = False, ahead: int = 0
    ) -> dict[str, Any]:
        """Do what was seen. Refused if it is not what it was, was not typed, or needs somebody else. `ahead`: so many
        changes were confirmed just before that were seen together with this one."""
        seen = self._seals.opened(actor.name, token, _Seen)
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
        return self._seals.opened(actor.name, token, _Seen).asked

    def is_protected(self, switches: list[str]) -> bool:
        """Whether a change of these needs a second person."""
        patterns = self._waiting.protected
        return any(fnmatch.fnmatchcase(name, pattern) for name in switches for pattern in patterns)

    @property
    def protected(self) -> tuple[str, ...]:
        """The names, and patterns of names, that need a second person."""
        return self._waiting.protected

    def protect(self, actor: Actor, patterns: list[str], seen: list[str] | None = None) -> None:
        """Let changes of these need a second person. Refused if others than were `seen` needed one until now (None:
        whichever did)."""
        if seen is not None and tuple(seen) != self.protected:
            raise Refused(409, "somebody has changed these since you looked, so nothing was done; look at them again")
        wanted = tuple(dict.fromkeys(one.strip() for one in patterns if one.strip()))[:100]
        self._diary.note(actor.name, "protect", ", ".join(wanted) or "nothing", address=actor.address)
        self._waiting.protect(wanted)

    async def uncalled(self, names_an_order: Callable[[str], bool]) -> list[str]:
        """Return which of these names and patterns no switch is called by, of the campaigns that answer, and no order
        about a set, as is said by `names_an_order`: slips of the pen, or what is still to come."""
        left = [one for one in self.protected if not names_an_order(one)]
        for campaign in self._links.campaigns()[:CAMPAIGNS_LOOKED_AT_MAX]:
            if not left:
                break
            try:
                told = await self._links.of(campaign["campaign"]).read(ListSwitches())
            except RedrushError:
                continue  # it is protected all the same
            left = [one for one in left if not fnmatch.filter([switch["name"] for switch in told["switches"]], one)]
        return left

    def glass(self) -> list[dict[str, str]]:
        """Return who went ahead alone lately, with what and why."""
        since = rfc3339_s(self._now_s() - GLASS_S)
        return [one for one in self._waiting.glass if one["at"] >= since]

    # -- a second person, and a later time

    def proposals(self) -> list[Proposal]:
        """Return all, the newest first."""
        return list(reversed(self._waiting.all))

    async def propose(self, actor: Actor, asked: Asked, why: str, due_s: int | None = None) -> Proposal:
        """Propose a change: for a second person, and for a time if one is given. Refused for what cannot be done."""
        if due_s is not None:
            check_due(due_s, self._now_s())
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
        self._diary.note(actor.name, "propose" if due_s is None else "schedule", asked.said, why, actor.address)
        self._waiting.add(proposal)
        return proposal

    async def edit(
        self, actor: Actor, proposal_id: str, asked: Asked, why: str, due_s: int | None = None,
        edition: int | None = None,
    ) -> Proposal:  # fmt: skip
        """Change a proposal: whoever edits it stands for it, and an approval that it had is gone. Without `due_s` its
        time stays. Refused for another `edition` than the one that was seen (None: whichever it is)."""
        found = self._waiting.open(proposal_id, edition)
        if due_s is not None:
            check_due(due_s, self._now_s())
        previewed = await self.preview(actor, asked)
        if self._waiting.open(proposal_id) != found:
            raise Refused(409, EDITED)
        self._diary.note(actor.name, "edit proposal", f"{found.id}: {asked.said}", why, actor.address)
        protected = found.needs_approval or previewed.needs_approval
        return self._waiting.replace(
            found,
            by=actor.name,
            asked=asked,
            why=why,
            before={one["switch"]: one["from"] for one in previewed.changes},
            after={one["switch"]: one["to"] for one in previewed.changes},
            state=State.IN_REVIEW if protected else State.WAITING,
            approved_by=None,
            due_s=found.due_s if due_s is None else due_s,
            needs_approval=protected,
            edition=found.edition + 1,
            said="",
        )

    def approve(self, actor: Actor, proposal_id: str, edition: int | None = None) -> Proposal:
        """Approve somebody else's proposal. Refused for one's own, and for another edition than the one that was seen
        (None: whichever it is)."""
        found = self._waiting.open(proposal_id, edition)
        if found.by == actor.name:
            raise Refused(403, "a proposal is approved by somebody else than who made it")
        if found.state is not State.IN_REVIEW:
            raise Refused(409, f"this proposal is {found.state}")
        self._diary.note(actor.name, "approve", f"{found.id}: {found.asked.said}", found.why, actor.address)
        state = State.APPROVED if found.due_s is None else State.WAITING
        return self._waiting.replace(found, state=state, approved_by=actor.name)

    def cancel(self, actor: Actor, proposal_id: str, edition: int | None = None) -> Proposal:
        """Let nothing become of a proposal. `edition` as for `approve`."""
        found = self._waiting.open(proposal_id, edition)
        self._diary.note(actor.name, "cancel", f"{found.id}: {found.asked.said}", address=actor.address)
        return self._waiting.replace(found, state=State.CANCELLED)

    async def apply(self, actor: Actor, proposal_id: str, edition: int | None = None) -> Proposal:
        """Do what was approved, under the name of who proposed it. Refused if its base has changed, or who stands for
        it may not steer any more: it is suspended. `edition` as for `approve`."""
        found = self._waiting.open(proposal_id, edition)
        if found.state is not State.APPROVED:
            raise Refused(409, f"this proposal is {found.state}, and only an approved one is applied")
        self._diary.note(actor.name, "apply", f"{found.id}: {found.asked.said}", found.why, actor.address)
        done = await self._carry_out(found)
        if done.state is State.SUSPENDED:
            raise Refused(409, done.said)
        return done

    async def tick(self) -> None:
        """Suspend what nobody stands for any more, and do what is due. Every second, from one task."""
        now_s = self._now_s()
        for one in self._waiting.all:
            if one not in self._waiting.all:
                continue  # edited or cancelled while another one was done
            if one.state.over or one.state is State.SUSPENDED or one.id in self._waiting.under_way:
                continue
            try:
                self._check_people(one)
            except RedrushError as fault:
                self._suspend(one, str(fault))
                continue
            if one.due_s is None or one.due_s > now_s:
                continue
            if one.state is State.IN_REVIEW:
                self._suspend(one, "nobody had approved it when its time came")
            elif now_s - one.due_s > LATE_MAX_S:
                self._suspend(one, "the console was not running when its time came")
            else:
                await self._carry_out(one)

    async def _carry_out(self, one: Proposal) -> Proposal:
        """Do it if it would still replace what it was to replace, and those who stand for it still may; otherwise
        suspend it, and say why."""
        link = self._links.of(one.asked.campaign)
        self._waiting.under_way.add(one.id)
        try:
            told = await link.carry_out(Preview(one.asked.order("")), Holder(by=one.by))
            if {change["switch"]: change["from"] for change in told["changes"]} != one.before:
                raise RedrushError("what it was to replace was changed meanwhile; look again, and edit or cancel it")
            if one.approved_by is None and self.is_protected(list(one.before) or [one.asked.name]):
                raise RedrushError("it needs a second person since; edit it, and let somebody approve it")
            self._check_people(one)
            why = f"{one.why} (approved by {one.approved_by})" if one.approved_by else one.why
            await self._do(one.asked, one.by, why, int(told["version"]))
        except (RedrushError, Refused) as fault:
            return self._suspend(one, str(fault))
        finally:
            self._waiting.under_way.discard(one.id)
        return self._waiting.replace(one, state=State.APPLIED)

    def _check_people(self, one: Proposal) -> None:
        """RedrushError for a change whose proposer, or who approved it, could not make it any more."""
        for name in {one.by, one.approved_by or one.by}:
            self._accounts.require_still(name, Role.OPERATOR)

    def _suspend(self, one: Proposal, said: str) -> Proposal:
        self._diary.note(ITSELF, "suspend", f"{one.id}: {one.asked.said}", said)
        return self._waiting.replace(one, state=State.SUSPENDED, said=said)

    async def _do(self, asked: Asked, who: str, why: str, version: int) -> dict[str, Any]:
        holder = Holder(said=IN_THE_CONSOLE, by=who, expects=version)
        return await self._links.of(asked.campaign).carry_out(asked.order(why), holder)

    def _break_glass(self, actor: Actor, asked: Asked, why: str) -> None:
        if not actor.role.may(Role.OPERATOR):
            raise Refused(403, "this needs the role operator")
        self.went_ahead(actor, asked.said, why)

    def went_ahead(self, actor: Actor, what: str, why: str) -> None:
        """Let everybody see that one person went ahead alone."""
        line = self._diary.note(actor.name, "break glass", what, why, actor.address)
        self._waiting.break_glass({"at": line.at, "who": actor.name, "what": what, "why": line.why})

    def _to_type(self, asked: Asked, changes: list[dict[str, Any]]) -> str | None:
        """An end of claims is told to people who go away then: nothing brings them back."""
        for change in changes:
            if change["switch"].startswith(ANSWER_ENDED) and change["to"] is True:
                of_round = change["switch"].removeprefix(ANSWER_ENDED).removeprefix(".")
                return of_round or load_campaign(self._links.of(asked.campaign).data_dir).id
        return None
