"""nginx and HAProxy as shipped, before real gates: everybody is answered, nothing is asked twice that should not be."""

import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPSConnection
from pathlib import Path
from typing import Final

import msgspec
import pytest
import yaml

from redrush.core.identity.proof_of_work import Challenge, tries
from redrush.core.load.client_policy import ClientPolicy
from redrush.operate.establishing import establish_sets
from tests.conftest import Databases
from tests.deploy.machines import Machines
from tests.deploy.proxies import Answer, Behind, Front, Proxy, call, fronting
from tests.deploy.servers import Gate, Witness, serving, start, tickets
from tests.openapi import DOCUMENT

pytestmark = [pytest.mark.peers, pytest.mark.parametrize("proxy", list(Proxy))]

PACKET = "0123456789abcdef" * 2

PROBLEM = "application/problem+json"


@contextmanager
def _witnesses(*, hangs_up: bool = False, cache_control: str = "no-store") -> Iterator[tuple[Witness, Witness]]:
    pair = (
        Witness(hangs_up=hangs_up, cache_control=cache_control),
        Witness(hangs_up=hangs_up, cache_control=cache_control),
    )
    try:
        yield pair
    finally:
        for witness in pair:
            witness.close()


def _behind_witnesses(pair: tuple[Witness, Witness]) -> Behind:
    ports = pair[0].port, pair[1].port
    return Behind(gates=ports, controls=ports, query=ports[0], query_control=ports[0])


def _behind_gates(gates: list[Gate]) -> Behind:
    """Two gates and a third process in the place of the query process: it, too, answers for grants."""
    return Behind(
        gates=(gates[0].port, gates[1].port),
        controls=(gates[0].control_port, gates[1].control_port),
        query=gates[2].port,
        query_control=gates[2].control_port,
    )


def _is_told_to_ask_again(answer: Answer) -> bool:
    return (
        answer.status == 503
        and answer.headers["content-type"] == PROBLEM
        and int(answer.headers["retry-after"]) > 0
        and json.loads(answer.body)["status"] == 503
    )


def test_when_a_gate_is_killed_everybody_is_still_answered(proxy: Proxy, tmp_path: Path) -> None:
    with serving(tmp_path, 3) as (gates, data), fronting(proxy, tmp_path / "proxy", _behind_gates(gates)) as front:
        users = [f"u{number}" for number in range(200)]
        ticket_of = dict(zip(users, tickets(data, users), strict=True))
        under_way = threading.Event()

        def grab_until_answered(user: str) -> int:
            for asked in range(1, 6):
                answer = front.grab(ticket_of[user])
                under_way.set()
                if answer.status == 200:
                    assert json.loads(answer.body)["outcome"] == "granted"
                    return asked
                assert _is_told_to_ask_again(answer), answer
            raise AssertionError(f"{user} was told to ask again five times")

        with ThreadPoolExecutor(8) as crowd:
            answered = [crowd.submit(grab_until_answered, user) for user in users]
            under_way.wait()
            gates[1].kill()
            asked = [future.result() for future in answered]
        # Who was with the gate that died is told so; who comes later does not notice.
        assert sum(asked) <= len(users) + 8
        assert [grab_until_answered(user) for user in users[:20]] == [1] * 20


