"""The login as an application: going to the provider, coming back with a ticket, and having it renewed.

A ticket stands in no address and in no header that a proxy could log: it is handed over in the body of a page of three
lines, which goes on to the participants' page with the ticket behind the `#`. What is kept between two requests is in
the browser (`redrush.login.keepsakes`), so any number of these processes serve one address.
"""

import base64
import time
from collections.abc import Callable
from hashlib import sha256
from html import escape
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.exceptions import HTTPException

from redrush.client.issue import Issuer
from redrush.config.login_file import LoginFile
from redrush.core.rush.instants import rfc3339_s
from redrush.login.keepsakes import Keepsakes
from redrush.login.oidc import NotLoggedIn, Provider, ProviderAway, Started
from redrush.watch.log import server_log

ASKING_S: Final = 600
"""How long somebody may take at the provider."""
ADDRESS_CHARACTERS_MAX: Final = 2_000
COOKIE: Final = "redrush-login"
PROBLEM: Final = "application/problem+json"

_GO: Final = 'location.replace(document.getElementById("on").href)'
_HANDOVER: Final = (
    '<!doctype html><html lang="{language}"><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    '<meta name="viewport" content="width=device-width"><title>redrush</title>'
    '<p><a id="on" href="{address}">继续 · Go on</a></p><script>{script}</script></html>'
)
_SORRY: Final = (
    '<!doctype html><html lang="zh"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>登录没有成功 · Not logged in</title>"
    '<h1>登录没有成功<br><span lang="en">You are not logged in</span></h1><p lang="en">{why}.</p>'
    '<p>没有丢失任何东西。<span lang="en">Nothing is lost.</span></p>'
    '<p><a href="{again}">再试一次 · <span lang="en">Try again</span></a></p></html>'
)
_POLICY: Final = (
    "default-src 'none'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Asked(msgspec.Struct, frozen=True):
    """What is kept of somebody who is at the provider."""

    started: Started
    to: str


class Session(msgspec.Struct, frozen=True):
    """What is kept of somebody who has logged in: they may have new tickets while it lasts."""

    user: str


class Logins:
    """What the handlers stand on. `now_s` is the wall clock in seconds."""

    def __init__(self, terms: LoginFile, now_s: Callable[[], int] = lambda: int(time.time())) -> None:
        """ConfigError if the key, or the provider's secret, cannot be read."""
        self.terms = terms
        self.provider = Provider(terms.oidc)
        self.now_s = now_s
        self._issuer = Issuer.from_file(terms.key)
        self._asked = Keepsakes(self._issuer.derived(b"asked"))
        self._sessions = Keepsakes(self._issuer.derived(b"session"))
        parts = urlsplit(terms.address)
        self.base = parts.path
        self.secure = parts.scheme == "https"
        self.back = f"{terms.address}/back"

    async def begin(self, to: str) -> Response[Any]:
        """Send a browser to the provider, from which it comes back to go on to the page `to`."""
        begun = await self.provider.begin(self.back)
        kept = self._asked.sealed(Asked(begun.started, to), self.now_s())
        name = self._cookie_of(begun.started.state)
        cookie = self._cookie(name, kept, ASKING_S, f"{self.base}/back")
        return Response(None, status_code=303, headers={"Location": begun.url}, cookies=[cookie])

    async def finish(self, request: "Request[Any, Any, Any]") -> Response[Any]:
        """Hand a ticket to whoever comes back from the provider. NotLoggedIn, ProviderAway."""
        query = {name: value for name, value in request.query_params.items() if isinstance(value, str)}
        name = self._cookie_of(query.get("state", ""))
        now_s = self.now_s()
        asked = self._asked.opened(request.cookies.get(name, ""), Asked, ASKING_S, now_s)
        if asked is None:
            raise NotLoggedIn("state", "this login was begun in another browser, or more than ten minutes ago")
        user = await self.provider.finish(self.back, asked.started, query)
        try:
            ticket = self._ticket(user, now_s)[0]
        except ValueError as fault:
            raise NotLoggedIn("user", f"your name at the provider cannot be used here: {fault}") from fault
        session = self._sessions.sealed(Session(user), now_s)
        # `begin` has seen that the page is one of ours.
        page = f"{asked.to}#ticket={quote(ticket, safe='')}"
        answer = _page(_HANDOVER.format(language="zh", address=escape(page), script=_GO), 200)
        answer.cookies = [
            self._cookie(name, "", 0, f"{self.base}/back"),
            self._cookie(self._session_cookie, session, self.terms.session_lasts_s, f"{self.base}/renew"),
        ]
        return answer

    def renew(self, request: "Request[Any, Any, Any]") -> Response[Any]:
        """Give whoever has logged in here a new ticket."""
        headers = {"Cache-Control": "no-store", "Vary": "Origin"}
        origin = request.headers.get("origin")
        if origin is not None and origin not in self.terms.origins:
            return _problem(403, "this page is none of login.pages, so it is given no ticket", headers)
        if origin is not None:
            headers |= {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
        now_s = self.now_s()
        kept = request.cookies.get(self._session_cookie, "")
        session = self._sessions.opened(kept, Session, self.terms.session_lasts_s, now_s)
        if session is None:
            return _problem(401, "nobody is logged in here, or for too long: log in again", headers)
        ticket, expires_s = self._ticket(session.user, now_s)
        return Response({"ticket": ticket, "expires_at": rfc3339_s(expires_s)}, status_code=200, headers=headers)

    def sorry(self, why: str, status: int) -> Response[Any]:
        """Return a page that says why somebody is not logged in, and how to try again."""
        return _page(_SORRY.format(why=escape(why), again=escape(f"{self.base or '/'}")), status)

    def _ticket(self, user: str, now_s: int) -> tuple[str, int]:
        expires_s = now_s + self.terms.ticket_lasts_s
        return self._issuer.ticket_until(user, expires_s), expires_s

    @property
    def _session_cookie(self) -> str:
        return f"__Secure-{COOKIE}" if self.secure else COOKIE

    def _cookie_of(self, state: str) -> str:
        """Return the name of the cookie of one login: somebody may have begun in several tabs."""
        part = "".join(sign for sign in state[:12] if sign.isalnum())
        return f"{self._session_cookie}-{part}"

    def _cookie(self, name: str, value: str, lasts_s: int, path: str) -> Cookie:
        return Cookie(
            key=name, value=value, max_age=lasts_s, path=path, secure=self.secure, httponly=True, samesite="lax"
        )


def make_app(logins: Logins) -> Litestar:
    """Return the application."""

    @get(logins.base or "/")
    async def login(request: Request[Any, Any, Any]) -> Response[Any]:
        to = request.query_params.get("to", logins.terms.pages[0]).partition("#")[0]
        if len(to) > ADDRESS_CHARACTERS_MAX or not logins.terms.may_go_to(to):
            return logins.sorry("the address to go back to is none of this event's pages (login.pages)", 400)
        return await logins.begin(to)

    @get(f"{logins.base}/back")
    async def back(request: Request[Any, Any, Any]) -> Response[Any]:
        return await logins.finish(request)

    @post(f"{logins.base}/renew")
    async def renew(request: Request[Any, Any, Any]) -> Response[Any]:
        return logins.renew(request)

    @get(f"{logins.base}/livez", sync_to_thread=False)
    def livez() -> Response[Any]:
        return Response("ok\n", media_type="text/plain", headers={"Cache-Control": "no-store"})

    def refused(_request: Request[Any, Any, Any], fault: Exception) -> Response[Any]:
        match fault:
            case NotLoggedIn():
                server_log().warning("a login did not succeed", reason=fault.reason, why=str(fault))
                return logins.sorry(str(fault), 400)
            case ProviderAway():
                server_log().warning("the provider of logins is away", fault=str(fault))
                return logins.sorry("the login cannot be reached for now", 503)
            case HTTPException() if fault.status_code < 500:
                return _problem(fault.status_code, fault.detail, {"Cache-Control": "no-store"})
            case _:
                server_log().error("a login broke off", exc_info=fault, fault=repr(fault))
                return logins.sorry("this failed in a way that nobody thought of; please try again", 500)

    return Litestar(
        route_handlers=[login, back, renew, livez],
        exception_handlers={Exception: refused, HTTPException: refused},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=1_024,
    )


def _page(html: str, status: int) -> Response[Any]:
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": _POLICY.format(base64.b64encode(sha256(_GO.encode()).digest()).decode()),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(html, status_code=status, media_type="text/html; charset=utf-8", headers=headers)


def _problem(status: int, detail: str, headers: dict[str, str]) -> Response[Any]:
    return Response({"status": status, "detail": detail}, status_code=status, media_type=PROBLEM, headers=headers)
