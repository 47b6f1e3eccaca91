"""Failover on real servers: they are killed and stopped under a rush, and what was acknowledged is still there."""

import asyncio
import random
import shutil
import signal
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from redrush.control.set_state import SetState
from redrush.control.warden import Warden
from redrush.control.warden_notes import WardenNotes
from redrush.core.rush.campaign import Slots
from redrush.core.sets.failover import Policy
from redrush.errors import ConfigError, RedrushError
from redrush.ports.store import Claimed, PotTerms, StoreUnavailable, Transfer, Transfers, claims_of
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import Access, ValkeyStore, establish_set
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.set_servers import ValkeySetServers
from tests.integration.valkey_sets import (
    AT_US,
    BIG_POT,
    CAMPAIGN,
    POT,
    SET,
    Crowd,
    ask,
    connected,
    follow,
    granted_in_log,
    persistently,
    servers,
    until,
)
from tests.patience import OwnTime

BACK_WITHIN_S = 10.0
LOWER_AFTER_US = 1_000_000


class StandingClock:
    def now_us(self) -> int:
        return AT_US


class Watched:
    """A set of real servers, the first of them its primary at the start; a warden; and a crowd at a gate's store."""

    def __init__(self, servers: list[ValkeyServer], store: ValkeyStore, directory: Path, policy: Policy) -> None:
        self.servers = servers
        self.store = store
        self.told: list[str] = []
        self.crowd = Crowd(store, "u")
        self.others: dict[str, Transfers | None] = {}
        self._directory = directory
        self._policy = policy
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.begin_watching()

    def begin_watching(self) -> None:
        self.notes = WardenNotes.open_path(self._directory, SET)
        self.warden = Warden(
            ValkeySetServers(SET, tuple(server.address for server in self.servers), SetKeys(CAMPAIGN, SET), Access()),
            policy=self._policy,
            notes=self.notes,
            clock=StandingClock(),
            others=self._others,
            told=self.told.append,
        )
        self._watching = asyncio.create_task(self.warden.run())

    async def _others(self) -> Mapping[str, Transfers | None]:
        return self.others

    async def stop_watching(self) -> None:
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching
        self.notes.close()

    def rush(self) -> None:
        self._tasks.append(asyncio.create_task(self.crowd.rush(self._stop)))

    async def end(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)
        await self.stop_watching()

    async def state(self, wanted: Callable[[SetState], bool]) -> SetState:
        """Return the state once it is as wanted."""

        async def is_so() -> bool:
            return wanted(self.warden.state)

        try:
            await until(is_so)
        except TimeoutError:
            raise AssertionError(f"{self.warden.state}\n" + "\n".join(self.told)) from None
        return self.warden.state

    async def healthy(self) -> SetState:
        return await self.state(lambda state: state.durability == "replica")

    async def grants(self, count: int) -> None:
        """Return when so many more grants were acknowledged."""
        wanted = len(self.crowd.acknowledged) + count

        async def are_there() -> bool:
            return len(self.crowd.acknowledged) >= wanted

        await until(are_there)

    async def check(self) -> None:
        """Every grant that was ever acknowledged is in the log of whoever is primary now, and answered as it was."""
        acknowledged = dict(self.crowd.acknowledged)  # the rush goes on meanwhile
        logged = await persistently(lambda: granted_in_log(self.store))
        assert acknowledged
        assert acknowledged.items() <= logged.items()
        some = list(acknowledged)[-20:]
        again = await persistently(lambda: self.store.claim(claims_of(POT, some), AT_US))
        assert [result.slot for result in again if isinstance(result, Claimed)] == [acknowledged[user] for user in some]


@asynccontextmanager
async def watched_set(
    directory: Path, count: int = 2, lower_after_us: int | None = LOWER_AFTER_US
) -> AsyncIterator[Watched]:
    async with servers(directory, count) as started:
        for replica in started[1:]:
            await follow(replica, started[0])
        addresses = [server.address for server in started]
        await establish_set(addresses, CAMPAIGN, SET, replicas_needed=1)
        async with connected(*addresses) as store:
            await persistently(lambda: store.open([PotTerms(POT, BIG_POT)]))
            watched = Watched(started, store, directory, Policy(1, lower_after_us))
            try:
                await watched.healthy()
                await watched.state(lambda state: all(replica.in_step for replica in state.replicas))
                watched.rush()
                await watched.grants(50)
                yield watched
                await watched.check()
            finally:
                await watched.end()


