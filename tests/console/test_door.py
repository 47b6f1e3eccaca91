"""Where a request may come from: every combination of what browsers say of it; names; and what answers carry."""

from pathlib import Path
from typing import Final

import pytest

from redrush.api.door import CSP, refusal_of
from tests.console.console_world import without_server

HOST: Final = b"console.example:8090"
SITES: Final = ("same-origin", "same-site", "cross-site", "none", "")
ORIGINS: Final = ("https://console.example:8090", "https://evil.example", "null", "")


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_change_comes_from_our_own_pages(site: str, origin: str, method: str) -> None:
    headers = {b"host": HOST, b"sec-fetch-site": site.encode(), b"origin": origin.encode()}
    refused = refusal_of(method, "/api/v1/changes", {name: value for name, value in headers.items() if value})
    ours = site == "same-origin" if site else origin == "https://console.example:8090"
    assert (refused is None) is ours


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("mode", ["navigate", "cors", "no-cors"])
def test_other_sites_may_link_to_a_page_and_read_nothing(site: str, mode: str) -> None:
    headers = {b"host": HOST, b"sec-fetch-mode": mode.encode()} | ({b"sec-fetch-site": site.encode()} if site else {})
    elsewhere = site in {"cross-site", "same-site"}
    assert (refusal_of("GET", "/api/v1/live", headers) is not None) is elsewhere
    assert (refusal_of("GET", "/audit", headers) is not None) is (elsewhere and mode != "navigate")


def test_a_program_with_a_key_needs_no_site() -> None:
    assert refusal_of("POST", "/api/v1/changes", {b"host": HOST, b"authorization": b"Bearer rk1.a.b"}) is None
    assert refusal_of("POST", "/api/v1/changes", {b"host": HOST, b"authorization": b"Basic YTpi"}) is not None


async def test_a_name_that_is_not_ours_is_not_answered(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client() as client:
        for host, status in [("127.0.0.1:8090", 200), ("localhost", 200), ("[::1]:8090", 200), ("evil.example", 421)]:
            assert (await client.get("/login", headers={"Host": host})).status_code == status, host


async def test_a_host_that_no_browser_would_say_is_refused_and_breaks_nothing(tmp_path: Path) -> None:
    odd = (
        "127.0.0.1:99999",
        "127.0.0.1:x",
        "[::1",
        "[::1]x",
        "[::1]:99999",
        "localhost@evil",
        "localhost:1:2",
        "a b",
        ":80",
    )
    async with without_server(tmp_path) as world, world.client() as client:
        told = {host: (await client.get("/login", headers={"Host": host})).status_code for host in odd}
    assert told == dict.fromkeys(odd, 421)


async def test_every_answer_carries_the_policy(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("anna") as client:
        for path in ("/", "/login", "/nowhere", "/api/v1/live", "/api/v1/nowhere", "/static/console.css"):
            answer = await client.get(path)
            assert answer.headers["content-security-policy"] == CSP, path
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await client.get("/api/v1/live")).headers["cache-control"] == "no-store"
    assert "unsafe" not in CSP


async def test_a_forged_form_of_another_site_changes_nothing(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("anna", **{"Sec-Fetch-Site": "cross-site"}) as client:
        answer = await client.post("/people", data={"name": "mallory", "role": "admin"})
        assert answer.status_code == 403
        assert world.desk.accounts.person("mallory") is None
