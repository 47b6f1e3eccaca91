"""Shake, open, share over the processes of a stack: it needs the sets and the gates, and nobody else.

Everything else is killed and kept down: database, recorders, settlement, control, queries. What was shaken is opened,
what was opened is shared, and friends grab it at any gate. When the others are back, all of it is recorded and agrees.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from redrush.core.money.currency import parse_amount
from tests.acceptance.stack.running_stack import RunningStack, stack_up
from tests.campaigns import OFF, a_round, campaign
from tests.commands import redrush
from tests.gate.world import Answer, read_answer, request
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.soak

SHARE: Final = '[round.share]\ntotal = "3.00"\ncount = 3\nexpires = "1h"\ngreeting = "同喜"\n'
CAMPAIGN: Final = campaign(
    a_round(total="1000.00", packets=1_000) + SHARE, id="share", tables=f"{OFF}[group]\ncount_max = 10\n"
)
WINNERS: Final = [f"w{number}" for number in range(12)]
FRIENDS: Final = [f"f{number}" for number in range(8)]
AGAIN_S: Final = 0.05


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    directory = tmp_path_factory.mktemp("share")
    (directory / "c.toml").write_text(CAMPAIGN)
    with stack_up(directory / "c.toml", directory / "d", "--sets", 2, "--gates", 2) as running:
        yield running


async def ask(port: int, method: str, path: str, ticket: str, **fields: Any) -> Answer:
    """Ask over a connection of its own, which the kernel gives to one gate or the other, until there is an answer that
    is one."""
    body = json.dumps(fields).encode() if fields else b""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                request(method, f"/v1{path}", ticket, body, ("Content-Type: application/json",) if body else ())
            )
            received = b""
            while (found := read_answer(received)) is None:
                more = await reader.read(65_536)
                assert more, received
                received += more
            writer.close()
            if found[0].status < 500 and found[0].json.get("outcome") != "missed":
                return found[0]
            await asyncio.sleep(AGAIN_S)


def test_shaking_opening_and_sharing_need_nobody_but_gates_and_sets(stack: RunningStack) -> None:
    tickets = stack.tickets([*WINNERS, *FRIENDS])
    first = asyncio.run(_shared_by(stack.port, tickets, WINNERS[:6]))
    others = ("postgres", "recorder", "settle", "control", "query", "payments")
    down = [one["name"] for one in stack.processes() if one["name"].startswith(others)]
    with stack.kept_down(down):
        shared = asyncio.run(_shared_by(stack.port, tickets, WINNERS[6:]))
    packets = first | shared
    assert len(packets) == len(WINNERS)
    grants = asyncio.run(_told_to_all(stack.port, tickets, packets))
    stack.wait_until(lambda processes: all(processes[name]["state"] == "ready" for name in down))
    for user, owned in grants.items():
        recorded = asyncio.run(_recorded(stack.query_port, tickets[user], len(owned)))
        assert {(grant["id"], grant["amount"], grant["receipt"]) for grant in recorded} == owned
    report = redrush("reconcile", "--deploy", stack.data / "deployment.toml")
    assert report.code == 0, report.out + report.err


async def _shared_by(port: int, tickets: dict[str, str], winners: list[str]) -> dict[str, str]:
    """Let each of them shake, open and share, and friends grab; return the packet of each."""
    packets: dict[str, str] = {}
    for winner in winners:
        grant = (await ask(port, "POST", "/rounds/r1/grab", tickets[winner])).json["grant"]
        assert "amount" not in grant, "it is not open yet"
        opened = (await ask(port, "POST", grant["open"].removeprefix("/v1"), tickets[winner])).json["grant"]
        assert opened["amount"] == "1.00"
        told = [(await ask(port, "POST", grant["share"].removeprefix("/v1"), tickets[winner])).json for _ in range(4)]
        assert {one["id"] for one in told} == {told[0]["id"]}
        assert {(one["state"], one["greeting"]) for one in told} == {("open", "同喜")}
        packets[winner] = told[0]["id"]
        grab = f"/packets/{told[0]['id']}/grab"
        crowd = [*FRIENDS, *[FRIENDS[0]] * 3]
        answers = await asyncio.gather(*(ask(port, "POST", grab, tickets[friend]) for friend in crowd))
        outcomes = [answer.outcome for answer in answers]
        assert sorted(outcomes[: len(FRIENDS)]) == ["empty"] * 5 + ["granted"] * 3
        assert set(outcomes[len(FRIENDS) :]) == {outcomes[0]}, "once and for all"
    return packets


async def _told_to_all(
    port: int, tickets: dict[str, str], packets: dict[str, str]
) -> dict[str, set[tuple[str, str, str]]]:
    """Return what everybody has: each packet is over, and every gate says the same of it, again and again."""
    owned: dict[str, set[tuple[str, str, str]]] = {}
    for winner, packet in packets.items():
        looks = [(await ask(port, "GET", f"/packets/{packet}", tickets[winner])).json for _ in range(6)]
        assert all(look == looks[0] for look in looks)
        assert looks[0]["state"] == "empty"
        amounts = [parse_amount(grant["amount"], "CNY") for grant in looks[0]["grants"]]
        assert (sum(amounts), len(amounts)) == (300, 3)
        for friend in FRIENDS:
            answers = [(await ask(port, "POST", f"/packets/{packet}/grab", tickets[friend])).json for _ in range(4)]
            assert all(answer == answers[0] for answer in answers)
            if (grant := answers[0].get("grant")) is not None:
                owned.setdefault(friend, set()).add((grant["id"], grant["amount"], grant["receipt"]))
    return owned


async def _recorded(port: int, ticket: str, count: int) -> list[dict[str, Any]]:
    """Return the grants that are recorded, once there are so many."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            grants: list[dict[str, Any]] = (await ask(port, "GET", "/grants", ticket)).json["grants"]
            if len(grants) >= count:
                return grants
            await asyncio.sleep(AGAIN_S)
