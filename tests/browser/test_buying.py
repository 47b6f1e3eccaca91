"""Buying to the end in a browser: what is held is paid at the sandbox's bank, given back, or paid too late.

The server goes by the machine's clock here, for the bank does: its answers are signed with the time."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from playwright.sync_api import Route

from tests.browser.bank import NAMED, SALE, Bank, code_of
from tests.browser.conftest import Visit
from tests.browser.event import OPENS_IN_S, OPENS_S, Event, rush, wait_until
from tests.browser.kinds import group, sale
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser

GROUP = group("bank")


def holds(event: Event, visit: Visit, user: str = "ann", **how: Any) -> Visitor:
    someone = visit(user, **how)
    someone.sees("ready")
    someone.press()
    someone.sees("held")
    return someone


def leaps(event: Event, visitor: Visitor) -> None:
    """Let the hold be over; the bank, whose clock is the machine's, believes what is not five minutes off."""
    event.later(200)
    visitor.page.evaluate("dispatchEvent(new Event('focus'))")


def test_a_unit_is_paid_for_to_the_end_also_after_a_reload(event: Event, bank: Bank, visit: Visit) -> None:
    event.start(SALE, tables=NAMED)
    ann = holds(event, visit)
    ann.page.fill("#address", "公司前台")
    ann.act("pay")
    ann.sees("paying")
    code = code_of(ann)
    assert ann.page.inner_text("#timer")[:2] in {"03", "02"}, "the hold's clock goes on"
    [asked] = [one for one in ann.requests if one.url.endswith("/pay")][-1:]
    assert asked.post_data == '{"address":"公司前台","how":"qr"}'
    ann.page.reload()
    ann.sees("paying")
    ann.act("pay")  # how to pay is asked for again: it is the same payment
    assert code_of(ann) == code
    assert "Paid" in bank.pays(code)
    ann.sees("bought", within_ms=40_000)
    assert ann.page.inner_text("#amount") == "红色手机"
    wait_until(lambda: "店家已经收到订单" in ann.text or "这一件是您的" in ann.text, "it says so")
    [order] = event.ask("/v1/orders", event.ticket("ann"))["orders"]
    assert (order["address"], order["amount"]) == ("公司前台", "99.00")
    assert order["state"] in {"sold", "delivered"}
    ann.page.reload()
    ann.sees("bought")
    assert "红色手机" in ann.page.inner_text("#mine")


PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
BRIDGE = "window.asked = []; window.WeixinJSBridge = { invoke: (...said) => window.asked.push(said.slice(0, 2)) };"
WECHAT_SALE = sale(secret=False, hold="3m", return_every="1s", opens_s=OPENS_S - OPENS_IN_S - 60)


@pytest.fixture
def wechat(event: Event, tmp_path: Path) -> Iterator[Bank]:
    """A sandbox that speaks as WeChat Pay, by all of its products."""
    with Bank(tmp_path, "wechat") as running:
        with running.payments.open("a") as file:  # its last table is the provider's
            file.write('ways = ["qr", "jsapi", "redirect"]\nback = "https://rush.example/"\n')
        event.payments = running.payments
        yield running


def test_in_wechat_its_sheet_is_opened_with_what_the_merchant_has_signed(
    event: Event, wechat: Bank, visit: Visit
) -> None:
    event.start(WECHAT_SALE, tables=NAMED)
    ann = holds(event, visit, user_agent=f"{PHONE} MicroMessenger/8.0.50")
    ann.page.evaluate(BRIDGE)
    ann.act("pay")
    ann.sees("paying")
    asked = next(one for one in ann.requests if one.url.endswith("/pay"))
    assert asked.post_data == '{"how":"jsapi"}'
    ann.page.locator("[data-name=pay_open]").click(timeout=20_000)
    [[named, fields]] = ann.page.evaluate("window.asked")
    assert (named, fields["appId"], fields["signType"]) == ("getBrandWCPayRequest", "wx8888888888888888", "RSA")
    merchant = load_pem_public_key((wechat.merchant / "merchant.pub").read_bytes())
    assert isinstance(merchant, RSAPublicKey)
    text = "".join(f"{fields[name]}\n" for name in ("appId", "timeStamp", "nonceStr", "package"))
    merchant.verify(base64.b64decode(fields["paySign"]), text.encode(), PKCS1v15(), SHA256())
    assert ann.page.locator("#qr").is_hidden(), "nobody scans their own screen"
    assert "Paid" in wechat.pays(fields["package"].removeprefix("prepay_id=wx"))
    ann.sees("bought", within_ms=40_000)


def test_a_telephone_is_sent_to_pay_and_says_from_where(event: Event, wechat: Bank, visit: Visit) -> None:
    event.start(WECHAT_SALE, tables=NAMED)
    ann = holds(event, visit, user_agent=PHONE)
    ann.act("pay")
    ann.sees("paying")
    asked = next(one for one in ann.requests if one.url.endswith("/pay"))
    assert asked.post_data == '{"how":"redirect"}'
    opens = ann.page.locator("[data-name=pay_open]")
    opens.wait_for(timeout=20_000)
    assert ann.page.locator("#qr").is_hidden(), "nobody scans their own screen"
    assert str(opens.get_attribute("href")).endswith("&redirect_url=https%3A%2F%2Frush.example%2F")
    with ann.page.expect_request(lambda one: one.url.startswith(wechat.url)) as sent:
        opens.click()
    assert sent.value.all_headers()["referer"] == f"{event.url}/", "WeChat Pay refuses who comes from nowhere"
    ann.page.wait_for_load_state()
    assert "Paid" in ann.page.inner_text("body")
    ann.page.go_back(wait_until="commit")
    ann.sees("bought", within_ms=40_000)


