"""Who asks: the session or the API key of a request, and whether its role is enough for what is asked.

Every handler says in its `opt` which role it needs, or that anybody may ask; one that says nothing is refused to all.
So what a role may do is data, which the OpenAPI document shows and the role matrix is tested by.
"""

from typing import Any, Final

import msgspec
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers.base import BaseRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from redrush.api.accounts import Accounts, Role
from redrush.api.sessions import Sessions

ROLE: Final = "role"
PROVED: Final = "proved"
ANYBODY: Final = "anybody"
KNOWN_AS: Final = "redrush.actor"
"""Where in a request's scope it stands who asks."""
COOKIE_SECURE: Final = "__Host-rr"
COOKIE_PLAIN: Final = "rr"
"""On plain HTTP, which is for loopback alone: browsers keep no `__Host-` cookie that did not come by TLS."""


def needs(role: Role) -> dict[str, Any]:
    """Return the `opt` of a handler that needs the role."""
    return {ROLE: role}


def needs_proof(role: Role) -> dict[str, Any]:
    """Return the `opt` of a handler that needs a person of the role who has just proved who they are: what it does lets
    somebody in for longer than a session that was taken, or a key, is good."""
    return {ROLE: role, PROVED: True}


OPEN: Final[dict[str, Any]] = {ROLE: ANYBODY}
"""The `opt` of a handler that anybody may ask."""


NO_PERSON: Final = "a key lets nobody in: this needs a person, who has logged in"
NOT_PROVED: Final = "say once more that it is you, with your password: this lets somebody in"


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who asks."""

    name: str
    role: Role
    address: str
    session: str | None = None
    """The id of the session; None: an API key."""
    key: str | None = None
    """The id of the key."""
    proved: bool = False
    """Whether they have logged in, or given their password again, a moment ago."""

    @property
    def sees_people(self) -> bool:
        """Whether user ids are shown in full."""
        return self.role.may(Role.OPERATOR)


class Access:
    """Finds out who asks."""

    def __init__(self, accounts: Accounts, sessions: Sessions, *, cookie: str) -> None:
        self.accounts = accounts
        self.sessions = sessions
        self.cookie = cookie

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Return the application that knows who asks: None in the scope for nobody."""

        async def known(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == ScopeType.HTTP:
                headers: dict[bytes, bytes] = dict(scope["headers"])
                client = scope.get("client")
                known_as: dict[str, Any] = scope  # type: ignore[assignment]  # beside what the protocol has
                known_as[KNOWN_AS] = self.actor_of(headers, client[0] if client else "")
            await app(scope, receive, send)

        return known

    def actor_of(self, headers: dict[bytes, bytes], address: str) -> Actor | None:
        """Return who asks by these headers, or None."""
        scheme, _, text = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() == "bearer":
            found = self.accounts.key_of(text.strip(), self.sessions.now_s())
            if found is None:
                return None
            owner, key = found
            role = min(owner.role, key.role, key=lambda role: role.rank)
            return Actor(name=owner.name, role=role, address=address, key=key.id)
        token = self.cookie_in(headers)
        session = None if token is None else self.sessions.of(token)
        person = None if session is None else self.accounts.person(session.name)
        if session is None or person is None or session.since != person.since:
            return None
        return Actor(
            name=person.name, role=person.role, address=address, session=session.id,
            proved=self.sessions.has_just_proved(session),
        )  # fmt: skip

    def cookie_in(self, headers: dict[bytes, bytes]) -> str | None:
        """Return what the session's cookie says, or None. Other cookies of this name may say anything: what runs on
        other ports of a host shares them, and what is no cookie by the book must log nobody out."""
        for one in headers.get(b"cookie", b"").decode("latin-1").split(";"):
            name, _, value = one.strip().partition("=")
            if name == self.cookie:
                return value
        return None


def actor_in(connection: ASGIConnection[Any, Any, Any, Any]) -> Actor | None:
    """Return who asks, or None."""
    found = connection.scope.get(KNOWN_AS)
    return found if isinstance(found, Actor) else None


def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let through whose role is enough. Raises NotAuthorizedException or PermissionDeniedException."""
    needed = handler.opt.get(ROLE)
    if needed == ANYBODY:
        return
    actor = actor_in(connection)
    if actor is None:
        raise NotAuthorizedException("log in, or send an API key as a bearer token")
    if not isinstance(needed, Role) or not actor.role.may(needed):
        raise PermissionDeniedException(f"this needs the role {needed}, and {actor.name} has {actor.role}")
    if handler.opt.get(PROVED) and not actor.proved:
        raise PermissionDeniedException(NO_PERSON if actor.session is None else NOT_PROVED)
