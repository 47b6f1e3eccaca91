"""A set whose servers are lost is the same again from its journal, but for what nobody wrote down."""

import asyncio
import copy
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from redrush.config import Secret, SetSpec
from redrush.core.identity.receipts import ReceiptSigner
from redrush.core.identity.tickets import KeyRing
from redrush.core.rush.campaign import RETURNED_POT, Slots
from redrush.core.sets.division import Division, SetPlace, home
from redrush.core.sets.failover import Terms
from redrush.operate.entrance import REFUSED, Entrance
from redrush.operate.set_rebuilding import rebuild_set
from redrush.ports.store import (
    Claim,
    Claimed,
    Granted,
    HoldState,
    Known,
    PotState,
    PotTerms,
    Store,
    StoreConflict,
    StoreUnavailable,
    Taken,
    Transfers,
    claims_of,
)
from redrush.processes.valkey_server import ValkeyServer
from redrush.settle.honouring import Honour, Honouring
from redrush.stores.valkey import Access, ValkeyStore, establish_set
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link
from redrush.stores.valkey.rebuild import SetRebuild, enter_grant
from redrush.stores.valkey.set_servers import ValkeySetServers
from tests.conformance.hold_model import POTS as HOLD_POTS
from tests.conformance.hold_model import HoldModel, replayed, said, singles
from tests.conformance.store_model import POTS, USERS, Model
from tests.integration.valkey_sets import AT_US, CAMPAIGN, POT, SET, cannot_connect, connected, servers, store_on
from tests.settle.breakable import BreakableStore
from tests.settle.event import campaign_of

TERMS = Terms(9, 0)


@asynccontextmanager
async def pair(directory: Path) -> AsyncIterator[tuple[ValkeyStore, ValkeyServer, ValkeyServer]]:
    """Yield the store of a set, its server, and another server that is empty."""
    async with servers(directory, 2) as (old, fresh), store_on(old) as store:
        yield store, old, fresh


async def rebuilt(fresh: ValkeyServer, store: ValkeyStore, upto: int | None = None) -> None:
    """Rebuild the set from its log, of which the last records may be lost."""
    rebuild = await SetRebuild.begin(fresh.address, CAMPAIGN, SET)
    await rebuild.enter((await store.log(0, 1_000_000))[:upto])
    await rebuild.finish(TERMS)
    await rebuild.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_set_from_its_journal_is_the_same_and_goes_on_in_the_same_way(seed: int, tmp_path: Path) -> None:
    async def run() -> None:
        rng = random.Random(seed)
        async with pair(tmp_path) as (store, _old, fresh):
            model = Model()
            for _ in range(100):
                await model.step(store, rng)
            await rebuilt(fresh, store)
            async with connected(fresh.address) as again:
                assert await again.log(0, 1_000_000) == await store.log(0, 1_000_000)
                assert await again.transfers() == await store.transfers()
                for pot in POTS:
                    assert await again.state(pot) == await store.state(pot)
                    for user in USERS:
                        assert await again.find(pot, user) == await store.find(pot, user)
                for step in range(30):  # the same calls have the same results from here on
                    pot, users = rng.choice(POTS), [f"late{rng.randrange(40)}" for _ in range(4)]
                    assert await again.claim(claims_of(pot, users), AT_US) == await store.claim(
                        claims_of(pot, users), AT_US
                    )
                    transfer, count = f"late{step}", rng.randrange(4)
                    assert await again.take(pot, count, transfer) == await store.take(pot, count, transfer)
                assert await again.log(0, 1_000_000) == await store.log(0, 1_000_000)

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(3))
def test_limits_and_holds_are_the_same_from_the_journal(seed: int, tmp_path: Path) -> None:
    async def run() -> None:
        rng = random.Random(seed)
        async with pair(tmp_path) as (store, _old, fresh):
            model = HoldModel()
            await store.open(HOLD_POTS)
            for turn in range(80):
                await some_step(store, model, rng, turn)
            await rebuilt(fresh, store)
            async with connected(fresh.address) as again:
                log = await store.log(0, 1_000_000)
                assert await again.log(0, 1_000_000) == log
                assert replayed(log) == model.pots
                for turn in range(80, 120):  # the same calls have the same results from here on
                    other, state = copy.deepcopy(model), rng.getstate()
                    await some_step(store, other, rng, turn)
                    rng.setstate(state)
                    await some_step(again, model, rng, turn)
                for pot, held in model.pots.items():
                    assert await again.state(pot) == held.state()
                assert await again.log(0, 1_000_000) == await store.log(0, 1_000_000)

    asyncio.run(run())


