"""What was acknowledged stays, whatever happens to the server or the wire; what is in doubt is never acknowledged."""

import asyncio
import contextlib
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import uvloop

from redrush.core.rush.campaign import Slots
from redrush.core.sets.address import Address
from redrush.ports.store import (
    EMPTY,
    Claimed,
    PotState,
    PotTerms,
    StoreFailed,
    StoreUnavailable,
    claims_of,
)
from redrush.processes.failure import ServerFailed
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import Access, ServerMisconfigured, ValkeyStore, establish_set
from redrush.stores.valkey.entries import chain_of
from redrush.stores.valkey.link import Link, pack
from tests.conformance.stores import shared_valkey_server
from tests.integration.valkey_sets import (
    AT_US,
    BIG_POT,
    CAMPAIGN,
    POT,
    SET,
    Crowd,
    Wire,
    ask,
    cannot_connect,
    connected,
    follow,
    granted_in_log,
    persistently,
    servers,
    store_on,
    until,
)
from tests.patience import OwnTime


def slots_of(results: list[object]) -> list[int]:
    return [result.slot for result in results if isinstance(result, Claimed)]


def test_a_killed_server_comes_back_with_everything(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), store_on(server) as store:
            await store.open([PotTerms(POT, Slots(100, 10))])
            await store.open([PotTerms("r2", Slots(200, 0))])
            await store.claim(claims_of(POT, ["a", "b"]), AT_US)
            taken = await store.take(POT, 3, "half")
            await store.give("r2", taken, "half")
            log, transfers = await store.log(0, 100), await store.transfers()
            server.kill()
            await server.start()
            assert await persistently(lambda: store.log(0, 100)) == log
            assert await store.transfers() == transfers
            assert await store.state(POT) == PotState(left=5, claimed_ever=2)
            assert await store.claim(claims_of(POT, ["c", "a"]), AT_US + 9) == [
                Claimed(102, AT_US + 9, repeat=False),
                Claimed(100, AT_US, repeat=True),
            ]

    asyncio.run(run())


def test_while_the_server_is_away_calls_fail_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), store_on(server) as store:
            await store.open([PotTerms(POT, Slots(0, 10))])
            server.kill()
            with pytest.raises(StoreUnavailable):
                await store.claim(claims_of(POT, ["a"]), AT_US)  # the first may find out
            taken = OwnTime()
            for _ in range(100):
                with pytest.raises(StoreUnavailable, match=str(server.address)):
                    await store.claim(claims_of(POT, ["a"]), AT_US)
            assert taken.passed_s < 1.0
            with pytest.raises(StoreUnavailable):
                await store.log(0, 1)

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(2))
def test_kills_amid_a_rush_lose_nothing_acknowledged(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)

    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), store_on(server) as one, connected(server.address) as other:
            await one.open([PotTerms(POT, BIG_POT)])
            stop = asyncio.Event()
            crowds = [Crowd(one, "one"), Crowd(one, "two"), Crowd(other, "three")]
            rushing = [asyncio.create_task(crowd.rush(stop)) for crowd in crowds]
            for _death in range(3):
                await asyncio.sleep(rng.uniform(0.05, 0.2))  # anywhere in a batch
                server.kill()
                await server.start()
                await persistently(lambda: one.claim(claims_of(POT, ["probe"]), AT_US))
            stop.set()
            await asyncio.gather(*rushing)
            logged = await granted_in_log(one)
            for crowd in crowds:
                assert crowd.acknowledged
                assert crowd.acknowledged.items() <= logged.items()
                again = await persistently(lambda crowd=crowd: other.claim(claims_of(POT, crowd.in_doubt), AT_US))  # type: ignore[misc]
                for user, slot in zip(crowd.in_doubt, slots_of(list(again)), strict=True):
                    assert logged.get(user, slot) == slot
            assert sorted((await granted_in_log(one)).values()) == list(
                range(1_000, 1_000 + len(await granted_in_log(one)))
            )

    asyncio.run(run())


