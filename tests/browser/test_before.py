"""Before the opening: the ways in, what there is to be had, and what somebody may do meanwhile."""

import re
import time
from pathlib import Path

import pytest

from tests.browser.axe import is_whole
from tests.browser.conftest import Visit
from tests.browser.event import OPENS_S, QUICK, Event, rush, wait_until
from tests.browser.kinds import draw, line
from tests.browser.test_shakes import ASKED, PHONE, SHAKE

pytestmark = pytest.mark.browser

KEPT = "JSON.parse(localStorage.getItem('redrush:c:ticket'))"
WECHAT = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36 MicroMessenger/8.0.50"
SAID = """new MutationObserver(() => {
  const small = document.getElementById('small');
  if (small) (window.seen ??= new Set()).add(small.textContent);
}).observe(document, { subtree: true, childList: true, characterData: true });"""


def test_a_link_that_the_command_has_made_is_the_way_in(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=600)
    link = event.redrush("ticket", "--data", event.directory, "--user", "ann", "--links", event.url).split("\t")[1]
    ann = visit(None, opened=False)
    ann.page.goto(link.strip())
    ann.sees("before")
    assert ".ann." in ann.page.evaluate(KEPT)
    assert "#" not in ann.page.url


@pytest.mark.parametrize("login", ["", '[page]\nlogin = "https://login.example/"\n'], ids=["links", "login"])
def test_a_link_that_was_cut_short_is_told_so_at_once(event: Event, visit: Visit, login: str) -> None:
    event.start(tables=QUICK + login, opens_in_s=600)
    ann = visit("ann", ticket=event.ticket("ann")[:-3])
    ann.sees("nobody")
    assert "没有复制完整" in ann.page.inner_text("#line")
    assert ann.page.locator('[data-name="login"]').count() == bool(login)
    is_whole(ann)
    ann.page.goto("about:blank")
    ann.page.goto(f"{event.url}/#ticket={event.ticket('ann')}")
    ann.sees("before")
    assert "没有复制完整" not in ann.text
    ann.page.goto("about:blank")
    ann.page.goto(f"{event.url}/#ticket={event.ticket('bob')[:20]}")
    ann.sees("before")
    assert "没有复制完整" in ann.page.inner_text("#small"), "whose ticket is kept goes on, and hears of it"
    assert ".ann." in ann.page.evaluate(KEPT)


def test_a_cookie_of_the_site_is_a_way_in(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=600)
    ann = visit(None, opened=False)
    ann.context.add_cookies([{"name": "redrush_ticket", "value": event.ticket("ann"), "url": event.url}])
    ann.page.goto(ann.address)
    ann.sees("before")
    assert ".ann." in ann.page.evaluate(KEPT)


def test_the_calendar_reminds_of_the_opening(event: Event, visit: Visit, tmp_path: Path) -> None:
    event.start(tables=f'{QUICK}[page]\ntitle = {{ zh = "除夕；红包, 三场" }}\n', opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    with ann.page.expect_download() as download:
        ann.act("remind")
    assert download.value.suggested_filename == "c.ics"
    download.value.save_as(tmp_path / "c.ics")
    text = (tmp_path / "c.ics").read_bytes().decode()
    lines = text.split("\r\n")
    assert "\n" not in text.replace("\r\n", "")
    assert time.strftime("DTSTART:%Y%m%dT%H%M%SZ", time.gmtime(OPENS_S)) in lines
    assert "SUMMARY:除夕；红包\\, 三场" in lines
    assert f"URL:{event.url}/" in lines, "and no ticket in it"
    assert "TRIGGER:-PT5M" in lines


def test_where_a_calendar_cannot_be_opened_it_is_told_how(event: Event, visit: Visit) -> None:
    event.start(opens_in_s=600)
    ann = visit("ann", user_agent=WECHAT)
    ann.sees("before")
    ann.act("remind")
    wait_until(lambda: "在浏览器打开" in ann.page.inner_text("#small"), "it is told")


def test_a_shake_is_tried_before_the_opening_and_asks_for_nothing(event: Event, visit: Visit) -> None:
    event.start(rush(release_per_second=100_000), opens_in_s=600)
    ann = visit("ann", before=[ASKED % "granted"], **PHONE)
    ann.sees("before")
    ann.act("shake")
    ann.page.evaluate(SHAKE)
    wait_until(lambda: "感觉到了" in ann.said, "it is felt")
    assert ann.screen == "before"
    assert ann.claims == []


def test_work_for_a_ticket_is_told_as_it_goes_on(event: Event, visit: Visit) -> None:
    event.start(tables=f'{QUICK}[tickets]\nproof_of_work = true\nmax_number = 9000\nrest = "0s"\n', opens_in_s=600)
    ann = visit("ann", before=[SAID])
    ann.sees("before")
    wait_until(lambda: "+" in (ann.page.evaluate(KEPT) or ""), "the page has a proven ticket")
    percents = [re.findall(r"(\d+)%", one) for one in ann.page.evaluate("[...window.seen]") if "正在为您做准备" in one]
    assert ["0"] in percents
    assert all(0 <= int(one) <= 100 for [one] in percents)


def test_what_there_is_to_be_had_stands_on_the_packet(event: Event, visit: Visit) -> None:
    event.start(rush(total="2888.00", packets=50), opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    assert ann.page.inner_text("#tag").split() == ["共", "50", "个红包", "¥2,888.00"]
    ann.page.click("#language")
    assert ann.page.inner_text("#tag").split() == ["50", "packets", "¥2,888.00"]


def test_a_draw_names_its_first_prize_and_speaks_of_drawing(event: Event, visit: Visit) -> None:
    event.start(draw("1/1000000"), opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    assert ann.page.inner_text("#tag_big") == "手机"
    assert "开始抽奖" in ann.page.inner_text("#headline")
    ann.opens_in(-5)
    ann.sees("ready")
    assert ann.page.inner_text("#coin") == "抽"
    assert ann.page.get_attribute("#go", "aria-label") == "抽奖"


def test_who_stands_in_line_sees_the_countdown_and_then_how_many_are_before_them(event: Event, visit: Visit) -> None:
    event.start(rush() + line(pace=0.05), opens_in_s=300)
    for number in range(6):
        event.ask("/v1/rounds/r1/line", event.ticket(f"user-{number}"), "POST")
    ann = visit("ann")
    ann.sees("inline")
    wait_until(lambda: re.fullmatch(r"0[45]:\d\d", ann.page.inner_text("#timer")) is not None, "the countdown")
    ann.opens_in(1)
    wait_until(lambda: re.fullmatch(r"\d+ 人", ann.page.inner_text("#tag_big")) is not None, "how many")
    wait_until(lambda: not ann.page.locator("#timer").is_visible(), "nothing is counted any more")


def test_rules_are_made_for_whoever_opens_them(event: Event, visit: Visit) -> None:
    event.start(rush(), rush("r2", 3_600), opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    wait_until(lambda: len(ann.states) >= 3, "the page is at rest")
    assert ann.page.inner_html("#rules_text") == ""
    asked = len(ann.requests)
    ann.page.click("#rules summary")
    wait_until(lambda: ann.page.locator("#rules_text .head").count() == 2, "a heading for each round")
    later = {one.url.removeprefix(event.url).partition("?")[0] for one in ann.requests[asked:]}
    assert later <= {"/state/c.json", "/sw.js"}, "nothing is asked for them"