def test_what_is_given_back_is_closed_at_the_bank_and_somebody_elses(event: Event, bank: Bank, visit: Visit) -> None:
    event.start(SALE)
    ann = holds(event, visit)
    ann.act("pay")
    ann.sees("paying")
    code_of(ann)
    ann.act("give_back")
    ann.sees("ready")
    assert "已经退回" in ann.text
    bob = visit("bob")
    bob.sees("ready")
    bob.press()
    bob.sees("held", within_ms=30_000)


def test_who_does_not_pay_in_time_is_told_and_may_try_again(event: Event, bank: Bank, visit: Visit) -> None:
    event.start(SALE)
    ann = holds(event, visit)
    ann.act("pay")
    ann.sees("paying")
    code = code_of(ann)
    leaps(event, ann)
    ann.sees("ready", within_ms=40_000)
    assert "保留时间到了" in ann.text
    assert "Closed" in bank.pays(code)  # it was closed there before the unit went back
    ann.press()
    ann.sees("held", within_ms=30_000)
    # It is the same slot once more: what became of the hold before is not what becomes of this one.
    ann.act("pay")
    ann.sees("paying")
    again = code_of(ann)
    assert again != code
    ann.page.reload()
    ann.sees("paying")
    assert "Paid" in bank.pays(again)
    ann.sees("bought", within_ms=40_000)


def test_a_payment_that_the_page_never_heard_of_outlives_the_clock_of_its_hold(
    event: Event, bank: Bank, visit: Visit
) -> None:
    event.start(SALE, tables=NAMED)
    ann = holds(event, visit)
    ann.page.route("**/pay", lambda route: (route.fetch(), route.abort()))
    ann.act("pay")
    wait_until(lambda: "请再点一次" in ann.text, "it says that it does not know")
    ann.page.route("**/grants", lambda route: route.abort())  # its order is what tells
    pay = event.ask("/v1/holds/c-s-0/pay", event.ticket("ann"), "POST")["pay"]
    assert "Paid" in bank.pays(pay["payload"])
    leaps(event, ann)
    ann.sees("bought", "ready", within_ms=40_000)
    assert ann.screen == "bought"


def test_a_payment_that_came_with_the_last_second_is_a_unit(event: Event, bank: Bank, visit: Visit) -> None:
    event.start(SALE, tables=NAMED)
    ann = holds(event, visit)
    ann.act("pay")
    ann.sees("paying")
    assert "Paid" in bank.pays(code_of(ann))
    leaps(event, ann)  # the hold's time is over, and the bank says that money came before
    ann.sees("bought", within_ms=40_000)


def test_a_packet_is_paid_at_the_bank_and_opens_by_itself(event: Event, bank: Bank, visit: Visit) -> None:
    event.start(rush(), tables=GROUP)
    ann = visit("ann", permissions=["clipboard-read", "clipboard-write"])
    ann.sees("before")
    ann.page.click("#send summary")
    ann.page.fill("#send_total", "6.00")
    ann.page.fill("#send_count", "3")
    ann.page.click("#send_go")
    code = code_of(ann, "#send_said")
    renewed = event.ticket("ann", 40_000)
    ann.page.evaluate("ticket => localStorage.setItem('redrush:c:ticket', JSON.stringify(ticket))", renewed)
    with ann.page.expect_request(lambda one: one.headers.get("authorization") == f"Bearer {renewed}"):
        pass  # a payment may take longer than the ticket lasts that it was begun with
    assert "Paid" in bank.pays(code)
    wait_until(lambda: "红包好了" in ann.text, "it is open", within_s=40)
    assert ann.page.locator("#send_pay button").count() == 0
    link = ann.page.evaluate("navigator.clipboard.readText()").split()[-1]
    bob = visit("bob", opened=False)
    bob.page.goto(f"{link}&ticket={event.ticket('bob')}")
    bob.sees("ready")
    bob.press()
    bob.sees("sealed", "won")


def test_a_packet_that_is_not_paid_is_cancelled_and_nothing_is_taken(event: Event, bank: Bank, visit: Visit) -> None:
    event.start(rush(), tables=GROUP)
    ann = visit("ann")
    ann.sees("before")
    ann.page.click("#send summary")
    ann.page.fill("#send_total", "6.00")
    ann.page.fill("#send_count", "3")
    ann.page.click("#send_go")
    code = code_of(ann, "#send_said")

    def keep_it(route: Route) -> None:
        if route.request.method == "DELETE":
            route.abort()
        else:
            route.continue_()

    ann.page.route("**/packets/*", keep_it)
    ann.act("send_cancel")
    wait_until(lambda: "暂时连不上" in ann.page.inner_text("#small"), "it says that it could not be")
    ann.page.unroute("**/packets/*")
    ann.act("send_cancel")
    wait_until(lambda: "已取消" in ann.text, "it says so")
    assert "Closed" in bank.pays(code)
