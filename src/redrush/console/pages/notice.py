"""What the crowd is told: its texts in both languages, how a phone shows them, and from when until when."""

from typing import Final

from litestar import get, post
from litestar.response import Redirect

from redrush.api.access import needs
from redrush.api.accounts import Role
from redrush.api.desk import Desk
from redrush.api.handlers.asking import TheDesk, actor_of
from redrush.api.proposals import Asked, Verb
from redrush.api.seals import Refused
from redrush.api.steering import Previewed, check_due
from redrush.console.pages.own import Form
from redrush.console.pages.rendering import AnyRequest, Page, go_to, instant_s, render
from redrush.control.orders import ListSwitches
from redrush.core.steering.switches import NOTICE_MAX, NOTICES, OFF

LANGUAGES: Final = tuple(NOTICES)


async def _texts(desk: Desk, campaign: str | None) -> dict[str, str]:
    """Return what is told now, by language; "" where nothing is."""
    rows = (await desk.links.of(campaign).read(ListSwitches()))["switches"]
    values = {row["name"]: row["value"] for row in rows}
    told = {language: str(values.get(name, OFF)) for language, name in NOTICES.items()}
    return {language: "" if text == OFF else text for language, text in told.items()}


@get("/notice", opt=needs(Role.VIEWER))
async def notice_page(request: AnyRequest, desk: TheDesk) -> Page:
    campaign = request.query_params.get("campaign")
    texts = await _texts(desk, campaign)
    return render(
        request, desk, "notice.html", texts=texts, most=NOTICE_MAX, campaigns=desk.links.campaigns(), previews=()
    )


@post("/notice/preview", opt=needs(Role.OPERATOR), status_code=200)
async def preview(request: AnyRequest, data: Form, desk: TheDesk) -> Page:
    """Show what a phone would show, once for each language, before anybody else sees it."""
    actor, campaign = actor_of(request), data.get("campaign") or None
    now = await _texts(desk, campaign)
    wanted = {language: " ".join(data.get(language, "").split()) for language in LANGUAGES}
    previews: list[Previewed] = [
        await desk.steering.preview(
            actor, Asked(verb=Verb.SET, name=NOTICES[language], value=text or OFF, campaign=campaign)
        )
        for language, text in wanted.items()
        if text != now[language]
    ]
    return render(
        request,
        desk,
        "notice.html",
        texts=wanted,
        most=NOTICE_MAX,
        campaigns=desk.links.campaigns(),
        previews=previews,
        asking=campaign,
    )


@post("/notice/confirm", opt=needs(Role.OPERATOR), status_code=200)
async def confirm(request: AnyRequest, data: Form, desk: TheDesk) -> Redirect:
    """Tell the crowd what was seen, or propose it; and plan the end of what is told now, where one was said."""
    actor, why, campaign = actor_of(request), data.get("why", "")[:500], data.get("campaign") or None
    tokens = [token for language in LANGUAGES if (token := data.get(f"token_{language}"))]
    if not tokens:
        raise Refused(400, "this form changes no text")
    how = data.get("how", "now")
    until_s = _end_in(data.get("until", "").strip(), how, desk)
    asked = [desk.steering.seen(actor, token) for token in tokens]
    if how == "propose":
        for one in asked:
            await desk.steering.propose(actor, one, why)
        return go_to("/waiting", "it waits now", campaign=campaign)
    for ahead, token in enumerate(tokens):
        await desk.steering.confirm(actor, token, why, break_glass=how == "glass", ahead=ahead)
    if until_s is not None:
        for one in asked:
            if one.value != OFF:
                await desk.steering.propose(
                    actor, Asked(verb=Verb.SET, name=one.name, value=OFF, campaign=campaign), why, until_s
                )
    return go_to("/notice", "every gate tells it within a second", campaign=campaign)


def _end_in(until: str, how: str, desk: Desk) -> int | None:
    """Return when a text is to be taken away, in seconds since the epoch; None: nobody has said. Refused for what is no
    time to come, and where no end is planned: before anybody is told, for it is planned after that."""
    if not until:
        return None
    until_s = instant_s(until)
    if until_s <= desk.now_s():
        raise Refused(400, f'"{until}" is over: nobody was told anything')
    if how != "now":
        # An end is a change of what is told by then, and one alone may not plan it for what needs a second person.
        raise Refused(
            400,
            "no end is planned for a text that is proposed, or told by breaking the glass: nobody was told anything; "
            "leave the end empty, and take the text away later, or plan that with its switch, once it is told",
        )
    check_due(until_s, desk.now_s())
    return until_s


NOTICE: Final = (notice_page, preview, confirm)
