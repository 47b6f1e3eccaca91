"""docs/openapi-participants.yaml tells all that a gate answers, and each of these answers was given by a real gate."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from redrush.core.identity.proof_of_work import Challenge, ProofOfWork
from redrush.core.load.buckets import Rate
from redrush.core.rush.line import LineTerms, Order
from redrush.core.steering.switches import NON_CORE_SHARE, Snapshot, registry_of
from redrush.http.asking_limits import AskingRules
from redrush.http.document import Document
from redrush.http.reader import Limits
from tests import openapi
from tests.gate.test_exchange import challenge_of, solution_of
from tests.gate.world import CLOSES_US, OPENS_US, SECOND_US, Answer, Client, RunningGate, request, running_gate

GRAB = "/v1/rounds/r1/grab"
JSON = ("Content-Type: application/json",)
OF_THE_QUERY_ROLE = {("GET", "/v1/totals")}
"""Held against a query role in tests/query/test_query_site.py."""
OF_SALES = ("/v1/holds", "/v1/orders", "/v1/rounds/{round}/grab/{key}")
"""Held against a gate with a sale in tests/gate/test_sale.py."""
OF_PACKETS = ("/v1/packets", "/v1/grants/{grant}")
OF_MONEY = ("/v1/balance", "/v1/payouts")
"""Of a whole server: tests/acceptance/paying."""
"""Held against a server with its books in tests/wiring/test_group_packets.py."""
BEFORE_US = OPENS_US - 600 * SECOND_US
RARELY = AskingRules(user=Rate(0.01, 2), address=Rate(0.01, 2))

Seen = set[tuple[openapi.Operation, int]]


class Asking:
    """A client that holds every answer against the document."""

    def __init__(self, gate: RunningGate, client: Client, seen: Seen) -> None:
        self._gate = gate
        self._client = client
        self._seen = seen

    async def ask(
        self, method: str, path: str, user: str | None = None, body: bytes = b"", headers: tuple[str, ...] = ()
    ) -> Answer:
        """Ask at the short path; the campaign's own one has to say the same."""
        ticket = None if user is None else self._gate.ticket(user)
        answer = await self._client.ask(request(method, path, ticket, body, headers))
        self._seen.add(openapi.check(_meant(method, path), path, answer))
        return answer


def _meant(method: str, path: str) -> str:
    """Return the method of the operation that a wrong method was tried on."""
    return method if openapi.operation_of(method, path) else {"GET": "POST", "POST": "GET"}[method]


@asynccontextmanager
async def asking(gate: RunningGate, seen: Seen) -> AsyncIterator[Asking]:
    client = await gate.connect()
    yield Asking(gate, client, seen)
    client.leave()


def _references(node: Any) -> Iterator[str]:
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _references(value)
    if isinstance(node, dict) and "$ref" in node:
        yield node["$ref"]


def test_every_reference_of_the_document_leads_somewhere_and_nothing_is_left_over() -> None:
    document = openapi.document()
    there = {f"#/components/{kind}/{name}" for kind in document["components"] for name in document["components"][kind]}
    referenced = set(_references(document))
    assert referenced - there == set()
    assert there - referenced == {"#/components/securitySchemes/ticket"}


def test_every_open_segment_of_a_path_is_a_parameter() -> None:
    for path, item in openapi.document()["paths"].items():
        named = {one["$ref"].rpartition("/")[2] for one in item.get("parameters", [])}
        assert named == set(re.findall(r"\{(\w+)\}", path)), path


async def test_every_path_of_a_gate_is_in_the_document() -> None:
    line = LineTerms(opens_before_us=1, order=Order.RANDOM, pace_per_s=1.0, grace_us=1, admitted_us=1)
    async with running_gate(proof_of_work=ProofOfWork(), line=line) as gate:
        served = [
            (path, one.method)
            for path, ways in gate.site.paths.endpoints.items()
            for one in ways
            if not isinstance(one.route, Document)
        ]  # pages are for people
        served += [(path, one.method) for path, one in gate.site.paths.counters.items()]
        for path, method in served:
            assert openapi.operation_of(method.decode(), path.decode()), path


