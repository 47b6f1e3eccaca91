"""What a gate pays for pots and campaigns that nobody asks: memory, and nothing each second."""

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.core.rush.campaign import Campaign, Slots
from redrush.drill.bench.small_pots import packets_of
from redrush.gate import gate as gate_module
from redrush.gate.campaign import Event
from redrush.gate.gate import CannotServe, Gate
from redrush.gate.manners import Home
from redrush.gate.pots import OPENED_AT_ONCE_MAX, SetPot, warm_up
from redrush.gate.rush.packet_homes import terms_in
from redrush.ports.store import PotTerms
from redrush.stores.memory import MemoryStore
from redrush.stores.sqlite import SqliteStore
from tests.gate.sets import many_sets
from tests.gate.world import OPENS_US, RECEIPT_RING, TICKET_RING, rounds_of, running_gate

POTS = 20_000
POT_BYTES_MAX = 200
CAMPAIGNS = 1_000


def _of_campaign(number: int, opens_us: int = OPENS_US) -> Event:
    rounds = [
        msgspec.structs.replace(round_, opens_us=opens_us, closes_us=opens_us + 60_000_000)
        for round_ in rounds_of(3, None)
    ]
    campaign = Campaign(id=f"c{number}", name="一个", currency="CNY", rounds=tuple(rounds))
    return Event(campaign, (1,) * 6, TICKET_RING, RECEIPT_RING, None)


async def _add(gate: Gate, number: int, store: Any) -> None:
    await gate.add(
        _of_campaign(number), lambda round_: [Home("only", store, round_.slots, pot=f"c{number}/{round_.id}")]
    )


def _calls(act: Callable[[], object]) -> int:
    """Return how many functions of Python's own are called."""
    calls = [0]

    def count(_frame: object, event: str, _argument: object) -> None:
        calls[0] += event == "call"

    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
    return calls[0]


async def test_an_open_small_pot_costs_a_gate_two_hundred_bytes_at_most() -> None:
    async with running_gate() as gate:
        lane, share = gate.gate.lanes["only"], Slots(0, 10)
        names = [f"packet-{number:08}" for number in range(POTS)]
        store = MemoryStore()
        lane.store = store
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            pots = {name: SetPot(PotTerms(name, share), lane, complete=True) for name in names}
            for pot in pots.values():
                pot.desk = gate.rounds["r1"]
            taken = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert taken / POTS <= POT_BYTES_MAX
        await warm_up(list(pots.values()))
        assert all(pot.open for pot in pots.values())


async def test_a_packet_that_sleeps_costs_as_little_and_after_a_restart_too(tmp_path: Path) -> None:
    async def opened() -> float:
        before = tracemalloc.get_traced_memory()[0]
        store = await SqliteStore.open_path(tmp_path / "journal.db")
        if not store.last_seq():
            await store.open([terms_in(store, packet) for packet in packets_of(POTS)])
        taken = tracemalloc.get_traced_memory()[0] - before
        await store.close()
        return taken / POTS

    tracemalloc.start()
    try:
        assert [await opened() <= POT_BYTES_MAX for _ in range(2)] == [True, True]
    finally:
        tracemalloc.stop()


async def test_pots_are_opened_in_calls_of_a_bounded_size_one_set_after_the_other() -> None:
    async with many_sets(["s1", "s2"]) as event:
        gate = await event.gate()
        opened: list[int] = []
        pots = []
        for name, lane in gate.gate.lanes.items():
            store, inner = lane.store, lane.store.open

            async def count(terms: Any, inner: Any = inner) -> None:
                opened.append(len(terms))
                await inner(terms)

            store.open = count  # type: ignore[method-assign, assignment]
            pots += [
                SetPot(PotTerms(f"{name}/{n}", Slots(n, 1)), lane, complete=False)
                for n in range(OPENED_AT_ONCE_MAX + 5)
            ]
        await warm_up(pots)
        assert opened == [OPENED_AT_ONCE_MAX, 5] * 2
        assert all(pot.open and pot.warm for pot in pots)


async def test_campaigns_that_nobody_asks_cost_nothing_each_second_however_many_there_are() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        await client.grab("alice")

        def a_second() -> None:
            gate.gate.tick()
            for _ in range(50):
                gate.gate.beat(0.0)

        gate.gate.admission.set_level_at_opening(0.5)  # openings are looked up, too
        a_second()
        few = _calls(a_second)
        store = MemoryStore()
        gate.gate.lanes["only"].store = store
        for number in range(CAMPAIGNS):
            await _add(gate.gate, number, store)
        assert len(gate.gate.campaigns) == 1 + CAMPAIGNS
        assert _calls(a_second) == few
        assert {rush.round.id for rush in gate.gate.awake} == {"r1"}


async def test_rounds_that_lie_ahead_are_not_looked_at_by_a_gate_among_others() -> None:
    async with many_sets(["s1"]) as event:
        gate = await event.gate()

        watched = len(gate.among._watched)
        for number in range(CAMPAIGNS):
            served = await gate.gate.add(
                _of_campaign(number, OPENS_US + 3_600_000_000),
                lambda round_, number=number: [  # type: ignore[misc]
                    Home("s1", gate.stores["s1"], round_.slots, pot=f"c{number}/{round_.id}")
                ],
            )
            gate.among.add(served.rounds)
        await gate.among._look_at_all()
        assert len(gate.among._watched) == watched == 1, "that is r1"
        assert len(gate.among._ahead) == 2 * CAMPAIGNS + 1


async def test_a_gate_that_has_as_many_pots_as_it_may_takes_no_further_campaign(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate_module, "POTS_MAX", 4)
    async with running_gate() as gate:
        store = gate.store
        await _add(gate.gate, 1, store)
        with pytest.raises(CannotServe, match="serves at most 4 pots"):
            await _add(gate.gate, 2, store)
        gate.gate.remove("c1")
        await _add(gate.gate, 2, store)
