"""The page as `redrush publish` writes it, behind a real nginx with the configuration that it writes."""

import getpass
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from redrush.processes.loopback import free_port
from tests.browser.conftest import Visit
from tests.browser.event import QUICK, Event, rush, wait_until
from tests.browser.kinds import gong

pytestmark = pytest.mark.browser

LOOKS = 2_000
"""As many as there are pages, each looking once."""


class Edge:
    """nginx in front of the gate of an event."""

    def __init__(self, event: Event, directory: Path, gate: str | None, trusted: str | None) -> None:
        assert shutil.which("nginx"), "nginx is missing: apt-get install nginx-light"
        site, port = directory / "site", free_port()
        event.redrush("publish", event.file, "--out", site, "--gate", gate or event.url)
        written = (site / "nginx.conf").read_text()
        own = written.replace("listen 80;", f"listen 127.0.0.1:{port};").replace("/var/cache/nginx/", f"{directory}/")
        if trusted is not None:
            assert "ca-certificates.crt" in own
            own = own.replace("/etc/ssl/certs/ca-certificates.crt", trusted)
        # The gate's clock is the test's, and nginx has that of the machine.
        own = own.replace("add_header Redrush-Now $msec always;", "")
        assert "Redrush-Now" not in own.replace("# One request", "")
        self.origin_log = directory / "origin.log"
        format_ = "log_format origin '$upstream_addr $upstream_status $request_uri';"
        main = directory / "main.conf"
        main.write_text(
            f"pid {directory}/pid; error_log stderr; daemon off; worker_processes 1; user {getpass.getuser()};\n"
            "events { worker_connections 4096; }\n"
            f"http {{ types {{ }} {format_} access_log {self.origin_log} origin;\n{own} }}\n"
        )
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(["nginx", "-p", directory, "-c", main], stderr=subprocess.DEVNULL)
        wait_until(lambda: self._process.poll() is not None or (directory / "pid").exists(), "nginx is there")
        assert self._process.poll() is None

    def asked_of_the_origin(self) -> list[str]:
        """Return what went on to the gate."""
        return [line for line in self.origin_log.read_text().splitlines() if not line.startswith("- ")]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@contextmanager
def edge_of(event: Event, directory: Path, gate: str | None = None, trusted: str | None = None) -> Iterator[Edge]:
    """Have one that is ended in the end. `gate`: where it finds it, else at itself; `trusted`: whose certificates."""
    directory.mkdir()
    edge = Edge(event, directory, gate, trusted)
    try:
        yield edge
    finally:
        edge.stop()


@contextmanager
def tls_before(event: Event, directory: Path) -> Iterator[tuple[str, Path]]:
    """Have what speaks TLS before the gate, as a balancer does; yields its address and its certificate."""
    directory.mkdir()
    made, port = directory / "made.pem", free_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-keyout", directory / "key.pem", "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    main = directory / "main.conf"
    main.write_text(
        f"pid {directory}/pid; error_log stderr; daemon off; worker_processes 1; user {getpass.getuser()};\n"
        f"events {{ }}\nhttp {{ access_log off; server {{ listen 127.0.0.1:{port} ssl; server_name localhost;\n"
        f"ssl_certificate {made}; ssl_certificate_key {directory}/key.pem;\n"
        f"location / {{ proxy_pass {event.url}; }} }} }}\n"
    )
    process = subprocess.Popen(["nginx", "-p", directory, "-c", main], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or (directory / "pid").exists(), "nginx is there")
        yield f"https://localhost:{port}", made
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def edge(event: Event, tmp_path: Path) -> Iterator[Edge]:
    event.start(opens_in_s=600)
    with edge_of(event, tmp_path / "edge") as edge:
        yield edge


@pytest.fixture
def sounding(event: Event, tmp_path: Path) -> Iterator[Edge]:
    (tmp_path / "gong.wav").write_bytes(gong())
    event.start(rush(), tables=f'{QUICK}[page.sounds]\nwon = "gong.wav"\n', opens_in_s=600)
    with edge_of(event, tmp_path / "edge") as edge:
        yield edge