def test_a_reply_lost_on_the_wire_is_unknown_and_found_by_asking_again() -> None:
    async def run() -> None:
        server = await shared_valkey_server()
        await establish_set([server.address], CAMPAIGN, "wire", replicas_needed=0)
        async with Wire(server.address).laid() as wire:
            store = await ValkeyStore.connect([wire.address], CAMPAIGN, "wire")
            await store.open([PotTerms(POT, Slots(100, 10))])
            for turn in range(5):
                user = f"user-{turn}"
                wire.replies_pass = False
                wire.passed.clear()
                claim = asyncio.create_task(store.claim(claims_of(POT, [user]), AT_US))
                await wire.passed.wait()
                await until(lambda turn=turn: _claimed(server, turn + 1))  # type: ignore[misc]  # the server has done it
                wire.cut()
                with pytest.raises(StoreUnavailable):
                    await claim
                assert user not in store.known(POT)
                wire.replies_pass = True
                again = await persistently(lambda user=user: store.claim(claims_of(POT, [user]), AT_US + 1))  # type: ignore[misc]
                assert again == [Claimed(100 + turn, AT_US, repeat=True)]
            await store.close()

    asyncio.run(run())


async def _claimed(server: ValkeyServer, count: int) -> bool:
    log_end = await ask(server.address, "HGET", f"{{{CAMPAIGN}/wire}}:meta", "chain")
    return chain_of(log_end)[1] == count


def test_a_stopped_server_leaves_a_call_in_doubt_within_bounds(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), store_on(server) as store:
            await store.open([PotTerms(POT, Slots(100, 10))])
            server.signal(signal.SIGSTOP)
            taken = OwnTime()
            with pytest.raises(StoreUnavailable):
                await store.claim(claims_of(POT, ["a"]), AT_US)
            with pytest.raises(StoreUnavailable):
                await store.claim(claims_of(POT, ["b"]), AT_US)
            assert taken.passed_s < 5.0
            server.signal(signal.SIGCONT)
            (a,) = await persistently(lambda: store.claim(claims_of(POT, ["a"]), AT_US))
            assert isinstance(a, Claimed)
            assert await granted_in_log(store) == {"a": a.slot}

    asyncio.run(run())


@pytest.mark.parametrize(
    "setting",
    ["appendonly no", "appendfsync everysec", "no-appendfsync-on-rewrite yes", "maxmemory-policy allkeys-lru"],
)
def test_a_server_that_could_lose_grants_is_refused(setting: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,):
            await establish_set([server.address], CAMPAIGN, SET, replicas_needed=0)
            await ask(server.address, "CONFIG", "SET", *setting.split())
            with pytest.raises(ServerMisconfigured, match=setting.replace(" ", " is ")):
                await ValkeyStore.connect([server.address], CAMPAIGN, SET)

    asyncio.run(run())


def test_a_server_that_cannot_write_acknowledges_nothing_more(tmp_path: Path) -> None:
    """A full disk, in the form that needs no disk: the process may write no file beyond a size."""

    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), store_on(server) as store:
            await store.open([PotTerms(POT, BIG_POT)])
            written = sum(path.stat().st_size for path in server.directory.rglob("*.incr.aof"))
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (written + 50_000, written + 50_000))
            crowd, stop = Crowd(store, "u", batch=100), asyncio.Event()
            rushing = asyncio.create_task(crowd.rush(stop))
            await until(lambda: asyncio.sleep(0, not server.is_alive()))
            stop.set()
            await rushing
            assert crowd.acknowledged
            assert crowd.in_doubt
            await server.start()  # the disk has room again; what was cut off at the end was never acknowledged
            logged = await persistently(lambda: granted_in_log(store))
            assert crowd.acknowledged.items() <= logged.items()
            assert sorted(logged.values()) == list(range(1_000, 1_000 + len(logged)))

    asyncio.run(run())


def test_a_set_that_was_never_founded_is_unavailable_and_stays_so(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,):
            await cannot_connect("holds no such set", server.address)

    asyncio.run(run())


def test_a_server_that_lost_its_data_grants_nothing_a_second_time(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), store_on(server) as store:
            await store.open([PotTerms(POT, Slots(100, 10))])
            await store.claim(claims_of(POT, ["a"]), AT_US)
            await ask(server.address, "FLUSHALL")
            for use in (
                lambda: store.claim(claims_of(POT, ["b"]), AT_US),
                lambda: store.open([PotTerms(POT, Slots(100, 10))]),
            ):
                with pytest.raises(StoreUnavailable):
                    await use()

    asyncio.run(run())


