"""A set is lost and rebuilt in the middle of a rush: gates and recorder run on, and everything is right again."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from redrush.core.rush.campaign import Campaign
from redrush.core.sets.address import Address
from redrush.operate.set_rebuilding import rebuild_set
from redrush.ports.store import Granted, History, LogRecord, StoreUnavailable
from redrush.records.postgres import PostgresRecords
from redrush.settle.recorder import Recorder
from redrush.stores.valkey import ValkeyStore, establish_set
from tests.conftest import Databases
from tests.gate.world import rounds_of
from tests.integration.test_gates_on_valkey import PACKETS, Gate
from tests.integration.valkey_sets import CAMPAIGN, granted_in_log, servers, until
from tests.patience import PATIENCE_S

USERS = 1_200
TURN_USERS = 100
EPOCH = 7


@asynccontextmanager
async def _gates(addresses: dict[str, list[Address]], count: int) -> AsyncIterator[list[Gate]]:
    gates = []
    for _ in range(count):
        stores = {name: await ValkeyStore.connect(each, CAMPAIGN, name) for name, each in addresses.items()}
        gates.append(Gate(stores))
        await gates[-1].among.start()
    try:
        yield gates
    finally:
        for gate in gates:
            await gate.among.stop()
            for store in gate.stores.values():
                await store.close()


@asynccontextmanager
async def _recorder(store: ValkeyStore, records: PostgresRecords) -> AsyncIterator[tuple[Recorder, asyncio.Event]]:
    """Yield a recorder that runs, and what stops it as long as it is set."""
    campaign = Campaign(id=CAMPAIGN, name=CAMPAIGN, currency="CNY", rounds=rounds_of(PACKETS, None))
    paused = asyncio.Event()
    recorder = Recorder(
        store, records, campaign, range(1, 2 * PACKETS + 1), set_id="s1", begin=records.begin, paused=paused.is_set
    )
    running = asyncio.create_task(recorder.run())
    try:
        yield recorder, paused
    finally:
        paused.clear()
        await recorder.stop(drain=False)
        await running
        await store.close()
        records.close()


class Crowd:
    """Users who ask one gate or the other until they have a decision. `told` is the slot of each who was granted."""

    def __init__(self, gates: list[Gate]) -> None:
        self._gates = gates
        self._turns = 0
        self.told: dict[str, int] = {}

    async def come(self, users: list[str]) -> None:
        """Let them come, so many at a time; who has no decision queues up again."""
        queue = deque(users)
        while queue:
            now = [queue.popleft() for _ in range(min(TURN_USERS, len(queue)))]
            decided = await asyncio.gather(*map(self._ask, now))
            queue += [user for user, is_decided in zip(now, decided, strict=True) if not is_decided]
            await asyncio.sleep(0.01)

    async def _ask(self, user: str) -> bool:
        self._turns += 1
        answer = await self._gates[self._turns % len(self._gates)].grab(user)
        if answer.get("outcome") == "granted":
            self.told[user] = answer["grant"]["slot"]
        return answer.get("outcome") in ("granted", "empty")


async def _all(facts: Iterable[object]) -> bool:
    return all(facts)


def _granted(journal: list[LogRecord]) -> dict[str, int]:
    return {
        user: record.first_slot + number
        for record in journal
        if isinstance(record, Granted)
        for number, user in enumerate(record.users)
    }


async def _rebuild_under_load(directory: Path, dsn: str) -> None:
    users = [f"user{number}" for number in range(USERS)]
    async with asyncio.timeout(PATIENCE_S), servers(directory, 3) as (old, fresh, second):
        addresses = {"s1": [old.address, fresh.address], "s2": [second.address]}
        for name, server in (("s1", old), ("s2", second)):
            await establish_set([server.address], CAMPAIGN, name, replicas_needed=0)
        follower = await ValkeyStore.connect(addresses["s1"], CAMPAIGN, "s1")
        records, rebuilding = PostgresRecords(dsn, "s1"), PostgresRecords(dsn, "s1")
        async with _gates(addresses, 2) as gates, _recorder(follower, records) as (recorder, paused):
            crowd = Crowd(gates)
            early, late = users[: PACKETS // 3], users[PACKETS // 3 :]
            await crowd.come(early[:-50])
            await recorder.caught_up()
            paused.set()
            await crowd.come(early[-50:])  # those of s1 among them are in no record
            rush = asyncio.create_task(crowd.come(late))
            old.kill()
            await asyncio.to_thread(rebuilding.begin, History(EPOCH))
            journal = list(rebuilding.journal())
            others = {"s2": gates[0].stores["s2"]}
            await rebuild_set(CAMPAIGN, "s1", fresh.address, journal, others, epoch=EPOCH)
            rebuilding.close()
            recorded = _granted(journal)
            lost = [u for u in crowd.told if gates[0].round.home(u).lane.set == "s1" and u not in recorded]
            assert lost
            paused.clear()
            await until(lambda: _all(gate.round.refills for gate in gates))
            await crowd.come(lost)
            await rush

            held = await granted_in_log(gates[0].stores["s1"]) | await granted_in_log(gates[0].stores["s2"])
            assert sorted(held.values()) == list(range(PACKETS))
            assert {user: held.get(user) for user in recorded} == recorded
            await until(lambda: _all(pot.complete for gate in gates for pot in gate.round.pots))
            for gate in gates:
                for user in users:
                    answer = await gate.grab(user)
                    if user in held:
                        assert (answer["outcome"], answer["grant"]["slot"]) == ("granted", held[user])
                    else:
                        assert answer["outcome"] == "empty"
                assert not [fault for fault in gate.faults if not isinstance(fault, StoreUnavailable)]
            await recorder.caught_up()
            assert _granted(list(records.journal())) == await granted_in_log(gates[0].stores["s1"])


def test_a_set_rebuilt_in_the_rush_costs_its_unrecorded_grants_and_nothing_else(
    tmp_path: Path, databases: Databases
) -> None:
    asyncio.run(_rebuild_under_load(tmp_path, databases.fresh()))