async def test_every_answer_in_the_document_is_given_and_as_it_says() -> None:
    seen: Seen = set()
    await _claims(seen)
    await _refusals_of_what_was_sent(seen)
    await _refusals_by_limits(seen)
    await _tickets(seen)
    await _line(seen)
    expected = {
        (operation, status)
        for operation, statuses in openapi.operations().items()
        for status in statuses
        if operation not in OF_THE_QUERY_ROLE
        and "{campaign}" not in operation[1]
        and not operation[1].startswith(OF_PACKETS + OF_MONEY + OF_SALES)
    }
    assert expected - seen == set()


def test_the_paths_of_a_campaign_are_described_like_the_short_ones() -> None:
    paths = openapi.document()["paths"]
    for path, item in paths.items():
        if path.startswith("/v1/campaigns/{campaign}"):
            short = paths[path.replace("/campaigns/{campaign}", "", 1)]
            assert {verb: item[verb] for verb in item if verb != "parameters"} == {
                verb: short[verb] for verb in short if verb != "parameters"
            }


async def _claims(seen: Seen) -> None:
    async with running_gate(packets=1, audience={"ann", "bob"}, now_us=OPENS_US - 1) as gate, asking(gate, seen) as one:
        assert (await one.ask("GET", "/v1/rounds/r1")).json["state"] == "not_open"
        outcomes = [(await one.ask("POST", GRAB, "ann")).outcome]
        gate.at(OPENS_US)
        outcomes += [(await one.ask("POST", GRAB, user, b"{}", JSON)).outcome for user in ("ann", "ann", "bob", "eve")]
        assert (await one.ask("GET", "/v1/rounds/r1")).json["state"] == "sold_out"
        gate.at(CLOSES_US)
        outcomes.append((await one.ask("POST", GRAB, "bob")).outcome)
        assert outcomes == ["not_open", "granted", "granted", "empty", "not_eligible", "closed"]
        assert len((await one.ask("GET", "/v1/grants", "ann")).json["grants"]) == 1
        await one.ask("GET", "/v1/rounds")
        tag = (await one.ask("GET", "/v1/policy")).headers["etag"]
        await one.ask("GET", "/v1/policy", headers=(f"If-None-Match: {tag}",))
        await one.ask("GET", "/livez")
    async with running_gate(release_per_s=10.0, draw=lambda: 0.999) as gate, asking(gate, seen) as one:
        found = [(await one.ask("POST", GRAB, f"u{number}")).outcome for number in range(9)]
        assert "missed" in found


async def _refusals_of_what_was_sent(seen: Seen) -> None:
    async with running_gate(limits=Limits(body_bytes_max=100)) as gate:
        for method, path, user, body, headers in (
            ("POST", GRAB, "ann", b"[]", JSON),
            ("POST", GRAB, None, b"", ()),
            ("POST", "/v1/rounds/r9/grab", "ann", b"", ()),
            ("GET", GRAB, "ann", b"", ()),
            ("POST", GRAB, "ann", b"{}", ("Content-Type: text/plain",)),
            ("POST", GRAB, "ann", b'{"x":"%b"}' % (b"y" * 100), JSON),
            ("GET", "/v1/grants", None, b"", ()),
            ("GET", "/v1/rounds/r9", None, b"", ()),
            ("GET", "/v1/challenge", "ann", b"", ()),
            ("POST", "/v1/ticket", "ann", b"{}", JSON),
        ):
            async with asking(gate, seen) as one:
                assert (await one.ask(method, path, user, body, headers)).status >= 400


async def _refusals_by_limits(seen: Seen) -> None:
    public = ("/v1/rounds", "/v1/rounds/r1", "/v1/policy")
    async with running_gate(asking=RARELY) as gate, asking(gate, seen) as one:
        await one.ask("GET", "/livez")
        for path in public:
            while (await one.ask("GET", path)).status != 429:
                pass
        assert (await one.ask("POST", GRAB, "ann")).status == 429
        assert (await one.ask("GET", "/v1/grants", "ann")).status == 429
    async with running_gate() as gate, asking(gate, seen) as one:
        values = {name: switch.default for name, switch in registry_of([("r1", None), ("r2", None)], []).items()}
        gate.gate.switches.apply(Snapshot(1, values | {NON_CORE_SHARE: 0.0}))
        for path in ("/v1/rounds", "/v1/rounds/r1"):
            assert (await one.ask("GET", path)).status == 503
        assert (await one.ask("GET", "/v1/grants", "ann")).status == 503
        gate.store.fail()
        assert (await one.ask("POST", GRAB, "ann")).status == 503