async def some_step(store: ValkeyStore, model: HoldModel, rng: random.Random, turn: int) -> None:
    """Do one thing to the store and to the model, and compare."""
    pots, now_us = [terms.pot for terms in HOLD_POTS], AT_US + turn
    kind = rng.randrange(6)
    if kind < 2:
        claims = [Claim(rng.choice(pots), f"u{rng.randrange(12)}", rng.choice(["", "1", "2"])) for _ in range(8)]
        expected = [model.claim(claim, now_us) for claim in claims]
        assert [said(result) for result in await store.claim(claims, now_us)] == expected
    elif kind == 2:
        assert await store.offer(pots) == model.offer(pots)
    elif kind == 3:
        transfer = f"t{turn}"
        pot, count = rng.choice(pots), rng.randrange(5)
        assert singles(await store.take(pot, count, transfer)) == model.take(pot, count, transfer)
        if rng.random() < 0.7:
            to = rng.choice(pots)
            await store.give(to, tuple(Slots(slot, 1) for slot in model.taken[transfer][1]), transfer)
            model.give(to, transfer)
    else:
        end = HoldState.CONFIRMED if kind == 4 else HoldState.RELEASED
        live = model.holds()
        holds = rng.sample(live, min(len(live), 4))
        ended = [model.finish(hold, end) for hold in holds]
        assert await (store.confirm if kind == 4 else store.release)(holds, now_us) == ended


def test_until_it_is_finished_nobody_finds_a_set_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with pair(tmp_path) as (store, _old, fresh):
            await store.open([PotTerms(POT, Slots(0, 10))])
            rebuild = await SetRebuild.begin(fresh.address, CAMPAIGN, SET)
            await rebuild.enter(await store.log(0, 100))
            await cannot_connect("holds no such set", fresh.address)
            await rebuild.finish(TERMS)
            await rebuild.close()
            async with connected(fresh.address) as again:
                assert again.terms == TERMS

    asyncio.run(run())


def test_a_rebuild_that_was_cut_off_is_begun_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with pair(tmp_path) as (store, _old, fresh):
            await store.open([PotTerms(POT, Slots(0, 100))])
            for k in range(20):
                await store.claim(claims_of(POT, [f"u{k}", f"v{k}"]), AT_US)
            log = await store.log(0, 100)
            cut_off = await SetRebuild.begin(fresh.address, CAMPAIGN, SET)
            await cut_off.enter(log[:7])
            await cut_off.close()
            await rebuilt(fresh, store)
            async with connected(fresh.address) as again:
                assert await again.log(0, 100) == log
                assert await again.state(POT) == PotState(60, 40)

    asyncio.run(run())


def test_a_set_that_is_there_is_not_rebuilt_and_a_journal_with_a_gap_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with pair(tmp_path) as (store, old, fresh):
            await store.open([PotTerms(POT, Slots(0, 100))])
            await store.claim(claims_of(POT, ["a"]), AT_US)
            await store.claim(claims_of(POT, ["b"]), AT_US)
            with pytest.raises(StoreConflict, match="nothing is to be rebuilt"):
                await SetRebuild.begin(old.address, CAMPAIGN, SET)
            first, _second, third = await store.log(0, 100)
            rebuild = await SetRebuild.begin(fresh.address, CAMPAIGN, SET)
            with pytest.raises(StoreConflict, match="GAP"):
                await rebuild.enter([first, third])
            await rebuild.close()

    asyncio.run(run())


