"""Who asks too often: advice first, then a refusal, and nobody else notices. Time passes when the test says so."""

import json
import random
import re
import secrets
from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from redrush.core.load.buckets import Rate
from redrush.core.steering.switches import ADDRESS_PER_SECOND, USER_PER_SECOND, Snapshot, registry_of
from redrush.http import answers
from redrush.http.asking_limits import QUOTA_EXCEEDED, AskingRules
from redrush.http.client_address import ClientAddresses
from tests.gate.world import CLOSES_US, OPENS_US, Answer, Client, RunningGate, request, running_gate

USER = AskingRules(user=Rate(2, 10))
ADDRESS = AskingRules(address=Rate(2, 4))
FORWARDED_PIECES = (
    b"203.0.113.7", b"::1", b"[2001:db8::1]:80", b",", b", ", b"\t", b"127.0.0.1", b"x", b"\x00", b"\xff", b"[", b"]",
    b":", b"%eth0", b"\r\n", b"\r\nX-Forwarded-For: 1.2.3.4", b"\r", b"\n", b"1" * 300, b"-1",
)  # fmt: skip
LOOPBACK = (ip_network("127.0.0.0/8"),)
PROXIED = AskingRules(address=Rate(2, 4), trusted_proxies=LOOPBACK)
ANY_STATE = "/v1/rounds/r1"


async def _statuses(client: Client, data: bytes, times: int) -> list[int]:
    return [(await client.ask(data)).status for _ in range(times)]


def _from(address: str, method: str = "GET", target: str = ANY_STATE, ticket: str | None = None) -> bytes:
    return request(method, target, ticket, headers=(f"X-Forwarded-For: {address}",))


# -- users


async def test_a_user_who_asks_too_often_is_slowed_and_then_refused_and_others_are_not() -> None:
    async with running_gate(asking=USER, now_us=CLOSES_US) as gate:
        client = await gate.connect()
        answers = [await client.grab("hasty") for _ in range(14)]
        assert [answer.status for answer in answers] == [200] * 10 + [429] * 4
        assert [answer.json.get("interval_ms") for answer in answers[:10]] == [None] * 5 + [2_000] * 5
        assert {answer.outcome for answer in answers[:10]} == {"closed"}
        assert {answer.headers["ratelimit-policy"] for answer in answers[5:]} == {'"user";q=10;w=5'}
        assert (await client.grab("calm")).json == {"outcome": "closed"}
        assert (gate.site.asking.users.slowed, gate.site.asking.users.refused) == (5, 4)


async def test_the_refusal_says_which_limit_and_how_long_to_wait() -> None:
    async with running_gate(asking=USER, now_us=CLOSES_US) as gate:
        client = await gate.connect()
        refused = [await client.grab("hasty") for _ in range(11)][-1]
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.headers["retry-after"], refused.headers["ratelimit"]) == ("3", '"user";r=0;t=3')
        assert refused.headers["date"] == gate.site.date
        assert refused.headers["cache-control"] == "no-store"
        problem = refused.json
        assert (problem["type"], problem["status"], problem["violated-policies"]) == (QUOTA_EXCEEDED, 429, ["user"])
        assert problem["interval_ms"] == 3_000
        assert (await client.ask(request("GET", ANY_STATE))).status == 200, "the connection goes on"


async def test_who_waits_as_told_is_served_again() -> None:
    async with running_gate(asking=USER, now_us=CLOSES_US) as gate:
        client = await gate.connect()
        refused = [await client.grab("hasty") for _ in range(11)][-1]
        gate.advance(int(refused.headers["retry-after"]))
        assert (await client.grab("hasty")).status == 200
        gate.advance(10)
        assert await _statuses(client, gate.grab("hasty"), 11) == [200] * 10 + [429]


async def test_many_connections_of_a_user_have_one_limit() -> None:
    async with running_gate(asking=USER) as gate:
        statuses = [(await (await gate.connect()).grab("hasty")).status for _ in range(12)]
        assert statuses == [200] * 10 + [429] * 2


