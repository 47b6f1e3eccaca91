"""Logging in with a real provider on loopback: the whole way, what is refused, and what nobody gets to see."""

import base64
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from redrush.config.login_file import load_login_file
from redrush.errors import ConfigError
from redrush.login.app import Logins
from tests.login.logins import HOST, PAGE, Browser, browser_at, handed_over, login_file, query_of, ticket_of
from tests.login.provider import Provider


def test_who_logs_in_comes_back_to_the_page_with_a_ticket_that_a_gate_takes(ann: Browser) -> None:
    page, ticket = ann.logs_in("ann")
    assert page == PAGE
    stated = ticket_of(ticket)
    assert stated is not None
    assert (stated.user, stated.expires_s) == ("ann", ann.now_s[0] + 7_200)


def test_people_go_back_to_the_page_that_they_came_from(ann: Browser) -> None:
    page, _ = ann.logs_in("ann", "/login?to=http://127.0.0.1:8080/c/other%3Fa=1")
    assert page == "http://127.0.0.1:8080/c/other?a=1"


@pytest.mark.parametrize(
    "to",
    ["http://evil.example/", "http://127.0.0.1:8080.evil.example/", "//evil.example/", "javascript:alert(1)",
     "http://127.0.0.1:8081/", "http://127.0.0.1:8080%5C@evil.example/", "http://ann@127.0.0.1:8080/"],
)  # fmt: skip
def test_nobody_is_sent_elsewhere_with_a_ticket(ann: Browser, to: str) -> None:
    answer = ann.client.get(f"/login?to={to}", follow_redirects=False)
    assert answer.status_code == 400
    assert "login.pages" in answer.text
    assert "location" not in answer.headers


def test_state_nonce_and_a_challenge_go_along_and_are_new_each_time(ann: Browser) -> None:
    asked = [query_of(ann.begins()) for _ in range(2)]
    for one in asked:
        assert one["code_challenge_method"] == "S256"
        assert one["redirect_uri"] == f"{HOST}/login/back"
        assert all(len(one[name]) >= 43 for name in ("state", "nonce", "code_challenge"))
    assert all(asked[0][name] != asked[1][name] for name in ("state", "nonce", "code_challenge"))


def test_the_ticket_stands_in_no_address_and_no_header(ann: Browser) -> None:
    url = ann.begins()
    answer = ann.comes_back(url)
    _, ticket = handed_over(answer.text)
    mac = ticket.rpartition(".")[2]
    assert mac not in str(answer.url)
    assert all(mac not in value for value in answer.headers.values())
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    script = answer.text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in answer.headers["content-security-policy"]


def test_cookies_are_for_the_login_alone_and_cannot_be_read(ann: Browser) -> None:
    began = ann.client.get("/login", follow_redirects=False)
    back = ann.comes_back(began.headers["location"])
    cookies = began.headers.get_list("set-cookie") + back.headers.get_list("set-cookie")
    assert len(cookies) == 3  # of the way there, its end, and the session
    assert all("HttpOnly" in cookie and "SameSite=lax" in cookie for cookie in cookies)
    assert sorted({cookie.partition("Path=")[2].partition(";")[0] for cookie in cookies}) == [
        "/login/back",
        "/login/renew",
    ]
    assert all("ann" not in cookie.partition(";")[0] for cookie in cookies)


def test_two_tabs_log_in_at_the_same_time(ann: Browser) -> None:
    one, other = ann.begins(), ann.begins()
    assert ann.comes_back(other).status_code == 200
    assert ann.comes_back(one).status_code == 200


def refused(ann: Browser, answer: Any, why: str) -> None:
    assert answer.status_code == 400, answer.text
    assert why in answer.text
    assert 'href="/login"' in answer.text, "and there is a way to try again"
    assert ann.renews().status_code == 401, "and nobody is logged in"


def test_a_login_that_was_begun_elsewhere_is_refused(ann: Browser, provider: Provider, tmp_path: Path) -> None:
    with browser_at(tmp_path / "login.toml", ann.now_s[0]) as mallory:
        callback = httpx2.get(f"{mallory.begins()}&as=mallory").headers["location"]
    refused(ann, ann.client.get(callback, follow_redirects=False), "another browser")


def test_a_state_that_was_changed_is_refused(ann: Browser) -> None:
    back = httpx2.get(f"{ann.begins()}&as=ann").headers["location"]
    state = query_of(back)["state"]
    refused(ann, ann.client.get(back.replace(state, f"{state[:-1]}~")), "not the login that was begun")


def test_ten_minutes_at_the_provider_are_the_most(ann: Browser) -> None:
    url = ann.begins()
    ann.now_s[0] += 601
    refused(ann, ann.comes_back(url), "more than ten minutes ago")


def test_a_code_is_of_no_use_a_second_time(ann: Browser) -> None:
    url = ann.begins()
    kept = dict(ann.client.cookies)
    back = httpx2.get(f"{url}&as=ann").headers["location"]
    assert ann.client.get(back).status_code == 200
    ann.client.cookies.clear()
    ann.client.cookies.update(kept)
    refused(ann, ann.client.get(back), "took the code back")