def test_moves_that_the_journal_lacks_are_known_from_the_other_sets(tmp_path: Path) -> None:
    """The journal ends before a take whose slots another set has, and before a give whose slots another set took."""

    async def run() -> None:
        async with pair(tmp_path) as (store, old, fresh):
            await store.open([PotTerms(POT, Slots(0, 10))])
            await store.claim(claims_of(POT, ["a"]), AT_US)
            kept = len(await store.log(0, 100))
            await establish_set([old.address], CAMPAIGN, "s2", 0)
            other = await ValkeyStore.connect([old.address], CAMPAIGN, "s2")
            await other.open([PotTerms(POT, Slots(100, 10))])
            coming = await other.take(POT, 3, f"rebalance:{POT}:x:{SET}")
            await store.give(POT, coming, f"rebalance:{POT}:x:{SET}")
            going = await store.take(POT, 5, f"rebalance:{POT}:y:s2")
            await other.give(POT, going, f"rebalance:{POT}:y:s2")
            await store.take(POT, 2, f"rebalance:{POT}:z:s2")  # nobody else has seen these two

            journal = (await store.log(0, 100))[:kept]
            away = BreakableStore(other)
            away.away = True
            with pytest.raises(StoreUnavailable, match="s2 must answer"):
                await rebuild_set(CAMPAIGN, SET, fresh.address, journal, {"s2": away}, epoch=9)
            cut_off = await SetRebuild.begin(fresh.address, CAMPAIGN, SET)
            await cut_off.enter(journal)
            await cut_off.settle_moves({"s2": await other.transfers()})
            await cut_off.close()
            assert await rebuild_set(CAMPAIGN, SET, fresh.address, journal, {"s2": other}, epoch=9) == kept + 2
            async with connected(fresh.address) as again:
                assert await again.state(POT) == PotState(left=9 + 3 - 5, claimed_ever=1)
                takes = [record for record in await again.log(0, 100) if isinstance(record, Taken)]
                assert [record.slots for record in takes] == [going]
                results = await again.claim(claims_of(POT, [f"u{k}" for k in range(9)]), AT_US)
                here = {result.slot for result in results if isinstance(result, Claimed)}
                there = await other.claim(claims_of(POT, [f"w{k}" for k in range(20)]), AT_US)
                assert not here & {result.slot for result in there if isinstance(result, Claimed)}
            await other.close()

    asyncio.run(run())


def test_grants_that_the_journal_lacks_are_honoured_by_their_receipts(tmp_path: Path) -> None:
    async def run() -> None:
        campaign, amounts = campaign_of(20)
        keys = KeyRing(current="k", keys={"k": b"0" * 32})
        signer = ReceiptSigner(keys, campaign.id, "r1", campaign.currency)
        division = Division(campaign, [SetPlace(SET)])
        async with pair(tmp_path) as (store, _old, fresh):
            await store.open([PotTerms("r1", Slots(0, 20))])
            await store.open([PotTerms(RETURNED_POT, Slots(0, 0))])
            await store.claim(claims_of("r1", ["a", "b"]), AT_US)
            kept = len(await store.log(0, 100))
            lost = await store.claim(claims_of("r1", ["c", "d", "e"]), AT_US + 1)
            receipts = {
                user: signer.sign(result.slot, amounts[result.slot], user, result.at_us)
                for user, result in zip("cde", lost, strict=True)
                if isinstance(result, Claimed)
            }
            await rebuilt(fresh, store, kept)
            async with connected(fresh.address) as again:
                link, _ = await Link.connect(fresh.address, Access())

                async def enter(set_id: str, grant: Granted) -> str | None:
                    refused = await enter_grant(link, SetKeys(CAMPAIGN, set_id), TERMS, grant)
                    return None if refused is None else str(refused)

                honouring = Honouring(campaign, amounts, keys, division, {SET: again}, enter)
                assert home("d", 1) == 0
                assert (await honouring.honour(receipts["d"])).outcome is Honour.ENTERED
                assert (await honouring.honour(receipts["d"])).outcome is Honour.KNOWN
                assert await again.find("r1", "d") == Claimed(3, AT_US + 1, True)
                # Somebody else is granted the slot of c, and e another one than before.
                assert await again.claim(claims_of("r1", ["x", "e"]), AT_US + 2) == [
                    Claimed(2, AT_US + 2, False),
                    Claimed(4, AT_US + 2, False),
                ]
                assert (await honouring.honour(receipts["c"])).outcome is Honour.CONFLICT
                assert (await honouring.honour(receipts["e"])).outcome is Honour.KNOWN
                assert (await honouring.honour(receipts["c"].replace("~2~", "~9~"))).outcome is Honour.NOT_OURS
                foreign = ReceiptSigner(keys, "other", "r1", campaign.currency).sign(5, amounts[5], "c", AT_US)
                assert (await honouring.honour(foreign)).outcome is Honour.NOT_OURS
                everybody = await again.claim(claims_of("r1", [f"u{k}" for k in range(30)]), AT_US + 3)
                slots = [result.slot for result in everybody if isinstance(result, Claimed)]
                assert slots == list(range(5, 20))
                assert (await again.state("r1")).left == 0
                await link.close()

    asyncio.run(run())