def test_the_way_of_a_packet_through_the_edge(event: Event, edge: Edge, visit: Visit) -> None:
    ann = visit("ann", opened=False)
    ann.page.goto(f"{edge.url}/#ticket={event.ticket('ann')}")
    ann.sees("before")
    event.opens_in(6)
    time.sleep(1.5)  # what the edge keeps is a second old
    ann.page.evaluate("dispatchEvent(new Event('focus'))")
    ann.sees("sealed", "waiting", "again")
    ann.sees("sealed")
    headers = ann.page.request.get(edge.url).headers
    assert headers["cache-control"].startswith("public, max-age=30")
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["content-encoding"] == "gzip"


def test_a_sound_is_served_by_the_edge_alone_and_kept_for_good(
    event: Event, tmp_path: Path, visit: Visit, sounding: Edge
) -> None:
    ann = visit("ann", opened=False, before=["Math.random = () => 0.01;"])
    ann.page.goto(f"{sounding.url}/#ticket={event.ticket('ann')}")
    ann.sees("before")
    with ann.page.expect_response("**/sounds/c/*.wav") as fetched:
        ann.page.click("#headline")
    assert fetched.value.body() == (tmp_path / "gong.wav").read_bytes()
    headers = fetched.value.headers
    assert (headers["content-type"], headers["cache-control"]) == ("audio/wav", "public, max-age=31536000, immutable")
    missing = ann.page.request.get(f"{sounding.url}/sounds/c/0123456789abcdef.wav")
    assert (missing.status, missing.headers.get("cache-control")) == (404, None), "one that comes later is not missed"
    assert [one for one in sounding.asked_of_the_origin() if "/sounds/" in one] == []


def test_two_thousand_looks_are_one_request_a_second_for_the_origin(event: Event, edge: Edge, visit: Visit) -> None:
    started = time.monotonic()
    address = f"{edge.url}/state/c.json"
    each = LOOKS // 20
    loads = [["curl", "-sf", "-o", "/dev/null", f"{address}?s=[{at}-{at + each - 1}]"] for at in range(0, LOOKS, each)]
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda words: subprocess.run(words, check=False).returncode, loads))
    assert ended == [0] * 20
    seconds = time.monotonic() - started
    asked = edge.asked_of_the_origin()
    lines = edge.origin_log.read_text().splitlines()
    assert len(lines) == LOOKS
    assert 1 <= len(asked) <= seconds + 2, f"{len(asked)} in {seconds:.1f} s"
    assert set(Counter(line.split()[1] for line in asked)) == {"200"}


def test_while_every_gate_is_away_the_page_opens_and_says_so(event: Event, edge: Edge, visit: Visit) -> None:
    event.kill()
    ann = visit("ann", opened=False, ticket="k1.ffffffff.ann.0")
    ann.page.goto(f"{edge.url}/#ticket=k1.ffffffff.ann.{'0' * 32}")
    ann.sees("unreached")
    assert "页面会自己继续尝试" in ann.text
    event.start()
    event.opens_in(-60)
    ann.page.goto(f"{edge.url}/#ticket={event.ticket('ann')}")
    ann.sees("sealed", within_ms=30_000)


def test_gates_behind_tls_are_asked_by_tls_and_have_to_prove_their_name(event: Event, tmp_path: Path) -> None:
    event.start(opens_in_s=600)
    with tls_before(event, tmp_path / "tls") as (gate, certificate):
        for trusted, state in ((certificate, 200), ("/etc/ssl/certs/ca-certificates.crt", 502)):
            with edge_of(event, tmp_path / f"edge{state}", gate=gate, trusted=str(trusted)) as edge:
                looked = subprocess.run(
                    ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{edge.url}/state/c.json"],
                    check=True, capture_output=True, text=True,
                )  # fmt: skip
                assert int(looked.stdout) == state
                mine = subprocess.run(
                    ["curl", "-s", "-H", f"Authorization: Bearer {event.ticket('ann')}", f"{edge.url}/v1/grants"],
                    check=True, capture_output=True, text=True,
                )  # fmt: skip
                assert ('"grants"' in mine.stdout) == (state == 200)
