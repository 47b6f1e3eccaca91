"""Logging in with the company's provider: to it, and back from it."""

from typing import Any, Final

from litestar import get
from litestar.datastructures import Cookie
from litestar.response import Redirect

from redrush.api.access import OPEN
from redrush.api.desk import Desk
from redrush.api.handlers.asking import CookieName, Secure, TheDesk
from redrush.api.handlers.oneself import session_cookie
from redrush.api.seals import Refused
from redrush.console.pages.own import Then, inside
from redrush.console.pages.rendering import AnyRequest, Page, go_to, render
from redrush.errors import RedrushError

ASKING_S: Final = 600


def _provider(desk: Desk) -> Any:
    if desk.provider is None:
        raise Refused(404, "this console has no login by a provider: redrush console --login FILE")
    return desk.provider


def _kept(cookie_name: str, value: str, *, secure: bool) -> Cookie:
    """Return the cookie of somebody who is at the provider, or, empty, of nobody."""
    lasts_s = ASKING_S if value else 0
    return Cookie(
        key=f"{cookie_name}-asked", value=value, max_age=lasts_s, path="/", secure=secure, httponly=True, samesite="lax"
    )


@get("/login/provider", opt=OPEN)
async def go_there(
    request: AnyRequest, desk: TheDesk, cookie_name: CookieName, secure: Secure, then: Then = "/"
) -> Page | Redirect:
    try:
        url, kept = await _provider(desk).begin(inside(then))
    except RedrushError as fault:
        return render(request, desk, "login.html", 503, then=inside(then), name="", why=str(fault))
    going = Redirect(url, status_code=303)
    going.set_cookie(_kept(cookie_name, kept, secure=secure))
    return going


@get("/login/back", opt=OPEN)
async def come_back(request: AnyRequest, desk: TheDesk, cookie_name: CookieName, secure: Secure) -> Page | Redirect:
    from redrush.login.oidc import NotLoggedIn  # noqa: PLC0415 - an extra

    provider = _provider(desk)
    query = {name: value for name, value in request.query_params.items() if isinstance(value, str)}
    kept = request.cookies.get(f"{cookie_name}-asked", "")
    address = request.client.host if request.client else ""
    try:
        name, then = await provider.finish(kept, query)
        token = desk.people.log_in_as(name, address, request.headers.get("user-agent", ""))
    except (NotLoggedIn, RedrushError, Refused) as refusal:
        status = 503 if isinstance(refusal, RedrushError) else 401
        refused = render(request, desk, "login.html", status, then="/", name="", why=str(refusal))
        refused.set_cookie(_kept(cookie_name, "", secure=secure))
        return refused
    going = go_to(then)
    going.set_cookie(session_cookie(cookie_name, token, secure=secure))
    going.set_cookie(_kept(cookie_name, "", secure=secure))
    return going


PROVIDER_LOGIN: Final = (go_there, come_back)
