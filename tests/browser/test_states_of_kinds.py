"""The states that other kinds of rush have: whole, and without a fault that axe-core knows."""

import pytest

from tests.browser.axe import faults, is_whole
from tests.browser.bank import NAMED, SALE, Bank, code_of
from tests.browser.conftest import Visit
from tests.browser.event import QUICK, Event, rush, wait_until
from tests.browser.kinds import GROUP, SHARE, draw, line

pytestmark = pytest.mark.browser


def test_those_of_a_line(event: Event, visit: Visit) -> None:
    event.start(rush() + line(pace=0.05), opens_in_s=300)
    for number in range(3):
        event.ask("/v1/rounds/r1/line", event.ticket(f"user-{number}"), "POST")
    ann = visit("ann")
    ann.sees("inline")
    is_whole(ann)
    ann.opens_in(1)
    wait_until(lambda: "您前面大约有" in ann.page.inner_text("#line"), "a number and a range")
    is_whole(ann)


def test_those_of_a_draw(event: Event, visit: Visit) -> None:
    event.start(draw(count=1), opens_in_s=-60)
    ann = visit("ann")
    for press, *screens in ((False, "ready"), (True, "sealed"), (True, "won")):
        if press:
            ann.press()
        ann.sees(*screens)
        is_whole(ann)
    ann.act("play")
    ann.sees("again", "played", "empty")
    is_whole(ann)


def test_those_of_a_sale(event: Event, bank: Bank, visit: Visit) -> None:
    event.start(SALE, tables=NAMED)
    ann = visit("ann")
    ann.sees("ready")
    is_whole(ann)
    ann.press()
    ann.sees("held")
    is_whole(ann)
    bob = visit("bob")
    bob.sees("ready")
    bob.press()
    bob.sees("held_out")
    is_whole(bob)
    ann.act("pay")
    ann.sees("paying")
    code = code_of(ann)
    is_whole(ann)
    bank.pays(code)
    ann.sees("bought", within_ms=40_000)
    is_whole(ann)


def test_those_of_an_order_that_did_not_end_well(event: Event, bank: Bank, visit: Visit) -> None:
    """Told by a server whose answer is changed on its way: how it comes to them is in tests/settle/selling."""
    event.start(SALE, tables=NAMED)
    ann = visit("ann", opened=False)
    ann.page.clock.install()
    ann.page.goto(ann.address)
    ann.sees("ready")
    ann.press()
    ann.sees("held")
    told = {"grant": "c-s-0", "state": "closing", "amount": "99.00", "currency": "CNY", "order": "c-s-0#1"}
    ann.page.route("**/orders", lambda route: route.fulfill(json={"orders": [told]}))
    ann.page.route("**/pay", lambda route: route.fulfill(json=told))
    ann.act("pay")
    for told["state"], screen in (("closing", "paying"), ("late", "late")):
        ann.sees(screen)
        is_whole(ann)
    ann.page.route("**/grants", lambda route: route.fulfill(json={"grants": []}))  # it is held no longer, nor granted
    told |= {"state": "sold", "grant": "c-s-7"}  # of the units that are left; then the shop refuses it
    ann.sees("bought")
    assert "c-s-7" in ann.text
    ann.page.reload()
    ann.sees("bought")
    told["state"] = "refunding"
    ann.page.clock.fast_forward(16_000)
    ann.sees("refunded")
    assert ann.page.inner_text("#headline") == "正在退款"
    is_whole(ann)
    told["state"] = "refunded"
    wait_until(lambda: "原路退回" in ann.page.inner_text("#line"), "the money is back")
    wait_until(lambda: ann.page.inner_text("#headline") == "已经退款", "it says so")
    assert faults(ann) == []


def test_those_of_what_is_shared_and_sent(event: Event, visit: Visit) -> None:
    event.start(rush(total="100.00", packets=10) + SHARE, tables=GROUP, opens_in_s=-60)
    ann = visit("ann")
    ann.sees("sealed")
    is_whole(ann)
    ann.press()
    ann.sees("won")
    ann.page.click("#send summary")
    is_whole(ann)
    ticket = event.ticket("ann")
    wait_until(lambda: event.ask("/v1/packets/terms", ticket)["balance"] == "10.00", "what was won is recorded")
    wish = {"kind": "equal", "total": "2.00", "count": 1, "greeting": "新年好", "word": "芝麻开门"}
    packet = event.ask("/v1/packets", ticket, "POST", wish)["id"]
    wait_until(lambda: event.ask(f"/v1/packets/{packet}", ticket)["state"] == "open", "it is paid")
    bob = visit("bob", opened=False)
    bob.page.goto(f"{event.url}/#packet={packet}&ticket={event.ticket('bob')}")
    bob.sees("ready")
    is_whole(bob)
    bob.page.fill("#word", "芝麻关门")
    bob.press()
    bob.sees("wrong_word")
    is_whole(bob)
    bob.page.fill("#word", "芝麻开门")
    bob.press()
    bob.sees("sealed", "won")
    is_whole(bob)
    carl = visit("carl", opened=False)
    carl.page.goto(f"{event.url}/#packet={packet}&ticket={event.ticket('carl')}")
    carl.sees("empty")
    assert faults(carl) == []


def test_a_notice_is_read_by_everybody_in_their_language(event: Event, visit: Visit) -> None:
    event.start(rush(), tables=QUICK, opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    assert not ann.page.locator("#notice").is_visible()
    notice = {"zh": "网络拥堵，已延长半小时。", "en": "The network is busy: half an hour more.", "id": "n1"}
    ann.page.route("**/state/*", lambda route: route.fulfill(json={**route.fetch().json(), "notice": notice}))
    ann.page.evaluate("dispatchEvent(new Event('focus'))")
    ann.page.wait_for_selector("#notice:not([hidden])")
    assert ann.page.inner_text("#notice") == notice["zh"]
    wait_until(lambda: notice["zh"] in ann.said, "whoever listens is told, too")
    is_whole(ann)
    ann.page.click("#language")
    assert ann.page.inner_text("#notice") == notice["en"]
    del notice["en"]
    ann.page.evaluate("dispatchEvent(new Event('focus'))")
    ann.page.wait_for_selector('#notice:lang(zh):text("网络拥堵")')