def test_who_grabs_again_after_the_death_of_their_gate_is_given_the_same_packet_by_another(
    proxy: Proxy, tmp_path: Path, databases: Databases
) -> None:
    """Why asking again is safe, whoever does it: all gates ask the same stores, and a grant belongs to the user."""
    machines = Machines(tmp_path, databases.fresh())
    with machines.up(0, 1), ExitStack() as stack:
        establish_sets(machines.deployment)
        gates = []
        for number in range(2):
            command = ["gate", "--deploy", str(machines.file), "--port", "0", "--control-port", "0"]
            gates.append(start(command, tmp_path / f"gate{number}.log"))
            stack.callback(gates[-1].kill)
        behind = Behind(
            gates=(gates[0].port, gates[1].port),
            controls=(gates[0].control_port, gates[1].control_port),
            query=gates[0].port,
            query_control=gates[0].control_port,
        )
        front = stack.enter_context(fronting(proxy, tmp_path / "proxy", behind))
        owned = tickets(machines.data, [f"u{number}" for number in range(20)])
        first = [json.loads(front.grab(ticket).body) for ticket in owned]
        assert {(answer["outcome"], answer["repeat"]) for answer in first} == {("granted", False)}
        gates[0].kill()
        again = [json.loads(front.grab(ticket).body) for ticket in owned]
        assert [answer["grant"] for answer in again] == [answer["grant"] for answer in first]
        assert {answer["repeat"] for answer in again} == {True}
        mine = front.call("GET", "/v1/grants", {"Authorization": f"Bearer {owned[0]}"})
        assert json.loads(mine.body)["grants"] == [first[0]["grant"]]


def test_the_client_policy_comes_through(proxy: Proxy, tmp_path: Path) -> None:
    with serving(tmp_path, 3) as (gates, _), fronting(proxy, tmp_path / "proxy", _behind_gates(gates)) as front:
        answer = front.call("GET", "/v1/policy", {})
    assert answer.status == 200
    assert msgspec.json.decode(answer.body, type=ClientPolicy) == ClientPolicy()


def test_a_ticket_can_be_exchanged_at_any_gate_behind_the_proxy(proxy: Proxy, tmp_path: Path) -> None:
    work = '[tickets]\nproof_of_work = true\nmax_number = 100\nrest = "0s"\n'
    with serving(tmp_path, 3, work) as (gates, data), fronting(proxy, tmp_path / "p", _behind_gates(gates)) as front:
        (ticket,) = tickets(data, ["alice"])
        mine = {"Authorization": f"Bearer {ticket}"}
        challenge = msgspec.json.decode(front.call("GET", "/v1/challenge", mine).body, type=Challenge)
        body = msgspec.json.encode({"altcha": list(tries(challenge, 1_000))[-1]})
        sold = front.call("POST", "/v1/ticket", mine | {"Content-Type": "application/json"}, body)
        assert sold.status == 200, sold.body
        assert json.loads(front.grab(json.loads(sold.body)["ticket"]).body)["outcome"] == "granted"


def test_grants_come_from_the_query_process_and_from_the_gates_when_it_is_gone(proxy: Proxy, tmp_path: Path) -> None:
    with serving(tmp_path, 3) as (gates, data), fronting(proxy, tmp_path / "proxy", _behind_gates(gates)) as front:
        owned = [{"Authorization": f"Bearer {ticket}"} for ticket in tickets(data, [f"u{n}" for n in range(8)])]
        assert {front.call("POST", "/v1/rounds/r1/grab", mine).status for mine in owned} == {200}
        # Each gate of this test has a store of its own, so the answers tell who gave them.
        assert {front.call("GET", "/v1/grants", mine).body for mine in owned[:4]} == {b'{"grants":[]}'}
        gates[2].kill()
        gates[1].kill()
        found = [json.loads(front.call("GET", "/v1/grants", mine).body)["grants"] for mine in owned]
        assert any(found)
        gates[0].kill()
        assert _is_told_to_ask_again(front.call("GET", "/v1/grants", owned[0]))
        assert _is_told_to_ask_again(front.call("POST", "/v1/rounds/r1/grab", owned[0]))


def test_grants_come_from_the_gates_while_the_records_are_away(proxy: Proxy, tmp_path: Path) -> None:
    query = Witness(status="503 Service Unavailable")
    try:
        with _witnesses() as pair:
            ports = pair[0].port, pair[1].port
            behind = Behind(gates=ports, controls=ports, query=query.port, query_control=query.port)
            with fronting(proxy, tmp_path / "proxy", behind) as front:
                answers = [front.call("GET", "/v1/grants", {"Authorization": f"Bearer t{n}"}) for n in range(20)]
        assert {answer.status for answer in answers} == {200}
        assert query.heads
    finally:
        query.close()


