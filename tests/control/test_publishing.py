"""`redrush publish` and `redrush ticket --links`: the page as files, and a link for each person."""

import gzip
import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from redrush.config import load_campaign_file
from redrush.control.data_dir import DataDir
from redrush.control.event import prepare_event
from redrush.control.issuing import plan_tickets
from redrush.control.publishing import publish
from redrush.core.identity.tickets import TicketVerifier
from redrush.errors import ConfigError
from tests.campaigns import a_round, campaign

NOW_US = 1_800_000_000_000_000
GATES = ["http://10.0.0.1:8080", "http://10.0.0.2:8080"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "event.toml"
    path.write_text(campaign(a_round(opens="2027-02-06T20:00:00+08:00"), name="春节"))
    return path


def test_the_page_is_written_whole_and_the_same_each_time(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    done = publish(load_campaign_file(file), out, GATES, NOW_US)
    html = (out / "index.html").read_bytes()
    assert gzip.decompress((out / "index.html.gz").read_bytes()) == html
    assert (out / "c/c/index.html").read_bytes() == html
    assert done.compressed_bytes < 50_000
    entries = json.loads((out / "manifest.json").read_text())
    found = [("index.html", len(html)), ("sw.js", (out / "sw.js").stat().st_size)]
    assert [(entry["url"], entry["bytes"]) for entry in entries] == found
    before = {name: (out / name).read_bytes() for name in done.files}
    publish(load_campaign_file(file), out, GATES, NOW_US + 5)
    assert {name: (out / name).read_bytes() for name in done.files} == before


def test_the_policy_is_in_the_document_and_in_the_headers(file: Path, tmp_path: Path) -> None:
    publish(load_campaign_file(file), tmp_path / "site", GATES, NOW_US)
    html = (tmp_path / "site/index.html").read_text()
    headers = (tmp_path / "site/_headers").read_text()
    assert "connect-src 'self'; manifest-src" in headers
    assert html.index("Content-Security-Policy") < html.index("<style>")
    for gate in ("10.0.0.1:8080", "10.0.0.2:8080"):
        assert f"server {gate} " in (tmp_path / "site/nginx.conf").read_text()


def test_what_nginx_reads_is_quoted_as_it_has_it(file: Path, tmp_path: Path) -> None:
    out = tmp_path / 'my "site" \udcff'
    publish(load_campaign_file(file), out, ["http://[::1]:8080"], NOW_US)
    told = (out / "nginx.conf").read_text(errors="surrogateescape")
    assert f'root "{tmp_path}/my \\"site\\" \udcff";' in told
    assert "server [::1]:8080 max_fails=0;" in told


def test_browsers_keep_the_page_by_a_worker_that_is_looked_up_anew_each_time(file: Path, tmp_path: Path) -> None:
    publish(load_campaign_file(file), tmp_path / "site", GATES, NOW_US)
    assert "caches" in (tmp_path / "site/sw.js").read_text()
    headers = (tmp_path / "site/_headers").read_text().partition("/sw.js\n")[2]
    location = (tmp_path / "site/nginx.conf").read_text().partition("location = /sw.js {")[2].partition("}")[0]
    assert "  Cache-Control: no-cache\n" in headers
    assert 'add_header Cache-Control "no-cache" always;' in location


def test_where_browsers_are_to_keep_nothing_the_worker_takes_itself_away(file: Path, tmp_path: Path) -> None:
    file.write_text(f"{file.read_text()}\n[page]\noffline = false\n")
    publish(load_campaign_file(file), tmp_path / "site", GATES, NOW_US)
    assert "unregister()" in (tmp_path / "site/sw.js").read_text()
    assert '"offline":false' in (tmp_path / "site/index.html").read_text()


def test_pages_that_ask_the_gates_themselves_may_ask_nobody_else(file: Path, tmp_path: Path) -> None:
    publish(load_campaign_file(file), tmp_path / "site", GATES, NOW_US, direct=True)
    html = (tmp_path / "site/index.html").read_text()
    assert '"gates":["http://10.0.0.1:8080","http://10.0.0.2:8080"]' in html
    assert "connect-src &#x27;self&#x27; http://10.0.0.1:8080 http://10.0.0.2:8080;" in html


def test_gates_of_https_are_passed_on_to_by_https_and_by_their_name(file: Path, tmp_path: Path) -> None:
    publish(
        load_campaign_file(file), tmp_path / "site", ["https://gates.example", "https://gates.example:8443"], NOW_US
    )
    told = (tmp_path / "site/nginx.conf").read_text()
    assert told.count("proxy_pass https://redrush_c;") == told.count("proxy_set_header Host gates.example;") == 2
    assert "proxy_pass http:" not in told
    for line in ("server gates.example:443 ", "server gates.example:8443 ", "proxy_ssl_verify on;"):
        assert line in told
    assert "    proxy_ssl_name gates.example;" in told


GATES_OF_NO_ONE_UPSTREAM = [
    ["https://gates.example", "http://gates.example"],
    ["https://a.example", "https://b.example"],
    ["https://10.0.0.1"],
    ["https://[::1]:8443"],
]


@pytest.mark.parametrize("gates", GATES_OF_NO_ONE_UPSTREAM)
def test_gates_that_nginx_cannot_pass_on_to_are_for_pages_to_ask(gates: list[str], file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nginx passes claims on either to http gates, or to https by one name"):
        publish(load_campaign_file(file), tmp_path / "site", gates, NOW_US)
    assert not (tmp_path / "site").exists()
    publish(load_campaign_file(file), tmp_path / "site", gates, NOW_US, direct=True)
    assert "upstream" not in (told := (tmp_path / "site/nginx.conf").read_text())
    assert "proxy_" not in told


@pytest.mark.parametrize("gate", ["http://x/base", "https://ann:secret@x", "http://x/base/"])
def test_a_gate_is_a_server_not_a_part_of_one(gate: str, file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has more than a name and a port"):
        publish(load_campaign_file(file), tmp_path / "site", [gate], NOW_US)


@pytest.mark.parametrize(
    "gate", ["foo", "ftp://x", "http://", "http://x?y", "http://x:99999", "http://a b", "http://a;b", "http://a\nb"]
)
def test_an_address_that_is_none_is_refused_before_anything_is_written(gate: str, file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not an address: write it like"):
        publish(load_campaign_file(file), tmp_path / "site", [gate], NOW_US)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("page", ["https://hongbao.example", "https://hongbao.example/c/c"])
def test_a_link_carries_its_ticket_where_no_proxy_sees_it(page: str, file: Path, tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "event")
    keys = prepare_event(load_campaign_file(file), data_dir, lambda: NOW_US).keys
    plan = plan_tickets(data_dir, ["张·伟", "ann"], None, None, NOW_US // 1_000_000, proven=True, links=page)
    for user, line in zip(["张·伟", "ann"], plan.lines(), strict=True):
        name, link = line.split("\t")
        parts = urlsplit(link)
        assert (name, link.partition("#")[0].rstrip("/"), parts.query) == (user, page, "")
        ticket = TicketVerifier(keys.tickets).verify(unquote(parts.fragment.removeprefix("ticket=")).encode())
        assert ticket is not None
        assert ticket.user == user
