"""Packets between people over the processes of a stack, any of which is killed meanwhile: paid, grabbed and given back
once, to the cent.

The auditor is this file: it remembers what it was told, and adds up what everybody has.
"""

import asyncio
import contextlib
import json
import random
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest

from redrush.gate.group.counter_routes import LISTED_MAX
from tests.acceptance.stack.running_stack import RunningStack, kill, stack_up
from tests.campaigns import OFF, a_round, campaign
from tests.commands import redrush
from tests.gate.world import Answer, read_answer, request

pytestmark = pytest.mark.soak

EXPIRES_S: Final = 15
CAMPAIGN: Final = campaign(
    a_round(total="1000.00", packets=10), id="group", tables=f'{OFF}[group]\nexpires = "{EXPIRES_S}s"\ncount_max = 10\n'
)
WON: Final = Decimal("100.00")
SENDERS: Final = [f"s{number}" for number in range(4)]
FRIENDS: Final = [f"f{number}" for number in range(6)]
KILLS: Final = 12
KILLED: Final = ("gate", "payments", "recorder", "query", "settle", "postgres")
KILLED_EVERY_S: Final = 0.5
WAIT_MAX_S: Final = 120.0
AGAIN_S: Final = 0.05
JSON: Final = ("Content-Type: application/json",)


class Sent(msgspec.Struct):
    """A packet that somebody sent, as the auditor knows it."""

    sender: str
    id: str
    total: Decimal
    count: int
    ended: bool = False
    grants: dict[str, Decimal] = {}
    """What friends were told that they have."""


class People:
    """Senders and friends, who ask until there is an answer, and the auditor of what they hear."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        self._tickets = stack.tickets([*SENDERS, *FRIENDS])
        self.sent: list[Sent] = []

    async def ask(self, port: int, user: str, method: str, path: str, **fields: Any) -> Any:
        """Return the fields of an answer that is a decision."""
        body = json.dumps(fields).encode() if fields else b""
        async with asyncio.timeout(WAIT_MAX_S):
            while True:
                with contextlib.suppress(OSError, EOFError):
                    answer = await self._once(port, request(method, f"/v1{path}", self._tickets[user], body, JSON))
                    if answer.status < 500 and answer.json.get("outcome") != "missed":
                        return answer.json
                await asyncio.sleep(AGAIN_S)

    async def _once(self, port: int, data: bytes) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(data)
            received = b""
            while (found := read_answer(received)) is None:
                if not (more := await reader.read(65_536)):
                    raise EOFError
                received += more
            return found[0]
        finally:
            writer.close()

    async def at_gate(self, user: str, method: str, path: str, **fields: Any) -> Any:
        return await self.ask(self._stack.port, user, method, path, **fields)

    async def at_counter(self, user: str, method: str, path: str, **fields: Any) -> Any:
        return await self.ask(self._stack.payments_port, user, method, path, **fields)

    async def balance(self, user: str) -> Decimal:
        return Decimal((await self.at_counter(user, "GET", "/packets/terms"))["balance"])

    async def has(self, user: str, balance: Decimal) -> None:
        """Return when the user has this balance."""
        async with asyncio.timeout(WAIT_MAX_S):
            while await self.balance(user) != balance:
                await asyncio.sleep(AGAIN_S)

    async def win(self, sender: str) -> None:
        won = await self.at_gate(sender, "POST", "/rounds/r1/grab")
        assert won["grant"]["amount"] == str(WON)
        await self.has(sender, WON)

    async def send(self, sender: str, number: int, lots: random.Random) -> None:
        """Send a packet, let friends grab some of it, or all, and end it or let it end."""
        total, count = Decimal(lots.randint(6, 40)) / 100, lots.randint(1, 6)
        wish = {"total": f"{total:.2f}", "count": count, "request": f"{sender}-{number}", "greeting": "同喜"}
        told = await self.at_counter(sender, "POST", "/packets", **wish)
        packet = Sent(sender, told["id"], total, count)
        self.sent.append(packet)
        again = await self.at_counter(sender, "POST", "/packets", **wish)
        assert again["id"] == packet.id, "a request has one packet for ever"
        async with asyncio.timeout(WAIT_MAX_S):
            while (await self.at_counter(sender, "GET", f"/packets/{packet.id}"))["state"] == "unpaid":
                await asyncio.sleep(AGAIN_S)
        friends = lots.sample(FRIENDS, lots.randint(0, len(FRIENDS)))
        await asyncio.gather(*(self.grab(packet, friend) for friend in friends * 2))
        if lots.random() < 0.3:
            ended = await self.at_counter(sender, "DELETE", f"/packets/{packet.id}")
            assert ended["state"] in ("closed", "empty")
            packet.ended = True
            left = await self.at_gate(FRIENDS[0], "POST", f"/packets/{packet.id}/grab")
            assert left["outcome"] in ("closed", "empty", "granted")
            if left["outcome"] == "granted":
                assert left["repeat"]

    async def grab(self, packet: Sent, friend: str) -> None:
        told = await self.at_gate(friend, "POST", f"/packets/{packet.id}/grab")
        assert told["outcome"] in ("granted", "empty", "closed"), told
        if told["outcome"] == "granted":
            amount = Decimal(told["grant"]["amount"])
            assert packet.grants.setdefault(friend, amount) == amount, "once, and for ever the same"

    async def audit(self) -> None:
        """All packets are over: what friends were told stands, and every cent is somebody's, once."""
        received = dict.fromkeys(FRIENDS, Decimal(0))
        for sender in SENDERS:
            mine = {one.id: one for one in self.sent if one.sender == sender}
            listed = (await self.at_counter(sender, "GET", "/packets"))["packets"]
            assert len(listed) == min(len(mine), LISTED_MAX)
            assert {one["id"] for one in listed} <= set(mine), "nothing is sent twice"
            spent = Decimal(0)
            for packet in mine.values():
                told = await self.at_counter(sender, "GET", f"/packets/{packet.id}")
                given = {grant["user"]: Decimal(grant["amount"]) for grant in told["grants"]}
                assert given.items() >= packet.grants.items(), "what was told is kept"
                assert len(given) <= packet.count
                assert sum(given.values()) <= packet.total
                assert told["state"] in ("empty", "closed")
                if told["state"] == "empty":
                    assert sum(given.values()) == packet.total
                spent += sum(given.values())
                for friend, amount in given.items():
                    received[friend] += amount
            await self.has(sender, WON - spent)
        for friend, amount in received.items():
            await self.has(friend, amount)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    directory = tmp_path_factory.mktemp("group")
    (directory / "c.toml").write_text(CAMPAIGN)
    with stack_up(directory / "c.toml", directory / "d", "--sets", 2, "--gates", 2) as running:
        yield running