def test_money_is_asked_of_who_has_the_books_and_notices_come_as_they_were_sent(proxy: Proxy, tmp_path: Path) -> None:
    with ExitStack() as stack:
        pair = stack.enter_context(_witnesses())
        books, notices = Witness(), Witness()
        stack.callback(books.close)
        stack.callback(notices.close)
        behind = msgspec.structs.replace(
            _behind_witnesses(pair), payments=books.port, payments_control=books.port, notices=notices.port
        )
        front = stack.enter_context(fronting(proxy, tmp_path / "proxy", behind))
        mine = {"Authorization": "Bearer t1"}
        asked = (
            ("GET", "/v1/balance"), ("POST", "/v1/payouts"), ("GET", "/v1/campaigns/c1/payouts"), ("GET", "/v1/orders"),
            ("POST", "/v1/holds/c-sale-7-1/pay"), ("DELETE", "/v1/holds/c-sale-7-1"),
            ("POST", "/v1/packets"), ("GET", "/v1/packets"), ("GET", "/v1/packets/terms"),
            ("GET", f"/v1/packets/{PACKET}"), ("POST", f"/v1/packets/{PACKET}/pay"),
            ("DELETE", f"/v1/packets/{PACKET}"),
        )  # fmt: skip
        for number, (method, path) in enumerate(asked):
            told = {"Authorization": f"Bearer t{number}"}
            assert front.call(method, path, told).status == 200, path
        assert [line.split()[1].decode() for line in _lines(books)] == [path for _, path in asked]
        signed = {"Wechatpay-Signature": "abc=", "Wechatpay-Serial": "PUB_1", "Content-Type": "application/json"}
        assert front.call("POST", "/notices/bank", signed, b"x" * 60_000).status == 200
        (head,) = [head for head in notices.heads if head.startswith(b"POST")]
        assert b"wechatpay-signature: abc=" in head.lower()
        too_long = {**signed, "Content-Length": "70000"}  # refused before it is sent: who sends it may be cut off
        assert front.call("POST", "/notices/bank", too_long).status == 413
        assert front.call("GET", "/notices/bank/x", mine).status == 404
        assert not [head for witness in pair for head in witness.heads if b"/v1/balance" in head or b"/packets" in head]


def test_shares_of_packets_and_what_winners_open_and_share_are_asked_of_gates(proxy: Proxy, tmp_path: Path) -> None:
    with _witnesses() as pair, fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair)) as front:
        asked = [
            f"/v1/packets/{PACKET}/grab",
            f"/v1/campaigns/c1/packets/{PACKET}/grab",
            "/v1/grants/c-r1-7/open",
            "/v1/grants/c-r1-7/share",
        ]
        for number, path in enumerate(asked):
            assert front.call("POST", path, {"Authorization": f"Bearer t{number}"}).status == 200, path
        assert sorted(line.split()[1].decode() for witness in pair for line in _lines(witness)) == sorted(asked)
        for path in (f"/v1/packets/{PACKET[:-1]}/grab", "/v1/grants/c-r1-7/take"):
            assert front.call("POST", path, {"Authorization": "Bearer t9"}).status == 404, path


def _lines(witness: Witness) -> list[bytes]:
    """Return the request lines of what was asked, without the proxies' own probes."""
    lines = [head.split(b"\r\n", 1)[0] for head in witness.heads]
    return [line for line in lines if b"/v1/" in line]


def test_a_grab_that_may_have_reached_a_gate_is_not_sent_again(proxy: Proxy, tmp_path: Path) -> None:
    with (
        _witnesses(hangs_up=True) as pair,
        fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair)) as front,
    ):
        assert _is_told_to_ask_again(front.grab("a-ticket"))
        assert sum(len(witness.heads) for witness in pair) == 1


def test_a_read_that_fails_is_asked_of_another_gate(proxy: Proxy, tmp_path: Path) -> None:
    with (
        _witnesses(hangs_up=True) as pair,
        fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair)) as front,
    ):
        assert _is_told_to_ask_again(front.call("GET", "/v1/rounds/r1"))
        assert [len(witness.heads) for witness in pair] == [1, 1]