async def test_a_winner_who_asks_too_often_hears_of_the_grant_later() -> None:
    async with running_gate(asking=USER) as gate:
        client = await gate.connect()
        answers = [await client.grab("alice") for _ in range(11)]
        assert (answers[0].outcome, answers[10].status) == ("granted", 429)
        assert {answer.json["repeat"] for answer in answers[1:10]} == {True}
        assert not any("interval_ms" in answer.json for answer in answers[:10]), "who has won need not ask again"
        gate.advance(3)
        again = await client.grab("alice")
        assert again.json == answers[0].json | {"repeat": True}
        assert gate.store.calls == [("alice",)]


async def test_what_is_read_counts_for_the_user_too_and_what_is_public_does_not() -> None:
    async with running_gate(asking=USER) as gate:
        client = await gate.connect()
        assert await _statuses(client, request("GET", ANY_STATE), 50) == [200] * 50
        own = request("GET", "/v1/grants", gate.ticket("hasty"))
        assert await _statuses(client, own, 11) == [200] * 10 + [429]
        assert (await client.grab("hasty")).status == 429


async def test_advice_is_that_of_whoever_asks_for_more() -> None:
    async with running_gate(asking=AskingRules(user=Rate(0.5, 2)), now_us=OPENS_US - 1) as gate:
        client = await gate.connect()
        await client.grab("hasty")
        slowed = await client.grab("hasty")
        assert (slowed.outcome, slowed.json["interval_ms"]) == ("not_open", 8_000)
        assert slowed.json["opens_at"]


# -- addresses


async def test_an_address_that_asks_too_often_is_refused_whoever_asks() -> None:
    async with running_gate(asking=ADDRESS, now_us=CLOSES_US) as gate:
        clients = [await gate.connect() for _ in range(3)]
        statuses = [(await clients[number % 3].grab(f"u{number}")).status for number in range(6)]
        assert statuses == [200] * 4 + [429] * 2
        refused = await clients[0].ask(request("GET", ANY_STATE))
        assert (refused.status, refused.json["violated-policies"]) == (429, ["address"])
        gate.advance(10)
        assert (await clients[0].ask(request("GET", ANY_STATE))).status == 200


async def test_guessing_tickets_and_paths_counts_for_the_address() -> None:
    async with running_gate(asking=ADDRESS) as gate:
        client = await gate.connect()
        assert await _statuses(client, request("GET", "/nowhere"), 2) == [404] * 2
        assert await _statuses(client, request("POST", "/v1/rounds/r1/grab", "guess"), 4) == [401] * 2 + [429] * 2


PROBES = ("GET /livez", "HEAD /livez", "OPTIONS /livez", "OPTIONS /")


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("rules", [ADDRESS, PROXIED], ids=["a stranger", "a proxy of ours"])
async def test_a_balancer_at_its_limit_still_hears_that_the_gate_is_alive(rules: AskingRules, probe: str) -> None:
    method, target = probe.split()
    async with running_gate(asking=rules, now_us=CLOSES_US) as gate:
        client = await gate.connect()
        assert await _statuses(client, request("GET", ANY_STATE), 6) == [200] * 4 + [429] * 2
        for _ in range(3):  # the first teaches the head, the others take the short way
            await client.send(request(method, target))
            told = await client.answer(to_head=method != "GET")
            assert told.status == (204 if method == "OPTIONS" else 200)
        assert (await client.ask(request("GET", ANY_STATE))).status == 429, "what is no probe has its limit"
        assert gate.site.asking.addresses.refused == 3, "who was answered was not refused"


async def test_advice_never_stands_in_an_answer_that_is_for_everybody() -> None:
    async with running_gate(asking=ADDRESS) as gate:
        client = await gate.connect()
        answers = [await client.ask(request("GET", ANY_STATE)) for _ in range(4)]
        assert len({answer.raw for answer in answers}) == 1
        assert gate.site.asking.addresses.slowed == 2


@pytest.mark.parametrize("forged", ["203.0.113.{}", "127.0.0.{}", "::1:{}", "garbage {}"])
async def test_a_header_of_a_stranger_changes_nothing(forged: str) -> None:
    async with running_gate(asking=ADDRESS) as gate:
        client = await gate.connect()
        statuses = [(await client.ask(_from(forged.format(number)))).status for number in range(6)]
        assert statuses == [200] * 4 + [429] * 2


