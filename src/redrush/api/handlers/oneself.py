"""Logging in and out, and one's own password."""

from typing import Annotated, Final

import msgspec
from litestar import delete, get, post, put
from litestar.datastructures import Cookie
from litestar.params import JSONBody
from litestar.response import Response

from redrush.api.access import OPEN
from redrush.api.accounts import Role
from redrush.api.handlers.asking import VIEWER, AnyRequest, CookieName, Secure, TheDesk, actor_of


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A try to log in."""

    name: Annotated[str, msgspec.Meta(max_length=200)]
    password: Annotated[str, msgspec.Meta(max_length=1_000)]
    code: Annotated[str, msgspec.Meta(max_length=20)] = ""
    """Of the second factor, if the account has one."""


class Me(msgspec.Struct, frozen=True):
    """Who asks."""

    name: str
    role: Role


@post("/session", opt=OPEN, status_code=200, summary="Log in")
async def log_in(
    data: JSONBody[Login], request: AnyRequest, desk: TheDesk, cookie_name: CookieName, secure: Secure
) -> Response[Me]:
    address = request.client.host if request.client else ""
    token = await desk.people.log_in(
        data.name, data.password, data.code, address, request.headers.get("user-agent", "")
    )
    person = desk.accounts.person(data.name)
    assert person is not None
    return Response(Me(person.name, person.role), cookies=[session_cookie(cookie_name, token, secure=secure)])


def session_cookie(name: str, token: str, *, secure: bool, max_age: int | None = None) -> Cookie:
    """Return the cookie of a session."""
    return Cookie(key=name, value=token, path="/", secure=secure, httponly=True, samesite="lax", max_age=max_age)


@get("/session", opt=VIEWER, summary="Who am I")
async def who_am_i(request: AnyRequest) -> Me:
    actor = actor_of(request)
    return Me(actor.name, actor.role)


@delete("/session", opt=VIEWER, summary="Log out")
async def log_out(request: AnyRequest, desk: TheDesk) -> None:
    desk.people.log_out(actor_of(request))


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of one's own password."""

    old: Annotated[str, msgspec.Meta(max_length=1_000)]
    new: Annotated[str, msgspec.Meta(max_length=200)]
    drop_keys: bool = False
    """Whether one's API keys are good no more, too."""


@put("/session/password", opt=VIEWER, summary="Change one's own password; other sessions end")
async def change_password(data: JSONBody[NewPassword], request: AnyRequest, desk: TheDesk) -> dict[str, bool]:
    await desk.people.change_password(actor_of(request), data.old, data.new, drop_keys=data.drop_keys)
    return {"changed": True}


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one logs in with."""

    password: Annotated[str, msgspec.Meta(max_length=1_000)]
    code: Annotated[str, msgspec.Meta(max_length=20)] = ""
    """Of the second factor, if the account has one."""


@post("/session/proof", opt=VIEWER, status_code=200, summary="Prove again who one is, for what lets somebody in")
async def prove(data: JSONBody[Proof], request: AnyRequest, desk: TheDesk) -> dict[str, bool]:
    await desk.people.prove(actor_of(request), data.password, data.code)
    return {"proved": True}


ONESELF: Final = (log_in, who_am_i, log_out, change_password, prove)