def test_every_gate_sees_one_head_whatever_the_browser_sends(proxy: Proxy, tmp_path: Path) -> None:
    with _witnesses() as pair, fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair)) as front:
        for number in range(6):
            answer = front.call(
                "POST",
                f"/v1/rounds/r1/grab?again={number}",
                {
                    "authorization": f"Bearer ticket{number}",
                    "User-Agent": f"browser/{number}",
                    "X-Forwarded-For": f"192.0.2.{number}",
                    "Cookie": f"session={number}",
                    "Accept-Language": "zh-CN",
                },
            )
            assert answer.status == 200
        heads = [head for witness in pair for head in witness.heads]
        assert len(heads) == 6
        # Spelled as the gate's short way looks for it, and nothing else that differs.
        assert {head.count(b"\r\nAuthorization: Bearer ticket") for head in heads} == {1}
        assert (
            len({head.partition(b"Bearer ticket")[0] + head.partition(b"Bearer ticket")[2][1:] for head in heads}) == 1
        )
        assert b"browser" not in heads[0]
        # The address that the proxy has seen, and not what a stranger says of it.
        assert {head.count(b"\r\nX-Forwarded-For: 127.0.0.1\r\n") for head in heads} == {1}
        assert not any(b"192.0.2." in head for head in heads)


def test_a_body_goes_through_and_one_above_the_gates_limit_does_not(proxy: Proxy, tmp_path: Path) -> None:
    with _witnesses() as pair, fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair)) as front:
        headers = {"Authorization": "Bearer t", "Content-Type": "application/json"}
        fits = b'{"note":"' + b"x" * 4000 + b'"}'
        assert front.call("POST", "/v1/rounds/r1/grab", headers, fits).status == 200
        refused = front.call("POST", "/v1/rounds/r1/grab", {**headers, "Content-Length": "5000"})  # before it is sent
        assert (refused.status, refused.headers["content-type"]) == (413, PROBLEM)
        assert [body for witness in pair for body in witness.bodies] == [fits]
        (head,) = (head for witness in pair for head in witness.heads)
        assert b"application/json" in head


def test_who_taps_too_fast_is_told_to_slow_down_and_nobody_else_is(proxy: Proxy, tmp_path: Path) -> None:
    with _witnesses() as pair, fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair)) as front:
        connection = front.connect()
        try:
            answers = [_grab_on(front, connection, "hasty") for _ in range(30)]
            others = [_grab_on(front, connection, f"calm{number}") for number in range(10)]
        finally:
            connection.close()
        assert answers[0].status == 200
        slowed = [answer for answer in answers if answer.status == 429]
        assert slowed
        assert {(answer.headers["content-type"], answer.headers["retry-after"]) for answer in slowed} == {
            (PROBLEM, "1")
        }
        assert {answer.status for answer in others} == {200}


def _grab_on(front: Front, connection: HTTPSConnection, ticket: str) -> Answer:
    return call(connection, "POST", "/v1/rounds/r1/grab", {"Authorization": f"Bearer {ticket}"})


OPEN_INTERNET = {
    Proxy.NGINX: [("$redrush_open_internet {\n    default 0;", "$redrush_open_internet {\n    default 1;")],
    Proxy.HAPROXY: [("acl open_internet always_false", "acl open_internet always_true")],
}
"""The documented change for the profile of the open internet."""

ONE_A_MINUTE = {
    Proxy.NGINX: [*OPEN_INTERNET[Proxy.NGINX], ("rate=300r/s", "rate=1r/m"), ("burst=600", "burst=1")],
    Proxy.HAPROXY: [
        *OPEN_INTERNET[Proxy.HAPROXY],
        ("http_req_rate(1s)", "http_req_rate(60s)"),
        ("expire 10s", "expire 120s"),
        ("(0) gt 300", "(0) gt 2"),
    ],
}
"""A limit by address so low that a test need not be fast to meet it."""


