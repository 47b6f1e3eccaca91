"""A gate that does not find a packet in its set, on real Valkey: nobody is told that there is none such while there may
be, for clients take that as final."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.core.load.levels import AdmissionTerms
from redrush.core.nobody import ignore
from redrush.core.rush.campaign import Campaign, Kind, Slots
from redrush.core.rush.group import GroupTerms, Packet
from redrush.gate.admission import Admission
from redrush.gate.group.parts import GroupParts, GroupStage, NotedHome, ServedGroup
from redrush.gate.lanes import Lane
from redrush.gate.manners import Gauge, shared_manners
from redrush.gate.rush.packet_homes import PacketHome, terms_in
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import Access, ValkeyStore
from redrush.stores.valkey import store as store_module
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link
from redrush.stores.valkey.rebuild import SetRebuild
from redrush.stores.valkey.terms import Terms, note_heard
from tests.gate.sets import Asking
from tests.gate.world import OPENS_US, RECEIPT_RING, SECOND_US, rounds_of
from tests.integration.valkey_sets import CAMPAIGN, SET, connected, persistently, servers, store_on
from tests.patience import PATIENCE_S

PAID = Packet(
    id="5" * 32, sender="ann", kind=Kind.EQUAL, total_minor=300, count=3, amounts=(100, 100, 100), paid_us=OPENS_US,
    closes_us=OPENS_US + 3_600 * SECOND_US,
)  # fmt: skip
OTHER = msgspec.structs.replace(PAID, id="7" * 32)
NOBODYS = "0" * 32
SETTLED_S = 3.0


class Gate:
    """What a gate serves of packets, over its own link to their set."""

    def __init__(self, store: ValkeyStore) -> None:
        admission = Admission(AdmissionTerms(), secret=b"s" * 32, interval_ms=1_000, now_us=self._now_us)
        lane = Lane(
            SET, store, shared_manners(1_000), Gauge(0, 1_000), admission=admission, now_us=self._now_us,
            failed=ignore,
        )  # fmt: skip
        self.home = PacketHome(lane, store)
        campaign = Campaign(id=CAMPAIGN, name=CAMPAIGN, currency="CNY", rounds=rounds_of(10, None))
        stage = GroupStage(campaign, GroupTerms(), RECEIPT_RING, [self.home], self._now_us)
        self._routes = ServedGroup(stage, GroupParts([NotedHome(SET, store, Slots(0, 0))])).routes

    @staticmethod
    def _now_us() -> int:
        return OPENS_US + 1

    async def grab(self, packet: str) -> Any:
        asking, route = Asking(), self._routes.grab(packet.encode())
        assert route is not None
        if (answer := route.serve(asking, "bob")) is not None:
            asking.send(answer)
        return await asking.json()

    async def look(self, packet: str) -> int:
        asking, route = Asking(), self._routes.look(packet.encode())
        assert route is not None
        if (answer := route.serve(asking, "bob")) is not None:
            asking.send(answer)
        status: int = (await asking.json())["status"]
        return status

    async def until_certain(self) -> float:
        """Return how long it took until it says that there is no such packet."""
        began_s = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            while (told := await self.grab(NOBODYS))["status"] != 404:
                assert (told["status"], told["waited"]) == (503, True)
                await asyncio.sleep(0.02)
        return time.monotonic() - began_s


@asynccontextmanager
async def gate_of(server: ValkeyServer) -> AsyncIterator[Gate]:
    async with connected(server.address) as store:
        yield Gate(store)


async def test_while_whoever_opens_packets_may_not_have_found_the_set_again_none_is_said_not_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "SETTLED_S", SETTLED_S)
    async with servers(tmp_path, 1) as (server,), store_on(server) as counter, gate_of(server) as gate:
        assert await gate.until_certain() >= SETTLED_S / 2, "a gate that has just begun knows no more"
        await counter.open([gate.home.terms(OTHER)])
        server.kill()
        await server.start()
        found = False  # it is paid, and was to be opened while the server was gone
        async with asyncio.timeout(PATIENCE_S):
            while not found:
                assert (await gate.grab(PAID.id))["status"] == 503
                assert await gate.look(PAID.id) == 503
                found = (await gate.grab(OTHER.id))["status"] == 200
                await asyncio.sleep(0.02)
        assert (await gate.grab(PAID.id))["status"] == 503, "the set is there, and the packet not yet"
        await persistently(lambda: counter.open([gate.home.terms(PAID)]))
        assert (await gate.grab(PAID.id))["outcome"] == "granted"


async def test_of_a_set_that_may_have_lost_some_that_is_said_until_an_operator_has_heard_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "SETTLED_S", 0.0)
    async with servers(tmp_path, 2) as (old, fresh), store_on(old) as counter:
        await counter.open([terms_in(counter, OTHER)])
        await counter.open([terms_in(counter, PAID)])
        rebuild = await SetRebuild.begin(fresh.address, CAMPAIGN, SET)
        await rebuild.enter((await counter.log(0, 10))[:-1])
        await rebuild.finish(Terms(9, 0))
        await rebuild.close()
        async with gate_of(fresh) as gate:
            assert (await gate.grab(OTHER.id))["outcome"] == "granted"
            assert [(await gate.grab(one))["status"] for one in (PAID.id, NOBODYS)] == [503, 503]
            link, _ = await Link.connect(fresh.address, Access())
            await note_heard(link, SetKeys(CAMPAIGN, SET))
            await link.close()
            assert [(await gate.grab(one))["status"] for one in (PAID.id, NOBODYS)] == [404, 404]
