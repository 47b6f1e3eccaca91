"""Two campaigns on the same real servers: what a server is, is decided for both, so no decision for one takes from the
other what it has acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from redrush.control.council import Council
from redrush.control.set_state import SetState
from redrush.control.warden import Warden
from redrush.control.warden_notes import WardenNotes
from redrush.core.sets.failover import Policy
from redrush.ports.store import Claimed, PotTerms, Transfers, claims_of
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import Access, ValkeyStore, establish_set
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.set_servers import ValkeySetServers
from tests.control.test_warden import StandingClock
from tests.integration.valkey_sets import (
    AT_US,
    BIG_POT,
    POT,
    follow,
    granted_in_log,
    nothing_lacks,
    persistently,
    servers,
    until,
)


class Part:
    """One campaign's part of the set: its warden, and a gate's store. Terms are lowered by an operator alone."""

    def __init__(self, servers: ValkeySetServers, store: ValkeyStore, notes: Path, council: Council) -> None:
        self.told: list[str] = []
        self.store = store
        self.acknowledged: dict[str, int] = {}
        self._notes = WardenNotes.open_path(notes, servers.id)
        self.warden = Warden(
            servers,
            policy=Policy(1, None),
            notes=self._notes,
            clock=StandingClock(),
            others=_no_others,
            told=self.told.append,
            council=council,
        )
        self._watching = asyncio.create_task(self.warden.run())

    async def state(self, wanted: Callable[[SetState], bool]) -> SetState:
        """Return the state once it is as wanted."""
        try:
            await until(lambda: asyncio.sleep(0, wanted(self.warden.state)))
        except TimeoutError:
            raise AssertionError(f"{self.warden.state}\n" + "\n".join(self.told)) from None
        return self.warden.state

    async def waits(self, *why: str) -> None:
        """Return when nothing is granted, for a reason with these words."""
        await self.state(lambda state: state.durability == "none" and all(word in str(state.why) for word in why))

    async def grant(self) -> None:
        """Let some new users ask until they are granted something."""
        users = [f"u{len(self.acknowledged) + number}" for number in range(5)]
        results = await persistently(lambda: self.store.claim(claims_of(POT, users), AT_US))
        for user, result in zip(users, results, strict=True):
            assert isinstance(result, Claimed)
            self.acknowledged[user] = result.slot

    async def end(self) -> None:
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching
        self._notes.close()
        await self.store.close()


async def _no_others() -> Mapping[str, Transfers | None]:
    return {}


class Both:
    """The set of two servers, the first of them the primary at the start, and the parts of both campaigns."""

    def __init__(self, started: list[ValkeyServer], roll: list[str]) -> None:
        self.servers = started
        self.roll = roll
        self.council = Council(lambda: self.roll)
        self.parts: list[Part] = []

    async def are_at(self, server: ValkeyServer, durability: str = "replica") -> None:
        """Return when that one is the primary of both; each grants, and has all that was acknowledged."""
        primary = str(server.address)
        for part in self.parts:
            await part.state(lambda state: (state.primary, state.durability) == (primary, durability))
            await part.grant()
            logged = await persistently(lambda store=part.store: granted_in_log(store))  # type: ignore[misc]
            assert part.acknowledged.items() <= logged.items()


@asynccontextmanager
async def two_campaigns(directory: Path) -> AsyncIterator[Both]:
    async with servers(directory, 2) as started:
        await follow(started[1], started[0])
        addresses = tuple(server.address for server in started)
        both = Both(started, ["s1", "s1_summer"])
        try:
            for campaign, set_id in (("spring", "s1"), ("summer", "s1_summer")):
                await establish_set(addresses, campaign, set_id, replicas_needed=1)
                store = await ValkeyStore.connect(addresses, campaign, set_id, prover=nothing_lacks)
                of_part = ValkeySetServers(set_id, addresses, SetKeys(campaign, set_id), Access())
                both.parts.append(Part(of_part, store, directory / "notes", both.council))
                await persistently(lambda store=store: store.open([PotTerms(POT, BIG_POT)]))  # type: ignore[misc]
            await both.are_at(started[0])
            yield both
        finally:
            for part in both.parts:
                await part.end()


async def a_dead_primary_is_replaced_for_both_once_all_are_here(both: Both) -> None:
    first, second = both.servers
    both.roll.append("s1_autumn")
    first.kill()
    for part in both.parts:
        await part.waits("s1_autumn", "being taken up")
    both.roll.remove("s1_autumn")
    for part in both.parts:
        await part.state(lambda state: state.primary == str(second.address))
    await first.start()
    await both.are_at(second)


async def a_replica_that_lacks_grants_of_one_is_promoted_for_none(both: Both) -> None:
    """One of them goes on without the replica; then the replica comes back, and the primary dies."""
    first, second = both.servers
    spring, summer = both.parts
    first.kill()
    for part in both.parts:
        await part.waits("needs 1 replicas and has 0")
    async with both.council.deciding:
        await spring.warden.lower_own()
    await spring.grant()
    second.kill()
    await first.start()
    await spring.waits("no replica surely has all")
    await summer.waits(f"{first.address} is to be the primary for s1_summer, but not for s1:", "no replica surely")
    await second.start()
    await both.are_at(second)


async def an_operator_promotes_for_both(both: Both) -> None:
    first, _second = both.servers
    spring, summer = both.parts
    assert summer.warden.parts == ("s1", "s1_summer")
    await spring.warden.force(first.address)
    await both.are_at(first)


async def an_operator_lowers_for_both(both: Both) -> None:
    first, second = both.servers
    _spring, summer = both.parts
    second.kill()
    for part in both.parts:
        await part.waits("needs 1 replicas and has 0")
    await summer.warden.lower()
    await both.are_at(first, "disk")


def test_what_is_decided_of_a_server_is_decided_for_both(tmp_path: Path) -> None:
    async def run() -> None:
        async with two_campaigns(tmp_path) as both:
            await a_dead_primary_is_replaced_for_both_once_all_are_here(both)
            await a_replica_that_lacks_grants_of_one_is_promoted_for_none(both)
            await an_operator_promotes_for_both(both)
            await an_operator_lowers_for_both(both)

    asyncio.run(run())