async def _tickets(seen: Seen) -> None:
    terms = ProofOfWork(max_number=200, challenge_lasts_s=60, rest_us=2 * SECOND_US)
    async with running_gate(proof_of_work=terms, now_us=BEFORE_US) as gate, asking(gate, seen) as one:
        challenge: Challenge = await challenge_of(await gate.connect(), gate.ticket("ann"))
        solved = json.dumps({"altcha": solution_of(challenge)}).encode()
        await one.ask("GET", "/v1/challenge", "ann")
        await one.ask("GET", "/v1/challenge")
        assert (await one.ask("POST", GRAB, "ann")).json["exchange"]["ticket"] == "/v1/ticket"
        statuses = [
            (await one.ask("POST", "/v1/ticket", user, body, headers)).status
            for user, body, headers in (
                ("ann", solved, JSON),
                ("ann", solved, JSON),
                ("bob", b"{}", JSON),
                (None, b"{}", JSON),
                ("cy", b"{}", ("Content-Type: text/plain",)),
            )
        ]
        assert statuses == [200, 429, 400, 401, 415]
        gate.at(OPENS_US)
        assert (await one.ask("GET", "/v1/challenge", "ann")).status == 503
        assert (await one.ask("POST", "/v1/ticket", "ann", solved, JSON)).status == 503
    async with running_gate(proof_of_work=terms, now_us=BEFORE_US, asking=RARELY) as gate, asking(gate, seen) as one:
        while (await one.ask("GET", "/v1/challenge", "ann")).status != 429:
            pass


async def _line(seen: Seen) -> None:
    """What these calls answer when all is well is held against the document in tests/gate/test_waiting_room.py."""
    line = LineTerms(
        opens_before_us=SECOND_US, order=Order.RANDOM, pace_per_s=1.0, grace_us=SECOND_US, admitted_us=SECOND_US
    )
    async with running_gate(line=line) as gate, asking(gate, seen) as one:
        assert (await one.ask("POST", GRAB, "ann")).status == 409
        joined = (await one.ask("POST", "/v1/rounds/r1/line", "ann")).json
        await one.ask("POST", "/v1/rounds/r1/enter", "ann", json.dumps({"pass": joined["pass"]}).encode(), JSON)
        for path, user, body, headers in (
            ("/v1/rounds/r1/line", None, b"", ()),
            ("/v1/rounds/r2/line", "ann", b"", ()),
            ("/v1/rounds/r1/enter", "ann", b"{}", JSON),
            ("/v1/rounds/r1/enter", None, b"{}", JSON),
            ("/v1/rounds/r2/enter", "ann", b"{}", JSON),
            ("/v1/rounds/r1/enter", "ann", b"{}", ("Content-Type: text/plain",)),
        ):
            assert (await one.ask("POST", path, user, body, headers)).status >= 400
    async with running_gate(asking=RARELY, line=line) as gate, asking(gate, seen) as one:
        for path in ("/v1/rounds/r1/line", "/v1/rounds/r1/enter"):
            while (await one.ask("POST", path, "ann")).status != 429:
                pass


@pytest.mark.parametrize(
    "answer",
    [
        {"outcome": "granted"},
        {"outcome": "lost"},
        {"outcome": "empty", "hint": 1},
        {"outcome": "not_open", "opens_at": "tomorrow", "server_time": "2027-01-15T08:00:00Z"},
    ],
)
def test_what_the_document_does_not_tell_of_is_found(answer: dict[str, object]) -> None:
    body = json.dumps(answer).encode()
    with pytest.raises(AssertionError):
        openapi.check("POST", GRAB, Answer(200, {"content-type": "application/json"}, body, body))