def test_founding_again_changes_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), store_on(server) as store:
            await store.open([PotTerms(POT, Slots(100, 10))])
            again = await establish_set([server.address], CAMPAIGN, SET, replicas_needed=1)
            assert again == store.terms
            assert (again.epoch, again.replicas_needed) == (1, 0)
            assert await store.state(POT) == PotState(10, 0)

    asyncio.run(run())


def test_a_set_is_founded_only_when_all_its_servers_answer(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 2) as (one, other):
            with pytest.raises(StoreUnavailable, match="one be primary"):
                await establish_set([one.address, other.address], CAMPAIGN, SET, replicas_needed=1)
            other.kill()
            with pytest.raises(StoreUnavailable, match=str(other.address)):
                await establish_set([one.address, other.address], CAMPAIGN, SET, replicas_needed=1)

    asyncio.run(run())


def test_closing_waits_for_no_server_that_is_gone(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), store_on(server) as store:
            server.kill()
            taken = OwnTime()
            await store.close()
            assert taken.passed_s < 3.0
            with pytest.raises(StoreFailed):
                await store.state(POT)

    asyncio.run(run())


def test_batches_of_any_size_and_over_many_runs_are_one_step() -> None:
    async def run() -> None:
        server = await shared_valkey_server()
        await establish_set([server.address], CAMPAIGN, "big", replicas_needed=0)
        store = await ValkeyStore.connect([server.address], CAMPAIGN, "big")
        await store.open([PotTerms(POT, Slots(0, 9_000))])
        runs = tuple(Slots(20_000 + 10 * k, 3) for k in range(300))
        await store.give(POT, runs, "g")
        users = [f"u{k}" for k in range(10_000)]
        results = await store.claim(claims_of(POT, users), AT_US)
        expected = [*range(9_000), *(slot for run in runs for slot in range(run.first, run.end))]
        assert slots_of(list(results)) == expected
        assert results[9_900:] == [EMPTY] * 100
        assert sorted((await granted_in_log(store)).values()) == expected
        assert slots_of(list(await store.claim(claims_of(POT, users), AT_US + 1))) == expected
        with pytest.raises(ValueError, match="16384"):
            await store.claim(claims_of(POT, ["x"] * 16_385), AT_US)
        await store.close()

    asyncio.run(run())


def test_the_log_is_trimmed_up_to_what_is_asked_and_goes_on() -> None:
    async def run() -> None:
        server = await shared_valkey_server()
        await establish_set([server.address], CAMPAIGN, "trimmed", replicas_needed=0)
        store = await ValkeyStore.connect([server.address], CAMPAIGN, "trimmed")
        await store.open([PotTerms(POT, Slots(0, 100))])
        for k in range(20):
            await store.claim(claims_of(POT, [f"u{k}"]), AT_US)
        before = await store.log(0, 100)
        assert await store.trim(7) == 7
        assert await store.trim(7) == 0
        assert await store.log(0, 100) == before[7:]
        assert await store.trim(10**9) == 14
        assert await store.log(0, 100) == []
        await store.claim(claims_of(POT, ["late"]), AT_US)
        (late,) = await store.log(0, 100)
        assert late.seq == before[-1].seq + 1 == store.last_seq()
        assert (await store.claim(claims_of(POT, ["u3"]), AT_US)) == [Claimed(3, AT_US, repeat=True)]
        await store.close()

    asyncio.run(run())


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,):
            second = ValkeyServer(tmp_path / "second", port=server.address.port)
            with pytest.raises(ServerFailed, match="in use"):
                await second.start()

    asyncio.run(run())


