"""The page without a network, by a service worker where a browser has one; and without one."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Error

from tests.browser.conftest import Visit
from tests.browser.event import QUICK, Event, rush, wait_until
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser

WORKERS = "navigator.serviceWorker.getRegistrations().then((all) => all.length)"
KEPT = """async () => {
  const found = [];
  for (const name of await caches.keys())
    for (const { url } of await (await caches.open(name)).keys()) found.push(new URL(url).pathname);
  return found;
}"""
ROUND = rush(total="100.00", packets=10)
AT_REST_MS = 25_000
"""So long after the page has opened it is kept, at the latest."""


def titled(title: str, more: str = "") -> str:
    return f'{QUICK}[page]\ntitle = {{ zh = "{title}", en = "{title}" }}\n{more}'


def keeps(visit: Visit, user: str = "ann") -> Visitor:
    """Return somebody who has opened what they won, and whose browser has kept the page."""
    someone = visit(user, opened=False)
    someone.page.clock.install()
    someone.page.goto(someone.address)
    someone.sees("sealed")
    assert someone.page.evaluate(WORKERS) == 0, "the opening is no time for that"
    someone.press()
    someone.sees("won")
    someone.page.clock.fast_forward(AT_REST_MS)
    # If it was not at rest yet, its clock goes on as ours does.
    wait_until(lambda: someone.page.evaluate(KEPT) == ["/"], "the page is kept", within_s=60)
    return someone


def test_the_page_opens_without_a_network_with_what_was_won(event: Event, visit: Visit) -> None:
    event.start(ROUND, tables=titled("除夕"), opens_in_s=-120)
    ann = keeps(visit)
    event.kill()
    ann.page.reload()
    ann.sees("won")
    assert ann.page.inner_text("#amount") == "10.00"
    event.start(ROUND, tables=titled("初一"), opens_in_s=-120)  # which is another version of the page
    ann.page.reload()
    ann.sees("won")
    assert "初一" in ann.page.inner_text("#title"), "a new one is taken at once"
    event.kill()
    wait_until(lambda: "初一" in ann.page.evaluate("caches.match('/').then((kept) => kept.text())"), "and kept")
    ann.page.reload()
    ann.sees("won")
    assert "初一" in ann.page.inner_text("#title")


def test_nothing_but_the_page_is_kept(event: Event, visit: Visit) -> None:
    event.start(ROUND, tables=titled("除夕"), opens_in_s=-120)
    ann = keeps(visit)
    ann.page.reload()  # by way of the worker: state, claims and grants do not come by there
    ann.sees("won")
    wait_until(lambda: any("/grants" in one.url for one in ann.requests), "what was won is asked for")
    assert ann.page.evaluate(KEPT) == ["/"]
    ticket = ann.page.evaluate("JSON.parse(localStorage.getItem('redrush:c:ticket'))")
    kept = ann.page.evaluate("caches.match('/').then((kept) => kept.text())")
    assert kept == event.text("/")
    assert ticket not in kept


def test_where_it_is_to_be_kept_no_more_what_was_kept_goes_away(event: Event, visit: Visit) -> None:
    event.start(ROUND, tables=titled("除夕"), opens_in_s=-120)
    ann = keeps(visit)
    event.stop()
    event.start(ROUND, tables=titled("除夕", "offline = false\n"), opens_in_s=-120)
    ann.page.reload()
    ann.sees("won")
    wait_until(lambda: ann.page.evaluate(WORKERS) == 0 and ann.page.evaluate(KEPT) == [], "it has taken itself away")
    ann.page.clock.fast_forward(AT_REST_MS)
    assert ann.page.evaluate(WORKERS) == 0
    event.kill()
    with pytest.raises(Error, match="ERR_CONNECTION_REFUSED"):
        ann.page.reload()


class OutOfOrder:
    """A proxy whose gate is away, in the place of the server: 502 for everything. A context manager: the paths that
    were asked for."""

    def __init__(self, url: str) -> None:
        asked = self._asked = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(502)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<h1>502 Bad Gateway</h1>")

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's name
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", int(url.rpartition(":")[2])), Handler)

    def __enter__(self) -> list[str]:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self._asked

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_server_that_is_out_of_order_is_no_error_page(event: Event, visit: Visit) -> None:
    event.start(ROUND, tables=titled("除夕"), opens_in_s=-120)
    ann = keeps(visit)
    event.kill()
    with OutOfOrder(event.url) as asked:
        ann.page.reload()
        ann.sees("won")
        assert "/" in asked, "the network went first"


def test_without_a_service_worker_everything_else_is_there(event: Event, visit: Visit) -> None:
    without = "delete Navigator.prototype.serviceWorker"
    event.start(ROUND, tables=titled("除夕"), opens_in_s=-120)
    ann = visit("ann", before=[without], opened=False)
    ann.page.clock.install()
    ann.page.goto(ann.address)
    ann.sees("sealed")
    ann.press()
    ann.sees("won")
    ann.page.clock.fast_forward(AT_REST_MS)
    ann.page.reload()
    ann.sees("won")
    assert not any("sw.js" in one.url for one in ann.requests)