async def test_behind_a_proxy_of_ours_each_client_has_a_limit_of_its_own() -> None:
    async with running_gate(asking=PROXIED, now_us=CLOSES_US) as gate:
        proxy, another = await gate.connect(), await gate.connect()
        for number in range(8):
            address = f"203.0.113.{number}"
            assert (
                await _statuses(proxy, _from(address, "POST", "/v1/rounds/r1/grab", gate.ticket("u")), 2) == [200] * 2
            )
            assert await _statuses(another, _from(f"198.51.100.66, {address}"), 3) == [200, 200, 429]


async def test_what_a_proxy_passes_on_takes_the_short_way_whoever_asks() -> None:
    async with running_gate(asking=PROXIED, now_us=CLOSES_US) as gate:
        proxy = await gate.connect()
        for number in range(20):
            grab = _from(f"203.0.113.{number}", "POST", "/v1/rounds/r1/grab", gate.ticket(f"u{number}"))
            assert await _statuses(proxy, grab, 5) == [200] * 4 + [429]
        assert len(gate.site.known_heads) == 1


@pytest.mark.parametrize("spelling", ["{}", "{}, 127.0.0.9", "198.51.100.66, {}", "{}:4711"])
async def test_the_short_way_counts_the_same_client_as_the_long_one(spelling: str) -> None:
    async with running_gate(asking=PROXIED) as gate:
        proxy = await gate.connect()
        data = _from(spelling.format("203.0.113.7"))
        assert await _statuses(proxy, data, 2) == [200] * 2
        await proxy.send_in_pieces(data[:30], data[30:])
        assert (await proxy.answer()).status == 200
        assert await _statuses(proxy, data, 2) == [200, 429]


HIDDEN = [
    ("x-forwarded-for: 203.0.113.1",),
    ("X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 203.0.113.{}"),
    ("X-Forwarded-For: 203.0.113.1", "x-forwarded-for: 203.0.113.{}"),
    ("X-Forwarded-For: ", "x-forwarded-for: 203.0.113.{}"),
    ("X-Forwarded-For:203.0.113.{}",),
]


@pytest.mark.parametrize("lines", HIDDEN)
async def test_a_head_learned_with_one_client_is_never_served_for_another(lines: Sequence[str]) -> None:
    """However the lines are spelled, and whoever sent them first: a stranger, or another proxy."""
    stranger_too = AskingRules(address=Rate(1_000, 1_000), trusted_proxies=LOOPBACK)
    async with running_gate(asking=stranger_too) as gate:
        proxy = await gate.connect()
        seen = ClientAddresses(LOOPBACK)
        counted: list[int] = []
        buckets = gate.site.asking.addresses.buckets
        assert buckets is not None
        gate.site.asking.addresses.buckets = Recording(buckets, counted)  # type: ignore[assignment]
        for number in (1, 2, 3, 2, 1):
            headers = tuple(line.format(number) for line in lines)
            for _ in range(2):
                assert (await proxy.ask(request("GET", ANY_STATE, headers=headers))).status == 200
                address = ",".join(header.partition(":")[2].strip() for header in headers)
                expected = seen.of_forwarded(address.strip(",").encode())
                assert counted.pop() == hash(expected)


def _chunked(lines: Sequence[str], trailer: Sequence[str]) -> bytes:
    head = ["POST /v1/rounds/r1/grab HTTP/1.1", "host: x", "transfer-encoding: chunked"]
    return "\r\n".join([*head, *lines, "", "0", *trailer, "", ""]).encode()