def test_a_password_is_asked_for_and_never_shown(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,):
            await ask(server.address, "CONFIG", "SET", "requirepass", "swordfish")
            for access in (None, Access(password="trout")):
                with pytest.raises(StoreUnavailable, match=r"NOAUTH|WRONGPASS"):
                    await establish_set([server.address], CAMPAIGN, SET, 0, access)
            access = Access(password="swordfish")
            assert "swordfish" not in repr(access)
            await establish_set([server.address], CAMPAIGN, SET, 0, access)
            store = await ValkeyStore.connect([server.address], CAMPAIGN, SET, access=access)
            await store.open([PotTerms(POT, Slots(0, 1))])
            assert len(await store.log(0, 1)) == 1
            await store.close()

    asyncio.run(run())


def test_it_works_on_the_event_loop_of_production() -> None:
    async def run() -> None:
        server = await shared_valkey_server()
        await establish_set([server.address], CAMPAIGN, "uvloop", replicas_needed=0)
        store = await ValkeyStore.connect([server.address], CAMPAIGN, "uvloop")
        await store.open([PotTerms(POT, Slots(0, 500))])
        batches = [[f"u{k}-{n}" for n in range(10)] for k in range(50)]
        answers = await asyncio.gather(*(store.claim(claims_of(POT, batch), AT_US) for batch in batches))
        assert sorted(slot for results in answers for slot in slots_of(list(results))) == list(range(500))
        assert len(await granted_in_log(store)) == 500
        await store.close()

    uvloop.run(run())


@pytest.mark.parametrize("said", [b"what?\r\n", b"+PONG\r\n+PONG\r\n"], ids=["no reply", "one too many"])
def test_a_server_that_does_not_keep_to_the_protocol_is_left(said: bytes) -> None:
    async def run() -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1_000)
            writer.write(b"%1\r\n+server\r\n+odd\r\n")
            await reader.read(1_000)
            writer.write(said)
            await reader.read()
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        link, _ = await Link.connect(Address(*server.sockets[0].getsockname()), Access())
        with contextlib.suppress(StoreUnavailable):
            await link.call(pack(("PING",)))
        await link.ended
        assert link.lost is not None
        with pytest.raises(StoreUnavailable):
            await link.call(pack(("PING",)))
        server.close()
        await server.wait_closed()

    asyncio.run(run())


def test_a_server_ends_with_whoever_started_it(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from redrush.processes.valkey_server import ValkeyServer\n"
        "server = ValkeyServer(Path(sys.argv[1])); asyncio.run(server.start())\n"
        "print(server.address.port, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as starter:
        assert starter.stdout is not None
        address = Address("127.0.0.1", int(starter.stdout.readline()))
        asyncio.run(ask(address, "PING"))
        starter.kill()

    async def is_gone() -> bool:
        try:
            await ask(address, "PING")
        except StoreUnavailable:
            return True
        return False

    asyncio.run(until(is_gone))


def test_a_replica_is_not_late_to_say_what_it_has(tmp_path: Path) -> None:
    """A replica's word must not be kept back in its kernel until the next call comes, as Valkey 9 lets it happen.

    It begins with calls that cross each other, and then goes on for as long as they come less than 40 ms apart."""
    gates, crossing, rounds, apart_s = 3, 30, 20, 0.03  # far more apart than a busy machine is late
    took_s: list[float] = []

    async def claim(store: ValkeyStore, gate: int) -> None:
        loop = asyncio.get_running_loop()
        for number in range(crossing):
            await store.claim(claims_of(POT, [f"crossing{gate}-{number}"]), AT_US)
        began_s = loop.time() + gate * apart_s
        for number in range(rounds):
            await asyncio.sleep(began_s + number * gates * apart_s - loop.time())
            asked_s = loop.time()
            await store.claim(claims_of(POT, [f"u{gate}-{number}"]), AT_US)
            took_s.append(loop.time() - asked_s)

    async def run() -> None:
        async with servers(tmp_path, 2) as (primary, replica):
            await follow(replica, primary)
            async with (
                store_on(primary, replicas_needed=1) as one,
                connected(primary.address) as two,
                connected(primary.address) as three,
            ):
                await one.open([PotTerms(POT, BIG_POT)])
                await asyncio.gather(*(claim(store, gate) for gate, store in enumerate((one, two, three))))

    asyncio.run(run())
    assert sorted(took_s)[len(took_s) // 2] < apart_s / 2