def test_the_forwarded_address_of_a_stranger_is_not_believed(proxy: Proxy, tmp_path: Path) -> None:
    with (
        _witnesses() as pair,
        fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair), ONE_A_MINUTE[proxy]) as front,
    ):
        assert 429 in {_grab_from(front, number).status for number in range(8)}


def test_the_forwarded_address_of_our_own_balancer_is_believed(proxy: Proxy, tmp_path: Path) -> None:
    changes = [*ONE_A_MINUTE[proxy], ("10.0.0.0/24", "127.0.0.0/24")]
    with (
        _witnesses() as pair,
        fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair), changes) as front,
    ):
        assert {_grab_from(front, number).status for number in range(8)} == {200}


def _grab_from(front: Front, number: int) -> Answer:
    headers = {"Authorization": f"Bearer t{number}", "X-Forwarded-For": f"203.0.113.{number}"}
    return front.call("POST", "/v1/rounds/r1/grab", headers)


def test_a_gate_is_told_the_address_that_our_own_balancer_saw(proxy: Proxy, tmp_path: Path) -> None:
    changes = [("10.0.0.0/24", "127.0.0.0/24")]
    with (
        _witnesses() as pair,
        fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair), changes) as front,
    ):
        assert _grab_from(front, 7).status == 200
        (head,) = (head for witness in pair for head in witness.heads)
        assert b"\r\nX-Forwarded-For: 203.0.113.7\r\n" in head


def test_the_state_of_a_round_is_fetched_once_a_second_not_once_a_reader(proxy: Proxy, tmp_path: Path) -> None:
    with (
        _witnesses(cache_control="public, max-age=1") as pair,
        fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair)) as front,
    ):
        connection = front.connect()
        try:
            answers = [call(connection, "GET", f"/v1/rounds/r1?{number}") for number in range(100)]
        finally:
            connection.close()
        assert {answer.status for answer in answers} == {200}
        assert sum(len(witness.heads) for witness in pair) < 50


def test_the_clock_that_pages_go_by_is_told_anew_with_what_is_kept(proxy: Proxy, tmp_path: Path) -> None:
    """What is kept says what time it was when it was made: up to a second ago."""
    with (
        _witnesses(cache_control="public, max-age=1") as pair,
        fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair)) as front,
    ):
        for path in ("/state/proxied.json", "/v1/rounds/r1", "/v1/campaigns/proxied/policy"):
            for _ in range(5):
                before = time.time()
                told = front.call("GET", path).headers["redrush-now"]
                assert re.fullmatch(r"\d{10}\.\d{3}", told), told
                # A proxy reads its clock once for all that it does in one turn.
                assert before - 0.05 <= float(told) <= time.time(), path
        assert sum(len(witness.heads) for witness in pair) < 15
        assert "redrush-now" not in front.grab("t").headers


FILLED: Final = {"campaign": "c1", "round": "r1", "key": "aB3_-x" * 3, "grant": "c1-r1-7", "packet": PACKET}
OPERATORS: Final = "/v1/totals"
"""The one path of the document that is for whoever runs the event."""


def test_everything_that_the_document_names_for_participants_is_asked_of_somebody(proxy: Proxy, tmp_path: Path) -> None:
    named = [
        (method.upper(), path.format_map(FILLED))
        for path, item in yaml.safe_load(DOCUMENT.read_text())["paths"].items()
        for method in item
        if method in {"get", "post", "delete"} and path != OPERATORS
    ]
    assert len(named) > 40
    with ExitStack() as stack:
        pair, books = stack.enter_context(_witnesses()), Witness()
        stack.callback(books.close)
        behind = msgspec.structs.replace(_behind_witnesses(pair), payments=books.port, payments_control=books.port)
        front = stack.enter_context(fronting(proxy, tmp_path / "proxy", behind))
        refused = {
            (method, path): status
            for number, (method, path) in enumerate(named)
            if (status := front.call(method, path, {"Authorization": f"Bearer t{number}"}).status) != 200
        }
        assert refused == {}


