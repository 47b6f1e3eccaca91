"""The whole way of a round of packets in a real browser: before, at and after the opening."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Route

from redrush.control.data_dir import DataDir
from redrush.control.keys import load_or_create_keys
from redrush.core.identity.tickets import sign_ticket
from tests.browser.conftest import Visit
from tests.browser.event import QUICK, Event, rush, wait_until
from tests.browser.kinds import draw, sale
from tests.browser.visitor import DESKTOP, PHONE

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("language", "size"), [("zh-CN", PHONE), ("en-GB", DESKTOP)], ids=["phone-zh", "desktop-en"])
def test_from_the_countdown_to_the_amount_and_back_after_a_reload(
    event: Event, visit: Visit, language: str, size: dict[str, int]
) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann", language=language, size=size)
    ann.sees("before")
    assert re.search(r"0?\d:\d\d", ann.page.inner_text("#timer"))
    assert "#" not in ann.page.url
    ann.press()  # too early: it explains itself, and sends nothing
    said = {"zh-CN": "还没开始", "en-GB": "Not yet"}[language]
    wait_until(lambda: said in ann.said, "the button explained itself")
    assert ann.claims == []
    ann.opens_in(1.5)
    ann.sees("sealed")
    told = event.ask("/v1/rounds/r1")
    assert len(ann.claims) == 1
    ann.press()
    ann.sees("won")
    assert ann.page.inner_text("#amount") == "0.01"
    assert "c-r1-" in ann.text
    ann.page.reload()
    ann.sees("won")
    assert ann.page.inner_text("#amount") == "0.01"
    assert len(ann.claims) == 1, "a reload asks for nothing that is known"
    assert told["state"] == "open"


def test_who_has_no_ticket_is_told_the_way_in(event: Event, visit: Visit) -> None:
    event.start(tables=f'{QUICK}[page]\nlogin = "https://login.example/hongbao"\n', opens_in_s=60)
    nobody = visit(None)
    nobody.sees("nobody")
    assert nobody.page.get_attribute('[data-name="login"]', "href") == "https://login.example/hongbao"
    assert nobody.claims == []


def test_another_device_shows_what_was_won_without_a_ceremony(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=-60)
    won = event.grab("ann")["grant"]
    ann = visit("ann")
    ann.sees("won")
    assert won["id"] in ann.text
    wait_until(lambda: "¥0.01" in ann.said, "whoever listens hears how much it is")
    ann.page.reload()
    ann.sees("won")
    wait_until(lambda: "¥0.01" in ann.said, "after a reload, too")


def test_a_ticket_of_another_event_is_told_before_anything_is_pressed(
    event: Event, visit: Visit, tmp_path: Path
) -> None:
    event.start(draw(), sale(), rush("r2", after_s=3_600), opens_in_s=-60)
    other = load_or_create_keys(DataDir(tmp_path)).tickets
    ann = visit("ann", ticket=sign_ticket(other, "ann", int(event.now_s) + 36_000))
    ann.sees("expired")
    for number in range(2):
        ann.page.locator("#rounds button").nth(number).click()
        ann.sees("expired")
    assert ann.claims == []
    ann.page.goto(f"{event.url}/#ticket={event.ticket('ann')}")
    ann.sees("ready")


def test_nothing_left_is_said_kindly_and_asked_for_once(event: Event, visit: Visit) -> None:
    event.start(rush(packets=1), opens_in_s=-60)
    event.grab("bob")
    ann = visit("ann")
    ann.sees("empty")
    assert "新年快乐" in ann.text
    assert len(ann.claims) <= 1


def test_who_misses_is_asked_for_again_by_the_page_and_wins(event: Event, visit: Visit) -> None:
    event.start(rush(release_per_second=1), opens_in_s=-60)
    for number in range(3):  # they take what is let through in this second
        event.grab(f"user-{number}")
    ann = visit("ann")
    if ann.sees("ready", "again", "sealed") == "ready":
        ann.press()
    while ann.sees("again", "sealed") == "again":
        ann.press()
        ann.sees("asking", "sealed")
    ann.sees("sealed")
    gaps = [
        later.timing["startTime"] - earlier.timing["startTime"]
        for earlier, later in zip(ann.claims, ann.claims[1:], strict=False)
    ]
    assert all(gap >= 990 for gap in gaps), "never two requests within the interval"


def test_a_ticket_that_expires_amid_the_round_leads_to_a_new_one(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann", ticket=event.ticket("ann", lasts_s=300))
    ann.sees("before")
    ann.opens_in(2)
    ann.sees("expired")
    assert "过期" in ann.text
    assert ann.claims == []
    ann.page.goto(f"{event.url}/#ticket={event.ticket('ann')}")  # as the link of the login does
    ann.sees("sealed")


def test_a_gate_that_is_killed_amid_a_click_has_the_win_after_the_retry(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    killed: list[bool] = []

    def kill_once(route: Route) -> None:
        # The claim reaches the gate, and its answer does not reach the page.
        if not killed:
            route.fetch()
            event.kill()
            killed.append(True)
            route.abort()
        else:
            route.continue_()

    ann.page.route("**/grab", kill_once)
    ann.opens_in(1)
    ann.sees("waiting", "given_up")
    assert "不会丢" in ann.text or "一定是您的" in ann.text
    event.start()
    if ann.sees("waiting", "given_up", "won", "sealed") == "given_up":
        ann.press()
    ann.sees("won", "sealed", within_ms=30_000)
    wait_until(lambda: len(ann.claims) >= 2, "it was asked again")


def test_two_tabs_of_one_person_ask_as_one(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann")
    other = ann.context.new_page()
    claims: list[str] = []
    other.on("request", lambda request: claims.append(request.url) if "/grab" in request.url else None)
    other.goto(event.url)
    other.wait_for_selector('body[data-screen="before"]')
    ann.opens_in(1)
    other.evaluate("dispatchEvent(new Event('focus'))")
    ann.sees("sealed", "won")
    other.wait_for_selector('body[data-screen="sealed"], body[data-screen="won"]')
    assert len(ann.claims) + len(claims) == 1


def test_offline_is_said_and_the_page_goes_on_by_itself(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    ann.opens_in(4)
    wait_until(lambda: ann.page.inner_text("#timer") <= "00:04", "the page knows of it")
    ann.context.set_offline(True)
    ann.page.wait_for_selector("#offline:not([hidden])")
    assert "离线" in ann.page.inner_text("#offline")
    ann.sees("waiting", "asking")
    ann.context.set_offline(False)
    ann.sees("sealed", within_ms=30_000)


def test_a_ticket_that_costs_work_is_proven_before_the_opening(event: Event, visit: Visit) -> None:
    event.start(tables=f'{QUICK}[tickets]\nproof_of_work = true\nmax_number = 3000\nrest = "0s"\n', opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    kept = "localStorage.getItem('redrush:c:ticket')"
    wait_until(lambda: "+" in (ann.page.evaluate(kept) or ""), "the page has a proven ticket")
    ann.opens_in(1)
    ann.sees("sealed")
    assert len(ann.claims) == 1
