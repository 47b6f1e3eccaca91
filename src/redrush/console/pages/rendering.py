"""How a page comes about: the template, the language, who asks, and what a fault looks like to a person."""

import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode, urlsplit
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request
from litestar.datastructures import Cookie
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.response import Redirect, Response
from litestar.types import ExceptionHandlersMap
from markupsafe import Markup

from redrush import __version__
from redrush.api.access import actor_in
from redrush.api.accounts import Role
from redrush.api.app import problem, told
from redrush.api.desk import Desk
from redrush.api.seals import Refused
from redrush.console.wording import in_chinese, validator_in_chinese
from redrush.control.event import load_campaign
from redrush.core.identity.user_ids import legible
from redrush.errors import RedrushError
from redrush.watch.log import server_log

HERE: Final = Path(__file__).parents[1]
STATIC_DIR: Final = HERE / "static"
LANGUAGES: Final = ("en", "zh")
LANGUAGE_COOKIE: Final = "lang"
THEME_COOKIE: Final = "theme"
NOTE_COOKIE: Final = "note"
"""What the next page says after a form was sent, once. In no address: anybody could write one that says anything."""
NOTE_MAX: Final = 300
NOTE_S: Final = 30

THEN_MAX: Final = 300
"""Characters of the page that a login leads to."""

AnyRequest = Request[Any, Any, Any]
Page = Response[bytes]


