"""Changes that wait, for a second person or for their time, and the file in which they do.

In the same file is which switches need a second person, and who went ahead without one.
"""

from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.api.seals import Refused
from redrush.control.json_file import keep_json, load_json
from redrush.control.orders import ApplyPlaybook, ChangeOrder, ReleaseSwitch, SetSwitch, UndoPlaybook, Value

PROPOSALS_MAX: Final = 500
"""Kept; the oldest that are over are forgotten, and stand in the log."""
EDITED: Final = "this proposal was edited or decided meanwhile, so nothing was done; look at what it is now"


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

    @property
    def said(self) -> str:
        """What is asked, for a log."""
        value = "" if self.value is None else f" to {self.value}"
        where = "" if self.campaign is None else f" of {self.campaign}"
        return f"{self.verb} {self.name}{value}{where}"

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


class Proposals:
    """See the module."""

    def __init__(self, path: Path) -> None:
        """ConfigError if the file is there and cannot be read."""
        self._path = path
        self._file = load_json(path, _File, _File(), "a list of proposals")
        self.under_way: set[str] = set()
        """Those that are being done, which nobody else touches."""

    @property
    def all(self) -> tuple[Proposal, ...]:
        """Every one, the oldest first."""
        return self._file.proposals

    @property
    def protected(self) -> tuple[str, ...]:
        """The names, and patterns of names, that need a second person."""
        return self._file.needs_approval

    @property
    def glass(self) -> tuple[dict[str, str], ...]:
        """Who went ahead alone, the oldest first."""
        return self._file.glass

    def add(self, proposal: Proposal) -> None:
        """Keep one more, and forget the oldest that is over where there are too many. Refused if all of them wait."""
        kept = [*self.all, proposal]
        while len(kept) > PROPOSALS_MAX:
            over = next((one for one in kept if one.state.over), None)
            if over is None:
                raise Refused(409, f"{PROPOSALS_MAX} changes wait already; cancel some")
            kept.remove(over)
        self._keep(msgspec.structs.replace(self._file, proposals=tuple(kept)))

    def protect(self, patterns: tuple[str, ...]) -> None:
        """Let changes of these need a second person."""
        self._keep(msgspec.structs.replace(self._file, needs_approval=patterns))

    def break_glass(self, line: dict[str, str]) -> None:
        """Keep who went ahead alone."""
        self._keep(msgspec.structs.replace(self._file, glass=(*self.glass[-19:], line)))

    def open(self, proposal_id: str, edition: int | None = None) -> Proposal:
        """Return one of which something may become. Refused for none such, and for another edition than the one that
        was seen (None: whichever it is)."""
        found = next((one for one in self.all if one.id == proposal_id), None)
        if found is None:
            raise Refused(404, f'there is no proposal "{proposal_id}"')
        if found.state.over:
            raise Refused(409, f"this proposal is {found.state}")
        if edition not in {None, found.edition}:
            raise Refused(409, EDITED)
        if found.id in self.under_way:
            raise Refused(409, "this proposal is being applied just now; look again in a moment")
        return found

    def replace(self, old: Proposal, **fields: Any) -> Proposal:
        """Keep it with other fields, and return it."""
        new = msgspec.structs.replace(old, **fields)
        proposals = tuple(new if one.id == old.id else one for one in self.all)
        self._keep(msgspec.structs.replace(self._file, proposals=proposals))
        return new

    def _keep(self, file: _File) -> None:
        keep_json(self._path, file, ", nothing was done")
        self._file = file
