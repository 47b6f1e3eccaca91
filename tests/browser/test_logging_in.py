"""Coming in by OpenID Connect in a real browser: from the button through the provider back to the page, and renewed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from redrush.processes.loopback import free_port
from tests.browser.conftest import Visit
from tests.browser.event import OPENS_IN_S, QUICK, Event, rush, wait_until
from tests.browser.visitor import Visitor
from tests.login.logins import login_file
from tests.login.provider import Provider

pytestmark = pytest.mark.browser

KEPT = "JSON.parse(localStorage.getItem('redrush:c:ticket'))"


class Login:
    """`redrush login` for an event that is open by the machine's own clock, with a provider behind it."""

    def __init__(self, event: Event, directory: Path) -> None:
        port = free_port()
        address = f"http://127.0.0.1:{port}/login"
        self.provider = Provider(f"{address}/back")
        page = f'[page]\nlogin = "{address}?to={{page}}"\nrenew = "{address}/renew"\n'
        event.start(rush(after_s=-OPENS_IN_S - 60), tables=QUICK + page)
        file = login_file(directory, self.provider.issuer, address=address, page=f"{event.url}/")
        (directory / "key.json").unlink()
        event.redrush("login-key", "add", "company", "--data", event.directory, "-o", directory / "key.json")
        event.stop()  # servers know a key from their next start on
        event.start()
        words = [sys.executable, "-m", "redrush", "login", str(file), "--port", str(port)]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=30)
        self.provider.stop()


@pytest.fixture
def login(event: Event, tmp_path: Path) -> Iterator[Login]:
    running = Login(event, tmp_path)
    yield running
    running.stop()


def logs_in(visitor: Visitor, name: str) -> None:
    visitor.sees("nobody")
    visitor.act("login")
    visitor.page.wait_for_selector('input[name="as"]')
    visitor.page.fill('input[name="as"]', name)
    visitor.page.click("button")


def test_somebody_logs_in_wins_and_has_the_ticket_renewed(event: Event, login: Login, visit: Visit) -> None:
    ann = visit(None)
    logs_in(ann, "ann")
    ann.sees("sealed")
    ticket = ann.page.evaluate(KEPT)
    assert ticket.startswith("company.")
    assert "#" not in ann.page.url, "it does not stay in the address bar"
    mac = ticket.rpartition(".")[2]
    assert all(mac not in one.url.partition("#")[0] for one in ann.requests), "no server sees it in an address"
    [claim] = ann.claims
    assert claim.headers["authorization"] == f"Bearer {ticket}"
    # By the server's clock the ticket is about to end: the page has another one before it does.
    event.later(7_080)
    ann.page.evaluate("dispatchEvent(new Event('focus'))")
    wait_until(lambda: ann.page.evaluate(KEPT) not in {ticket, None}, "it is renewed")
    [renewed] = [one for one in ann.requests if one.url.endswith("/renew")][:1]
    assert renewed.method == "POST"
    assert mac not in renewed.url
    assert ann.screen == "sealed"


def test_a_packet_that_somebody_was_sent_is_there_after_the_login(event: Event, login: Login, visit: Visit) -> None:
    ann = visit(None, opened=False)
    ann.page.goto(f"{event.url}/#packet={'0' * 32}")
    with ann.page.expect_request(f"**/packets/{'0' * 32}"):
        logs_in(ann, "ann")
    assert ann.page.url.endswith(f"#packet={'0' * 32}")
    ann.sees("no_packet")
    assert ann.claims == [], "of the round nobody has asked for anything"
