"""Operators who come by the company's provider: a real one on loopback, and the accounts alone say what they may."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import httpx2
import pytest

from redrush.config.console_login_file import load_console_login_file
from redrush.console.run import provider_of
from redrush.errors import ConfigError
from tests.console.console_world import BASE, World, without_server
from tests.login.provider import CLIENT, SECRET, Provider

FROM_ELSEWHERE: Final = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
"""What a browser says of a request that another site has sent it on."""
FILE: Final = """[console]
address = "{address}"
[console.oidc]
issuer = "{issuer}"
client_id = "{client}"
client_secret = {{ file = "oidc.secret" }}
user = "email"
scopes = ["openid", "email"]
[console.people]
"the-boss@example.com" = "anna"
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    running = Provider(f"{BASE}/login/back")
    yield running
    running.stop()


def login_file(directory: Path, issuer: str, text: str = FILE) -> Path:
    (directory / "oidc.secret").write_text(SECRET)
    file = directory / "console-login.toml"
    file.write_text(text.format(address=BASE, issuer=issuer, client=CLIENT))
    return file


@asynccontextmanager
async def at_login(tmp_path: Path, issuer: str) -> AsyncIterator[tuple[World, httpx.AsyncClient]]:
    """Yield a console with this provider, and a browser at it in which nobody is logged in."""
    async with without_server(tmp_path) as world:
        world.desk.provider = provider_of(login_file(tmp_path, issuer), world.desk.now_s)
        async with world.client() as browser:
            yield world, browser


async def come_back(browser: httpx.AsyncClient, user: str, then: str = "/") -> httpx.Response:
    """Go to the provider, say there who one is, and come back; return what the console says."""
    going = await browser.get(f"/login/provider?then={then}")
    assert going.status_code == 303, going.text
    async with httpx2.AsyncClient() as elsewhere:
        answer = await elsewhere.get(f"{going.headers['location']}&as={user}")
    assert answer.status_code == 302, answer.text
    return await browser.get(answer.headers["location"], headers=FROM_ELSEWHERE)


async def test_who_has_an_account_comes_in_and_goes_on_to_where_they_wanted(tmp_path: Path, provider: Provider) -> None:
    async with at_login(tmp_path, provider.issuer) as (world, browser):
        assert "/login/provider?then=" in (await browser.get("/login?then=/steer")).text
        back = await come_back(browser, "the-boss", "/steer")
        assert (back.status_code, back.headers["location"]) == (303, "/steer")
        assert (await browser.get("/people")).status_code == 200, "with the role of the account"
        assert [(line.who, line.what, line.about) for line in world.desk.diary.lines()] == [
            ("anna", "login", "by the provider")
        ]


async def test_who_has_no_account_is_told_so_and_stays_outside(tmp_path: Path, provider: Provider) -> None:
    async with at_login(tmp_path, provider.issuer) as (world, browser):
        back = await come_back(browser, "eve")
        assert back.status_code == 401
        assert "ask an admin for one" in back.text
        assert (await browser.get("/")).status_code == 303
        assert [line.what for line in world.desk.diary.lines()] == ["login refused"]


async def test_an_answer_that_this_browser_did_not_ask_for_lets_nobody_in(tmp_path: Path, provider: Provider) -> None:
    async with at_login(tmp_path, provider.issuer) as (world, browser):
        going = await browser.get("/login/provider")
        async with httpx2.AsyncClient() as elsewhere:
            answer = await elsewhere.get(f"{going.headers['location']}&as=the-boss")
        async with world.client() as another:
            assert (await another.get(answer.headers["location"], headers=FROM_ELSEWHERE)).status_code == 401
            await another.get("/login/provider")  # which gives it something of its own to keep
            assert (await another.get(answer.headers["location"], headers=FROM_ELSEWHERE)).status_code == 401
        assert (await browser.get(answer.headers["location"], headers=FROM_ELSEWHERE)).status_code == 303
        again = await browser.get(answer.headers["location"], headers=FROM_ELSEWHERE)
        assert again.status_code == 401, "good once"
        went = await browser.get("/login/provider?then=//evil.example")
        assert "evil" not in went.headers["location"]


async def test_a_provider_that_is_away_is_told_and_passwords_go_on(tmp_path: Path) -> None:
    async with at_login(tmp_path, "http://127.0.0.1:9") as (_, browser):
        away = await browser.get("/login/provider")
        assert away.status_code == 503
        assert 'name="password"' in away.text
    async with without_server(tmp_path / "none") as world, world.client() as browser:
        assert (await browser.get("/login/provider")).status_code == 404
        assert "/login/provider" not in (await browser.get("/login")).text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"{address}"', '"http://console.example"', "console.address"),
        ('= "anna"', '= "anna smith"', "console.people"),
        ('"openid", ', "", "console.oidc.scopes"),
        ('user = "email"', 'usr = "email"', "usr"),
    ],
)
def test_a_wrong_file_is_told_at_its_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    file = login_file(tmp_path, "https://id.example", FILE.replace(old, new))
    with pytest.raises(ConfigError, match=said):
        load_console_login_file(file)