def test_nothing_but_the_contract_reaches_a_gate(proxy: Proxy, tmp_path: Path) -> None:
    with _witnesses() as pair, fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair)) as front:
        for path in ("/v1/totals", "/v1/rounds/r1/grab/", "/metrics", "/readyz", "/v1/"):
            assert front.call("GET", path).status == 404, path
        said = front.say(GARBAGE["a large head"])
        # HAProxy's own answer to it is an HTML page that cannot be changed, so it gives none.
        assert (_status_of(said) in (400, 431)) if said else proxy is Proxy.HAPROXY
        assert [head for witness in pair for head in witness.heads] == []


# -- whole companies, and the open internet

CROWD = 2_000


def _crowd_grabs(front: Front, count: int) -> Counter[int]:
    """Let so many people grab from one address, over some kept connections, as fast as the proxy takes it."""

    def grab(numbers: range) -> Counter[int]:
        connection = front.connect()
        try:
            return Counter(_grab_on(front, connection, f"person{number}").status for number in numbers)
        finally:
            connection.close()

    hands = 16
    with ThreadPoolExecutor(hands) as crowd:
        parts = [crowd.submit(grab, range(hand, count, hands)) for hand in range(hands)]
        return sum((part.result() for part in parts), Counter())


def test_a_whole_company_behind_one_address_is_let_through(proxy: Proxy, tmp_path: Path) -> None:
    with _witnesses() as pair, fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair)) as front:
        assert _crowd_grabs(front, CROWD) == {200: CROWD}


def test_on_the_open_internet_one_address_is_held_and_another_is_not(proxy: Proxy, tmp_path: Path) -> None:
    changes = [*OPEN_INTERNET[proxy], *LESS_THAN_A_COMPANY[proxy], ("10.0.0.0/24", "127.0.0.0/24")]
    with (
        _witnesses() as pair,
        fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair), changes) as front,
    ):
        came = _crowd_grabs(front, CROWD)
        assert set(came) == {200, 429}
        assert sum(came.values()) == CROWD
        assert {_grab_from(front, number).status for number in range(8)} == {200}
        assert front.call("GET", "/livez").status == 200


LESS_THAN_A_COMPANY = {
    Proxy.NGINX: [("rate=300r/s", "rate=30r/s")],
    Proxy.HAPROXY: [("sc_http_req_rate(0) gt 300", "sc_http_req_rate(0) gt 60")],
}
"""A tenth of the limit, for a machine that is slower than a crowd."""


# -- spelling, and what is no request

SPELLINGS = ("Bearer {}", "bEaRer {}", "BEARER   {}", "bearer\t{}", "Bearer {}  ", "Bearer \t {}\t")


def test_a_ticket_has_one_limit_however_it_is_spelled(proxy: Proxy, tmp_path: Path) -> None:
    with _witnesses() as pair, fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair)) as front:
        connection = front.connect()
        try:
            statuses = Counter(
                call(
                    connection,
                    "POST",
                    "/v1/rounds/r1/grab",
                    {"Authorization": SPELLINGS[number % len(SPELLINGS)].format("hasty")},
                ).status
                for number in range(60)
            )
        finally:
            connection.close()
        assert statuses[429] >= 30
        heads = [head for witness in pair for head in witness.heads]
        assert {head.count(b"\r\nAuthorization: Bearer hasty\r\n") for head in heads} == {1}


def test_several_tickets_are_one_or_none(proxy: Proxy, tmp_path: Path) -> None:
    with _witnesses() as pair, fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair)) as front:
        lines = b"".join(b"Authorization: Bearer other%d\r\n" % number for number in range(3))
        statuses = Counter(
            _status_of(front.say(_RAW % (b"POST /v1/rounds/r1/grab", b"Authorization: Bearer hasty\r\n" + lines)))
            for _ in range(30)
        )
        assert statuses[200] <= 10
        heads = [head for witness in pair for head in witness.heads]
        assert not any(b"other" in head for head in heads)