Scenario = Callable[[Watched], Awaitable[None]]


class Story(NamedTuple):
    """What happens to a set of so many servers."""

    tell: Scenario
    servers: int
    lower_after_us: int | None


STORIES: dict[str, Story] = {}


def story(count: int = 2, lower_after_us: int | None = LOWER_AFTER_US) -> Callable[[Scenario], Scenario]:
    def keep(scenario: Scenario) -> Scenario:
        STORIES[scenario.__name__] = Story(scenario, count, lower_after_us)
        return scenario

    return keep


async def role_of(server: ValkeyServer) -> str:
    role = await ask(server.address, "ROLE")
    return str(role[0].decode())


@story()
async def a_killed_primary_is_replaced_and_comes_back_as_a_replica(watched: Watched) -> None:
    first, second = watched.servers
    first.kill()
    taken = OwnTime(second.pid)
    await watched.grants(0)
    acknowledged = len(watched.crowd.acknowledged)
    await watched.grants(20)
    assert len(watched.crowd.acknowledged) > acknowledged
    assert taken.passed_s < BACK_WITHIN_S
    state = await watched.state(lambda state: state.durability == "disk")
    assert state.primary == str(second.address)
    assert state.epoch > 2  # after the founding, and that the first one was named
    await first.start()
    state = await watched.healthy()
    assert state.primary == str(second.address)
    assert [replica.in_step for replica in state.replicas] == [True]
    assert await role_of(first) == "slave"
    await watched.grants(20)


@story()
async def a_primary_that_stood_still_can_acknowledge_nothing_and_becomes_a_replica(watched: Watched) -> None:
    first, second = watched.servers
    first.signal(signal.SIGSTOP)
    taken = OwnTime(second.pid)
    await watched.state(lambda state: state.primary == str(second.address))
    await watched.grants(20)
    assert taken.passed_s < BACK_WITHIN_S
    await watched.stop_watching()
    first.signal(signal.SIGCONT)
    async with connected(first.address) as old:  # a gate that sees nobody else
        with pytest.raises(StoreUnavailable):
            await old.claim(claims_of(POT, ["late"]), AT_US)
    watched.begin_watching()
    await watched.healthy()
    assert await role_of(first) == "slave"
    assert "late" not in await persistently(lambda: granted_in_log(watched.store))


@story()
async def without_its_replica_the_primary_goes_on_on_its_own_disk_until_there_is_one_again(
    watched: Watched,
) -> None:
    first, second = watched.servers
    second.kill()
    state = await watched.state(lambda state: state.durability == "disk")
    assert state.primary == str(first.address)
    await watched.grants(20)
    await second.start()  # as what its directory knows it: nobody's replica
    await watched.healthy()
    await watched.grants(20)


@story(lower_after_us=None)
async def lower_durability_can_be_left_to_an_operator(watched: Watched) -> None:
    _first, second = watched.servers
    second.kill()
    state = await watched.state(lambda state: state.durability == "none")
    assert state.why is not None
    assert "needs 1 replicas and has 0" in state.why
    acknowledged = len(watched.crowd.acknowledged)
    await asyncio.sleep(3 * LOWER_AFTER_US / 1e6)  # there is no event for "nothing happens"
    assert watched.warden.state.durability == "none"
    assert len(watched.crowd.acknowledged) == acknowledged
    await watched.warden.lower()
    await watched.state(lambda state: state.durability == "disk")
    await watched.grants(20)


