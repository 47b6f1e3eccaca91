"""The whole way of the other kinds of rush: a line, a draw, what is shared, and packets between people."""

import re

import pytest
from playwright.sync_api import Route

from tests.browser.axe import is_whole
from tests.browser.conftest import Visit
from tests.browser.event import QUICK, Event, rush, wait_until
from tests.browser.kinds import GROUP, SHARE, draw, line, sale
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("order", ["random", "fifo"])
def test_who_stands_in_line_is_let_in_when_it_is_their_turn(event: Event, visit: Visit, order: str) -> None:
    event.start(rush() + line(order), opens_in_s=900)
    ann = visit("ann")
    ann.sees("before")
    assert "开始排队" in ann.page.inner_text("#line")
    ann.opens_in(300)
    ann.sees("inline")
    assert ann.page.inner_text("#line") != ann.page.inner_text("#small"), "nothing is said twice"
    assert ann.claims == []
    joined = [one for one in ann.requests if one.url.endswith("/line")]
    assert len(joined) == 1
    ann.page.reload()  # which loses nothing
    ann.sees("inline")
    ann.opens_in(1)
    ann.sees("sealed")
    assert any(one.url.endswith("/enter") for one in ann.requests)


def test_who_is_far_back_is_told_so_as_a_range_in_honest_words(event: Event, visit: Visit) -> None:
    event.start(rush() + line(pace=0.05), opens_in_s=300)
    for number in range(6):
        event.ask("/v1/rounds/r1/line", event.ticket(f"user-{number}"), "POST")
    ann = visit("ann")
    ann.sees("inline")
    ann.opens_in(1)
    wait_until(lambda: "您前面大约有" in ann.page.inner_text("#line"), "a number and a range")
    assert "到" in ann.page.inner_text("#line")


def test_a_draw_is_played_until_the_plays_are_over(event: Event, visit: Visit) -> None:
    event.start(draw("1/1000000"), opens_in_s=-60)
    ann = visit("ann")
    ann.sees("ready")
    assert "还能抽 3 次" in ann.text
    assert ann.claims == [], "the page spends nobody's plays"
    for left in ("还能抽 2 次", "还能抽 1 次"):
        ann.press()
        wait_until(lambda left=left: left in ann.text, left)  # type: ignore[misc]
    ann.press()
    ann.sees("played")
    assert [one.post_data for one in ann.claims] == ['{"play":1}', '{"play":2}', '{"play":3}']
    ann.page.reload()
    ann.sees("played")
    assert len(ann.claims) == 3, "it is known without asking"


@pytest.mark.parametrize("odds", ["1/1000000", "1/1"], ids=["missed", "won"])
def test_the_tries_of_today_are_told_and_after_a_reload_and_elsewhere_those_that_are_left(
    event: Event, visit: Visit, odds: str
) -> None:
    days = draw(odds, plays="per_user = 10, per_day = 2").replace('lasts = "2h"', 'lasts = "48h"')
    event.start(days, opens_in_s=-60)
    ann = visit("ann")
    ann.sees("ready")
    assert "还能抽 2 次" in ann.text
    ann.press()
    if ann.sees("again", "sealed") == "sealed":
        ann.press()
        ann.sees("won")
    wait_until(lambda: "1 次" in ann.text, "one of today is left")
    ann.page.reload()
    ann.sees("ready", "won")
    wait_until(lambda: "1 次" in ann.text, "after a reload, too")
    elsewhere = visit("ann")
    elsewhere.sees("ready", "won")
    wait_until(lambda: "1 次" in elsewhere.text, "another device is told by the gate")
    event.ask("/v1/rounds/draw/grab", event.ticket("ann"), "POST")
    third = visit("ann", ticket=event.ticket("ann", lasts_s=200_000))
    third.sees("played", "won")
    wait_until(lambda: not third.page.locator('[data-name="play"]').count(), "no try is offered")
    assert third.claims == []
    event.later(86_400)
    third.page.evaluate("dispatchEvent(new Event('focus'))")
    wait_until(lambda: "2 次" in third.text, "the next day has its own")
    assert third.claims == [], "and nobody's are spent by the page"


