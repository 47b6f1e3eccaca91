"""Somebody who opens a campaign that sleeps: what they are shown meanwhile opens the page by itself."""

import pytest
from playwright.sync_api import Browser, Route

from redrush.gate.page_view import MOMENT
from tests.browser.chromium import close

pytestmark = pytest.mark.browser

LINK = "http://redrush.test/c/spring#ticket=k1.6b01e22d.ann.77"


@pytest.mark.parametrize("scripts", [True, False])
def test_a_link_with_a_ticket_opens_once_the_campaign_is_awake(browser: Browser, scripts: bool) -> None:
    head, _, body = MOMENT.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    asked = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(status=503, headers=headers, body=body)
        else:
            route.fulfill(status=200, content_type="text/html", body="<p id=awake>here")

    context = browser.new_context(java_script_enabled=scripts)
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.route("**/*", answer)
    # without scripts nobody has a ticket behind the `#`: the page cannot read it
    page.goto(LINK if scripts else LINK.partition("#")[0])
    page.wait_for_selector("#awake", timeout=10_000)
    assert page.url == (LINK if scripts else LINK.partition("#")[0]), "the ticket is still there to be read"
    assert [one for one in troubles if "Failed to load" not in one] == []
    assert set(asked) == {LINK.partition("#")[0]}, "nothing else was asked for"
    close(context)
