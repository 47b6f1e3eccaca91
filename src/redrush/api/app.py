"""The admin API as an application: its handlers, what stands before them, and what faults look like."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from litestar import Litestar, Request, Router, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import (
    ClientException,
    HTTPException,
    InternalServerException,
    SerializationException,
    ValidationException,
)
from litestar.openapi.config import OpenAPIConfig
from litestar.response import Response
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, ControllerRouterHandler, ExceptionHandlersMap
from msgspec import DecodeError

from redrush import __version__
from redrush.api.access import COOKIE_PLAIN, COOKIE_SECURE, OPEN, PROVED, ROLE, Access, guard
from redrush.api.desk import Desk
from redrush.api.door import Door
from redrush.api.handlers import HANDLERS
from redrush.api.passwords import TooManyLogins
from redrush.api.seals import Refused
from redrush.errors import ConfigError, RedrushError
from redrush.http.bodies import UNREADABLE
from redrush.http.hosts import Hosts
from redrush.operate.drafts import WrittenMeanwhile
from redrush.operate.switching import OperationRefused
from redrush.watch.log import server_log

PREFIX: Final = "/api/v1"
BODY_BYTES_MAX: Final = 1 << 20
"""Of one request; lists of users go by a path of their own, in pieces."""
PROBLEM: Final = "application/problem+json"
BODY: Final = "data"
"""What handlers call the body of their request; who sends it knows no such name."""
EMPTY: Final = f"the body is empty: send a JSON object, as {PREFIX}/openapi.json describes it"


class Asking(Request[Any, Any, Any]):
    """A request whose body is refused in one way, whatever is wrong with it: Litestar knows of what is no JSON, and not
    of bytes that are no UTF-8, or a depth that the stack does not hold."""

    async def json(self) -> Any:
        """Return the body as JSON. ClientException if it is none, or cannot be read."""
        try:
            return await super().json()
        except RecursionError:
            raise ClientException("the body cannot be read: it is nested too deeply") from None
        except (SerializationException, *UNREADABLE) as fault:
            raise ClientException(f"the body cannot be read: {fault}") from None


def problem(status: int, detail: str, **more: object) -> Response[dict[str, Any]]:
    """Return a refusal, RFC 9457."""
    headers = {"Retry-After": "60"} if status in {429, 503} else None
    return Response(
        {"status": status, "detail": detail, **more}, status_code=status, media_type=PROBLEM, headers=headers
    )


def told(fault: Exception) -> tuple[int, str]:
    """Return the status and the sentence that a fault is told with."""
    match fault:
        case Refused():
            return fault.status, str(fault)
        case TooManyLogins():
            return 503, str(fault)
        case ConfigError():
            return 400, str(fault)
        case OperationRefused() | WrittenMeanwhile():
            return 409, str(fault)
        case RedrushError():
            return 503, str(fault)
        case ValidationException():
            extra = fault.extra if isinstance(fault.extra, list) else []
            return 400, "; ".join(filter(None, (_reason(one) for one in extra))) or fault.detail
        case DecodeError():
            return 400, f"the body cannot be read: {fault}"
        case HTTPException() if not isinstance(fault, InternalServerException):
            return fault.status_code, fault.detail
        case _:
            return 500, "this failed in a way that nobody thought of; the console's log has more"


def _reason(one: object) -> str:
    if not isinstance(one, dict):
        return str(one)
    key, message = one.get("key"), str(one.get("message"))
    if key == BODY:
        # Of a parameter that did not come, Litestar says its name alone.
        return EMPTY if message == repr(BODY) else f"the body: {message}"
    return f"{key}: {message}" if key else message


def _answer(_request: Request[Any, Any, Any], fault: Exception) -> Response[dict[str, Any]]:
    status, detail = told(fault)
    if status == 500:
        server_log().error("an operation of the admin API broke off", exc_info=fault, fault=repr(fault))
    return problem(status, detail)


FAULTS: Final[ExceptionHandlersMap] = {HTTPException: _answer, Exception: _answer}


@get("/openapi.json", opt=OPEN, include_in_schema=False)
async def document(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return openapi_of(request.app)


def openapi_of(app: Litestar) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the API. Each operation says in `x-role` which role it needs, and in
    `x-proved` whether who asks has to have logged in, or given their password again, a moment ago."""
    written: dict[str, Any] = app.openapi_schema.to_schema()
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for method, (handler, _) in route.route_handler_map.items():
            operation = written["paths"].get(route.path_format, {}).get(str(method).lower())
            if operation is not None:
                operation["x-role"] = str(handler.opt[ROLE])
                operation["x-proved"] = bool(handler.opt.get(PROVED))
    return written


def make_app(
    desk: Desk,
    *,
    secure: bool,
    further: Sequence[ControllerRouterHandler] = (),
    elsewhere: Callable[[Request[Any, Any, Any], Exception], Response[Any]] | None = None,
) -> Litestar:
    """Return the application, to be served behind its door. `secure`: it is reached by TLS. `further` are the pages.
    `elsewhere` answers for a fault outside of the API that no handler met, as for a path that there is not; None: as
    the API does."""
    cookie = COOKIE_SECURE if secure else COOKIE_PLAIN
    api = Router(PREFIX, route_handlers=[document, *HANDLERS], exception_handlers=FAULTS)
    return Litestar(
        route_handlers=[api, *further],
        guards=[guard],
        dependencies={
            "desk": Provide(lambda: desk, sync_to_thread=False),
            "cookie_name": Provide(lambda: cookie, sync_to_thread=False),
            "secure": Provide(lambda: secure, sync_to_thread=False),
        },
        exception_handlers=FAULTS if elsewhere is None else dict.fromkeys(FAULTS, _by_place(elsewhere)),
        openapi_config=OpenAPIConfig(
            title="redrush admin API", version=__version__, path=f"{PREFIX}/schema", render_plugins=[]
        ),
        on_startup=[desk.start],
        on_shutdown=[desk.stop],
        request_class=Asking,
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
        signature_types=[Desk],
        state=State({"desk": desk, "access": Access(desk.accounts, desk.sessions, cookie=cookie)}),
    )


def _by_place(elsewhere: Callable[[Request[Any, Any, Any], Exception], Response[Any]]) -> Any:
    def answer(request: Request[Any, Any, Any], fault: Exception) -> Response[Any]:
        return (_answer if request.url.path.startswith(f"{PREFIX}/") else elsewhere)(request, fault)

    return answer


def behind_door(app: Litestar, names: Sequence[str]) -> ASGIApp:
    """Return what a server serves: also of what there is not, everything passes the door, and it is known who asks.
    `names` are those under which it answers, besides loopback's and every address."""
    access: Access = app.state.access
    return Door(access.middleware(app), Hosts(names))