@story()
async def a_replica_that_may_lack_grants_is_never_promoted(watched: Watched) -> None:
    """The replica dies, the primary goes on alone and dies too; then the replica comes back first."""
    first, second = watched.servers
    second.kill()
    await watched.state(lambda state: state.durability == "disk")
    await watched.grants(20)
    first.kill()
    await second.start()
    state = await watched.state(lambda state: state.why is not None and "no replica surely has all" in state.why)
    assert state.primary is None
    acknowledged = len(watched.crowd.acknowledged)
    await watched.stop_watching()
    watched.begin_watching()  # the next warden knows it from the notes
    await watched.state(lambda state: state.why is not None and "no replica surely has all" in state.why)
    assert len(watched.crowd.acknowledged) == acknowledged
    await first.start()
    state = await watched.healthy()
    assert state.primary == str(first.address)
    await watched.grants(20)


@story()
async def when_all_die_whoever_has_the_newest_data_goes_on(watched: Watched) -> None:
    first, second = watched.servers
    first.kill()
    await watched.state(lambda state: state.primary == str(second.address))
    await watched.grants(20)
    second.kill()
    await first.start()
    await watched.state(lambda state: state.why is not None and "no replica surely has all" in state.why)
    await second.start()
    state = await watched.healthy()
    assert state.primary == str(second.address)
    await watched.grants(20)


@story()
async def an_operator_can_force_a_promotion(watched: Watched) -> None:
    first, second = watched.servers
    second.kill()
    await watched.state(lambda state: state.durability == "disk")
    first.kill()
    await second.start()
    await watched.state(lambda state: state.why is not None and "no replica surely has all" in state.why)
    lost = dict(watched.crowd.acknowledged)
    await watched.warden.force(second.address)
    await watched.state(lambda state: state.durability == "disk" and state.primary == str(second.address))
    logged = await persistently(lambda: granted_in_log(watched.store))
    # What was acknowledged on the other disk alone is gone: that is what forcing means.
    watched.crowd.acknowledged = {user: slot for user, slot in lost.items() if user in logged}
    await watched.grants(20)


@story()
async def a_forced_promotion_holds_while_the_old_primary_lives(watched: Watched) -> None:
    _first, second = watched.servers
    await watched.warden.force(second.address)
    promoted = str(second.address)
    await watched.state(lambda state: state.primary == promoted and state.durability == "replica")
    await watched.grants(20)


@story()
async def slots_that_another_set_has_are_not_granted_again_after_a_forced_promotion(
    watched: Watched,
) -> None:
    _first, second = watched.servers
    lost = "rebalance:r1:x:s2"
    moved = (Slots(BIG_POT.end - 7, 7),)
    watched.others = {"s2": Transfers({}, {lost: Transfer(POT, moved)}), "s3": None}
    before = (await watched.store.state(POT)).left
    assert await watched.warden.force(second.address) == ("s3",)
    await watched.state(lambda state: state.primary == str(second.address) and state.durability == "replica")
    transfers = await persistently(watched.store.transfers)
    assert transfers.taken == {lost: Transfer(POT, moved)}
    await watched.grants(20)
    state = await persistently(lambda: watched.store.state(POT))
    assert state.left + state.claimed_ever == BIG_POT.count - 7
    assert state.left < before


@story()
async def a_server_that_lacks_what_its_moves_rest_on_is_not_promoted(watched: Watched) -> None:
    first, second = watched.servers
    never_opened = Transfer("r9", (Slots(5_000_000, 7),))
    watched.others = {"s2": Transfers({}, {"rebalance:r9:x:s2": never_opened})}
    with pytest.raises(RedrushError, match="moves that do not fit"):
        await watched.warden.force(second.address)
    await watched.state(lambda state: state.primary == str(first.address) and state.durability == "replica")
    await watched.grants(20)


@story()
async def a_server_without_a_copy_of_the_set_is_not_promoted_by_force_either(watched: Watched) -> None:
    first, second = watched.servers
    await watched.stop_watching()
    second.kill()
    shutil.rmtree(second.directory)
    first.kill()
    await second.start()
    watched.begin_watching()
    await watched.state(lambda state: any(replica.answers for replica in state.replicas))
    with pytest.raises(RedrushError, match="holds no copy of it"):
        await watched.warden.force(second.address)
    await first.start()
    state = await watched.healthy()
    assert state.primary == str(first.address)
    await watched.grants(20)