@cache
def templates() -> Environment:
    """Return the templates, which escape everything, show signs that turn a text around as their numbers, and know no
    name that is not given."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_shown,
    )  # fmt: skip
    environment.filters["figure"] = figure
    environment.filters["grouped"] = grouped
    environment.filters["plain"] = plain_value
    environment.filters["exactly"] = Markup.escape
    return environment


def _shown(value: object) -> object:
    """Return what a template writes for a value: text is legible, but for what is to be sent back `exactly`."""
    return legible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def figure(value: float | None, digits: int = 0) -> str:
    """Return a number for people, thousands apart; a dash for what is not known."""
    if value is None:
        return "–"
    return f"{value:,.{digits}f}"


def grouped(amount: str | None) -> str:
    """Return an amount for people, thousands apart; a dash for what is not known."""
    if amount is None:
        return "–"
    whole, point, places = amount.partition(".")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{int(whole.removeprefix('-')):,}{point}{places}"


def plain_value(value: object) -> str:
    """Return the value of a switch as a person would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def language_of(request: AnyRequest) -> str:
    """Return the language that somebody has chosen, or else their browser's."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    if chosen in LANGUAGES:
        return str(chosen)
    return "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"


def render(request: AnyRequest, desk: Desk, template: str, status_code: int = 200, **values: Any) -> Page:
    """Return the page."""
    language = language_of(request)
    actor = actor_in(request)
    zone = _zone(desk)
    back = _page_to_come_back_to(request)
    note = unquote(request.cookies.get(NOTE_COOKIE, ""))[:NOTE_MAX]

    def translated(text: str, **names: object) -> str:
        said = in_chinese(text) if language == "zh" else text
        return said.format(**names) if names else said

    def when(instant: str | None) -> str:
        if not instant:
            return "–"
        at = datetime.datetime.fromisoformat(instant).astimezone(zone)
        return at.strftime("%Y-%m-%d %H:%M:%S %Z")

    body = (
        templates()
        .get_template(template)
        .render(
            t=translated,
            checked_says=lambda said: validator_in_chinese(said) if language == "zh" else said,
            when=when,
            worded=lambda code: translated(code) if language == "zh" else code.replace("_", " "),
            language=language,
            theme=request.cookies.get(THEME_COOKIE, "auto"),
            actor=actor,
            may=lambda role: actor is not None and actor.role.may(Role(role)),
            rehearsal="" if actor is None else _rehearsed(desk, request.query_params.get("campaign")),
            glass=desk.steering.glass() if actor is not None else [],
            here=request.url.path,
            back=back,
            zone=getattr(zone, "key", "UTC"),
            clock=lambda instant: datetime.datetime.fromisoformat(instant).astimezone(zone).strftime("%H:%M:%S"),
            campaign=request.query_params.get("campaign"),
            note=note,
            version=__version__,
            by_provider=desk.provider is not None,
            encoded=quote,
            **values,
        )
    )
    page = Response(body.encode(), media_type="text/html", status_code=status_code)
    if note:
        page.delete_cookie(NOTE_COOKIE)
    return page


def go_to(path: str, note: str = "", **query: str | None) -> Redirect:
    """Return the answer to a form that was carried out: the page to look at next, which says so."""
    asked = {key: value for key, value in query.items() if value}
    going = Redirect(f"{path}?{urlencode(asked)}" if asked else path, status_code=303)
    if note:
        going.set_cookie(
            Cookie(
                key=NOTE_COOKIE,
                value=quote(note[:NOTE_MAX]),
                path="/",
                httponly=True,
                samesite="strict",
                max_age=NOTE_S,
            )
        )
    return going


def instant_s(text: str) -> int:
    """Return an instant as a person wrote it, in seconds since the epoch. Refused for none, or one without a zone."""
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise Refused(400, f'"{text}" is no instant: write it like 2027-02-06T20:00:00+08:00') from None
    if at.tzinfo is None:
        raise Refused(400, f'"{text}" says no zone: write it like 2027-02-06T20:00:00+08:00')
    return int(at.timestamp())


def cookie_of(name: FromPath[str], value: str, *, secure: bool) -> Cookie:
    """Return the cookie of a choice about looks, which lasts."""
    return Cookie(key=name, value=value, path="/", secure=secure, httponly=True, samesite="lax", max_age=31_536_000)


def _rehearsed(desk: Desk, campaign: str | None) -> str:
    """Return the name of the campaign that a page is about, where it is a rehearsal; "" otherwise."""
    try:
        found = load_campaign(desk.links.of(campaign).data_dir)
    except RedrushError:
        return ""
    return found.name if found.rehearsal else ""


def _zone(desk: Desk) -> datetime.tzinfo:
    try:
        return ZoneInfo(load_campaign(desk.data_dir).timezone)
    except (RedrushError, KeyError, ValueError):
        return datetime.UTC


def _page_to_come_back_to(request: AnyRequest) -> str:
    """Return the page of ours that was asked for, or that has the form, to come back to after a login: where a form
    goes is often no page. What it is about (a campaign, an entry of a log) goes with it."""
    if request.method == "GET":
        path = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
        return path if len(path) <= THEN_MAX else request.url.path[:THEN_MAX]
    page = request.headers.get("hx-current-url") or request.headers.get("referer") or ""
    try:
        url = urlsplit(page)
    except ValueError:  # a header may say anything
        return "/"
    path = f"{url.path}?{url.query}" if url.query else url.path
    return path if 0 < len(path) <= THEN_MAX else "/"


def fault_page(request: AnyRequest, fault: Exception) -> Response[Any]:
    """Return what a fault looks like to a person: a page in place of what was asked for, or a login."""
    status, detail = told(fault)
    in_place = request.headers.get("hx-request") == "true"
    came_from = _page_to_come_back_to(request)
    if status == 401 and not in_place:
        return Redirect(f"/login?{urlencode({'then': came_from})}", status_code=303)
    if status == 500:
        server_log().error("a page of the console broke off", exc_info=fault, fault=repr(fault))
    desk: Desk = request.app.state.desk
    return render(request, desk, "fault.html", status, status=status, detail=detail, came_from=came_from)


def said_fault(request: AnyRequest, fault: Exception) -> Response[Any]:
    """Return a fault as a script of a page tells it: problem+json, in the language of the page."""
    status, detail = told(fault)
    if status == 500:
        server_log().error("a script of the console was answered with a fault", exc_info=fault, fault=repr(fault))
    return problem(status, in_chinese(detail) if language_of(request) == "zh" else detail)


SAID_FAULTS: Final[ExceptionHandlersMap] = {HTTPException: said_fault, Exception: said_fault}
"""Of what a script asks for."""
FAULTS: Final[ExceptionHandlersMap] = {HTTPException: fault_page, Exception: fault_page}
