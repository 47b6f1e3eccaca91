"""Clocks that are wrong, pages that slept, openings that are moved: the page goes by the server, and is never early."""

import contextlib
import datetime
import time

import pytest
from playwright.sync_api import APIResponse, Route
from playwright.sync_api import Error as PlaywrightError

from tests.browser.conftest import Visit
from tests.browser.event import OPENS_S, QUICK, Event, rush, wait_until
from tests.browser.visitor import Visitor
from tests.campaigns import campaign

pytestmark = pytest.mark.browser

BACK = "dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))"
VISIBLE = "document.dispatchEvent(new Event('visibilitychange'))"


def outcomes(visitor: Visitor) -> list[str]:
    """Return what each claim came to."""
    responses = [claim.response() for claim in visitor.claims]
    return [response.json()["outcome"] for response in responses if response is not None]


@pytest.mark.parametrize("wrong_h", [-1, 1], ids=["slow", "fast"])
def test_a_clock_that_is_wrong_by_an_hour_changes_nothing(event: Event, visit: Visit, wrong_h: int) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann", opened=False)
    there = datetime.datetime.fromtimestamp(event.now_s + wrong_h * 3_600, datetime.UTC)
    ann.page.clock.install(time=there)
    ann.page.goto(ann.address)
    ann.sees("before")
    minutes = ann.page.inner_text("#timer")
    assert minutes[:2] in {"10", "09"}, minutes
    ann.opens_in(1.5)
    ann.sees("sealed")
    assert outcomes(ann) == ["granted"]


def test_a_page_that_slept_through_the_opening_asks_once_when_it_wakes(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=595)
    ann = visit("ann", opened=False)
    ann.page.clock.install()
    ann.page.goto(ann.address)
    ann.sees("before")
    ann.page.clock.pause_at(
        datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    )  # hidden: nothing runs
    event.opens_in(-5)
    ann.page.clock.resume()
    ann.page.evaluate(VISIBLE)
    ann.sees("sealed")
    assert outcomes(ann) == ["granted"]


def test_a_machine_that_slept_ten_minutes_is_noticed_by_its_clocks(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann", opened=False)
    ann.page.clock.install()
    ann.page.goto(ann.address)
    ann.sees("before")
    event.opens_in(-3)
    ann.page.clock.fast_forward(600_000)
    ann.sees("sealed")
    assert outcomes(ann) == ["granted"]


@pytest.mark.parametrize("answer_comes", [True, False], ids=["late", "lost"])
def test_what_a_claim_has_won_is_new_though_the_list_of_grants_tells_it_first(
    event: Event, visit: Visit, answer_comes: bool
) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann", opened=False)
    ann.page.clock.install()
    claims: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        if claims:
            route.continue_()
        else:
            claims.append((route, route.fetch()))

    ann.page.route("**/grab**", hold)
    ann.page.goto(ann.address)
    ann.sees("before")
    event.opens_in(-3)
    with ann.page.expect_response("**/grants"):
        ann.page.clock.fast_forward(600_000)
        while not claims:
            ann.page.wait_for_timeout(20)
        ann.page.evaluate(VISIBLE)
    [(route, answer)] = claims
    if answer_comes:
        route.fulfill(response=answer)
    else:
        route.abort()
    ann.sees("sealed")


def test_back_from_the_page_cache_the_time_is_asked_before_anything_opens(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    ann.page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    event.opens_in(-2)
    looks = len(ann.states)
    ann.page.evaluate(BACK)
    ann.sees("sealed")
    assert len(ann.states) > looks
    assert outcomes(ann) == ["granted"]


def test_who_comes_back_to_a_page_that_the_browser_has_kept_takes_part(event: Event, visit: Visit) -> None:
    event.start(tables=f'{QUICK}[limits]\nuser_per_second = "off"\n', opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    browser = ann.context.new_cdp_session(ann.page)
    browser.send("Page.enable")
    came: list[str] = []
    browser.on("Page.frameNavigated", lambda told: came.append(told["type"]))
    ann.page.goto(f"{event.url}/state/c.json")
    event.opens_in(-2)
    with contextlib.suppress(PlaywrightError):  # which waits for a page to be loaded, and none is
        ann.page.go_back(wait_until="commit", timeout=2_000)
    wait_until(lambda: event.has_grants("ann"), "the page has claimed")
    ann.page.evaluate("0")
    assert came[-1] == "BackForwardCacheRestore", "it is the same page, not one that was fetched anew"


def test_nothing_keeps_the_page_out_of_the_page_cache(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    assert "no-store" not in str(ann.page.request.get(event.url).headers["cache-control"])
    assert ann.page.evaluate("window.onunload === null && window.onbeforeunload === null")


def test_an_opening_that_is_moved_is_followed_and_told(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    assert ann.page.inner_text("#timer") < "10:01"
    event.file.write_text(campaign(rush(after_s=7_200), tables=QUICK))
    event.redrush("campaign", "change", event.file, "--data", event.directory, "--yes")
    wait_until(lambda: event.ask("/state/c.json")["opens"] == (OPENS_S + 7_200) * 1_000, "the server follows")
    ann.page.evaluate(VISIBLE)
    wait_until(lambda: ann.page.inner_text("#timer").startswith("02:0"), "the page follows")
    wait_until(lambda: "改为" in ann.said or "02:0" in ann.page.inner_text("#timer"), "and tells")
    assert ann.claims == []


def test_thirty_days_ahead_nothing_opens_and_the_days_are_counted(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=30 * 86_400 + 30)
    ann = visit("ann", ticket=None)
    ann.sees("before")
    assert ann.page.inner_text("#timer").startswith("30 天")
    time.sleep(1.0)  # a timer of more than 24.8 days would have fired at once
    assert ann.claims == []
    assert ann.screen == "before"


def test_a_state_from_a_cache_makes_the_page_late_and_never_early(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann", opened=False)

    def from_cache(route):  # type: ignore[no-untyped-def]
        answer = route.fetch()
        told = answer.json()
        told["now"] -= 900
        route.fulfill(response=answer, json=told)

    ann.page.route("**/state/*", from_cache)
    ann.page.goto(ann.address)
    ann.sees("before")
    ann.opens_in(1)
    ann.sees("sealed")
    assert outcomes(ann) == ["granted"]


def test_nothing_of_a_person_is_asked_before_the_opening(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    wait_until(lambda: len(ann.states) >= 3, "the clock is set")
    paths = {request.url.removeprefix(event.url).partition("?")[0] for request in ann.requests}
    assert paths == {"/", "/state/c.json"}
    assert all("authorization" not in request.headers for request in ann.requests)
    assert all("#" not in request.url or "ticket" not in request.url for request in ann.requests[1:])


def test_the_page_is_painted_before_anything_else_is_asked_for(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    painted = ann.page.evaluate("""() => performance.timeOrigin
      + performance.getEntriesByName('first-contentful-paint')[0].startTime""")
    first = next(request for request in ann.requests if "/state/" in request.url)
    assert first.timing["startTime"] >= painted - 1
    assert ann.page.evaluate("performance.getEntriesByType('navigation')[0].encodedBodySize") < 50_000
