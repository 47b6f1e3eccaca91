"""What `redrush.ports.store` promises of limits and holds, sentence by sentence, of every store that has them."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from redrush.core.rush.campaign import Slots
from redrush.ports.store import (
    EMPTY,
    HELD_OUT,
    LIMIT,
    Claim,
    Claimed,
    Confirmed,
    Grant,
    Held,
    HoldState,
    Offered,
    Opened,
    PotState,
    PotTerms,
    Released,
    Scattered,
    Store,
    StoreConflict,
    claims_of,
)
from tests.conformance.stores import FACTORIES, Factory

EVERY_STORE = pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.name)
DURABLE_STORES = pytest.mark.parametrize(
    "factory", [f for f in FACTORIES if f.durable], ids=lambda factory: factory.name
)
AT_US = 1_800_000_000_000_000
HOLD_US = 600_000_000
SALE = PotTerms("sale", Slots(100, 3), hold_us=HOLD_US)
BIG_SALE = PotTerms("sale", Slots(100, 3_000), hold_us=HOLD_US)
TWO_EACH = PotTerms("two", Slots(500, 5), limit_per_user=2)
CONFIRMED, RELEASED, UNKNOWN = HoldState.CONFIRMED, HoldState.RELEASED, HoldState.UNKNOWN


def with_store(*pots: PotTerms) -> Callable[[Callable[[Store], Coroutine[Any, Any, None]]], Any]:
    """Run the scenario on a fresh store of each kind with these pots open."""

    def decorate(scenario: Callable[[Store], Coroutine[Any, Any, None]]) -> Any:
        @EVERY_STORE
        def test(factory: Factory, tmp_path: Path) -> None:
            async def run() -> None:
                async with factory.opened(tmp_path) as store:
                    await store.open(pots)
                    await scenario(store)

            asyncio.run(run())

        test.__name__ = scenario.__name__
        return test

    return decorate


def held(slot: int, number: int, at_us: int = AT_US, *, repeat: bool = False) -> Held:
    return Held(slot, at_us, repeat, at_us + HOLD_US, number)


def hold(user: str, slot: int, number: int, request: str = "", pot: str = "sale") -> Grant:
    return Grant(pot, user, slot, request, number)


async def claim(store: Store, *users: str, at_us: int = AT_US) -> Sequence[object]:
    return await store.claim(claims_of("sale", users), at_us)


# --- limits


@with_store(TWO_EACH)
async def test_another_request_of_a_user_is_granted_up_to_the_limit(store: Store) -> None:
    claims = [Claim("two", "a", request) for request in ("1", "2", "1", "3", "")]
    first, second, again, *beyond = await store.claim(claims, AT_US)
    assert (first, second) == (Claimed(500, AT_US, False), Claimed(501, AT_US, False))
    assert again == Claimed(500, AT_US, True)
    assert beyond == [LIMIT, LIMIT]
    assert await store.claim(claims[:2], AT_US + 9) == [Claimed(500, AT_US, True), Claimed(501, AT_US, True)]
    assert await store.find("two", "a", "2") == Claimed(501, AT_US, True)
    assert await store.find("two", "a") is None
    assert await store.state("two") == PotState(3, 2)


@with_store(TWO_EACH, PotTerms("one", Slots(600, 2)))
async def test_a_user_who_is_at_the_limit_is_told_so_even_where_nothing_is_left(store: Store) -> None:
    await store.claim([Claim("one", "a"), Claim("one", "b", "x")], AT_US)
    claims = [Claim("one", "a", "x"), Claim("one", "b"), Claim("one", "c"), Claim("one", "b", "x")]
    assert await store.claim(claims, AT_US) == [LIMIT, LIMIT, EMPTY, Claimed(601, AT_US, True)]


@with_store(PotTerms("one", Slots(600, 4)), PotTerms("other", Slots(700, 4)))
async def test_one_call_mixes_claims_with_and_without_a_name_on_pots_of_one_each(store: Store) -> None:
    claims = [
        Claim("one", "a"), Claim("other", "b", "x"), Claim("one", "b"), Claim("one", "a", "x"), Claim("one", "c", "x"),
        Claim("other", "b"), Claim("one", "b"), Claim("other", "a"), Claim("one", "d"), Claim("one", "e"),
    ]  # fmt: skip
    first, second, third, at_limit, fourth, too_many, again, fifth, sixth, nothing = await store.claim(claims, AT_US)
    assert [first, third, fourth, sixth] == [Claimed(600 + k, AT_US, False) for k in range(4)]
    assert [second, fifth] == [Claimed(700 + k, AT_US, False) for k in range(2)]
    assert again == Claimed(601, AT_US, True)
    assert (at_limit, too_many, nothing) == (LIMIT, LIMIT, EMPTY)
    assert [await store.state(pot) for pot in ("one", "other")] == [PotState(0, 4), PotState(2, 2)]
    seen = [(one.slot, one.pot, one.user, one.request) for one in await grants_in(store)]
    assert sorted(seen) == [
        (600, "one", "a", ""), (601, "one", "b", ""), (602, "one", "c", "x"), (603, "one", "d", ""),
        (700, "other", "b", "x"), (701, "other", "a", ""),
    ]  # fmt: skip


async def grants_in(store: Store) -> list[Grant]:
    return [one for record in await store.log(0, 10) if isinstance(record, Scattered) for one in record.grants]


@with_store(TWO_EACH)
async def test_users_and_requests_are_any_text_and_do_not_run_together(store: Store) -> None:
    claims = [Claim("two", "ab", "c"), Claim("two", "a", "bc"), Claim("two", "用户", '"\\/\0'), Claim("two", "abc")]
    assert await store.claim(claims, AT_US) == [Claimed(500 + k, AT_US, False) for k in range(4)]
    assert await store.claim(claims, AT_US) == [Claimed(500 + k, AT_US, True) for k in range(4)]
    assert await grants_in(store) == [Grant(c.pot, c.user, 500 + k, c.request) for k, c in enumerate(claims)]


@EVERY_STORE
@pytest.mark.parametrize(
    "other",
    [
        PotTerms("sale", Slots(100, 3), hold_us=HOLD_US + 1),
        PotTerms("sale", Slots(100, 3)),
        PotTerms("sale", Slots(100, 3), limit_per_user=2, hold_us=HOLD_US),
        PotTerms("sale", Slots(100, 4), hold_us=HOLD_US),
    ],
)
def test_opening_with_other_terms_is_a_conflict(factory: Factory, other: PotTerms, tmp_path: Path) -> None:
    async def run() -> None:
        async with factory.opened(tmp_path) as store:
            await store.open([SALE, SALE])
            await store.open([SALE])
            with pytest.raises(StoreConflict, match="sale"):
                await store.open([PotTerms("new", Slots(0, 1)), other])
            assert await store.log(0, 10) == [Opened(1, "sale", Slots(100, 3), 1, HOLD_US)]

    asyncio.run(run())


@EVERY_STORE
@pytest.mark.parametrize("terms", [PotTerms("p", Slots(0, 1), 0), PotTerms("p", Slots(0, 1), 1, 0)])
def test_terms_that_cannot_be_are_refused(factory: Factory, terms: PotTerms, tmp_path: Path) -> None:
    async def run() -> None:
        async with factory.opened(tmp_path) as store:
            with pytest.raises(ValueError, match="'p'"):
                await store.open([terms])
            assert await store.log(0, 10) == []

    asyncio.run(run())


# --- holds


@with_store(SALE)
async def test_a_grant_of_a_pot_of_holds_says_until_when_it_is_held(store: Store) -> None:
    assert await claim(store, "a", "b", "a") == [held(100, 1), held(101, 2), held(100, 1, repeat=True)]
    assert await store.find("sale", "b") == held(101, 2, repeat=True)
    (record,) = [r for r in await store.log(1, 10) if isinstance(r, Scattered)]
    assert record.grants == (
        Grant("sale", "a", 100, "", 1, AT_US + HOLD_US),
        Grant("sale", "b", 101, "", 2, AT_US + HOLD_US),
    )


@with_store(SALE)
async def test_a_confirmed_hold_is_permanent_and_cannot_be_released(store: Store) -> None:
    await claim(store, "a", "b")
    assert await store.confirm([hold("a", 100, 1)], AT_US + 5) == [CONFIRMED]
    assert await store.release([hold("a", 100, 1)], AT_US + 6) == [CONFIRMED]
    assert await store.confirm([hold("a", 100, 1)], AT_US + 7) == [CONFIRMED]
    assert await claim(store, "a") == [Held(100, AT_US, True, None, 1)]
    assert await store.state("sale") == PotState(1, 2, 0, held=1)
    assert [type(record) for record in await store.log(2, 10)] == [Confirmed]


@with_store(SALE)
async def test_a_released_slot_waits_until_it_is_offered_and_goes_to_somebody_else(store: Store) -> None:
    await claim(store, "a", "b", "c")
    assert await store.release([hold("b", 101, 2)], AT_US + 5) == [RELEASED]
    assert await store.state("sale") == PotState(1, 3, 1, held=2, waiting=1)
    assert await claim(store, "d") == [HELD_OUT]
    assert await store.offer(["sale"]) == 1
    assert await store.offer(["sale"]) == 0
    assert await claim(store, "d", "e", at_us=AT_US + 9) == [held(101, 4, AT_US + 9), HELD_OUT]
    assert await store.state("sale") == PotState(0, 4, 1, held=3)
    assert [type(record) for record in await store.log(2, 10)] == [Released, Offered, Scattered]


@with_store(SALE)
async def test_releasing_again_and_confirming_too_late_say_that_it_is_released(store: Store) -> None:
    await claim(store, "a", "b", "c")
    holds = [hold("a", 100, 1), hold("b", 101, 2)]
    assert await store.release([*holds, holds[0]], AT_US) == [RELEASED] * 3
    await store.offer(["sale"])
    await claim(store, "b", "a")  # the slots change hands
    seq = store.last_seq()
    assert await store.release(holds, AT_US) == [RELEASED] * 2
    assert await store.confirm(holds, AT_US) == [RELEASED] * 2
    assert store.last_seq() == seq
    assert await store.state("sale") == PotState(0, 5, 2, held=3)


@with_store(SALE)
async def test_a_hold_that_never_was_is_unknown(store: Store) -> None:
    await claim(store, "a")
    never = [hold("z", 102, 9), hold("a", 100, 2)]
    assert await store.confirm(never, AT_US) == [UNKNOWN] * 2
    assert await store.release(never, AT_US) == [UNKNOWN] * 2
    assert await store.state("sale") == PotState(2, 1, 0, held=1)


@with_store(SALE)
async def test_an_earlier_hold_of_the_same_user_on_the_same_slot_is_not_the_later_one(store: Store) -> None:
    await claim(store, "a", "b", "c")
    await store.release([hold("a", 100, 1)], AT_US)
    await store.offer(["sale"])
    assert await claim(store, "a") == [held(100, 4)]
    assert await store.release([hold("a", 100, 1)], AT_US) == [RELEASED]
    assert await claim(store, "a") == [held(100, 4, repeat=True)]


@with_store(PotTerms("sale", Slots(100, 4), limit_per_user=2, hold_us=HOLD_US))
async def test_a_limit_counts_the_grants_that_there_are(store: Store) -> None:
    claims = [Claim("sale", "a", request) for request in "123"]
    assert await store.claim(claims, AT_US) == [held(100, 1), held(101, 2), LIMIT]
    await store.release([hold("a", 100, 1, "1")], AT_US)
    assert await store.claim([claims[2], claims[0]], AT_US) == [held(102, 3), LIMIT]
    await store.confirm([hold("a", 101, 2, "2")], AT_US)
    assert await store.claim(claims, AT_US) == [LIMIT, Held(101, AT_US, True, None, 2), held(102, 3, repeat=True)]


@with_store(SALE)
async def test_a_pot_is_empty_for_good_only_when_every_hold_is_confirmed(store: Store) -> None:
    await claim(store, "a", "b", "c")
    assert await claim(store, "d") == [HELD_OUT]
    await store.confirm([hold("a", 100, 1), hold("b", 101, 2), hold("c", 102, 3)], AT_US)
    assert await claim(store, "d") == [EMPTY]


@with_store(SALE, PotTerms("plain", Slots(900, 5)), PotTerms("other", Slots(800, 2), hold_us=1))
async def test_calls_about_holds_are_about_any_pots(store: Store) -> None:
    await store.claim([*claims_of("sale", "ab"), *claims_of("other", "a"), *claims_of("plain", "a")], AT_US)
    plain = Grant("plain", "a", 900)
    holds = [hold("a", 100, 1), hold("a", 800, 1, pot="other"), plain, Grant("plain", "b", 901)]
    assert await store.release(holds, AT_US) == [RELEASED, RELEASED, CONFIRMED, UNKNOWN]
    assert await store.confirm([hold("b", 101, 2), plain], AT_US) == [CONFIRMED, CONFIRMED]
    assert await store.offer(["other", "sale", "plain"]) == 2
    released, confirmed, *offered = (await store.log(0, 20))[-4:]
    assert isinstance(released, Released)
    assert released.holds == tuple(holds[:2])
    assert isinstance(confirmed, Confirmed)
    assert confirmed.holds == (hold("b", 101, 2),)
    assert {(record.pot, record.slots) for record in offered if isinstance(record, Offered)} == {
        ("other", (Slots(800, 1),)),
        ("sale", (Slots(100, 1),)),
    }


@with_store(SALE)
async def test_a_call_that_names_an_unknown_pot_changes_nothing(store: Store) -> None:
    await claim(store, "a")
    holds = [hold("a", 100, 1), hold("a", 100, 1, pot="unknown")]
    for call in (store.confirm(holds, AT_US), store.release(holds, AT_US), store.offer(["sale", "unknown"])):
        with pytest.raises(KeyError, match="unknown"):
            await call
    assert store.last_seq() == 2
    assert await store.release(holds[:1], AT_US) == [RELEASED]


@with_store(SALE, PotTerms("later", Slots(900, 0), hold_us=HOLD_US))
async def test_slots_that_wait_are_taken_last_and_may_be_given_to_another_pot(store: Store) -> None:
    await claim(store, "a", "b")
    await store.release([hold("a", 100, 1), hold("b", 101, 2)], AT_US)
    assert await store.take("sale", 1, "t1") == (Slots(102, 1),)
    assert await store.take("sale", 5, "t2") == (Slots(100, 2),)
    assert await store.state("sale") == PotState(0, 2, 2)
    assert await claim(store, "c") == [EMPTY]
    await store.give("later", (Slots(100, 2),), "t2")
    assert await store.claim(claims_of("later", "c"), AT_US) == [held(100, 1)]
    await store.give("sale", (Slots(102, 1),), "t1")
    assert await claim(store, "d") == [held(102, 3)]


@with_store(BIG_SALE)
async def test_a_big_pot_holds_as_a_small_one_does(store: Store) -> None:
    users = [f"u{k}" for k in range(3_000)]
    results = await claim(store, *users)
    assert results == [held(100 + k, k + 1) for k in range(3_000)]
    assert await claim(store, "late") == [HELD_OUT]
    odd = [hold(users[k], 100 + k, k + 1) for k in range(1, 3_000, 2)]
    assert await store.release(odd, AT_US) == [RELEASED] * 1_500
    even = [hold(users[k], 100 + k, k + 1) for k in range(0, 3_000, 2)]
    assert await store.confirm(even, AT_US) == [CONFIRMED] * 1_500
    assert await store.offer(["sale"]) == 1_500
    late = [f"late{k}" for k in range(1_501)]
    assert await claim(store, *late) == [*(held(101 + 2 * k, 3_001 + k) for k in range(1_500)), HELD_OUT]
    assert await store.state("sale") == PotState(0, 4_500, 1_500, held=1_500)


# --- another life


@DURABLE_STORES
def test_a_restart_finds_holds_as_they_were(factory: Factory, tmp_path: Path) -> None:
    async def run() -> None:
        async with factory.opened(tmp_path) as store:
            await store.open([SALE, TWO_EACH])
            await claim(store, "a", "b", "c")
            await store.claim([Claim("two", "a", "x"), Claim("two", "a", "y")], AT_US)
            await store.confirm([hold("a", 100, 1)], AT_US)
            await store.release([hold("b", 101, 2)], AT_US)
            log = await store.log(0, 20)
        async with factory.opened(tmp_path) as store:
            assert await store.log(0, 20) == log
            assert await store.state("sale") == PotState(1, 3, 1, held=1, waiting=1)
            assert await claim(store, "a", "b", "c") == [
                Held(100, AT_US, True, None, 1),
                HELD_OUT,
                held(102, 3, repeat=True),
            ]
            assert await store.offer(["sale"]) == 1
        async with factory.opened(tmp_path) as store:
            assert await claim(store, "d") == [held(101, 4)]
            assert await store.claim([Claim("two", "a", "z")], AT_US) == [LIMIT]
            assert await store.release([hold("b", 101, 2)], AT_US) == [RELEASED]

    asyncio.run(run())
