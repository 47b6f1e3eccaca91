"""What an operator may ask of the switchboard and of the sets, as values: typed here, encoded only at the edge.

Without a running server an order is carried out as it is; with one it is sent as a request and read back there. Who
gives it is never part of it: that is whoever the token belongs to (`redrush.control.operators`). The name that a person
gives besides, for a shared token, is only kept beside, as said.
"""

from typing import Any
from urllib.parse import quote

import msgspec

Value = bool | float | str


class Given(msgspec.Struct, frozen=True):
    """By whom an order is given: the holder of the token, and the name that was said besides, if any."""

    who: str
    said: str = ""
    expects: int | None = None
    """The version of the switches that whoever gives it has seen: the order is refused at any other. None: at any."""


class ListSwitches(msgspec.Struct, frozen=True):
    """Every switch, its value, and who has set it."""


class ListPlaybooks(msgspec.Struct, frozen=True):
    """Every playbook, and the rules."""


class ReadLog(msgspec.Struct, frozen=True):
    """The newest entries of the audit log."""


class SetSwitch(msgspec.Struct, frozen=True):
    """Set a switch by hand."""

    name: str
    value: Value
    why: str = ""


class ReleaseSwitch(msgspec.Struct, frozen=True):
    """Take back what was set by hand."""

    name: str
    why: str = ""


class ApplyPlaybook(msgspec.Struct, frozen=True):
    """Let all settings of a playbook hold."""

    playbook: str
    why: str = ""


class UndoPlaybook(msgspec.Struct, frozen=True):
    """Take back a playbook, whoever has applied it."""

    playbook: str
    why: str = ""


ChangeOrder = SetSwitch | ReleaseSwitch | ApplyPlaybook | UndoPlaybook


class Preview(msgspec.Struct, frozen=True):
    """Tell what the order would change now, and change nothing."""

    order: ChangeOrder


class ListSets(msgspec.Struct, frozen=True):
    """How each set is."""


class LowerSet(msgspec.Struct, frozen=True):
    """Let the primary of a set go on with the replicas that it has now."""

    set: str
    why: str


class NoteHeard(msgspec.Struct, frozen=True):
    """Whoever may have been granted what a set lacks was heard."""

    set: str
    why: str


class ReleaseSet(msgspec.Struct, frozen=True):
    """Wait for nobody any more who may have been granted what a set lacks."""

    set: str
    why: str


class PromoteServer(msgspec.Struct, frozen=True):
    """Make this server the primary of a set, whatever it lacks."""

    set: str
    address: str
    why: str


class RebuildSet(msgspec.Struct, frozen=True):
    """Take no other server of a set for the primary any more: it is made anew on this one."""

    set: str
    address: str
    why: str


BoardOrder = ListSwitches | ListPlaybooks | ReadLog | ChangeOrder | Preview
SetOrder = ListSets | LowerSet | NoteHeard | ReleaseSet | PromoteServer | RebuildSet
Order = BoardOrder | SetOrder


class Request(msgspec.Struct, frozen=True):
    """An order as it goes over the wire."""

    method: str
    path: str
    fields: dict[str, Any] | None = None


def request_of(order: Order, said: str = "", by: str = "", expects: int | None = None) -> Request:  # noqa: C901, PLR0912 - one case for each order
    """Return the request that asks a control port for it. `by` is for whom the event's own token signs, "" for itself;
    `expects`: see `Given`."""
    who: dict[str, Any] = {"who": said} if said else {}
    if by:
        who["by"] = by
    if expects is not None:
        who["expects"] = expects
    match order:
        case Preview(inner):
            changing = request_of(inner, said, by)
            return Request("POST", f"{changing.path}/preview", changing.fields)
        case ListSwitches():
            return Request("GET", "/v1/switches")
        case ListPlaybooks():
            return Request("GET", "/v1/playbooks")
        case ReadLog():
            return Request("GET", "/v1/switches/log")
        case ListSets():
            return Request("GET", "/v1/sets")
        case SetSwitch(name, value, why):
            return Request("PUT", f"/v1/switches/{quote(name, safe='')}", {"value": value, "why": why, **who})
        case ReleaseSwitch(name, why):
            return Request("PUT", f"/v1/switches/{quote(name, safe='')}", {"value": None, "why": why, **who})
        case ApplyPlaybook(playbook, why):
            return Request("POST", f"/v1/playbooks/{quote(playbook, safe='')}/apply", {"why": why, **who})
        case UndoPlaybook(playbook, why):
            return Request("POST", f"/v1/playbooks/{quote(playbook, safe='')}/undo", {"why": why, **who})
        case LowerSet(set_id, why):
            return Request("POST", f"/v1/sets/{set_id}/lower", {"why": why, **who})
        case NoteHeard(set_id, why):
            return Request("POST", f"/v1/sets/{set_id}/heard", {"why": why, **who})
        case ReleaseSet(set_id, why):
            return Request("POST", f"/v1/sets/{set_id}/release", {"why": why, **who})
        case PromoteServer(set_id, address, why):
            return Request("POST", f"/v1/sets/{set_id}/promote", {"address": address, "why": why, **who})
        case RebuildSet(set_id, address, why):
            return Request("POST", f"/v1/sets/{set_id}/rebuild", {"address": address, "why": why, **who})