def test_who_is_refused_by_the_provider_is_told_so(ann: Browser) -> None:
    back = httpx2.get(f"{ann.begins()}&as=nobody").headers["location"]
    assert query_of(back)["error"] == "access_denied"
    refused(ann, ann.client.get(back), "the provider refused")


def test_an_answer_that_names_another_provider_is_refused(ann: Browser) -> None:
    back = httpx2.get(f"{ann.begins()}&as=ann").headers["location"]
    refused(ann, ann.client.get(f"{back}&iss=https://evil.example"), "of another provider")


SPOILED: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("of another nonce", lambda claims: claims.update(nonce="x" * 48)),
    ("without a nonce", lambda claims: claims.pop("nonce")),
    ("for another client", lambda claims: claims.update(aud=["other"])),
    ("for another client, which names us", lambda claims: claims.update(aud=["other"], azp="hongbao")),
    ("of another provider", lambda claims: claims.update(iss="https://evil.example")),
    ("long expired", lambda claims: claims.update(exp=int(time.time()) - 300)),
    ("of another access token", lambda claims: claims.update(at_hash="AAAAAAAAAAAAAAAAAAAAAA")),
    ("of nobody", lambda claims: claims.pop("sub")),
]


@pytest.mark.parametrize(("what", "spoil"), SPOILED, ids=[what for what, _ in SPOILED])
def test_an_id_token_that_is_not_right_is_refused(
    ann: Browser, provider: Provider, what: str, spoil: Callable[[dict[str, Any]], None]
) -> None:
    provider.spoiled = spoil
    refused(ann, ann.comes_back(ann.begins()), "the ID token is not good")


def test_an_id_token_without_a_signature_is_refused_though_the_provider_says_that_it_has_such(
    ann: Browser, provider: Provider
) -> None:
    provider.unsigned = True
    refused(ann, ann.comes_back(ann.begins()), "the ID token is not good")


def test_keys_that_the_provider_has_turned_are_fetched_anew(
    ann: Browser, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redrush.login.oidc.KEYS_AGAIN_S", 0.0)
    ann.logs_in()
    provider.turn_keys()
    ann.logs_in()


def test_a_claim_that_is_not_in_the_id_token_is_asked_for(provider: Provider, tmp_path: Path) -> None:
    with browser_at(login_file(tmp_path, provider.issuer, user="staff_id"), int(time.time())) as ann:
        stated = ticket_of(ann.logs_in("ann")[1])
    assert stated is not None
    assert stated.user == "S-ann"


def test_an_address_that_is_not_verified_names_nobody(provider: Provider, tmp_path: Path) -> None:
    with browser_at(login_file(tmp_path, provider.issuer, user="email"), int(time.time())) as ann:
        stated = ticket_of(ann.logs_in("ann")[1])
        assert stated is not None
        assert stated.user == "ann@example.com"
        provider.email_verified = False
        ann.client.cookies.clear()
        refused(ann, ann.comes_back(ann.begins()), "not verified")


def test_a_claim_that_the_provider_does_not_know_is_told(provider: Provider, tmp_path: Path) -> None:
    with browser_at(login_file(tmp_path, provider.issuer, user="badge"), int(time.time())) as ann:
        refused(ann, ann.comes_back(ann.begins()), "badge")


def test_who_is_logged_in_has_new_tickets_until_the_session_ends(ann: Browser) -> None:
    ann.logs_in("ann")
    ann.now_s[0] += 7_000
    answer = ann.renews()
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "http://127.0.0.1:8080"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["cache-control"] == "no-store"
    stated = ticket_of(answer.json()["ticket"])
    assert stated is not None
    assert (stated.user, stated.expires_s) == ("ann", ann.now_s[0] + 7_200)
    ann.now_s[0] += 12 * 3_600
    assert ann.renews().status_code == 401


def test_a_page_of_somebody_else_has_nothing_renewed(ann: Browser) -> None:
    ann.logs_in("ann")
    answer = ann.renews("https://evil.example")
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert ann.renews(None).status_code == 200, "of the same origin, where some browsers name none"


def test_a_provider_that_is_away_is_told_kindly(tmp_path: Path) -> None:
    provider = Provider(f"{HOST}/login/back")
    provider.stop()
    with browser_at(login_file(tmp_path, provider.issuer), int(time.time())) as ann:
        answer = ann.client.get("/login")
    assert answer.status_code == 503
    assert "cannot be reached for now" in answer.text
    assert "Try again" in answer.text


def test_a_provider_that_calls_itself_otherwise_is_of_no_use(provider: Provider, tmp_path: Path) -> None:
    other = provider.issuer.replace("127.0.0.1", "localhost")
    with browser_at(login_file(tmp_path, other), int(time.time())) as ann:
        assert ann.client.get("/login").status_code == 503


def test_a_login_without_its_key_does_not_start(provider: Provider, tmp_path: Path) -> None:
    file = login_file(tmp_path, provider.issuer)
    (tmp_path / "key.json").unlink()
    with pytest.raises(ConfigError, match=r"key\.json: cannot be read"):
        Logins(load_login_file(file))
