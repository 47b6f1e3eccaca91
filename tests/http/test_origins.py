"""HEAD and OPTIONS on public paths, and pages of other origins: what browsers and load balancers ask for first."""

import json
from typing import Final

import pytest

from redrush.config import parse_campaign
from redrush.core.load.buckets import Rate
from redrush.errors import ConfigError
from redrush.http.asking_limits import AskingRules
from redrush.http.reader import Limits
from tests.gate.world import CLOSES_US, request, running_gate
from tests.http.test_control_port import TEXT

PAGE: Final = "https://hongbao.example"
OTHER: Final = "https://elsewhere.example"
OPEN: Final = Limits(origins=(PAGE, "http://localhost:5173"))
GRAB: Final = "/v1/rounds/r1/grab"


def _from(origin: str) -> tuple[str, ...]:
    return (f"Origin: {origin}",)


def _preflight(origin: str, target: str) -> bytes:
    asked = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization")
    return request("OPTIONS", target, headers=(*_from(origin), *asked))


@pytest.mark.parametrize(
    "line", ["OPTIONS / HTTP/1.0\r\n\r\n", "OPTIONS /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]
)
async def test_who_asks_what_may_be_asked_is_told(line: str) -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        await client.send(line.encode())
        head = await client.rest()
        assert head.startswith(b"HTTP/1.1 204 No Content\r\n")
        assert b"\r\nAllow: " in head
        assert head.endswith(b"\r\n\r\n")
        assert b"Content-Length" not in head


async def test_head_of_what_is_public_is_its_get_without_a_body() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        for path in ("/livez", "/v1/rounds", "/v1/rounds/r1", "/v1/policy"):
            for _ in range(3):  # the long way, and the short one
                await client.send(request("HEAD", path))
                head = await client.answer(to_head=True)
                assert (head.status, head.body) == (200, b"")
                got = await client.ask(request("GET", path))
                assert head.headers == got.headers


async def test_head_over_http_1_0_is_answered_and_ended() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        await client.send(b"HEAD /livez HTTP/1.0\r\n\r\n")
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n")


async def test_who_is_refused_for_asking_too_often_with_head_gets_no_body() -> None:
    async with running_gate(asking=AskingRules(address=Rate(1, 2))) as gate:
        client = await gate.connect()
        for status in (200, 200, 429, 429):
            await client.send(request("HEAD", "/v1/rounds"))
            answer = await client.answer(to_head=True)
            assert (answer.status, client._received) == (status, b"")


async def test_the_rounds_are_listed_with_their_states() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        listed = (await client.ask(request("GET", "/v1/rounds"))).json
        one = (await client.ask(request("GET", "/v1/rounds/r1"))).json
        assert [round_["round"] for round_ in listed["rounds"]] == ["r1", "r2"]
        assert listed["rounds"][0] == one
        assert [round_["state"] for round_ in listed["rounds"]] == ["open", "not_open"]
        gate.at(CLOSES_US)
        assert (await client.ask(request("GET", "/v1/rounds"))).json["rounds"][0]["state"] == "closed"


async def test_a_page_that_is_named_may_claim() -> None:
    async with running_gate(limits=OPEN) as gate:
        client = await gate.connect()
        await client.send(_preflight(PAGE, GRAB))
        allowed = (await client.answer(to_head=True)).headers
        assert allowed["access-control-allow-origin"] == PAGE
        assert allowed["vary"] == "Origin"
        assert "POST" in allowed["access-control-allow-methods"]
        assert {"authorization", "content-type"} <= set(allowed["access-control-allow-headers"].lower().split(", "))
        for user in ("alice", "alice", "bob"):  # parked, answered from memory, and by a known head
            answer = await client.ask(request("POST", GRAB, gate.ticket(user), headers=_from(PAGE)))
            assert answer.outcome == "granted"
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert "Retry-After" in answer.headers["access-control-expose-headers"]


async def test_a_page_that_is_not_named_may_not() -> None:
    async with running_gate(limits=OPEN) as gate:
        client = await gate.connect()
        for origin in (OTHER, "null", f"{PAGE}.elsewhere.example", PAGE.upper()):
            await client.send(_preflight(origin, GRAB))
            preflight = await client.answer(to_head=True)
            answer = await client.ask(request("POST", GRAB, gate.ticket("alice"), headers=_from(origin)))
            public = await client.ask(request("GET", "/v1/rounds/r1", headers=_from(origin)))
            for got in (preflight, answer, public):
                assert "access-control-allow-origin" not in got.headers
            assert public.headers["vary"] == "Origin", "or a cache would give it to a page that may"


async def test_a_page_can_read_why_it_was_refused() -> None:
    async with running_gate(limits=OPEN, asking=AskingRules(address=Rate(1, 6))) as gate:
        client = await gate.connect()
        cases = [("POST", "/nowhere"), ("GET", GRAB), ("POST", GRAB), ("GET", "/v1/rounds/r1")]
        seen = []
        for method, target in cases * 2:
            answer = await client.ask(request(method, target, headers=_from(PAGE)))
            assert answer.headers["access-control-allow-origin"] == PAGE
            seen.append(answer.status)
        assert seen == [404, 405, 401, 200, 404, 405, 429, 429]
        broken = await client.ask(request("GET", f"/livez?{'x' * 20_000}", headers=_from(PAGE)))
        assert (broken.status, broken.headers["access-control-allow-origin"]) == (431, "*")


async def test_a_page_can_read_that_its_claim_was_not_decided_in_time() -> None:
    async with running_gate(limits=OPEN) as gate:
        gate.store.hold()
        client = await gate.connect()
        await client.send(request("POST", GRAB, gate.ticket("alice"), headers=_from(PAGE)))
        await gate.asked(1)
        gate.advance(7)
        (slow,) = await client.answers_until_closed()
        assert (slow.status, slow.headers["access-control-allow-origin"]) == (503, "*")


async def test_without_origins_nobody_is_told_of_any() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        for method, target in (("POST", GRAB), ("GET", "/v1/rounds/r1"), ("GET", "/nowhere")):
            answer = await client.ask(request(method, target, gate.ticket("a"), headers=_from(PAGE)))
            assert not {"vary", "access-control-allow-origin"} & set(answer.headers)
        assert (await client.ask(_preflight(PAGE, GRAB))).status == 405


@pytest.mark.parametrize(
    "wrong",
    ["https://page.example/", "page.example", "*", "https://Page.example", "https://page.example:443", "ftp://x"],
)
def test_what_is_no_origin_is_told_at_its_key(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"c.toml:\d+: gate.origins: .* is not an origin as browsers write it"):
        parse_campaign(f"{TEXT}[gate]\norigins = {json.dumps([wrong])}\n", "c.toml")


def test_origins_of_the_file_are_taken_as_they_are() -> None:
    file = parse_campaign(
        f'{TEXT}[gate]\norigins = ["{PAGE}", "http://localhost:5173", "http://[::1]:8000"]\n', "c.toml"
    )
    assert file.gate.origins == (PAGE, "http://localhost:5173", "http://[::1]:8000")
