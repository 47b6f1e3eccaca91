"""Two gates over two sets of real Valkey servers, one of which is killed again and again during the rush."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redrush.core.rush.campaign import Campaign
from redrush.core.sets.address import Address
from redrush.core.sets.division import Division, SetPlace
from redrush.errors import RedrushError
from redrush.gate.assembly import build_gate
from redrush.gate.campaign import Event
from redrush.gate.knowledge.among_others import AmongOthers, ConnectedSet
from redrush.gate.manners import Home
from redrush.http.reader import Limits
from redrush.ports.news import SoldOut
from redrush.stores.valkey import ValkeyStore, establish_set
from tests.gate.sets import Asking
from tests.gate.world import OPENS_US, RECEIPT_RING, TICKET_RING, rounds_of
from tests.integration.valkey_sets import CAMPAIGN, nothing_lacks, servers
from tests.patience import PATIENCE_S

PACKETS = 400
USERS = 1_200
KILLS = 3
SETS = ("s1", "s2")


class Gate:
    """A gate with connections of its own."""

    def __init__(self, stores: dict[str, ValkeyStore]) -> None:
        self.stores = stores
        self.faults: list[RedrushError] = []
        campaign = Campaign(id=CAMPAIGN, name=CAMPAIGN, currency="CNY", rounds=rounds_of(PACKETS, None))
        division = Division(campaign, [SetPlace(name) for name in stores])
        gate = build_gate(
            Event(campaign, range(1, 2 * PACKETS + 1), TICKET_RING, RECEIPT_RING, None),
            Limits(),
            lambda round_: [Home(share.set, stores[share.set], share.slots) for share in division.shares(round_.id)],
            now_us=lambda: OPENS_US + 1,
            failed=self.faults.append,
        )
        self.round = gate.rounds["r1"]
        self.among = AmongOthers(
            gate,
            {name: ConnectedSet(store, store) for name, store in stores.items()},
            now_us=lambda: OPENS_US + 1,
            on_fault=self.faults.append,
            on_conflict=self.faults.append,
        )

    def ask(self, user: str) -> Asking:
        asking = Asking()
        answer = self.round.serve(asking, user)
        if answer is not None:
            asking.send(answer)
        return asking

    async def grab(self, user: str) -> Any:
        return await self.ask(user).json()


@asynccontextmanager
async def _gate(addresses: dict[str, Address]) -> AsyncIterator[Gate]:
    stores = {
        name: await ValkeyStore.connect([address], CAMPAIGN, name, prover=nothing_lacks)
        for name, address in addresses.items()
    }
    gate = Gate(stores)
    await gate.among.start()
    try:
        yield gate
    finally:
        await gate.among.stop()
        for store in stores.values():
            await store.close()


class Rush:
    """Everybody asks every gate; `held` is who was told that they have which slot."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}

    async def ask_until_answered(self, gate: Gate, users: list[str]) -> None:
        """Let these users ask the gate, again while it tells them to come back."""
        waiting = users
        while waiting:
            answers = [(user, await asking.json()) for user, asking in [(user, gate.ask(user)) for user in waiting]]
            for user, answer in answers:
                if answer.get("outcome") == "granted":
                    slot = answer["grant"]["slot"]
                    assert self.held.setdefault(user, slot) == slot
            waiting = [user for user, answer in answers if answer["status"] == 503]
            await asyncio.sleep(0.01)

    async def check(self, gate: Gate, users: list[str]) -> None:
        """Fail the test unless a gate at the end tells everybody what they were told before."""
        while not all(pot.complete for pot in gate.round.pots):
            await asyncio.sleep(0.01)
        for user in users:
            answer = await gate.grab(user)
            if user in self.held:
                assert (answer["outcome"], answer["grant"]["slot"]) == ("granted", self.held[user])
            else:
                assert answer["outcome"] == "empty"
        assert not gate.faults


async def _rush_with_kills(directory: Path) -> None:
    users = [f"user{number}" for number in range(USERS)]
    rush = Rush()
    async with asyncio.timeout(PATIENCE_S), servers(directory, len(SETS)) as started:
        addresses = dict(zip(SETS, (server.address for server in started), strict=True))
        for name, address in addresses.items():
            await establish_set([address], CAMPAIGN, name, replicas_needed=0)
        async with _gate(addresses) as one, _gate(addresses) as other:
            for turn in range(KILLS):
                part = users[turn::KILLS]
                asking = [asyncio.create_task(rush.ask_until_answered(gate, part)) for gate in (one, other)]
                await asyncio.sleep(0)
                started[0].kill()
                theirs = next(user for user in part if one.round.home(user).lane.set == SETS[1])
                assert (await one.grab(theirs))["status"] == 200, "the other set notices nothing"
                await started[0].start()
                await asyncio.gather(*asking)
            assert sorted(rush.held.values()) == list(range(PACKETS))
            await one.stores[SETS[1]].publish(SoldOut("r1"))
            await rush.check(one, users)
            await rush.check(other, users)
        async with _gate(addresses) as late:
            await rush.check(late, users)


def test_a_set_killed_in_the_rush_costs_no_grant_gives_none_twice_and_leaves_the_other_alone(tmp_path: Path) -> None:
    asyncio.run(_rush_with_kills(tmp_path))