@pytest.mark.parametrize("learned_with", [True, False])
async def test_a_trailer_decides_neither_who_asks_nor_whose_address_is_counted(learned_with: bool) -> None:
    rules = AskingRules(address=Rate(1, 20), trusted_proxies=LOOPBACK)
    async with running_gate(asking=rules) as gate:
        proxy = await gate.connect()
        ticket = f"authorization: Bearer {gate.ticket('alice')}"
        if learned_with:
            for _ in range(2):
                await proxy.ask(_chunked([ticket, "x-forwarded-for: 203.0.113.1"], []))
        seen = []
        for number in range(200):
            trailer = [ticket, f"A{ticket[1:]}", f"x-forwarded-for: 203.0.113.{number}"]
            trailer.append(f"X-Forwarded-For: 203.0.113.{number}")
            seen.append((await proxy.ask(_chunked([], trailer))).status)
        assert seen == [401] * 20 + [429] * 180, "nobody's ticket, and the proxy's own address"
        for number in range(200):
            lines = [ticket, "x-forwarded-for: 198.51.100.1"]
            trailer = [f"X-Forwarded-For: 203.0.113.{number}", f"x-forwarded-for: 203.0.113.{number}"]
            seen.append((await proxy.ask(_chunked(lines, trailer))).status)
        assert seen[200:] == [200] * 20 + [429] * 180


@pytest.mark.parametrize(
    "inside",
    [
        "\n",
        "\0",
        "\r",
        "\nTransfer-Encoding: chunked",
        "\rTransfer-Encoding: chunked",
        "\0Transfer-Encoding: chunked",
        "\x01",
        "\x7f",
        "\r\n folded",
    ],
)
async def test_a_list_of_addresses_hides_nothing(inside: str) -> None:
    async with running_gate(asking=PROXIED) as gate:
        for spelled in ("X-Forwarded-For", "x-forwarded-for"):
            proxy = await gate.connect()
            for number in range(3):
                line = f"{spelled}: 203.0.113.{number}"
                assert (await proxy.ask(request("GET", ANY_STATE, headers=(line,)))).status == 200
            for line in (f"{spelled}: {inside}203.0.113.9", f"{spelled}: 203.0.113.9{inside}"):
                attacker = await gate.connect()
                await attacker.send(request("GET", ANY_STATE, headers=(line,)))
                attacker.end_sending()
                assert [answer.status for answer in await attacker.answers_until_closed()] == [400]


class Recording:
    """Buckets that note whom they count."""

    def __init__(self, buckets: object, counted: list[int]) -> None:
        self._buckets = buckets
        self._counted = counted

    def take(self, digest: int, now_s: float) -> int:
        self._counted.append(digest)
        return self._buckets.take(digest, now_s)  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("garbage", ["", "unknown", "203.0.113.7, x", "203.0.113.7,", "\xff", "1" * 5_000])
async def test_what_a_proxy_says_that_makes_no_sense_counts_for_the_proxy(garbage: str) -> None:
    async with running_gate(asking=PROXIED) as gate:
        proxy = await gate.connect()
        assert await _statuses(proxy, _from(garbage), 5) == [200] * 4 + [429]
        assert await _statuses(proxy, request("GET", ANY_STATE), 1) == [429], "as without the header"
        assert (await proxy.ask(_from("203.0.113.9"))).status == 200


async def test_forwarded_headers_of_every_kind_leave_the_gate_well() -> None:
    seed = secrets.randbits(32)
    draw = random.Random(seed)
    async with running_gate(asking=AskingRules(address=Rate(1e5, 10_000), trusted_proxies=LOOPBACK)) as gate:
        head = _from("HERE", "POST", "/v1/rounds/r1/grab", gate.ticket("alice"))
        for _ in range(2_000):
            value = b"".join(draw.choices(FORWARDED_PIECES, k=draw.randrange(6)))
            client = await gate.connect()
            data = head.replace(b"HERE", value)
            await client.send(data)
            client.end_sending()
            for answer in await client.answers_until_closed():
                _check_form(answer, seed)
            client.leave()
        assert gate.store.calls == [("alice",)]
        await gate.still_serves()


def _check_form(answer: Answer, seed: int) -> None:
    assert answer.status in {200, 400, 401}, f"REDRUSH seed {seed}: {answer.raw!r}"
    kind = "application/json" if answer.status == 200 else "application/problem+json"
    assert (answer.headers["content-type"], type(answer.json)) == (kind, dict), f"seed {seed}"


# -- connections