@contextlib.contextmanager
def killing(stack: RunningStack, lots: random.Random) -> Iterator[list[str]]:
    """Kill some process every now and then, `KILLS` times; yield who was. Then all come up again, however slow the
    machine is: a database that is killed before it has recovered would never answer anybody."""
    ended = threading.Event()
    killed: list[str] = []

    def keep_killing() -> None:
        while len(killed) < KILLS and not ended.wait(KILLED_EVERY_S):
            alive = [one for one in stack.processes() if one["name"].startswith(KILLED) and one["pid"]]
            if alive:
                chosen = lots.choice(alive)
                with contextlib.suppress(ProcessLookupError):
                    kill(chosen["pid"])
                    killed.append(chosen["name"])

    thread = threading.Thread(target=keep_killing)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()


def test_packets_are_paid_grabbed_and_given_back_to_the_cent_whoever_is_killed(stack: RunningStack) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)  # noqa: T201 - replays it
    lots = random.Random(seed)
    people = People(stack)

    async def all_of_it() -> None:
        for sender in SENDERS:
            await people.win(sender)
        with killing(stack, lots) as killed:
            number = 0
            while len(killed) < KILLS:
                await asyncio.gather(*(people.send(sender, number, lots) for sender in SENDERS))
                number += 1
        print("killed", killed)  # noqa: T201 - says what went on
        last_s = time.monotonic()
        async with asyncio.timeout(WAIT_MAX_S):
            for packet in people.sent:
                while (await people.at_counter(packet.sender, "GET", f"/packets/{packet.id}"))["state"] == "open":
                    await asyncio.sleep(AGAIN_S)
        assert time.monotonic() - last_s < EXPIRES_S + 15
        await people.audit()

    asyncio.run(all_of_it())
    stack.wait_until(lambda processes: all(one["state"] == "ready" for one in processes.values()))
    report = redrush("reconcile", "--deploy", stack.data / "deployment.toml", "--json")
    assert report.code == 0, report.out + report.err
    looked = json.loads(report.out)["books"]
    assert looked["packets"] >= len(people.sent)
    assert looked["changing"] == 0