_RAW = b"%b HTTP/1.1\r\nHost: redrush.example.com\r\nConnection: close\r\n%b\r\n"
GARBAGE = {
    "not HTTP": b"\x00\x01\x02\x03garbage\r\n\r\n",
    "no version": b"GET /v1/rounds/r1\r\n\r\n",
    "a strange version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "no host": b"GET /v1/rounds/r1 HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a NUL": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
    "a name with a blank": b"GET / HTTP/1.1\r\nHost: x\r\nX Y: 1\r\n\r\n",
    "a strange method": _RAW % (b"BREW /v1/rounds/r1/grab", b""),
    "TRACE": _RAW % (b"TRACE /v1/rounds/r1", b""),
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\nConnection: close\r\n\r\n",
    "DELETE of the page": _RAW % (b"DELETE /", b""),
    "a path that leaves": _RAW % (b"GET /../../etc/passwd", b""),
    "half an escape": _RAW % (b"GET /v1/rounds/%zz", b""),
    "an escaped NUL": _RAW % (b"GET /v1/rounds/%00", b""),
    "a long target": _RAW % (b"GET /" + b"x" * 20_000, b""),
    "a large head": _RAW % (b"GET /v1/rounds/r1", b"X: " + b"y" * 20_000 + b"\r\n"),
    "a large body": _RAW % (b"POST /v1/rounds/r1/grab", b"Content-Length: 5000\r\n") + b"x" * 5_000,
    "a negative length": _RAW % (b"POST /v1/rounds/r1/grab", b"Content-Length: -1\r\n"),
    "two lengths": _RAW % (b"POST /v1/rounds/r1/grab", b"Content-Length: 1\r\nContent-Length: 2\r\n"),
    "a strange coding": _RAW % (b"POST /v1/rounds/r1/grab", b"Transfer-Encoding: gzip\r\n"),
    "broken chunks": _RAW % (b"POST /v1/rounds/r1/grab", b"Transfer-Encoding: chunked\r\n") + b"zz\r\n",
    "an unknown path": _RAW % (b"GET /v1/nothing", b""),
    "no page": _RAW % (b"GET /nothing.html", b""),
    "a range": _RAW % (b"GET /v1/rounds/r1", b"Range: bytes=9-1\r\n"),
    "the proxy's own places": _RAW % (b"GET /.redrush/refused", b""),
}


@pytest.mark.parametrize("gates", ["there", "gone"])
def test_whatever_comes_is_answered_in_the_language_of_the_gate(proxy: Proxy, tmp_path: Path, gates: str) -> None:
    with _witnesses() as pair, fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair)) as front:
        if gates == "gone":
            for witness in pair:
                witness.close()
        for what, data in GARBAGE.items():
            said = front.say(data)
            if not said:
                continue  # cut, which is an answer too: nobody is told anything wrong
            if not said.startswith(b"HTTP/"):
                assert what == "no version"  # HTTP/0.9: a body is all there is
                continue
            assert _status_of(said) not in {500, 502, 504}, (what, said)
            head, _, body = said.partition(b"\r\n\r\n")
            if _status_of(said) >= 400:
                assert b"\r\ncontent-type: application/problem+json" in head.lower(), (what, said)
                assert json.loads(body)["status"] == _status_of(said), (what, said)
            assert b"<html" not in said.lower(), (what, said)
        still = front.call("GET", "/livez")
        assert still.status == (200 if gates == "there" else 503)
        assert gates == "there" or _is_told_to_ask_again(still)


