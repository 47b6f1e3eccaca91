"""Accounts, sessions and API keys."""

from typing import Annotated, Any, Final

import msgspec
from litestar import delete, get, post, put
from litestar.params import JSONBody, QueryParameter

from redrush.api.accounts import Role
from redrush.api.handlers.asking import ADMIN, PROVED_ADMIN, PROVED_VIEWER, VIEWER, AnyRequest, Name, TheDesk, actor_of
from redrush.api.seals import Refused
from redrush.core.rush.instants import rfc3339_s


class NewPerson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    role: Role


class NewRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A role."""

    role: Role


class TellOnce(msgspec.Struct, frozen=True):
    """A secret that is told now and never again."""

    name: str
    secret: str


@get("/people", opt=ADMIN, summary="Who has an account")
async def people(desk: TheDesk) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "role": one.role,
            "created_at": rfc3339_s(one.created_s),
            "second_factor": one.totp is not None,
        }
        for one in desk.accounts.people
    ]


@post("/people", opt=PROVED_ADMIN, summary="Give somebody an account")
async def add_person(data: JSONBody[NewPerson], request: AnyRequest, desk: TheDesk) -> TellOnce:
    return TellOnce(data.name, await desk.people.add_person(actor_of(request), data.name, data.role))


@put("/people/{name:str}/role", opt=PROVED_ADMIN, summary="Give somebody another role")
async def change_role(name: Name, data: JSONBody[NewRole], request: AnyRequest, desk: TheDesk) -> NewPerson:
    desk.people.change_role(actor_of(request), name, data.role)
    return NewPerson(name, data.role)


class ResetTold(msgspec.Struct, frozen=True):
    """A new password, told now and never again; and what API keys the person had."""

    name: str
    secret: str
    keys: list[dict[str, Any]]
    keys_kept: bool


@post(
    "/people/{name:str}/reset", opt=PROVED_ADMIN, status_code=200, summary="Give a new password; sessions and keys end"
)
async def reset_person(
    name: Name,
    request: AnyRequest,
    desk: TheDesk,
    keep_keys: Annotated[bool, QueryParameter(description="Their API keys go on being good.")] = False,
) -> ResetTold:
    secret, keys = await desk.people.reset_person(actor_of(request), name, keep_keys=keep_keys)
    return ResetTold(name, secret, [{"id": one.id, "role": one.role, "note": one.note} for one in keys], keep_keys)


@delete("/people/{name:str}", opt=ADMIN, summary="Remove somebody, with their keys")
async def remove_person(name: Name, request: AnyRequest, desk: TheDesk) -> None:
    desk.people.remove_person(actor_of(request), name)


@get("/sessions", opt=ADMIN, summary="Who is logged in")
async def sessions(desk: TheDesk) -> list[dict[str, Any]]:
    return [
        {
            "id": one.id,
            "name": one.name,
            "since": rfc3339_s(one.began_s),
            "seen_at": rfc3339_s(one.seen_s),
            "address": one.address,
            "agent": one.agent,
        }
        for one in desk.people.logged_in()
    ]


@delete("/sessions/{session:str}", opt=ADMIN, summary="Log somebody out")
async def end_session(session: Name, request: AnyRequest, desk: TheDesk) -> None:
    actor = actor_of(request)
    if not any(one.id == session for one in desk.sessions.all()):
        raise Refused(404, f'there is no session "{session}"')
    desk.diary.note(actor.name, "end session", session, address=actor.address)
    desk.sessions.end(session)


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program's key: no more than one's own role, for some days."""

    role: Role
    days: Annotated[int, msgspec.Meta(ge=1, le=3_650)] | None = 90
    note: Annotated[str, msgspec.Meta(max_length=200)] = ""


@get("/keys", opt=VIEWER, summary="One's own API keys; an admin sees all")
async def keys(request: AnyRequest, desk: TheDesk) -> list[dict[str, Any]]:
    actor = actor_of(request)
    return [
        {
            "id": one.id,
            "owner": one.owner,
            "role": one.role,
            "note": one.note,
            "created_at": rfc3339_s(one.created_s),
            "expires_at": None if one.expires_s is None else rfc3339_s(one.expires_s),
            "last_used_at": None if (used_s := desk.accounts.used_s(one.id)) is None else rfc3339_s(used_s),
        }
        for one in desk.accounts.keys
        if one.owner == actor.name or actor.role.may(Role.ADMIN)
    ]


@post("/keys", opt=PROVED_VIEWER, summary="Give a program of one's own a key")
async def add_key(data: JSONBody[NewKey], request: AnyRequest, desk: TheDesk) -> TellOnce:
    actor = actor_of(request)
    return TellOnce(actor.name, desk.people.add_key(actor, data.role, data.days, data.note))


@delete("/keys/{key:str}", opt=VIEWER, summary="Take a key back")
async def remove_key(key: Name, request: AnyRequest, desk: TheDesk) -> None:
    desk.people.remove_key(actor_of(request), key)


PEOPLE: Final = (
    people,
    add_person,
    change_role,
    reset_person,
    remove_person,
    sessions,
    end_session,
    keys,
    add_key,
    remove_key,
)
