"""Tickets of an event with proof of work, over the processes of a stack: what one gate gives another one takes."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest

from redrush.core.identity.proof_of_work import Challenge, tries
from tests.acceptance.stack.running_stack import RunningStack, stack_up
from tests.campaigns import campaign
from tests.commands import redrush
from tests.gate.world import Answer, read_answer, request

CAMPAIGN: Final = campaign(
    id="work",
    tables="""\
[limits]
user_per_second = "off"  # one user asks both gates over many connections at once
[tickets]
proof_of_work = true
max_number = 5000
rest = "0s"
""",
)
CONNECTIONS: Final = 16
"""The kernel spreads them over both gates; that all fall to one is as likely as sixteen tosses alike."""
GRAB: Final = "/v1/rounds/r1/grab"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    directory = tmp_path_factory.mktemp("work")
    (directory / "c.toml").write_text(CAMPAIGN)
    with stack_up(directory / "c.toml", directory / "d", "--sets", 1, "--gates", 2) as running:
        yield running


def ask_everywhere(stack: RunningStack, asked: bytes) -> list[Answer]:
    """Return the answers to one request over many connections."""

    async def ask() -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
        writer.write(asked)
        received = b""
        while (found := read_answer(received)) is None:
            more = await reader.read(65_536)
            assert more, received
            received += more
        writer.close()
        return found[0]

    async def everywhere() -> list[Answer]:
        return await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))

    return asyncio.run(everywhere())


def test_both_gates_give_one_challenge_and_sell_one_ticket_that_both_take(stack: RunningStack) -> None:
    ticket = stack.tickets(["alice"])["alice"]
    assert {answer.status for answer in ask_everywhere(stack, request("POST", GRAB, ticket))} == {401}
    (challenge,) = {answer.body for answer in ask_everywhere(stack, request("GET", "/v1/challenge", ticket))}
    solution = list(tries(msgspec.json.decode(challenge, type=Challenge), 10_000))[-1]
    body = json.dumps({"altcha": solution}).encode()
    bring = request("POST", "/v1/ticket", ticket, body, ["Content-Type: application/json"])
    # Each gate checks one solution a second of each user, and tells who brings more to wait.
    sold = ask_everywhere(stack, bring)
    assert {answer.status for answer in sold} <= {200, 429}
    (proven,) = {answer.json["ticket"] for answer in sold if answer.status == 200}
    grants = {json.dumps(answer.json["grant"]) for answer in ask_everywhere(stack, request("POST", GRAB, proven))}
    assert len(grants) == 1
    assert stack.get(stack.query_port, "/v1/grants", ticket).status == 200


def test_whoever_the_operator_trusts_need_not_work_and_the_pace_is_a_switch(stack: RunningStack) -> None:
    printed = redrush("ticket", "--data", stack.data, "--user", "bob", "--proven")
    proven = printed.out.strip().split("\t")[1]
    assert {answer.outcome for answer in ask_everywhere(stack, request("POST", GRAB, proven))} == {"granted"}
    listed: dict[str, Any] = json.loads(redrush("switch", "list", "--data", stack.data, "--json").out)
    pace = next(row for row in listed["switches"] if row["name"] == "tickets.exchanges_per_second")
    assert pace["value"] == 2_000
