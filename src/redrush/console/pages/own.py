"""Logging in and out, and what concerns oneself: password, second factor, keys, language, light or dark."""

from typing import Annotated, Any, Final, Literal

from litestar import get, post
from litestar.params import FromPath, QueryParameter, URLEncodedBody
from litestar.response import Redirect, Response

from redrush.api.access import OPEN, actor_in, needs, needs_proof
from redrush.api.accounts import Role
from redrush.api.app import told
from redrush.api.desk import Desk
from redrush.api.handlers.asking import CookieName, Secure, TheDesk, actor_of
from redrush.api.handlers.oneself import session_cookie
from redrush.api.handlers.people import NewKey, keys
from redrush.api.passwords import TooManyLogins
from redrush.api.seals import Refused
from redrush.api.totp import address_of, new_secret
from redrush.console.pages.rendering import (
    LANGUAGE_COOKIE,
    THEME_COOKIE,
    THEN_MAX,
    AnyRequest,
    Page,
    cookie_of,
    go_to,
    render,
)

Form = URLEncodedBody[dict[str, str]]
Then = Annotated[str, QueryParameter(max_length=THEN_MAX)]


def inside(path: str) -> str:
    """Return a path of ours to go to: never another site's."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"


@get("/login", opt=OPEN)
async def login_page(request: AnyRequest, desk: TheDesk, then: Then = "/") -> Page | Redirect:
    if actor_in(request) is not None:
        return go_to("/")
    return render(request, desk, "login.html", then=inside(then), name="", why=None)


@post("/login", opt=OPEN, status_code=200)
async def log_in(
    request: AnyRequest, data: Form, desk: TheDesk, cookie_name: CookieName, secure: Secure
) -> Response[Any]:
    name, then = data.get("name", "")[:200], inside(data.get("then", "/"))
    address = request.client.host if request.client else ""
    try:
        token = await desk.people.log_in(
            name,
            data.get("password", "")[:1_000],
            data.get("code", "")[:20],
            address,
            request.headers.get("user-agent", ""),
        )
    except (Refused, TooManyLogins) as refusal:
        status, why = told(refusal)
        return render(request, desk, "login.html", status, then=then, name=name, why=why)
    going = go_to(then)
    going.set_cookie(session_cookie(cookie_name, token, secure=secure))
    return going


@post("/logout", opt=needs(Role.VIEWER), status_code=200)
async def log_out(request: AnyRequest, desk: TheDesk, cookie_name: CookieName, secure: Secure) -> Redirect:
    desk.people.log_out(actor_of(request))
    going = go_to("/login")
    going.set_cookie(session_cookie(cookie_name, "", secure=secure, max_age=0))
    return going


@post("/looks/{what:str}/{choice:str}", opt=OPEN, status_code=200)
async def choose(
    what: FromPath[Literal["language", "theme"]],
    choice: FromPath[Literal["en", "zh", "light", "dark", "auto"]],
    data: Form,
    secure: Secure,
) -> Redirect:
    going = go_to(inside(data.get("then", "/")))
    name = LANGUAGE_COOKIE if what == "language" else THEME_COOKIE
    going.set_cookie(cookie_of(name, choice, secure=secure))
    return going


@get("/me", opt=needs(Role.VIEWER))
async def me(request: AnyRequest, desk: TheDesk) -> Page:
    return await _me(request, desk)


async def _me(
    request: AnyRequest, desk: Desk, status: int = 200, *, secret: str | None = None, key: str | None = None,
    wrong: str | None = None,
) -> Page:  # fmt: skip
    """Return the page of one's account. `secret`: of a second factor to begin with; `key`: a new one, told once."""
    actor = actor_of(request)
    shown = None if secret is None else {"text": secret, "address": address_of(secret, actor.name, "redrush")}
    return render(
        request, desk, "me.html", status, keys=await keys.fn(request, desk), secret=shown, told=key, wrong=wrong,
        second_factor=has_second_factor(request, desk), roles=list(Role),
    )  # fmt: skip


def has_second_factor(request: AnyRequest, desk: Desk) -> bool:
    """Return whether who asks has one."""
    person = desk.accounts.person(actor_of(request).name)
    return person is not None and person.totp is not None


@post("/me/proof", opt=needs(Role.VIEWER), status_code=200)
async def prove(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    """Note that who asks has given their password again, and go on where they were."""
    await desk.people.prove(actor_of(request), data.get("password", "")[:1_000], data.get("code", "")[:20])
    return go_to(inside(data.get("then", "/")))


@post("/me/password", opt=needs(Role.VIEWER), status_code=200)
async def change_password(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    await desk.people.change_password(
        actor_of(request), data.get("old", "")[:1_000], data.get("new", "")[:200],
        drop_keys=data.get("drop_keys") == "yes",
    )  # fmt: skip
    return go_to("/me", "the password was changed")


@post("/me/keys", opt=needs_proof(Role.VIEWER), status_code=200)
async def add_key(request: AnyRequest, data: Form, desk: TheDesk) -> Page:
    actor = actor_of(request)
    try:
        wanted = NewKey(Role(data.get("role", "viewer")), int(data.get("days", "90")), data.get("note", "")[:200])
    except ValueError:
        raise Refused(400, "a key has a role, and is good for some days: a whole number") from None
    if not 1 <= (wanted.days or 1) <= 3_650:
        raise Refused(400, "a key is good for 1 to 3650 days")
    secret = desk.people.add_key(actor, wanted.role, wanted.days, wanted.note)
    return await _me(request, desk, key=secret)


@post("/me/keys/{key:str}/remove", opt=needs(Role.VIEWER), status_code=200)
async def remove_key(key: FromPath[str], request: AnyRequest, desk: TheDesk) -> Redirect:
    desk.people.remove_key(actor_of(request), key)
    return go_to("/me", "the key is good no more")


@post("/me/second-factor", opt=needs(Role.VIEWER), status_code=200)
async def second_factor(request: AnyRequest, data: Form, desk: TheDesk) -> Page | Redirect:
    secret = data.get("secret", "")[:100]
    if not secret:
        return await _me(request, desk, secret=new_secret())
    password, present = data.get("password", "")[:1_000], data.get("present", "")[:20]
    try:
        await desk.people.begin_second_factor(actor_of(request), secret, data.get("code", "")[:20], password, present)
    except (Refused, TooManyLogins) as refusal:  # the secret is in their authenticator already
        status, why = told(refusal)
        return await _me(request, desk, status, secret=secret, wrong=why)
    return go_to("/me", "the second factor is asked for from the next login on")


OWN: Final = (login_page, log_in, log_out, choose, me, prove, change_password, add_key, remove_key, second_factor)