def test_a_prize_is_shown_by_its_name_and_another_try_is_offered(event: Event, visit: Visit) -> None:
    event.start(draw("1/1"), opens_in_s=-60)
    ann = visit("ann")
    ann.sees("ready")
    ann.press()
    ann.sees("sealed")
    ann.press()
    ann.sees("won")
    assert ann.page.inner_text("#amount") == "手机"
    assert "您中奖了" in ann.text
    assert "还有 2 次" in ann.page.inner_text('[data-name="play"]')
    ann.page.click("#rules summary")
    assert "手机：共 100 份，每次中奖机会 1/1" in ann.text
    assert "一开始就点的" in ann.text, "people tap in a draw"


def test_the_rules_of_a_draw_say_how_much_a_prize_of_money_is(event: Event, visit: Visit) -> None:
    money = '[[round.prize]]\nid = "m"\nname = "现金"\nholds = "money"\namount = "5.00"\ncount = 3\nodds = "1/3"\n'
    event.start(draw("1/3") + money, opens_in_s=60)
    ann = visit("ann")
    ann.sees("before")
    ann.page.click("#rules summary")
    assert "现金 ¥5.00：共 3 份，每次中奖机会 1/3" in ann.text
    assert "手机：共 100 份" in ann.text


LATIN_WORD = re.compile(r"[A-Za-z]{2,}")


def test_what_was_won_is_opened_and_a_packet_goes_to_a_friend_who_opens_its_link(event: Event, visit: Visit) -> None:
    event.start(rush(total="100.00", packets=10) + SHARE, tables=GROUP, opens_in_s=-60)
    ann = visit("ann", permissions=["clipboard-read", "clipboard-write"])
    ann.sees("sealed")
    ann.press()
    ann.sees("won")
    assert ann.page.inner_text("#amount") == "10.00"
    ann.act("pass_on")
    wait_until(lambda: "红包链接已复制" in ann.text, "it is copied")
    ann.page.click("#language")
    assert "The link of the packet is copied" in ann.text, "what is said beside it is in the language of the page"
    assert "红包链接已复制" not in ann.page.inner_text("main")
    link = ann.page.evaluate("navigator.clipboard.readText()").split()[-1]
    assert link.startswith(f"{event.url}/#packet=")
    bob = visit("bob", opened=False)
    bob.page.goto(f"{link}&ticket={event.ticket('bob')}")
    bob.sees("ready")
    bob.press()
    bob.sees("sealed", "won")


def sent_by_ann(event: Event, **more: str) -> str:
    """Start an event, and let ann send a packet of two shares from what she has won; return its id once it is open."""
    event.start(rush(total="100.00", packets=10), tables=GROUP, opens_in_s=-60)
    event.grab("ann")
    ticket = event.ticket("ann")
    wait_until(lambda: event.ask("/v1/packets/terms", ticket)["balance"] == "10.00", "what was won is recorded")
    wish = {"kind": "equal", "total": "4.00", "count": 2, **more}
    packet: str = event.ask("/v1/packets", ticket, "POST", wish)["id"]
    wait_until(lambda: event.ask(f"/v1/packets/{packet}", ticket)["state"] == "open", "it is paid")
    return packet


def test_a_friend_who_follows_a_link_takes_part_in_nothing_else_unasked(event: Event, visit: Visit) -> None:
    packet = sent_by_ann(event)
    bob = visit("bob", opened=False)
    bob.page.goto(f"{event.url}/#packet={packet}&ticket={event.ticket('bob')}")
    bob.sees("ready")
    heard = len(bob.states)
    bob.page.evaluate("dispatchEvent(new Event('focus'))")
    wait_until(lambda: len(bob.states) > heard, "the page has looked at the event once more")
    bob.press()
    if bob.sees("sealed", "won") == "sealed":  # won at once where the list of grants was told first
        bob.press()
    bob.sees("won")
    assert [one.url.rpartition("/v1/")[2] for one in bob.claims] == [f"campaigns/c/packets/{packet}/grab"]
    bob.act("event")
    wait_until(lambda: len(bob.claims) == 2, "now it is asked for")
    bob.sees("sealed", "won")
    bob.page.reload()
    bob.sees("sealed", "won")
    assert "#" not in bob.page.url, "it stays at the event"


def test_the_link_of_a_packet_leads_there_in_a_tab_that_has_the_page_and_back_leads_to_the_event(
    event: Event, visit: Visit
) -> None:
    packet = sent_by_ann(event)
    ann = visit("ann")
    ann.sees("won")
    for _ in range(2):
        ann.page.goto(f"{event.url}/#packet={packet}")
        ann.sees("ready")
        ann.page.go_back()
        ann.sees("won")
    ann.page.goto(f"{event.url}/#packet={packet}")
    ann.sees("ready")
    ann.press()
    ann.sees("sealed", "won")