async def test_an_address_may_have_so_many_connections_and_no_more() -> None:
    async with running_gate(asking=AskingRules(connections_per_address_max=2)) as gate:
        inside = [await gate.connect() for _ in range(2)]
        for client in inside:
            await client.ask(request("GET", "/livez"))
        for _ in range(3):
            outside = await gate.connect()
            await outside.send(request("GET", "/livez"))
            (refusal,) = await outside.answers_until_closed()
            outside.leave()
            assert (refusal.status, refusal.headers["retry-after"]) == (429, "2")
        inside.pop().leave()
        await gate.connected(1)
        assert (await (await gate.connect()).ask(request("GET", "/livez"))).status == 200
        assert gate.site.counts["address_connections"] == 3


async def test_a_proxy_of_ours_may_have_any_number_of_connections() -> None:
    rules = AskingRules(connections_per_address_max=2, trusted_proxies=LOOPBACK)
    async with running_gate(asking=rules) as gate:
        for _ in range(5):
            assert (await (await gate.connect()).ask(request("GET", "/livez"))).status == 200


async def test_connections_that_ended_are_not_remembered() -> None:
    async with running_gate(asking=AskingRules(connections_per_address_max=2)) as gate:
        client = await gate.connect()
        await client.ask(request("GET", "/livez"))
        assert len(gate.site.asking._connections) == 1
        client.leave()
        await gate.connected(0)
        assert not gate.site.asking._connections


# -- switches


def _set(gate: RunningGate, **values: float | str) -> None:
    names = {"user": USER_PER_SECOND, "address": ADDRESS_PER_SECOND}
    registry = registry_of([(round_.id, None) for round_ in gate.campaign.rounds], [])
    defaults = {name: switch.default for name, switch in registry.items()}
    gate.gate.switches.apply(Snapshot(1, defaults | {names[name]: value for name, value in values.items()}))


async def test_an_operator_may_set_both_limits_and_take_that_back() -> None:
    async with running_gate(asking=USER, now_us=CLOSES_US) as gate:
        client = await gate.connect()
        _set(gate, user=1_000.0)
        assert await _statuses(client, gate.grab("a"), 10) == [200] * 10
        gate.advance(1)
        assert await _statuses(client, gate.grab("a"), 10) == [200] * 10, "a thousand a second"
        _set(gate, address=1.0)
        gate.advance(10)
        assert await _statuses(client, request("GET", ANY_STATE), 3) == [200, 200, 429]
        _set(gate)
        assert await _statuses(client, request("GET", ANY_STATE), 30) == [200] * 30
        assert await _statuses(client, gate.grab("b"), 11) == [200] * 10 + [429]


async def test_the_same_snapshot_again_forgets_nothing() -> None:
    async with running_gate(asking=USER, now_us=CLOSES_US) as gate:
        client = await gate.connect()
        assert await _statuses(client, gate.grab("a"), 10) == [200] * 10
        _set(gate)
        assert await _statuses(client, gate.grab("a"), 1) == [429]


async def test_every_form_of_an_answer_with_advice_is_whole() -> None:
    async with running_gate(asking=AskingRules(user=Rate(1, 2)), now_us=OPENS_US - 1) as gate:
        client = await gate.connect()
        for path in ("/v1/rounds/r1/grab", "/v1/rounds/r2/grab"):
            user = re.sub(r"\W", "", path)
            plain, advised = [await client.ask(request("POST", path, gate.ticket(user))) for _ in range(2)]
            assert advised.json == plain.json | {"interval_ms": 4_000}
            assert int(advised.headers["content-length"]) == len(advised.body)


def test_who_is_slowed_under_overload_is_told_one_interval_the_longer_one() -> None:
    advice = f"RateLimit: x\r\n{answers.INTERVAL_HEADER}: 2000\r\n"
    for overloaded_ms, told_ms in ((5_000, 5_000), (1_000, 2_000)):
        head, _, body = answers.advising(answers.overloaded(overloaded_ms), 2_000, advice).partition(b"\r\n\r\n")
        lines = [line for line in head.decode().split("\r\n") if line.startswith(answers.INTERVAL_HEADER)]
        assert lines == [f"{answers.INTERVAL_HEADER}: {told_ms}"]
        assert json.loads(body)["interval_ms"] == told_ms
        assert head.count(b"\r\nRateLimit: x") == 1
