"""The main way of each kind over the processes of a stack, behind nginx as it is shipped: real stores, a real database,
two gates, and a bank of the sandbox. One stack for all of it, by the machine's clock."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Route

from tests.acceptance.stack.running_stack import RunningStack, kill, stack_up
from tests.browser.bank import Bank, code_of
from tests.browser.event import rush, wait_until
from tests.browser.kinds import draw, group, line, sale
from tests.browser.visitor import Visitor
from tests.campaigns import campaign
from tests.commands import redrush
from tests.deploy.proxies import Behind, Proxy, fronting

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

USERS: Final = ("ann", "bob", "carl", "dave", "eve")
NAMES: Final = '[page.names]\nr1 = "红包雨"\nr2 = "排队的"\ndraw = "抽奖"\ns = "红色手机"\n'
LATER_S: Final = 3_600
SOON_S: Final = 12
"""From an order to move an opening to the opening."""


def text_of(opens_s: float, began_s: float) -> str:
    """Return the campaign: packets and a line that open then, a draw and a sale that have begun."""
    return campaign(
        rush("r1", total="100.00", packets=10, opens_s=opens_s),
        rush("r2", total="100.00", packets=10, opens_s=opens_s) + line(),
        draw(opens_s=began_s),
        sale(secret=True, opens_s=began_s),
        tables=group() + NAMES,
    )


class OnAStack:
    """An event over a stack, as a visitor and a test see it."""

    def __init__(self, stack: RunningStack, url: str, file: Path, bank: Bank, began_s: float) -> None:
        self.stack = stack
        self.url = url
        self.bank = bank
        self._file = file
        self._began_s = began_s
        self._tickets = stack.tickets(USERS)

    def ticket(self, user: str) -> str:
        return self._tickets[user]

    def opens_soon(self) -> float:
        """Move the openings to a moment from now, and return when that is."""
        opens_s = time.time() + SOON_S
        self._file.write_text(text_of(opens_s, self._began_s))
        done = redrush("campaign", "change", self._file, "--data", self.stack.data, "--yes", "--why", "sooner")
        assert done.code == 0, done.err
        return opens_s

    def kill_gates(self) -> None:
        for process in self.stack.processes():
            if process["name"].startswith("gate") and process["pid"]:
                kill(process["pid"])


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnAStack]:
    directory = tmp_path_factory.mktemp("stack")
    file, began_s = directory / "c.toml", time.time()
    file.write_text(text_of(began_s + LATER_S, began_s))
    with (
        Bank(directory) as bank,
        stack_up(file, directory / "d", "--sets", 1, "--gates", 2, "--payments", bank.payments) as stack,
        fronting(Proxy.NGINX, directory / "nginx", behind(stack)) as front,
    ):
        page = directory / "nginx" / "page"
        published = redrush("publish", file, "--out", page, "--gate", f"http://127.0.0.1:{stack.port}")
        assert published.code == 0, published.err
        yield OnAStack(stack, f"https://127.0.0.1:{front.port}", file, bank, began_s)


def behind(stack: RunningStack) -> Behind:
    return Behind(
        gates=(stack.port, stack.port),
        controls=(stack.control_port, stack.control_port),
        query=stack.query_port,
        query_control=stack.control_port,
        payments=stack.payments_port,
    )


@contextmanager
def visiting(browser: Browser, event: OnAStack, user: str, **options: Any) -> Iterator[Visitor]:
    visitor = Visitor(browser, event, user, ignore_https_errors=True, **options)
    yield visitor
    visitor.leave()


def test_the_page_comes_from_the_proxy_small_and_with_what_keeps_it_safe(browser: Browser, event: OnAStack) -> None:
    with visiting(browser, event, "ann") as ann:
        headers = ann.page.request.get(event.url).headers
        assert (headers["content-encoding"], headers["x-frame-options"]) == ("gzip", "DENY")
        assert headers["cache-control"].startswith("public, max-age=30, stale-while-revalidate")
        worker = ann.page.request.get(f"{event.url}/sw.js").headers
        assert (worker["cache-control"], worker["x-content-type-options"]) == ("no-cache", "nosniff")


def chooses(visitor: Visitor, name: str) -> None:
    visitor.page.locator("#rounds").get_by_role("button", name=name).click()


def test_packets_a_line_and_what_is_sent_to_a_friend(browser: Browser, event: OnAStack) -> None:
    clipboard = ["clipboard-read", "clipboard-write"]
    with visiting(browser, event, "ann", permissions=clipboard) as ann, visiting(browser, event, "bob") as bob:
        for someone, name in ((ann, "红包雨"), (bob, "排队的")):
            chooses(someone, name)
            someone.sees("before")
        opens_s = event.opens_soon()
        for someone in (ann, bob):
            wait_until(lambda someone=someone: counts_down(someone), "the page follows")  # type: ignore[misc]
            assert someone.claims == []
        bob.sees("inline", "asking", "sealed")
        ann.sees("sealed")
        bob.sees("sealed")
        assert time.time() >= opens_s
        assert [one for one in bob.requests if one.url.endswith("/line")]
        for someone in (ann, bob):
            someone.press()
            someone.sees("won")
            assert someone.page.inner_text("#amount") == "10.00"
        ann.page.click("#send summary")
        for name, text in (("total", "6.00"), ("count", "2"), ("greeting", "同喜")):
            ann.page.fill(f"#send_{name}", text)
        wait_until(lambda: "balance" in balance(ann) and balance(ann)["balance"] == "10.00", "it is recorded", 60)
        ann.page.click("#send_go")
        wait_until(lambda: "红包好了" in ann.text, "it is paid and open", 60)
        link = ann.page.evaluate("navigator.clipboard.readText()").split()[-1]
    with visiting(browser, event, "carl", opened=False) as carl:
        carl.page.goto(f"{link}&ticket={event.ticket('carl')}")
        carl.sees("ready")
        carl.press()
        if carl.sees("sealed", "won") == "sealed":
            carl.press()
        carl.sees("won")


def counts_down(visitor: Visitor) -> bool:
    """Whether the page, which is looked at anew, knows that it opens soon."""
    visitor.page.evaluate("dispatchEvent(new Event('focus'))")
    return visitor.page.inner_text("#timer") < "00:2"


def balance(visitor: Visitor) -> Any:
    """Return what its person may send, as the payments role tells it."""
    ticket = visitor.page.evaluate("JSON.parse(localStorage.getItem('redrush:c:ticket'))")
    path = visitor.address.partition("/#")[0] + "/v1/campaigns/c/packets/terms"
    return visitor.page.request.get(path, headers={"Authorization": f"Bearer {ticket}"}).json()


def test_a_draw_whose_gates_are_killed_amid_the_click_has_its_prize_after_the_retry(
    browser: Browser, event: OnAStack
) -> None:
    with visiting(browser, event, "dave") as dave:
        chooses(dave, "抽奖")
        dave.sees("ready")
        answers: list[str] = []

        def killed_amid(route: Route) -> None:
            answers.append(route.fetch().json()["outcome"])
            event.kill_gates()
            route.abort("connectionreset")  # what was decided never comes

        dave.page.route("**/grab", killed_amid, times=1)
        dave.press()
        dave.sees("sealed", within_ms=60_000)
        assert answers[0] == "granted"
        dave.press()
        dave.sees("won")
        assert dave.page.inner_text("#amount") == "手机"
        assert {one.post_data for one in dave.claims} == {'{"play":1}'}, "one play, asked again"
        dave.page.reload()
        chooses(dave, "抽奖")
        wait_until(lambda: "手机" in dave.page.inner_text("#mine"), "it is there")


def test_a_unit_of_a_sale_is_kept_and_paid_for(browser: Browser, event: OnAStack) -> None:
    with visiting(browser, event, "eve") as eve:
        chooses(eve, "红色手机")
        eve.sees("ready")
        eve.press()
        eve.sees("held")
        assert all("/grab/" in claim.url for claim in eve.claims)
        eve.act("pay")
        eve.sees("paying")
        event.bank.pays(code_of(eve))
        eve.sees("bought", within_ms=60_000)