def _status_of(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


def test_who_asks_for_what_is_not_there_shuts_nobody_out(proxy: Proxy, tmp_path: Path) -> None:
    """Through gates that have a limit by address: what is counted is whoever asked, and not the proxy for everybody."""
    limits = '[limits]\naddress_per_second = 0.02\naddress_burst = 4\ntrusted_proxies = ["127.0.0.0/8"]\n'
    changes = [("10.0.0.0/24", "127.0.0.0/24")]
    with ExitStack() as stack:
        gates, data = stack.enter_context(serving(tmp_path, 3, limits))
        front = stack.enter_context(fronting(proxy, tmp_path / "proxy", _behind_gates(gates), changes))
        hasty = {"X-Forwarded-For": "203.0.113.66"}
        refused = [front.call("GET", f"/v1/rounds/unknown{number}", hasty).status for number in range(40)]
        assert {404, 429} == set(refused)
        for number, path in enumerate(("/v1/rounds/r1", "/v1/policy", "/livez", "/v1/rounds")):
            assert front.call("GET", path, {"X-Forwarded-For": f"203.0.113.{number}"}).status == 200, path
        (ticket,) = tickets(data, ["alice"])
        grabbed = front.call(
            "POST", "/v1/rounds/r1/grab", {"Authorization": f"Bearer {ticket}", "X-Forwarded-For": "203.0.113.9"}
        )
        assert json.loads(grabbed.body)["outcome"] == "granted"


def test_a_balancers_default_check_and_head_are_answered(proxy: Proxy, tmp_path: Path) -> None:
    with serving(tmp_path, 3) as (gates, _), fronting(proxy, tmp_path / "proxy", _behind_gates(gates)) as front:
        assert _status_of(front.say(b"OPTIONS / HTTP/1.0\r\n\r\n")) in {200, 204}
        for path in ("/livez", "/v1/rounds/r1", "/v1/policy", "/v1/rounds"):
            answer = front.call("HEAD", path)
            assert (answer.status, answer.body) == (200, b""), path


PAGE = "https://hongbao.example.com"
NAMES_A_PAGE = {
    Proxy.NGINX: [(f'# "{PAGE}" $http_origin;', f'"{PAGE}" $http_origin;')],
    Proxy.HAPROXY: [("acl our_page always_false", f"acl our_page req.hdr(Origin) -m str {PAGE}")],
}


def test_a_page_that_stands_elsewhere_may_ask_through_the_proxy(proxy: Proxy, tmp_path: Path) -> None:
    origins = f'[gate]\norigins = ["{PAGE}"]\n'
    with ExitStack() as stack:
        gates, data = stack.enter_context(serving(tmp_path, 3, origins))
        front = stack.enter_context(fronting(proxy, tmp_path / "proxy", _behind_gates(gates), NAMES_A_PAGE[proxy]))
        (ticket,) = tickets(data, ["alice"])
        preflight = front.call("OPTIONS", "/v1/rounds/r1/grab", {"Origin": PAGE})
        assert preflight.headers["access-control-allow-origin"] == PAGE
        grabbed = front.call("POST", "/v1/rounds/r1/grab", {"Origin": PAGE, "Authorization": f"Bearer {ticket}"})
        assert (grabbed.status, grabbed.headers["access-control-allow-origin"]) == (200, PAGE)
        for _ in range(3):  # also from the cache
            for origin, allowed in ((PAGE, PAGE), ("https://elsewhere.example", None)):
                state = front.call("GET", "/v1/rounds/r1", {"Origin": origin})
                assert (state.status, state.headers.get("access-control-allow-origin")) == (200, allowed)


def test_silence_on_the_control_ports_takes_no_gate_out(proxy: Proxy, tmp_path: Path) -> None:
    with serving(tmp_path, 3) as (gates, data), fronting(proxy, tmp_path / "proxy", _behind_gates(gates)) as front:
        silent = [
            socket.create_connection(("127.0.0.1", gate.control_port), timeout=5) for gate in gates for _ in range(256)
        ]
        try:
            # Longer than three health checks in a row take, which is what counts a gate as dead.
            until_s = time.monotonic() + 4
            for ticket in tickets(data, [f"u{number}" for number in range(900)]):
                assert json.loads(front.grab(ticket).body)["outcome"] == "granted"
                if time.monotonic() > until_s:
                    break
            assert time.monotonic() > until_s
        finally:
            for connection in silent:
                connection.close()
