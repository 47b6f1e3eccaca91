"""What every request passes first: under which name it came, from which site, and what every answer carries.

- **Host**: only names that are ours are answered, against DNS rebinding (`redrush.http.hosts`).
- **Fetch Metadata**: browsers say from which site a request comes. Whatever changes something is refused unless it
  comes from our own pages, so no form needs a token that could go stale behind a proxy. An older browser says `Origin`;
  a program sends no cookie, but a key.
- **Headers**: a strict content security policy, in which nothing is inline and nothing is evaluated.
"""

from typing import Any, Final

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from redrush.http.hosts import Hosts

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = (
    (b"content-security-policy", CSP.encode("ascii")),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
STATIC: Final = "/static/"
ELSEWHERE: Final = "this change comes from another site, so it was not made"


class Door:
    """See the module."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or refuse it."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        cached = scope["path"].startswith(STATIC)

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [*message["headers"], *HEADERS]
                if not any(name.lower() == b"cache-control" for name, _ in own):
                    own.append((b"cache-control", b"public, max-age=3600" if cached else b"no-store"))
                message = {**message, "headers": own}
            await send(message)

        if not self._hosts.has(headers.get(b"host", b"")):
            await _refuse(
                dressed, 421, "this name is none of the console's; start it with --name to let it answer there"
            )
        elif (why := refusal_of(scope["method"], scope["path"], headers)) is not None:
            await _refuse(dressed, 403, why)
        else:
            await self._app(scope, receive, dressed)


def refusal_of(method: str, path: str, headers: dict[bytes, bytes]) -> str | None:
    """Return why a request is not let through by where it comes from, or None."""
    if headers.get(b"authorization", b"").lower().startswith(b"bearer "):
        return None  # no browser sends a key by itself
    site = headers.get(b"sec-fetch-site", b"").decode("latin-1").lower()
    if method in SAFE_METHODS:
        navigates = headers.get(b"sec-fetch-mode", b"navigate").lower() == b"navigate"
        if site in {"cross-site", "same-site"} and (path.startswith("/api/") or not navigates):
            return "another site asks for this; open the console itself"
        return None
    if site:
        return None if site == "same-origin" else ELSEWHERE
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin:
        host = headers.get(b"host", b"").decode("latin-1")
        return None if origin.partition("://")[2] == host else "this change comes from another site, so it was not made"
    return (
        "a browser says from which site a change comes; a program sends an API key (redrush user, or the page People)"
    )


async def _refuse(send: Send, status: int, why: str) -> None:
    body = msgspec.json.encode({"status": status, "detail": why})
    start: Any = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode("ascii")),
        ],
    }
    await send(start)
    end: Any = {"type": "http.response.body", "body": body, "more_body": False}
    await send(end)