def test_what_another_set_was_given_is_taken_only_where_it_was(tmp_path: Path) -> None:
    """Two sets lost a move each to a third one: which of the two each came from nobody says, but their slots do."""

    async def run() -> None:
        async with servers(tmp_path, 1) as (server,):
            journals, stores = {}, {}
            for number, name in enumerate(("s1", "s2", "s3")):
                await establish_set([server.address], CAMPAIGN, name, 0)
                stores[name] = await ValkeyStore.connect([server.address], CAMPAIGN, name)
                await stores[name].open([PotTerms(POT, Slots(100 * number, 10))])
                journals[name] = await stores[name].log(0, 100)
            taken = {}
            for name in ("s1", "s2"):
                taken[name] = await stores[name].take(POT, 4, f"rebalance:{POT}:{name}:s3")
                await stores["s3"].give(POT, taken[name], f"rebalance:{POT}:{name}:s3")
            third = await stores["s3"].transfers()

            async def instead(set_id: str) -> Transfers:
                return Transfers(taken={}, given={})  # s1 and s2 are withheld, and their records lag

            async with servers(tmp_path / "new", 1) as (fresh,):
                for name in ("s1", "s2"):
                    away = BreakableStore(stores["s2" if name == "s1" else "s1"])
                    away.away = True
                    others: dict[str, Store] = {"s2" if name == "s1" else "s1": away, "s3": stores["s3"]}
                    await rebuild_set(CAMPAIGN, name, fresh.address, journals[name], others, epoch=9, instead=instead)
                    again = await ValkeyStore.connect([fresh.address], CAMPAIGN, name)
                    assert list((await again.transfers()).taken) == [f"rebalance:{POT}:{name}:s3"]
                    assert (await again.state(POT)).left == 6
                    await again.close()
            assert await stores["s3"].transfers() == third
            for store in stores.values():
                await store.close()

    asyncio.run(run())


def test_a_move_whose_slots_were_granted_here_does_not_fit(tmp_path: Path) -> None:
    async def run() -> None:
        async with pair(tmp_path) as (store, old, fresh):
            await store.open([PotTerms(POT, Slots(0, 10))])
            await store.claim(claims_of(POT, ["a"]), AT_US)
            await establish_set([old.address], CAMPAIGN, "s2", 0)
            other = await ValkeyStore.connect([old.address], CAMPAIGN, "s2")
            await other.open([PotTerms(POT, Slots(100, 0))])
            await other.give(POT, (Slots(0, 2),), f"rebalance:{POT}:x:s2")
            with pytest.raises(StoreConflict, match="GRANTED"):
                await rebuild_set(CAMPAIGN, SET, fresh.address, await store.log(0, 100), {"s2": other}, epoch=9)
            await other.close()

    asyncio.run(run())


