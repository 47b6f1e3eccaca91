"""Accounts, sessions and keys of everybody, for admins."""

from typing import Final

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Redirect

from redrush.api.access import needs, needs_proof
from redrush.api.accounts import Role
from redrush.api.desk import Desk
from redrush.api.handlers.asking import TheDesk, actor_of
from redrush.api.handlers.people import ResetTold, end_session, keys, reset_person, sessions
from redrush.api.handlers.people import people as listed
from redrush.api.seals import Refused
from redrush.console.pages.own import Form, has_second_factor
from redrush.console.pages.rendering import AnyRequest, Page, go_to, render

ADMIN: Final = needs(Role.ADMIN)
PROVED_ADMIN: Final = needs_proof(Role.ADMIN)


async def _page(
    request: AnyRequest, desk: Desk, secret: tuple[str, str] | None = None, reset: ResetTold | None = None
) -> Page:
    return render(
        request,
        desk,
        "people.html",
        people=await listed.fn(desk),
        sessions=await sessions.fn(desk),
        keys=await keys.fn(request, desk),
        roles=list(Role),
        secret=secret,
        reset=reset,
        second_factor=has_second_factor(request, desk),
    )


@get("/people", opt=ADMIN)
async def people_page(request: AnyRequest, desk: TheDesk) -> Page:
    return await _page(request, desk)


@post("/people", opt=PROVED_ADMIN, status_code=200)
async def add_person(request: AnyRequest, data: Form, desk: TheDesk) -> Page:
    name = data.get("name", "")[:64]
    return await _page(request, desk, (name, await desk.people.add_person(actor_of(request), name, _role(data))))


@post("/people/{name:str}/role", opt=PROVED_ADMIN, status_code=200)
async def change_role(name: FromPath[str], request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    role = _role(data)
    desk.people.change_role(actor_of(request), name, role)
    return go_to("/people", f"{name}: {role}")


@post("/people/{name:str}/reset", opt=PROVED_ADMIN, status_code=200)
async def reset(name: FromPath[str], request: AnyRequest, data: Form, desk: TheDesk) -> Page:
    told = await reset_person.fn(name, request, desk, data.get("keep_keys") == "yes")
    return await _page(request, desk, (name, told.secret), told)


@post("/people/{name:str}/remove", opt=ADMIN, status_code=200)
async def remove(name: FromPath[str], request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    if data.get("typed", "").strip() != name:
        raise Refused(400, f'type "{name}" to remove this account')
    desk.people.remove_person(actor_of(request), name)
    return go_to("/people", f"{name} has no account any more")


@post("/people/sessions/{session:str}/end", opt=ADMIN, status_code=200)
async def end(session: FromPath[str], request: AnyRequest, desk: TheDesk) -> Redirect:
    await end_session.fn(session, request, desk)
    return go_to("/people", "the session is over")


@post("/people/keys/{key:str}/remove", opt=ADMIN, status_code=200)
async def remove_key(key: FromPath[str], request: AnyRequest, desk: TheDesk) -> Redirect:
    desk.people.remove_key(actor_of(request), key)
    return go_to("/people", "the key is good no more")


def _role(data: dict[str, str]) -> Role:
    try:
        return Role(data.get("role", ""))
    except ValueError:
        raise Refused(400, f"choose a role: {', '.join(Role)}") from None


PEOPLE: Final = (people_page, add_person, change_role, reset, remove, end, remove_key)
