"""What the version before (4712888) wrote is opened, checked by its own fingerprints, and goes on.

Both fixtures were made with that version's code by the same calls: pots r1 (100 to 109), r2 (200 to 499) and $returned,
grants to a, b, 用"户, d and u0 to u39, a move of two slots from r1 to r2, e and u1 in r1, three slots taken from r2 as
leftover, and two given to $returned.
"""

import asyncio
import gzip
import tarfile
from pathlib import Path

from redrush.core.rush.campaign import Slots
from redrush.ports.log_rows import chain_over
from redrush.ports.store import Claim, Claimed, Grant, Held, HoldState, PotState, PotTerms, Store, Transfer, claims_of
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.sqlite import LogReader, SqliteStore
from redrush.stores.sqlite.journal import SCHEMA_VERSION, open_journal
from redrush.stores.sqlite.salvage import salvage
from redrush.stores.valkey import ValkeyStore
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Access, Link
from redrush.stores.valkey.proof import prove, read_held

FIXTURES = Path(__file__).parent / "fixtures"
AT_US = 1_800_000_000_000_000


def _journal(directory: Path) -> Path:
    path = directory / "journal.db"
    path.write_bytes(gzip.decompress((FIXTURES / "journal_2.db.gz").read_bytes()))
    return path


async def _goes_on(store: Store) -> None:
    """See that the store has all that was written before, and can do all that there is now."""
    assert await store.state("r1") == PotState(2, 6)
    assert await store.state("r2") == PotState(259, 40)
    assert await store.state("$returned") == PotState(2, 0)
    assert await store.find("r1", '用"户') == Claimed(102, AT_US, True)
    transfers = await store.transfers()
    assert transfers.taken["leftover:r2"] == Transfer("r2", (Slots(499, 1), Slots(108, 2)))
    await store.open([PotTerms("r1", Slots(100, 10)), PotTerms("r2", Slots(200, 300))])
    assert await store.claim([Claim("r1", "a"), Claim("r2", "u0"), Claim("r1", "new")], AT_US + 9) == [
        Claimed(100, AT_US, True),
        Claimed(200, AT_US + 5, True),
        Claimed(106, AT_US + 9, False),
    ]
    assert await store.take("r2", 1, "leftover:r2") == (Slots(499, 1), Slots(108, 2))
    await store.open([PotTerms("sale", Slots(9_000, 1), hold_us=5), PotTerms("small", Slots(9_100, 2))])
    assert await store.claim(claims_of("sale", "x"), AT_US) == [Held(9_000, AT_US, False, AT_US + 5, 1)]
    assert await store.release([Grant("sale", "x", 9_000, "", 1)], AT_US) == [HoldState.RELEASED]
    assert await store.offer(["sale"]) == 1
    assert await store.claim(claims_of("r1", ["y", "z"]), AT_US + 10) == [
        Claimed(107, AT_US + 10, False),
        (await store.claim(claims_of("r1", ["z"]), AT_US + 10))[0],
    ]


def test_a_journal_of_schema_2_goes_on(tmp_path: Path) -> None:
    path = _journal(tmp_path)
    before = salvage(path)
    assert before.why is None

    async def run() -> None:
        for _life in range(2):
            store = await SqliteStore.open_path(path)
            assert (await store.log(0, 100))[:10] == first
            if _life == 0:
                await _goes_on(store)
            await store.close()

    with LogReader(path) as reader:
        first = list(reader.records())
    asyncio.run(run())
    after = salvage(path)
    assert after.why is None
    assert after.rows[: len(before.rows)] == before.rows
    assert after.identity == before.identity
    connection, recovered = open_journal(path, None, [before.seq])
    assert recovered.chains[before.seq] == before.chain
    assert connection.pragma("user_version") == SCHEMA_VERSION
    connection.close()


def test_a_journal_whose_migration_was_cut_off_is_migrated_again(tmp_path: Path) -> None:
    path = _journal(tmp_path)
    for _ in range(2):  # the second time it is of this version
        connection, recovered = open_journal(path, None)
        assert recovered.seq == 10
        assert connection.pragma("integrity_check") == "ok"
        connection.close()


def test_a_set_of_the_version_before_goes_on(tmp_path: Path) -> None:
    with tarfile.open(FIXTURES / "set_of_4712888.tar.gz") as archive:
        archive.extractall(tmp_path / "server", filter="data")

    async def run() -> None:
        server = ValkeyServer(tmp_path / "server")
        await server.start()
        keys = SetKeys("before", "s1")
        link, _ = await Link.connect(server.address, Access())
        held = await read_held(link, keys)
        assert held.seq == 10
        await prove(link, keys, held)
        await link.close()
        store = await ValkeyStore.connect([server.address], "before", "s1")
        records = await store.log(0, 100)
        assert chain_over("", records) == held.chain
        await _goes_on(store)
        await store.close()
        link, _ = await Link.connect(server.address, Access())
        after = await read_held(link, keys)
        await link.close()
        store = await ValkeyStore.connect([server.address], "before", "s1")
        assert chain_over("", await store.log(0, 100)) == after.chain
        await store.close()
        server.kill()

    asyncio.run(run())