def spec_of(server: ValkeyServer, set_id: str) -> SetSpec:
    """A set on this server, without records."""
    return SetSpec(id=set_id, addresses=(server.address,), replicas_needed=0, from_round=None, records=Secret(""))


def test_a_grant_is_honoured_whose_slot_had_come_by_a_move_that_was_lost(tmp_path: Path) -> None:
    """Its slot is back in another set, in another round, or on its way; or somebody else was granted it since."""

    async def run() -> None:
        async with servers(tmp_path, 1) as (server,):
            stores = {}
            for number, name in enumerate(("s1", "s2")):
                await establish_set([server.address], CAMPAIGN, name, 0)
                stores[name] = await ValkeyStore.connect([server.address], CAMPAIGN, name)
                await stores[name].open([PotTerms("early", Slots(100 + 10 * number, 5))])
                await stores[name].open([PotTerms("late", Slots(10 * number, 10))])
            entrance = Entrance([spec_of(server, name) for name in stores], CAMPAIGN, Access(), ["early", "late"])

            async def entered(user: str, slot: int) -> str | None:
                return await entrance.enter("s1", Granted(0, "late", slot, (user,), AT_US))

            assert await entered("own", 7) is None
            assert await entered("from another set", 13) is None
            assert await entered("from another round", 102) is None
            assert await entered("from both", 113) is None
            (run,) = await stores["s2"].take("late", 1, "rebalance:late:cut-off:s1")
            assert await entered("on its way", run.first) is None
            (claimed,) = await stores["s2"].claim(claims_of("late", ["somebody"]), AT_US)
            assert isinstance(claimed, Claimed)
            assert await entered("too late", claimed.slot) == REFUSED["ABSENT"]
            assert await entered("own", 8) == REFUSED["HELD"]
            for user, slot in (("own", 7), ("from another set", 13), ("from both", 113), ("on its way", run.first)):
                assert await stores["s1"].find("late", user) == Claimed(slot, AT_US, True)
            assert (await stores["s1"].state("late")).left == 9
            assert (await stores["s2"].state("late")).left == 10 - 3
            assert [(await store.state("early")).left for store in stores.values()] == [4, 4]
            entrance.close()
            for store in stores.values():
                await store.close()

    asyncio.run(run())


def test_what_nobody_has_a_receipt_of_is_waited_for_until_it_is_written_off(tmp_path: Path) -> None:
    async def run() -> None:
        async with pair(tmp_path) as (store, _old, fresh):
            await store.open([PotTerms(POT, Slots(0, 10))])
            await store.claim(claims_of(POT, ["a"]), AT_US)
            journal = await store.log(0, 100)
            await store.claim(claims_of(POT, ["b", "c"]), AT_US)
            known = Known(1, 3, None, 3)
            await rebuild_set(CAMPAIGN, SET, fresh.address, journal, {}, epoch=9, known=known)
            async with connected(fresh.address) as again:
                assert (await again.log_end())[2:] == (2, 0, True, 0)
                servers = ValkeySetServers(SET, (fresh.address,), SetKeys(CAMPAIGN, SET), Access())
                server = await servers.connect(fresh.address)
                await server.heard_out(write_off=False)
                assert (await again.log_end())[2:] == (2, 0, False, 0)
                entered = await enter_grant(
                    await link_to(fresh), SetKeys(CAMPAIGN, SET), TERMS, Granted(0, POT, 1, ("b",), AT_US)
                )
                assert entered is None
                await server.heard_out(write_off=True)
                assert (await again.log_end())[2:] == (2, 1, False, 1)
                server.cut("done")

    asyncio.run(run())


async def link_to(server: ValkeyServer) -> Link:
    link, _ = await Link.connect(server.address, Access())
    return link