def test_a_packet_with_a_word_takes_the_right_one(event: Event, visit: Visit) -> None:
    packet = sent_by_ann(event, greeting="新年好", word="芝麻开门")
    bob = visit("bob", opened=False)
    bob.page.goto(f"{event.url}/#packet={packet}&ticket={event.ticket('bob')}")
    bob.sees("ready")
    wait_until(lambda: "ann" in bob.page.inner_text("#headline"), "whose it is")
    bob.page.fill("#word", "芝麻关门")
    bob.press()
    bob.sees("wrong_word")
    bob.page.fill("#word", "芝麻开门")
    bob.press()
    bob.sees("sealed", "won")


def test_a_packet_that_its_sender_has_ended_is_no_round_that_is_over(event: Event, visit: Visit) -> None:
    packet = sent_by_ann(event)
    event.ask(f"/v1/packets/{packet}", event.ticket("ann"), "DELETE")
    bob = visit("bob", opened=False)
    bob.page.goto(f"{event.url}/#packet={packet}&ticket={event.ticket('bob')}")
    bob.sees("closed")
    assert bob.page.inner_text("#headline") == "这个红包已经结束了"
    assert "这一场" not in bob.page.inner_text(".panel")
    is_whole(bob)


def test_rounds_of_several_kinds_are_chosen_from(event: Event, visit: Visit) -> None:
    event.start(
        rush(after_s=3_600), draw("1/1"), tables=f'{QUICK}[page.names]\nr1 = "红包雨"\ndraw = "抽奖"\n', opens_in_s=-60
    )
    ann = visit("ann")
    ann.sees("ready")
    ann.page.get_by_role("button", name="红包雨").click()
    ann.sees("before")
    ann.page.get_by_role("button", name="抽奖").click()
    ann.sees("ready")


def test_who_looks_at_what_they_won_is_not_taken_to_a_round_that_was_open_all_the_time(
    event: Event, visit: Visit
) -> None:
    names = '[page.names]\nr1 = "红包雨"\nr2 = "下一场"\ndraw = "抽奖"\n'
    event.start(draw(), rush(after_s=90), rush("r2", 3_600), tables=QUICK + names, opens_in_s=-5)
    ann = visit("ann")
    ann.sees("ready")
    ann.page.get_by_role("button", name="红包雨").click()
    ann.sees("before")
    ann.opens_in(-91)
    ann.sees("sealed")
    ann.press()
    ann.sees("won")

    def looks_again() -> None:
        heard = len(ann.states)
        ann.page.evaluate("dispatchEvent(new Event('focus'))")
        wait_until(lambda: len(ann.states) > heard + 2, "the page has looked at the event once more")

    looks_again()
    assert (ann.screen, ann.page.inner_text("#amount")) == ("won", "0.01")
    ann.opens_in(-3_570)
    looks_again()
    ann.sees("before")
    assert ann.page.inner_text("#rounds [aria-current=true]") == "下一场", "what opens soon goes first"


def test_somebody_sends_a_packet_from_what_they_won_and_a_friend_opens_it(event: Event, visit: Visit) -> None:
    event.start(rush(total="100.00", packets=10), tables=GROUP, opens_in_s=-60)
    event.grab("ann")
    balance = "/v1/packets/terms"
    wait_until(lambda: event.ask(balance, event.ticket("ann"))["balance"] == "10.00", "what was won is recorded")
    ann = visit("ann", permissions=["clipboard-read", "clipboard-write"])
    ann.sees("won")
    ann.page.click("#send summary")
    for name, text in (("total", "6.00"), ("count", "3"), ("greeting", "同喜")):
        ann.page.fill(f"#send_{name}", text)
    ann.page.select_option("#send_kind", "equal")
    ann.page.click("#send_go")
    wait_until(lambda: "红包好了" in ann.text, "it is paid and open")
    link = ann.page.evaluate("navigator.clipboard.readText()").split()[-1]
    picture = ann.page.get_by_role("img", name="用另一部手机扫一扫")
    picture.wait_for()
    assert picture.get_attribute("data-shows") == link
    bob = visit("bob", opened=False)
    bob.page.goto(f"{link}&ticket={event.ticket('bob')}")
    bob.sees("ready")
    wait_until(lambda: "同喜" in bob.text, "what its sender says")
    bob.press()
    bob.sees("sealed")
    bob.press()
    bob.sees("won")
    assert bob.page.inner_text("#amount") == "2.00"
    won = bob.page.inner_text("#mine_list")
    assert "ann 的红包 ·" in won
    assert "{" not in won
    for someone in (ann, bob):
        assert_nothing_sticks_out(someone)


