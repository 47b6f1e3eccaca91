"""A storm of queries at a gate over real Valkey servers, one of which is stopped: the others' people notice nothing."""

import asyncio
import signal
from pathlib import Path
from typing import Any

from redrush.core.rush.campaign import Campaign
from redrush.core.sets.division import Division, SetPlace
from redrush.dependency import Unanswered
from redrush.errors import RedrushError
from redrush.gate.assembly import build_gate
from redrush.gate.campaign import Event
from redrush.gate.gate import Gate
from redrush.gate.manners import Home
from redrush.gate.views import GrantsView
from redrush.http.reader import Limits
from redrush.stores.valkey import ValkeyStore, establish_set
from tests.gate.sets import Asking
from tests.gate.world import OPENS_US, RECEIPT_RING, TICKET_RING, rounds_of
from tests.integration.valkey_sets import CAMPAIGN, servers
from tests.patience import PATIENCE_S

SETS = ("s1", "s2")
PACKETS = 400
STORM = 2_000
CLAIMS = 100


def gate_over(stores: dict[str, ValkeyStore]) -> Gate:
    campaign = Campaign(id=CAMPAIGN, name=CAMPAIGN, currency="CNY", rounds=rounds_of(PACKETS, None))
    division = Division(campaign, [SetPlace(name) for name in stores])
    faults: list[RedrushError] = []
    return build_gate(
        Event(campaign, range(1, 2 * PACKETS + 1), TICKET_RING, RECEIPT_RING, None),
        Limits(),
        lambda round_: [Home(share.set, stores[share.set], share.slots) for share in division.shares(round_.id)],
        now_us=lambda: OPENS_US + 1,
        failed=faults.append,
    )


async def asked(route: Any, user: str) -> Any:
    asking = Asking()
    if (answer := route.serve(asking, user)) is not None:
        asking.send(answer)
    return await asking.json()


async def test_queries_that_find_their_set_stopped_cost_the_other_set_no_claim_and_no_query(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE_S), servers(tmp_path, len(SETS)) as started:
        stores = {}
        for name, server in zip(SETS, started, strict=True):
            await establish_set([server.address], CAMPAIGN, name, replicas_needed=0)
            stores[name] = await ValkeyStore.connect([server.address], CAMPAIGN, name)
        gate = gate_over(stores)
        claims = gate.rounds["r1"]
        await claims.warm_up()
        mine = GrantsView((claims,), gate.queries, lambda: OPENS_US + 1)
        users = [f"user{number}" for number in range(STORM)]
        stuck = [user for user in users if claims.home(user).lane.set == SETS[0]]
        theirs = [user for user in users if claims.home(user).lane.set == SETS[1]][:CLAIMS]

        started[0].signal(signal.SIGSTOP)
        try:
            storm = [asyncio.create_task(asked(mine, user)) for user in stuck]
            granted = await asyncio.gather(*(asked(claims, user) for user in theirs))
            assert {answer["outcome"] for answer in granted} == {"granted"}
            for user, answer in zip(theirs, granted, strict=True):
                assert (await asked(mine, user))["grants"] == [answer["grant"]]
            refused = await asyncio.gather(*storm)
            assert {(answer["status"], answer["waited"]) for answer in refused} == {(503, True)}
            assert gate.queries.sets[SETS[0]].refused[Unanswered.LATE] > 0, "nobody met the set that was stopped"
        finally:
            started[0].signal(signal.SIGCONT)
        while (await asked(mine, stuck[0]))["status"] != 200:
            await asyncio.sleep(0.01)
        gate.close()
        for store in stores.values():
            await store.close()
