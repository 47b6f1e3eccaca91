"""nginx and HAProxy as shipped, before real gates: everybody is answered, nothing is asked twice that should not be."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPSConnection
from pathlib import Path

import msgspec
import pytest

from redrush.core.client_policy import ClientPolicy
from redrush.core.proof_of_work import Challenge, tries
from redrush.wiring.founding import found_sets
from tests.conftest import Databases
from tests.deploy.machines import Machines
from tests.deploy.proxies import Answer, Behind, Front, Proxy, call, fronting
from tests.deploy.servers import Gate, Witness, serving, start, tickets

pytestmark = [pytest.mark.peers, pytest.mark.parametrize("proxy", list(Proxy))]

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
        found_sets(machines.deployment)
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
        refused = front.call("POST", "/v1/rounds/r1/grab", headers, b"x" * 5000)
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


ONE_A_MINUTE = {
    Proxy.NGINX: [("rate=300r/s", "rate=1r/m"), ("burst=600", "burst=1")],
    Proxy.HAPROXY: [
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


def test_nothing_but_the_contract_reaches_a_gate(proxy: Proxy, tmp_path: Path) -> None:
    with _witnesses() as pair, fronting(proxy, tmp_path / "proxy", _behind_witnesses(pair)) as front:
        for path in ("/v1/totals", "/v1/rounds/r1/grab/", "/metrics", "/readyz", "/v1/"):
            assert front.call("GET", path).status == 404, path
        assert front.call("POST", "/v1/rounds/r1/grab", {"X": "x" * 20_000}).status in (400, 431)
        assert [head for witness in pair for head in witness.heads] == []
