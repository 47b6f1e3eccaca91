"""A draw over two sets of real Valkey servers and two gates: stock, limits and repeats hold whichever gate is asked."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

from redrush.core.sets.division import Division, SetPlace
from redrush.errors import RedrushError
from redrush.gate.assembly import build_gate
from redrush.gate.campaign import Event
from redrush.gate.knowledge.among_others import AmongOthers, ConnectedSet
from redrush.gate.manners import Home
from redrush.gate.rush.draw import Draw
from redrush.http.reader import Limits
from redrush.stores.valkey import ValkeyStore, establish_set
from tests.gate.draws import KEY, OPENS_US, SECOND_US, body_of, draw_campaign, prize, table_for
from tests.gate.sets import Asking
from tests.gate.world import RECEIPT_RING, TICKET_RING
from tests.integration.valkey_sets import CAMPAIGN, nothing_lacks, servers
from tests.patience import PATIENCE_S

SETS = ("s1", "s2")
PRIZES = [
    prize("phone", 4, spread=True),
    prize("lamp", 12, (1, 4), otherwise="cup"),
    prize("red", 20, (1, 3), each_minor=88, limit=2),
    prize("cup", 6),
]
CAMPAIGN_OF_DRAW = draw_campaign(PRIZES, per_user=4)


class Gate:
    """A gate with connections of its own, whose clock stands at the last release."""

    def __init__(self, stores: dict[str, ValkeyStore]) -> None:
        self.stores = stores
        self.faults: list[RedrushError] = []
        campaign, now_us = CAMPAIGN_OF_DRAW, CAMPAIGN_OF_DRAW.rounds[0].closes_us - SECOND_US
        division = Division(campaign, [SetPlace(name) for name in stores])
        gate = build_gate(
            Event(campaign, table_for(campaign), TICKET_RING, RECEIPT_RING, None, draw_keys={"d": KEY}),
            Limits(),
            lambda pot: [Home(share.set, stores[share.set], share.slots) for share in division.shares(pot.id)],
            now_us=lambda: now_us,
            failed=self.faults.append,
        )
        rush = gate.rounds["d"]
        assert isinstance(rush, Draw)
        self.rush = rush
        self.among = AmongOthers(
            gate,
            {name: ConnectedSet(store, store) for name, store in stores.items()},
            now_us=lambda: now_us,
            on_fault=self.faults.append,
            on_conflict=self.faults.append,
        )

    async def play(self, user: str, play: int) -> Any:
        """Return what the play comes to, asked again while its set has none of the prize for the moment."""
        while True:
            asking = Asking()
            answer = self.rush.reads(b'{"play":%d}' % play).serve(asking, user)
            told = body_of(answer if answer is not None else await asking.answer)
            if "ask_again" not in told:
                return told
            await asyncio.sleep(0.02)


async def _gate(addresses: dict[str, Any]) -> Gate:
    stores = {
        name: await ValkeyStore.connect([address], CAMPAIGN, name, prover=nothing_lacks)
        for name, address in addresses.items()
    }
    gate = Gate(stores)
    await gate.among.start()
    return gate


async def _end(gate: Gate) -> None:
    await gate.among.stop()
    for store in gate.stores.values():
        await store.close()


async def _rush(directory: Path) -> None:
    rng = random.Random(7)
    async with asyncio.timeout(PATIENCE_S), servers(directory, len(SETS)) as started:
        addresses = dict(zip(SETS, (server.address for server in started), strict=True))
        for name, address in addresses.items():
            await establish_set([address], CAMPAIGN, name, replicas_needed=0)
        one, other = await _gate(addresses), await _gate(addresses)
        plays = [(f"u{user}", play) for user in range(60) for play in range(1, 5)]
        asked = [*plays, *plays]
        rng.shuffle(asked)
        told: dict[tuple[str, int], set[str]] = {}

        async def ask(gate: Gate, user: str, play: int) -> None:
            answer = await gate.play(user, play)
            if answer["outcome"] == "granted":
                told.setdefault((user, play), set()).add(answer["grant"]["id"])

        await asyncio.gather(*(ask(rng.choice((one, other)), *play) for play in asked))
        assert all(len(ids) == 1 for ids in told.values()), "a play has at most one grant, at whichever gate"
        grants = [next(iter(ids)) for ids in told.values()]
        assert len(set(grants)) == len(grants)
        for terms in PRIZES:
            users = [user for (user, _), ids in told.items() if f"-d.{terms.id}-" in next(iter(ids))]
            states = [await store.state(f"d.{terms.id}") for store in one.stores.values()]
            assert len(users) == sum(state.claimed_ever for state in states) <= terms.count
            assert max(Counter(users).values(), default=0) <= terms.limit_per_user
        late = await _gate(addresses)
        for (user, play), ids in told.items():
            again = await late.play(user, play)
            assert (again["outcome"], again["repeat"], again["grant"]["id"]) == ("granted", True, next(iter(ids)))
        for user in ("u1", "u2", "u3"):
            mine = await late.rush.grants_of(user)
            assert isinstance(mine, list)
            assert len(mine) == sum(holder == user for holder, _ in told)
        assert one.faults == other.faults == late.faults == []
        for gate in (one, other, late):
            await _end(gate)


def test_a_draw_over_two_sets_and_two_gates_gives_a_play_one_prize_and_no_prize_too_often(tmp_path: Path) -> None:
    assert CAMPAIGN_OF_DRAW.rounds[0].opens_us == OPENS_US
    asyncio.run(_rush(tmp_path))