REFUSED = [
    ({"total": "9999.00"}, "没有发出去：每份从 ¥0.01 到 ¥200.00", "a share holds ¥0.01 to ¥200.00"),
    ({"total": "９９９９．００"}, "没有发出去：每份从 ¥0.01 到 ¥200.00", "a share holds ¥0.01 to ¥200.00"),
    *(
        ({"total": wrong}, "没有发出去：金额请写成 6.66 这样的数字", "that is not an amount, write it like 6.66")
        for wrong in ("八块八", "abc", "1.005", "", "5，00", ".5")
    ),
    ({"count": "0"}, "没有发出去：红包个数是 1 到 100", "a packet has from 1 to 100 shares"),
    ({"word": "ab"}, "没有发出去：口令要有 4 到 64 个字", "a word has 4 to 64 signs"),
]


def test_a_refused_packet_is_told_why_in_either_language_and_the_form_keeps_what_was_written(
    event: Event, visit: Visit
) -> None:
    event.start(rush(total="100.00", packets=10), tables=GROUP, opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    ann.page.click("#send summary")
    for wish, zh, en in REFUSED:
        written = {"total": "6.00", "count": "3", "greeting": "同喜", "word": ""} | wish
        for name, text in written.items():
            ann.page.fill(f"#send_{name}", text)
        ann.page.select_option("#send_kind", "equal")
        ann.page.click("#send_go")
        said = ann.page.locator("#send_said")
        said.filter(has_text=zh).wait_for()
        assert not LATIN_WORD.search(said.inner_text())
        ann.page.click("#language")
        assert en in said.inner_text()
        fields = {name: ann.page.input_value(f"#send_{name}") for name in (*written, "kind")}
        assert fields == written | {"kind": "equal"}, "another language empties nothing"
        ann.page.click("#language")


def test_a_packet_that_the_balance_does_not_cover_is_told_so(event: Event, visit: Visit) -> None:
    event.start(rush(total="100.00", packets=10), tables=GROUP, opens_in_s=600)
    quick = "const real = setTimeout; window.setTimeout = (act, ms) => real(act, ms === 700 ? 10 : ms);"
    ann = visit("ann", before=[quick])
    ann.sees("before")
    ann.page.click("#send summary")
    ann.page.fill("#send_total", "6.00")
    ann.page.fill("#send_count", "3")
    ann.page.click("#send_go")
    said = ann.page.locator("#send_said")
    said.filter(has_text="余额只有 ¥0.00").wait_for()
    assert not LATIN_WORD.search(said.inner_text())


def test_the_word_of_a_packet_stays_written_when_the_language_is_switched(event: Event, visit: Visit) -> None:
    event.start(rush(total="100.00", packets=10), tables=GROUP, opens_in_s=-60)
    bob = visit("bob", opened=False)
    packet = {"from": "ann", "needs_word": True, "state": "open"}
    bob.page.route(f"**/packets/{'0' * 32}", lambda route: route.fulfill(json=packet))
    bob.page.goto(f"{event.url}/#packet={'0' * 32}&ticket={event.ticket('bob')}")
    bob.sees("ready")
    bob.page.fill("#word", "芝麻开门")
    bob.page.click("#language")
    bob.page.get_by_label("The word").wait_for()
    assert bob.page.input_value("#word") == "芝麻开门"


def assert_nothing_sticks_out(visitor: Visitor) -> None:
    """The link of a packet, and the number of what was won in one, are long words: they wrap."""
    wide, out = visitor.page.evaluate("""() => [
      document.documentElement.scrollWidth - innerWidth,
      [...document.querySelectorAll('.panel p, .sheet p, .sheet small')]
        .filter((one) => one.checkVisibility() && one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent),
    ]""")
    assert wide <= 0
    assert out == []


@pytest.mark.parametrize("packet", ["0" * 32, "0" * 31, "", "A" * 32], ids=["unknown", "short", "empty", "capitals"])
def test_a_link_of_no_packet_is_told_so_and_leads_to_the_event(event: Event, visit: Visit, packet: str) -> None:
    event.start(rush(total="100.00", packets=10), tables=GROUP, opens_in_s=-60)
    bob = visit("bob", opened=False)
    bob.page.goto(f"{event.url}/#packet={packet}&ticket={event.ticket('bob')}")
    bob.sees("no_packet")
    assert "没有这个红包" in bob.text
    assert "连不上" not in bob.text
    assert not bob.page.locator("#go").is_visible()
    is_whole(bob)
    assert [one.url for one in bob.claims if "/packets/" in one.url] == []
    bob.act("event")
    bob.sees("sealed")


def test_a_packet_whose_look_was_refused_is_looked_at_again(event: Event, visit: Visit) -> None:
    event.start(rush(total="100.00", packets=10), tables=GROUP, opens_in_s=-60)
    bob = visit("bob", opened=False)
    looks: list[str] = []

    def busy_once(route: Route) -> None:
        looks.append(route.request.url)
        if len(looks) == 1:
            route.fulfill(status=503, headers={"Retry-After": "1"}, body="")
        else:
            route.continue_()

    bob.page.route(f"**/packets/{'0' * 32}", busy_once)
    bob.page.goto(f"{event.url}/#packet={'0' * 32}&ticket={event.ticket('bob')}")
    bob.sees("no_packet")
    assert len(looks) == 2
    assert "连不上" not in bob.text


def test_a_packet_whose_look_was_lost_and_that_is_not_there_is_told_after_the_claim(event: Event, visit: Visit) -> None:
    event.start(rush(total="100.00", packets=10), tables=GROUP, opens_in_s=-60)
    bob = visit("bob", opened=False)
    unknown = "0" * 32
    bob.page.route(f"**/packets/{unknown}", lambda route: route.abort())
    bob.page.goto(f"{event.url}/#packet={unknown}&ticket={event.ticket('bob')}")
    bob.sees("ready")
    bob.press()
    bob.sees("no_packet")


def test_a_unit_of_a_sale_is_kept_for_its_buyer_and_others_are_told_when_to_come_back(
    event: Event, visit: Visit
) -> None:
    event.start(sale(), opens_in_s=600)
    ann = visit("ann")
    ann.sees("before")
    assert ann.page.locator('[data-name="auto"]').count() == 0, "the page buys nothing by itself"
    ann.opens_in(1)
    ann.sees("ready")
    assert ann.claims == []
    ann.press()
    ann.sees("held")
    assert all("/grab/" in claim.url for claim in ann.claims), "with the key that the state file tells"
    assert "99.00" in ann.page.inner_text('[data-name="pay"]')
    wait_until(lambda: ann.page.inner_text("#timer") in {"10:00", "09:59", "09:58", "09:57"}, "the hold has its clock")
    bob = visit("bob")
    bob.sees("ready")
    bob.press()
    bob.sees("held_out")
    ann.page.reload()
    ann.sees("held")
    ann.act("give_back")
    wait_until(lambda: "已经退回" in ann.text, "it is given back")


def test_a_sale_says_what_it_sells_for_how_much_and_that_it_is_sold_out(event: Event, visit: Visit) -> None:
    """Told by a server whose state file is changed on its way."""
    event.start(sale(), tables=f'{QUICK}[page.names]\ns = "红色手机"\n', opens_in_s=-60)
    ann = visit("ann")
    ann.sees("ready")
    assert "红色手机，¥99.00" in ann.page.inner_text("#line")
    assert ann.page.inner_text("#small") == "还有", "one unit is not plenty"
    is_whole(ann)
    state = ann.page.evaluate("(url) => fetch(url).then((answer) => answer.json())", f"{event.url}/state/c.json?s=1")
    gone = {**state, "rounds": [{**one, "left": "none"} for one in state["rounds"]]}
    ann.page.route("**/state/*", lambda route: route.fulfill(json=gone))
    ann.page.evaluate("dispatchEvent(new Event('focus'))")
    ann.sees("empty")
    assert ann.page.inner_text("#headline") == "卖完了"
    assert "红包" not in ann.page.inner_text(".panel")
    is_whole(ann)
