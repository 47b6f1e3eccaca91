"""A set that lost grants and was made anew: gates go on, and nothing that they remembered of it holds."""

import pytest

from redrush.ports.store import Granted, Opened, PotTerms, Store, Transfers, claims_of
from redrush.stores.memory import MemoryStore
from tests.gate.sets import ManySets, OneGate, many_sets
from tests.gate.world import until


async def _rebuilt(old: Store, records: int) -> Store:
    """Return the set as it was after its first records."""
    fresh = MemoryStore()
    for record in await old.log(0, records):
        if isinstance(record, Opened):
            await fresh.open([PotTerms(record.pot, record.slots)])
        elif isinstance(record, Granted):
            await fresh.claim(claims_of(record.pot, record.users), record.at_us)
    return fresh


async def _begin_anew(event: ManySets, name: str, records: int) -> None:
    event.sets[name] = await _rebuilt(event.sets[name], records)
    for gate in event.running:
        gate.stores[name].begin_anew(event.sets[name])
    await until(lambda: all(gate.r1.refills for gate in event.running))


async def _sold_out_and_known(event: ManySets, gates: list[OneGate]) -> None:
    for gate in gates:
        gate.among.sold_out("r1")
        await until(gate.complete)


async def test_who_was_granted_before_keeps_it_who_was_lost_asks_again_and_no_slot_is_granted_twice() -> None:
    async with many_sets(packets=12) as event:
        one, other = await event.gate(), await event.gate()
        kept_user, lost_user = event.users_of(0, 2)
        kept = (await one.grab(kept_user))["grant"]
        records = len(await event.sets["s1"].log(0, 100))
        lost = (await one.grab(lost_user))["grant"]
        assert (await one.grab(lost_user))["repeat"], "remembered by name and as bytes"

        await _begin_anew(event, "s1", records)
        for gate in (one, other):
            assert (await gate.grab(kept_user))["grant"] == kept
        quicker = event.users_of(0, 1, prefix="quick")[0]
        assert (await other.grab(quicker))["grant"]["slot"] == lost["slot"]
        again = await one.grab(lost_user)
        assert (again["outcome"], again["repeat"]) == ("granted", False)
        assert again["grant"]["slot"] not in (kept["slot"], lost["slot"])
        assert (await other.grab(lost_user))["grant"] == again["grant"]
        assert not one.faults + other.faults


async def test_slots_that_a_set_has_again_end_a_sold_out_round_until_they_are_granted() -> None:
    async with many_sets(packets=6) as event:
        one, other = await event.gate(), await event.gate()
        winners = [user for number in range(3) for user in event.users_of(number, 2)]
        for user in winners:
            await one.grab(user)
        await _sold_out_and_known(event, [one, other])
        late = event.users_of(0, 6, prefix="late")
        assert (await other.grab(late[0]))["outcome"] == "empty"

        await _begin_anew(event, "s1", 2)  # its opening and its first grant
        assert not any(gate.r1.sold_out for gate in (one, other))
        assert (await other.grab(late[1]))["outcome"] == "granted"
        assert (await one.grab(late[2]))["outcome"] == "missed"
        await _sold_out_and_known(event, [one, other])
        for gate in (one, other):
            assert (await gate.grab(late[3]))["outcome"] == "empty"
            assert (await gate.grab(winners[1]))["outcome"] == "empty", "their grant was lost, and granted again"
            assert (await gate.grab(winners[0]))["repeat"]
            assert (await gate.grab(late[1]))["repeat"]


async def test_a_pot_that_the_set_has_lost_is_opened_again() -> None:
    async with many_sets(packets=6) as event:
        gate = await event.gate()
        await _begin_anew(event, "s1", 0)
        await until(lambda: gate.r1.pots[0].warm)
        user = event.users_of(0, 1)[0]
        assert (await gate.grab(user))["outcome"] == "granted"


async def test_a_look_that_saw_a_set_before_and_after_does_not_find_the_round_sold_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with many_sets(packets=6) as event:
        gate = await event.gate()
        for user in (user for number in range(3) for user in event.users_of(number, 2)):
            await gate.grab(user)
        inner = event.sets["s1"]
        fresh = await _rebuilt(inner, 1)
        store = gate.stores["s1"]
        read_transfers = store.transfers

        async def transfers() -> Transfers:
            if store.inner is inner:
                store.begin_anew(fresh)
            return await read_transfers()

        monkeypatch.setattr(store, "transfers", transfers)
        said: list[int] = []
        monkeypatch.setattr(gate.known, "sell_out", said.append)  # it would be undone in a moment
        gate.among.sold_out("r1")
        await until(lambda: store.inner is fresh)
        await until(lambda: gate.r1.refills > 0)
        assert not said
