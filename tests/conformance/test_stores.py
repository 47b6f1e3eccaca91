"""What `redrush.ports.store` promises, sentence by sentence, of every store."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from redrush.core.rush.campaign import REST_PREFIX, Slots
from redrush.ports.store import (
    EMPTY,
    Claim,
    Claimed,
    ClaimResult,
    Given,
    Granted,
    LogRecord,
    Opened,
    PotState,
    PotTerms,
    Store,
    StoreConflict,
    StoreFailed,
    Taken,
    Transfer,
    Transfers,
    claims_of,
)
from tests.conformance.store_model import Model
from tests.conformance.stores import FACTORIES, Factory
from tests.core.identity.any_user import NAMES

EVERY_STORE = pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.name)
DURABLE_STORES = pytest.mark.parametrize(
    "factory", [f for f in FACTORIES if f.durable], ids=lambda factory: factory.name
)

POT = "r1"
AT_US = 1_800_000_000_000_000


def with_store(scenario: Callable[[Store], Coroutine[Any, Any, None]]) -> Callable[[Factory, Path], None]:
    """Run the scenario on a fresh store of each kind, with pot r1 of the ten slots 100 to 109 open."""

    @EVERY_STORE
    def test(factory: Factory, tmp_path: Path) -> None:
        async def run() -> None:
            async with factory.opened(tmp_path) as store:
                await store.open([PotTerms(POT, Slots(100, 10))])
                await scenario(store)

        asyncio.run(run())

    test.__name__ = scenario.__name__
    test.__doc__ = scenario.__doc__
    return test


def with_durable_store(
    scenario: Callable[[Factory, Path], Coroutine[Any, Any, None]],
) -> Callable[[Factory, Path], None]:
    """Run the scenario once for each durable store."""

    @DURABLE_STORES
    def test(factory: Factory, tmp_path: Path) -> None:
        asyncio.run(scenario(factory, tmp_path))

    test.__name__ = scenario.__name__
    return test


def new(slot: int, at_us: int = AT_US) -> Claimed:
    return Claimed(slot, at_us, repeat=False)


def known(slot: int, at_us: int = AT_US) -> Claimed:
    return Claimed(slot, at_us, repeat=True)


def result_of(result: ClaimResult) -> Claimed:
    """What the same claim is told when it comes again."""
    assert isinstance(result, Claimed)
    return known(result.slot, result.at_us)


# --- claim


@with_store
async def test_slots_are_granted_in_the_order_of_the_users(store: Store) -> None:
    assert await store.claim(claims_of(POT, ["a", "b"]), AT_US) == [new(100), new(101)]
    assert await store.claim(claims_of(POT, ["c"]), AT_US + 1) == [new(102, AT_US + 1)]


@with_store
async def test_a_repeated_claim_returns_the_first_grant(store: Store) -> None:
    await store.claim(claims_of(POT, ["a"]), AT_US)
    assert await store.claim(claims_of(POT, ["b", "a"]), AT_US + 5) == [new(101, AT_US + 5), known(100)]


@with_store
async def test_a_user_who_stands_twice_in_a_batch_gets_one_slot(store: Store) -> None:
    assert await store.claim(claims_of(POT, ["a", "b", "a", "c"]), AT_US) == [new(100), new(101), known(100), new(102)]
    assert await store.state(POT) == PotState(left=7, claimed_ever=3)


@with_store
async def test_a_pot_is_empty_exactly_when_its_slots_are_used_up(store: Store) -> None:
    users = [f"u{k}" for k in range(12)]
    assert await store.claim(claims_of(POT, users), AT_US) == [*(new(100 + k) for k in range(10)), EMPTY, EMPTY]
    assert await store.claim(claims_of(POT, ["u11", "u3"]), AT_US) == [EMPTY, known(103)]


@with_store
async def test_ids_of_every_kind_come_back_from_the_store_as_they_were(store: Store) -> None:
    await store.open([PotTerms("names", Slots(0, 2 * len(NAMES)))])
    await store.claim(claims_of("names", NAMES[:5]), AT_US)
    await store.claim(claims_of("names", NAMES), AT_US)  # a part of a batch takes another way into the log
    assert await store.claim(claims_of("names", NAMES), AT_US) == [known(slot) for slot in range(len(NAMES))]
    assert await store.find("names", NAMES[5]) == known(5)
    granted = [user for record in await store.log(0, 100) if isinstance(record, Granted) for user in record.users]
    assert granted == NAMES


@with_store
async def test_a_pot_of_no_slots_is_empty(store: Store) -> None:
    await store.open([PotTerms("none", Slots(0, 0))])
    assert await store.claim(claims_of("none", ["a"]), AT_US) == [EMPTY]


@with_store
async def test_claiming_for_nobody_changes_nothing(store: Store) -> None:
    assert await store.claim(claims_of(POT, []), AT_US) == []
    assert await store.state(POT) == PotState(left=10, claimed_ever=0)
    assert len(await store.log(0, 10)) == 1


@with_store
async def test_a_user_may_have_a_slot_in_each_pot(store: Store) -> None:
    await store.open([PotTerms("r2", Slots(200, 1))])
    assert await store.claim(claims_of(POT, ["a"]), AT_US) == [new(100)]
    assert await store.claim(claims_of("r2", ["a"]), AT_US) == [new(200)]


@with_store
async def test_users_and_pots_are_any_text(store: Store) -> None:
    texts = ["", " ", "用户", 'quo"te', "back\\slash", "new\nline", "nul\0", "😀", "[1,2]"]
    await store.open([PotTerms("场次 'x'", Slots(0, 20))])
    assert await store.claim(claims_of("场次 'x'", texts), AT_US) == [new(k) for k in range(len(texts))]
    assert [await store.find("场次 'x'", text) for text in texts] == [known(k) for k in range(len(texts))]
    assert (await store.log(1, 10))[1] == Granted(3, "场次 'x'", 0, tuple(texts), AT_US)


@with_store
async def test_many_concurrent_callers_never_share_a_slot(store: Store) -> None:
    await store.open([PotTerms("big", Slots(0, 1_000))])
    batches = [[f"u{(37 * call + k) % 700}" for k in range(12)] for call in range(200)]
    answers = await asyncio.gather(*(store.claim(claims_of("big", batch), AT_US) for batch in batches))
    slots: dict[str, int] = {}
    for batch, results in zip(batches, answers, strict=True):
        for user, result in zip(batch, results, strict=True):
            assert isinstance(result, Claimed)
            assert slots.setdefault(user, result.slot) == result.slot
    assert sorted(slots.values()) == list(range(700))
    firsts = [result for results in answers for result in results if isinstance(result, Claimed) and not result.repeat]
    assert len(firsts) == 700
    assert await store.state("big") == PotState(left=300, claimed_ever=700)


@with_store
async def test_a_cancelled_caller_disturbs_no_other(store: Store) -> None:
    first = asyncio.create_task(store.claim(claims_of(POT, ["a"]), AT_US))
    second = asyncio.create_task(store.claim(claims_of(POT, ["b"]), AT_US))
    await asyncio.sleep(0)  # both have begun
    first.cancel()
    slots = await second
    again = await store.claim(claims_of(POT, ["a", "b"]), AT_US)
    assert isinstance(slots[0], Claimed)
    assert {result.slot for result in again if isinstance(result, Claimed)} == {100, 101}


@EVERY_STORE
@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.claim(claims_of("unknown", ["a"]), AT_US),
        lambda store: store.take("unknown", 1, "t"),
        lambda store: store.give("unknown", (Slots(0, 1),), "t"),
        lambda store: store.state("unknown"),
    ],
    ids=["claim", "take", "give", "state"],
)
def test_a_pot_that_was_never_opened_is_a_key_error(
    factory: Factory, use: Callable[[Store], Awaitable[object]], tmp_path: Path
) -> None:
    async def run() -> None:
        async with factory.opened(tmp_path) as store:
            with pytest.raises(KeyError, match="unknown"):
                await use(store)
            assert await store.log(0, 10) == []

    asyncio.run(run())


# --- claims on several pots


@with_store
async def test_a_batch_may_be_about_any_pots_and_keeps_its_order(store: Store) -> None:
    await store.open([PotTerms("r2", Slots(200, 2)), PotTerms("r3", Slots(300, 1))])
    claims = [Claim("r2", "a"), Claim(POT, "a"), Claim("r3", "b"), Claim("r2", "b"), Claim("r2", "a"), Claim("r3", "c")]
    assert await store.claim(claims, AT_US) == [new(200), new(100), new(300), new(201), known(200), EMPTY]
    assert await store.claim(claims[:3], AT_US + 1) == [known(200), known(100), known(300)]
    assert [await store.state(pot) for pot in (POT, "r2", "r3")] == [PotState(9, 1), PotState(0, 2), PotState(0, 1)]


@with_store
async def test_a_batch_that_names_an_unknown_pot_grants_nothing(store: Store) -> None:
    for claims in ([Claim(POT, "a"), Claim("unknown", "a")], [Claim("unknown", "a"), Claim(POT, "a")]):
        with pytest.raises(KeyError, match="unknown"):
            await store.claim(claims, AT_US)
    assert await store.state(POT) == PotState(10, 0)
    assert len(await store.log(0, 10)) == 1


@with_store
async def test_a_batch_over_hundreds_of_small_pots_grants_each_its_own_slots(store: Store) -> None:
    pots = [f"small{number}" for number in range(600)]
    await store.open([PotTerms(pot, Slots(1_000 + 3 * number, 3)) for number, pot in enumerate(pots)])
    users = [f"u{k}" for k in range(4)]
    claims = [Claim(pot, user) for user in users for pot in pots]
    results = await store.claim(claims, AT_US)
    assert results[:1_800] == [new(1_000 + 3 * number + turn) for turn in range(3) for number in range(600)]
    assert results[1_800:] == [EMPTY] * 600
    assert await store.claim(claims[:1_800], AT_US + 1) == [result_of(result) for result in results[:1_800]]


# --- open


@with_store
async def test_many_pots_are_opened_at_once_also_while_slots_are_granted(store: Store) -> None:
    pots = [PotTerms(f"p{number}", Slots(1_000 + number, 1)) for number in range(3_000)]
    claiming = [asyncio.create_task(store.claim(claims_of(POT, [f"u{k}"]), AT_US)) for k in range(5)]
    await store.open(pots)
    await store.open([*pots, PotTerms("one more", Slots(9_000, 1))])
    assert [len(await claim) for claim in claiming] == [1] * 5
    assert await store.claim(claims_of("p2999", ["a", "b"]), AT_US) == [new(3_999), EMPTY]
    assert sum(isinstance(record, Opened) for record in await store.log(0, 10_000)) == 3_002


@with_store
async def test_a_pot_that_stands_twice_in_a_call_is_opened_once(store: Store) -> None:
    terms = PotTerms("twice", Slots(500, 2))
    await store.open([terms, terms])
    with pytest.raises(StoreConflict, match="other"):
        await store.open([PotTerms("other", Slots(600, 2)), PotTerms("other", Slots(600, 3))])
    assert sum(isinstance(record, Opened) for record in await store.log(0, 10)) == 2


@with_store
async def test_opening_a_pot_again_changes_nothing(store: Store) -> None:
    await store.claim(claims_of(POT, ["a"]), AT_US)
    await store.open([PotTerms(POT, Slots(100, 10))])
    assert await store.state(POT) == PotState(left=9, claimed_ever=1)
    assert len(await store.log(0, 10)) == 2


@with_store
async def test_opening_a_pot_with_other_slots_is_a_conflict(store: Store) -> None:
    with pytest.raises(StoreConflict, match=POT):
        await store.open([PotTerms(POT, Slots(100, 11))])
    assert await store.state(POT) == PotState(left=10, claimed_ever=0)


# --- take and give


@with_store
async def test_slots_are_taken_from_the_end_and_only_unclaimed_ones(store: Store) -> None:
    await store.claim(claims_of(POT, ["a", "b"]), AT_US)
    assert await store.take(POT, 3, "t1") == (Slots(107, 3),)
    assert await store.take(POT, 100, "t2") == (Slots(102, 5),)
    assert await store.take(POT, 1, "t3") == ()
    assert await store.state(POT) == PotState(left=0, claimed_ever=2)
    assert await store.claim(claims_of(POT, ["a", "c"]), AT_US) == [known(100), EMPTY]


@with_store
async def test_taking_under_the_same_transfer_gives_the_same_slots(store: Store) -> None:
    first = await store.take(POT, 3, "t")
    await store.claim(claims_of(POT, ["a"]), AT_US)
    assert await store.take(POT, 3, "t") == first
    assert await store.take(POT, 9, "t") == first
    assert await store.state(POT) == PotState(left=6, claimed_ever=1)


@with_store
async def test_an_empty_take_stays_empty(store: Store) -> None:
    await store.open([PotTerms("none", Slots(0, 0))])
    assert await store.take("none", 5, "t") == ()
    await store.give("none", (Slots(500, 5),), "g")
    assert await store.take("none", 5, "t") == ()


@with_store
async def test_a_transfer_takes_from_one_pot_only(store: Store) -> None:
    await store.open([PotTerms("r2", Slots(200, 5))])
    await store.take(POT, 1, "t")
    with pytest.raises(StoreConflict, match="t"):
        await store.take("r2", 1, "t")
    assert await store.state("r2") == PotState(left=5, claimed_ever=0)


@with_store
async def test_given_slots_come_after_the_own_ones(store: Store) -> None:
    await store.open([PotTerms("r2", Slots(200, 2))])
    await store.give("r2", await store.take(POT, 2, "leftover"), "leftover")
    users = ["a", "b", "c", "d", "e"]
    assert await store.claim(claims_of("r2", users), AT_US) == [new(200), new(201), new(108), new(109), EMPTY]


@with_store
async def test_giving_under_the_same_transfer_gives_once(store: Store) -> None:
    await store.give(POT, (Slots(300, 2), Slots(400, 1)), "g")
    await store.give(POT, (Slots(300, 2), Slots(400, 1)), "g")
    assert await store.state(POT) == PotState(left=13, claimed_ever=0)
    with pytest.raises(StoreConflict, match="g"):
        await store.give(POT, (Slots(900, 2),), "g")
    assert await store.state(POT) == PotState(left=13, claimed_ever=0)


@with_store
async def test_taking_crosses_given_slots_and_keeps_their_order(store: Store) -> None:
    await store.give(POT, (Slots(300, 2), Slots(400, 1)), "g")
    assert await store.take(POT, 5, "t") == (Slots(108, 2), Slots(300, 2), Slots(400, 1))
    await store.give(POT, (Slots(108, 2), Slots(300, 2), Slots(400, 1)), "back")
    assert await store.state(POT) == PotState(left=13, claimed_ever=0)


@with_store
async def test_a_sold_out_pot_grants_again_when_it_is_given_slots(store: Store) -> None:
    await store.claim(claims_of(POT, [f"u{k}" for k in range(11)]), AT_US)
    await store.give(POT, (Slots(300, 1),), "g")
    assert await store.claim(claims_of(POT, ["u10", "u0"]), AT_US) == [new(300), known(100)]


@with_store
async def test_transfers_tells_every_half_of_every_move(store: Store) -> None:
    assert await store.transfers() == Transfers({}, {})
    await store.open([PotTerms("r2", Slots(200, 2))])
    taken = await store.take(POT, 2, "whole")
    await store.give("r2", taken, "whole")
    await store.take("r2", 1, "half")
    await store.take("r2", 0, "nothing")
    await store.give(POT, (Slots(300, 1), Slots(400, 2)), "other half")
    for _repeat in range(2):
        assert await store.transfers() == Transfers(
            taken={
                "whole": Transfer(POT, (Slots(108, 2),)),
                "half": Transfer("r2", (Slots(109, 1),)),
                "nothing": Transfer("r2", ()),
            },
            given={
                "whole": Transfer("r2", (Slots(108, 2),)),
                "other half": Transfer(POT, (Slots(300, 1), Slots(400, 2))),
            },
        )
        await store.take("r2", 1, "half")


@with_store
async def test_what_leaves_a_pot_and_joins_no_other_is_no_move(store: Store) -> None:
    rest = f"{REST_PREFIX}p"
    taken = await store.take(POT, 2, rest)
    assert await store.take(POT, 9, rest) == taken
    await store.take(POT, 1, "move")
    assert await store.transfers() == Transfers(taken={"move": Transfer(POT, (Slots(107, 1),))}, given={})
    await store.open([PotTerms("r2", Slots(200, 5))])
    with pytest.raises(StoreConflict):
        await store.take("r2", 1, rest)


@EVERY_STORE
@pytest.mark.parametrize(
    "slots",
    [(Slots(100, 1),), (Slots(105, 1),), (Slots(109, 5),), (Slots(300, 2), Slots(301, 1)), (Slots(90, 30),)],
    ids=["granted", "unclaimed", "partly", "twice", "around"],
)
def test_a_pot_is_never_given_a_slot_it_has(factory: Factory, slots: tuple[Slots, ...], tmp_path: Path) -> None:
    async def run() -> None:
        async with factory.opened(tmp_path) as store:
            await store.open([PotTerms(POT, Slots(100, 10))])
            await store.claim(claims_of(POT, ["a"]), AT_US)
            with pytest.raises(StoreConflict, match="already"):
                await store.give(POT, slots, "g")
            assert await store.state(POT) == PotState(left=9, claimed_ever=1)
            await store.give(POT, (Slots(300, 1),), "g")  # the refused transfer left no trace

    asyncio.run(run())


# --- find, state, log


@with_store
async def test_find_returns_a_grant_as_a_repeat_or_none(store: Store) -> None:
    await store.claim(claims_of(POT, ["a"]), AT_US)
    assert await store.find(POT, "a") == known(100)
    assert await store.find(POT, "b") is None
    assert await store.find("unknown", "a") is None


@with_store
async def test_what_is_known_of_a_pot_is_live(store: Store) -> None:
    grants = store.known(POT)
    assert dict(grants) == {}
    await store.claim(claims_of(POT, ["a", "b", "a"]), AT_US)
    assert dict(grants) == {"a": known(100), "b": known(101)}
    with pytest.raises(KeyError, match="unknown"):
        store.known("unknown")


@with_store
async def test_the_log_tells_everything_in_order_and_nothing_twice(store: Store) -> None:
    await store.open([PotTerms("r2", Slots(200, 1))])
    await store.claim(claims_of("r2", ["a"]), AT_US)
    taken = await store.take(POT, 2, "leftover")
    await store.give("r2", taken, "leftover")
    await store.claim(claims_of("r2", ["a", "b", "c", "d"]), AT_US + 1)
    await store.claim(claims_of("r2", ["a", "b"]), AT_US + 2)
    records = await store.log(0, 100)
    slots = (Slots(108, 2),)
    assert [record.seq for record in records] == sorted({record.seq for record in records})
    assert [_without_seq(record) for record in records] == [
        Opened(0, POT, Slots(100, 10)),
        Opened(0, "r2", Slots(200, 1)),
        Granted(0, "r2", 200, ("a",), AT_US),
        Taken(0, POT, slots, "leftover"),
        Given(0, "r2", slots, "leftover"),
        Granted(0, "r2", 108, ("b", "c"), AT_US + 1),
    ]


@with_store
async def test_a_batch_is_one_record_per_run_of_slots(store: Store) -> None:
    await store.give(POT, (Slots(300, 2),), "g")
    await store.claim(claims_of(POT, [f"u{k}" for k in range(11)]), AT_US)
    grants = [record for record in await store.log(0, 100) if isinstance(record, Granted)]
    assert [(grant.first_slot, len(grant.users)) for grant in grants] == [(100, 10), (300, 1)]


@with_store
async def test_the_last_seq_is_that_of_the_last_record(store: Store) -> None:
    for k in range(3):
        await store.claim(claims_of(POT, [f"u{k}"]), AT_US)
        assert store.last_seq() == (await store.log(0, 100))[-1].seq


@with_store
async def test_the_log_is_read_in_pages(store: Store) -> None:
    for k in range(6):
        await store.claim(claims_of(POT, [f"u{k}"]), AT_US)
    everything = await store.log(0, 100)
    assert len(everything) == 7
    pages: list[LogRecord] = []
    while page := await store.log(pages[-1].seq if pages else 0, 2):
        assert len(page) <= 2
        pages += page
    assert pages == everything
    assert await store.log(0, 0) == []
    assert await store.log(everything[-1].seq, 5) == []


# --- close


@EVERY_STORE
def test_closing_finishes_what_was_accepted_and_ends_the_store(factory: Factory, tmp_path: Path) -> None:
    async def run() -> None:
        async with factory.opened(tmp_path) as store:
            await store.open([PotTerms(POT, Slots(0, 10))])
            accepted = asyncio.create_task(store.claim(claims_of(POT, ["a"]), AT_US))
            await asyncio.sleep(0)  # the claim has begun
            await store.close()
            assert await accepted == [new(0)]
            calls = [
                store.open([PotTerms(POT, Slots(0, 10))]),
                store.claim(claims_of(POT, ["a"]), AT_US),
                store.take(POT, 1, "t"),
                store.give(POT, (), "t"),
                store.find(POT, "a"),
                store.transfers(),
                store.state(POT),
                store.log(0, 1),
            ]
            for call in calls:
                with pytest.raises(StoreFailed, match="closed"):
                    await call
            await store.close()  # a second time does nothing

    asyncio.run(run())


# --- another life


@with_durable_store
async def test_a_restart_finds_grants_and_goes_on_where_it_stopped(factory: Factory, tmp_path: Path) -> None:
    async with factory.opened(tmp_path) as store:
        await store.open([PotTerms(POT, Slots(100, 4))])
        await store.claim(claims_of(POT, ["a", "b"]), AT_US)
        log = await store.log(0, 10)
    async with factory.opened(tmp_path) as store:
        assert await store.log(0, 10) == log
        assert await store.find(POT, "b") == known(101)
        if factory.knows_all:
            assert dict(store.known(POT)) == {"a": known(100), "b": known(101)}
        await store.open([PotTerms(POT, Slots(100, 4))])
        results = await store.claim(claims_of(POT, ["b", "c", "d", "e"]), AT_US + 9)
        assert results == [known(101), new(102, AT_US + 9), new(103, AT_US + 9), EMPTY]
        assert (await store.log(log[-1].seq, 10))[0].seq > log[-1].seq


@with_durable_store
async def test_a_restart_knows_transfers(factory: Factory, tmp_path: Path) -> None:
    async with factory.opened(tmp_path) as store:
        await store.open([PotTerms(POT, Slots(100, 4))])
        await store.open([PotTerms("r2", Slots(200, 1))])
        taken = await store.take(POT, 2, "t")
        await store.take("r2", 1, "nothing left after this")
        rest = await store.take(POT, 0, f"{REST_PREFIX}p")
    async with factory.opened(tmp_path) as store:
        assert await store.take(POT, 2, "t") == taken
        assert await store.take(POT, 2, f"{REST_PREFIX}p") == rest
        assert set((await store.transfers()).taken) == {"t", "nothing left after this"}
        await store.give("r2", taken, "t")
    async with factory.opened(tmp_path) as store:
        await store.give("r2", taken, "t")
        assert await store.state(POT) == PotState(left=2, claimed_ever=0)
        assert await store.state("r2") == PotState(left=2, claimed_ever=0)
        assert await store.claim(claims_of("r2", ["a"]), AT_US) == [new(102)]


# --- against a model


@EVERY_STORE
@pytest.mark.parametrize("seed", range(12))
def test_random_operations_do_what_an_independent_model_does(factory: Factory, seed: int, tmp_path: Path) -> None:
    """Replay one by its seed: `-k 'random and sqlite-7'` or alike."""

    async def run() -> None:
        rng = random.Random(seed)
        model = Model()
        for _life in range(4 if factory.durable else 1):
            async with factory.opened(tmp_path) as store:
                for _ in range(60):
                    await model.step(store, rng)
                await model.check(store)

    asyncio.run(run())


def _without_seq(record: LogRecord) -> LogRecord:
    kind = type(record)
    fields = {name: getattr(record, name) for name in kind.__struct_fields__}
    return kind(**{**fields, "seq": 0})
