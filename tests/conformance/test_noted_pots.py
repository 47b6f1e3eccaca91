"""What `redrush.ports.noted_pots` promises of every store."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from redrush.core.rush.campaign import Slots
from redrush.ports.log_rows import record_of, row_of
from redrush.ports.noted_pots import GRANTED_MAX, NotedPot, NotedStore
from redrush.ports.pot_terms import NOTE_BYTES_MAX
from redrush.ports.store import (
    Claim,
    Claimed,
    Grant,
    Held,
    NotedTerms,
    Opened,
    PotState,
    PotTerms,
    StoreConflict,
    claims_of,
)
from redrush.stores.valkey import ValkeyStore
from redrush.stores.valkey.rebuild import SetRebuild
from redrush.stores.valkey.terms import Terms
from tests.conformance.stores import FACTORIES, Factory, shared_valkey_server

NOTE = '{"greeting":"恭喜发财 \\u0007 /","amounts":[1,2,3]}'
AT_US = 1_800_000_000_000_000


@asynccontextmanager
async def opened_by(factory: Factory, directory: Path) -> AsyncIterator[NotedStore]:
    async with factory.opened(directory) as store:
        assert hasattr(store, "noted")
        yield store  # type: ignore[misc] # every store of ours has noted pots


def with_store(scenario: Callable[[NotedStore], Coroutine[Any, Any, None]]) -> Callable[[Factory, Path], None]:
    @pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.name)
    def test(factory: Factory, tmp_path: Path) -> None:
        async def run() -> None:
            async with opened_by(factory, tmp_path) as store:
                await scenario(store)

        asyncio.run(run())

    test.__name__ = scenario.__name__
    return test


@with_store
async def test_a_pot_has_the_note_that_it_was_opened_with(store: NotedStore) -> None:
    await store.open([NotedTerms("p1", Slots(0, 3), note=NOTE), PotTerms("p2", Slots(0, 2))])
    assert await store.lacks_nothing() is store.knows_all, "one that was just reached may lack what others open now"
    assert await store.noted(["p1", "nobody's", "p2"]) == [
        NotedPot(NOTE, PotState(3, 0)),
        None,
        NotedPot("", PotState(2, 0)),
    ]
    first, second = await store.log(0, 10)
    assert first == Opened(first.seq, "p1", Slots(0, 3), note=NOTE)
    assert second == Opened(second.seq, "p2", Slots(0, 2))
    assert record_of(row_of(first)) == first


@with_store
async def test_what_is_left_of_noted_pots_is_told_of_every_kind_of_pot(store: NotedStore) -> None:
    await store.open(
        [
            NotedTerms("sale", Slots(0, 5), note='{"g":"\\"恭喜\\" \x7f/"}', hold_us=1_000_000),
            NotedTerms("big", Slots(100, 5_000), note=NOTE),
            NotedTerms("big sale", Slots(9_000, 5_000), note=NOTE, hold_us=1_000_000),
            NotedTerms("包 1", Slots(0, 5), note=NOTE),
            PotTerms("nothing", Slots(0, 0)),
        ]
    )
    pots = ["sale", "big", "big sale", "包 1", "nothing"]
    users = [Claim(pot, user) for pot in pots for user in ("a", "b", "c")]
    held = await store.claim(users, AT_US)
    back = [
        Grant(claim.pot, claim.user, result.slot, "", result.number)
        for claim, result in zip(users, held, strict=True)
        if isinstance(result, Held) and claim.user == "c"
    ]
    await store.release(back, AT_US)
    noted = await store.noted([*pots, "nobody's", "sale"])
    assert noted[-2] is None
    assert noted[-1] == noted[0]
    assert [one.note for one in noted[:5] if one is not None] == ['{"g":"\\"恭喜\\" \x7f/"}', NOTE, NOTE, NOTE, ""]
    assert [one.state for one in noted[:5] if one is not None] == [await store.state(pot) for pot in pots]
    assert [one.state.claimed_ever for one in noted[:5] if one is not None] == [3, 3, 3, 3, 0]


@with_store
async def test_the_first_note_stays_whoever_opens_again(store: NotedStore) -> None:
    await store.open([NotedTerms("p1", Slots(0, 3), note=NOTE)])
    before = store.last_seq()
    await store.open([NotedTerms("p1", Slots(0, 3), note="another"), PotTerms("p1", Slots(0, 3))])
    assert await store.noted(["p1"]) == [NotedPot(NOTE, PotState(3, 0))]
    assert store.last_seq() == before
    with pytest.raises(StoreConflict):
        await store.open([NotedTerms("p1", Slots(0, 4), note=NOTE)])


@with_store
async def test_who_has_any_of_a_pot_is_told_whoever_asked(store: NotedStore) -> None:
    await store.open([NotedTerms("p1", Slots(0, 3), note=NOTE)])
    await store.claim(claims_of("p1", ["ann", "张伟"]), AT_US)
    assert dict(await store.granted("p1")) == {"ann": Claimed(0, AT_US, True), "张伟": Claimed(1, AT_US, True)}
    (noted,) = await store.noted(["p1"])
    assert noted == NotedPot(NOTE, PotState(1, 2))
    with pytest.raises(KeyError):
        await store.granted("nobody's")


@with_store
async def test_a_pot_that_others_opened_is_known_while_it_is_watched(store: NotedStore) -> None:
    await store.open([NotedTerms("p1", Slots(0, 3), note=NOTE)])
    watched = store.watch("p1")
    assert watched.pot == "p1"
    await store.claim([*claims_of("p1", ["ann"]), *claims_of("p1", ["bob"])], AT_US)
    assert dict(watched.known) == {"ann": Claimed(0, AT_US, True), "bob": Claimed(1, AT_US, True)}
    store.forget("p1")
    (again,) = await store.claim(claims_of("p1", ["ann"]), AT_US + 1)
    assert again == Claimed(0, AT_US, True), "whoever knows it, the grant is there"


@with_store
async def test_all_winners_of_a_pot_of_any_size_are_told_up_to_a_bound(store: NotedStore) -> None:
    await store.open([PotTerms("p1", Slots(0, GRANTED_MAX + 1))])
    users = [f"u{number}" for number in range(GRANTED_MAX + 1)]
    await store.claim(claims_of("p1", users[:-1]), AT_US)
    assert (await store.granted("p1")).keys() == set(users[:-1])
    await store.claim(claims_of("p1", users[-1:]), AT_US)
    if store.knows_all:
        assert len(await store.granted("p1")) == GRANTED_MAX + 1
    else:
        with pytest.raises(ValueError, match="grants"):
            await store.granted("p1")


@with_store
async def test_a_note_has_an_end(store: NotedStore) -> None:
    with pytest.raises(ValueError, match="note"):
        await store.open([NotedTerms("p1", Slots(0, 3), note="x" * (NOTE_BYTES_MAX + 1))])
    await store.open([NotedTerms("p1", Slots(0, 3), note="x" * NOTE_BYTES_MAX)])
    assert await store.noted([]) == []


@pytest.mark.parametrize("factory", [one for one in FACTORIES if one.durable], ids=lambda factory: factory.name)
def test_a_note_outlives_its_process(factory: Factory, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened_by(factory, tmp_path) as store:
            await store.open([NotedTerms("p1", Slots(0, 3), note=NOTE)])
        async with opened_by(factory, tmp_path) as store:
            assert await store.noted(["p1"]) == [NotedPot(NOTE, PotState(3, 0))]

    asyncio.run(run())


def test_a_set_that_is_made_anew_from_its_journal_has_its_notes(tmp_path: Path) -> None:
    async def run() -> None:
        address = (await shared_valkey_server()).address
        async with opened_by(FACTORIES[-1], tmp_path) as store:
            await store.open([NotedTerms("p1", Slots(0, 3), note=NOTE)])
            journal = await store.log(0, 10)
        rebuild = await SetRebuild.begin(address, "conformance", f"{tmp_path.name.replace('_', '-')}-anew")
        await rebuild.enter(journal)
        await rebuild.finish(Terms(2, 0), is_all_known=True)
        await rebuild.close()
        anew = await ValkeyStore.connect([address], "conformance", f"{tmp_path.name.replace('_', '-')}-anew")
        assert await anew.noted(["p1"]) == [NotedPot(NOTE, PotState(3, 0))]
        assert await anew.log(0, 10) == journal
        await anew.close()

    asyncio.run(run())