@story()
async def while_a_set_is_to_be_rebuilt_no_copy_becomes_its_primary(watched: Watched) -> None:
    first, second = watched.servers
    with pytest.raises(RedrushError, match="nothing is to be rebuilt"):
        await watched.warden.expect_rebuilt(second.address)
    first.kill()
    second.kill()
    lost = await watched.state(lambda state: state.primary is None and not any(r.answers for r in state.replicas))
    assert await watched.warden.expect_rebuilt(second.address) == lost.epoch + 1
    await first.start()
    state = await watched.state(
        lambda state: (
            any(replica.answers for replica in state.replicas)
            and state.why is not None
            and "no replica surely has all" in state.why
        )
    )
    assert state.primary is None
    await watched.warden.force(first.address)
    await watched.state(lambda state: state.durability == "disk" and state.epoch == lost.epoch + 2)
    await watched.grants(20)


@story(count=3)
async def of_two_replicas_the_one_that_has_more_is_promoted_once_both_can_be_asked(watched: Watched) -> None:
    first, second, third = watched.servers
    third.signal(signal.SIGSTOP)
    await watched.grants(50)
    first.kill()
    await watched.state(lambda state: state.why is not None and "other servers may have" in state.why)
    third.signal(signal.SIGCONT)
    state = await watched.state(lambda state: state.primary is not None and state.durability != "none")
    assert state.primary == str(second.address)
    await watched.healthy()
    assert await role_of(third) == "slave"
    await watched.grants(20)


def test_every_story_ends_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    """They consist of waiting, so they are told at the same time, each with servers of its own."""

    async def told(name: str) -> None:
        (tmp_path / name).mkdir()
        async with watched_set(tmp_path / name, STORIES[name].servers, STORIES[name].lower_after_us) as watched:
            await STORIES[name].tell(watched)

    async def run() -> None:
        outcomes = await asyncio.gather(*map(told, STORIES), return_exceptions=True)
        wrong = {name: outcome for name, outcome in zip(STORIES, outcomes, strict=True) if outcome is not None}
        for name, outcome in wrong.items():
            traceback.print_exception(outcome)
            print(f"^ {name}\n")  # noqa: T201 - shown with the failure
        assert not wrong

    asyncio.run(run())


def test_a_second_warden_is_kept_away(tmp_path: Path) -> None:
    notes = WardenNotes.open_path(tmp_path, SET)
    with pytest.raises(ConfigError, match="another control process"):
        WardenNotes.open_path(tmp_path, SET)
    notes.close()
    WardenNotes.open_path(tmp_path, SET).close()


async def stumble(watched: Watched, rng: random.Random) -> None:
    """Break something at random; mend it after a while."""
    server = rng.choice(watched.servers)
    how = rng.choice(("kill", "stop", "blink", "warden"))
    if how == "kill":
        server.kill()
        await asyncio.sleep(rng.uniform(0, 5))
        await server.start()
    elif how == "blink":
        server.kill()
        await server.start()
    elif how == "stop":
        server.signal(signal.SIGSTOP)
        await asyncio.sleep(rng.uniform(0, 5))
        server.signal(signal.SIGCONT)
    else:
        await watched.stop_watching()
        await asyncio.sleep(rng.uniform(0, 1))
        watched.begin_watching()
    await asyncio.sleep(rng.uniform(0, 2))


def run_stumbling(directory: Path, seed: int, stumbles: int) -> None:
    rng = random.Random(seed)

    async def run() -> None:
        async with watched_set(directory, rng.choice((2, 2, 3))) as watched:
            for _ in range(stumbles):
                await stumble(watched, rng)
            await watched.healthy()
            await watched.grants(20)

    asyncio.run(run())


def test_whatever_breaks_acknowledged_grants_stay(tmp_path: Path) -> None:
    run_stumbling(tmp_path, seed=1, stumbles=2)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 130))
def test_whatever_breaks_again_and_again_acknowledged_grants_stay(seed: int, tmp_path: Path) -> None:
    run_stumbling(tmp_path, seed, stumbles=8)
