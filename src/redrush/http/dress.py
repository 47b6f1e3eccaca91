"""What is put on an answer for one kind of request: header lines for a page of another origin, or no body for HEAD.

A head that is remembered is remembered with its Origin line, so what it is served by may have its dress on already.
A request without an Origin meets none of this: prebuilt answers stay as they are.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from redrush.http import answers
from redrush.http.route import Probe, Route, RouteFor, StandIn, Waiter

READABLE_HEADERS: Final = (
    f"Date, Retry-After, RateLimit, RateLimit-Policy, {answers.INTERVAL_HEADER}, X-Redrush-Elsewhere, Redrush-Now"
)
"""Headers of an answer that a page may read besides those that every page may. `Redrush-Now` comes from proxies."""

SENDABLE_HEADERS: Final = "Authorization, Content-Type"
PREFLIGHT_KEPT_S: Final = 600
"""How long a browser need not ask again; it asks once a page, and a change of configuration is a restart."""

BY_ORIGIN: Final = "Vary: Origin\r\n"


class Dress(msgspec.Struct, frozen=True):
    """`lines` go behind the status line, each ended with CRLF; `bodiless`: the answer is to HEAD."""

    lines: bytes = b""
    bodiless: bool = False

    def put_on(self, answer: bytes) -> bytes:
        """Return the answer with the dress on."""
        if self.bodiless:
            answer = answers.head_of(answer)
        return answer.replace(b"\r\n", b"\r\n" + self.lines, 1) if self.lines else answer

    def on_all(self, route_for: RouteFor) -> RouteFor:
        """Return what makes routes of segments, each with the dress on."""
        if self == PLAIN:
            return route_for

        def dressed_for(*segments: bytes) -> Route | None:
            route = route_for(*segments)
            return None if route is None else Dressed(route, self, getattr(route, "reads", None))

        return dressed_for


PLAIN: Final = Dress()


class Dressed:
    """A route whose answers get a dress."""

    def __init__(self, route: Route, dress: Dress, reads: Callable[[bytes], Route] | None = None) -> None:
        """`reads` makes the route for a body, where bodies matter."""
        self.dress = dress
        self._route = route
        self._reads = reads

    def reads(self, body: bytes) -> "Dressed":
        """Return the route for this body, with the dress on."""
        return self if self._reads is None else Dressed(self._reads(body), self.dress)

    @property
    def is_probe(self) -> bool:
        """Whether it is a probe's that is dressed."""
        return isinstance(self._route, Probe)

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer as the route does, now or later."""
        done = self._route.serve(_Dressing(waiter, self.dress), user)
        return None if done is None else self.dress.put_on(done)


class _Dressing(StandIn):
    """Stands before a waiter, and dresses what comes for it."""

    __slots__ = ("_dress",)

    def __init__(self, waiter: Waiter, dress: Dress) -> None:
        super().__init__(waiter)
        self._dress = dress

    def send(self, answer: bytes) -> None:
        self.waiter.send(self._dress.put_on(answer))


class Origins:
    """The pages of other origins that may ask, as browsers enforce it (Fetch, CORS protocol)."""

    def __init__(self, origins: Iterable[str]) -> None:
        """`origins` are as browsers write them: https://page.example, without a path."""
        self._lines = {
            origin.encode("ascii"): (
                f"Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Expose-Headers: {READABLE_HEADERS}\r\n"
            )
            for origin in origins
        }

    def __bool__(self) -> bool:
        return bool(self._lines)

    def lines(self, origin: bytes, *, public: bool) -> str:
        """Return the header lines of an answer to a page of this origin; `public`: caches may keep the answer."""
        allowed = self._lines.get(origin, "")
        return f"{allowed}{BY_ORIGIN}" if allowed or (public and self._lines) else ""

    def preflight_lines(self, origin: bytes, methods: str) -> str:
        """Return the header lines of the answer to a browser that asks whether its page may ask."""
        if origin not in self._lines:
            return BY_ORIGIN if self._lines else ""
        return (
            f"{self.lines(origin, public=True)}Access-Control-Allow-Methods: {methods}\r\n"
            f"Access-Control-Allow-Headers: {SENDABLE_HEADERS}\r\nAccess-Control-Max-Age: {PREFLIGHT_KEPT_S}\r\n"
        )

    def readable_by_all(self, answer: bytes) -> bytes:
        """Return a refusal that says the same to everybody, so that every page may read it."""
        return answer.replace(b"\r\n", b"\r\nAccess-Control-Allow-Origin: *\r\n", 1) if self._lines else answer
