"""Ten million grants in the records: every page of the list is there at once, wherever it is."""

import os
import sys
import time
from pathlib import Path
from typing import Final

import apsw
import httpx
import pytest

from redrush.processes.loopback import free_port
from redrush.records.sqlite import SqliteRecords
from tests.campaigns import a_round, campaign
from tests.conftest import Databases
from tests.console.console_world import World, get, without_server
from tests.records.test_looking import fill_postgres

GRANTS: Final = int(os.environ.get("REDRUSH_MANY_GRANTS", "10000000"))
PAGE_MAX_S: Final = 0.3
FILL: Final = """
WITH RECURSIVE slots (slot) AS (SELECT 0 UNION ALL SELECT slot + 1 FROM slots WHERE slot < :last)
INSERT INTO grants (pot, slot, "user", amount_minor, at_us)
SELECT 1, slot, 'user' || printf('%08d', slot * 7919 % 10000019), 10, 1000000 + slot FROM slots
"""


@pytest.mark.soak
@pytest.mark.timeout(1_800)  # to fill it takes minutes, to look at it none
async def test_every_page_of_ten_million_grants_in_postgresql_is_there_in_time(
    tmp_path: Path, databases: Databases
) -> None:
    dsn = databases.fresh()
    fill_postgres(dsn, GRANTS)
    text = campaign(a_round("r1", "1000000.00", 10_000_000), a_round("r2", "1.00", 10))
    async with without_server(tmp_path, text) as world:
        (tmp_path / "dsn").write_text(dsn)
        world.data_dir.deployment.write_text(
            f'[event]\ndata = "{tmp_path}"\nrecords = {{ file = "dsn" }}\n'
            f'[[set]]\nid = "s1"\naddresses = ["127.0.0.1:{free_port()}"]\n'
        )
        world.desk.let_go()  # one console at a time
        over = World(world.data_dir, {})  # which finds the deployment
        async with over.client("olga") as olga:
            await look_at_every_page(olga, "user00007919")
        await over.desk.stop()


@pytest.mark.soak
@pytest.mark.timeout(1_800)  # to fill it takes minutes, to look at it none
async def test_every_page_of_ten_million_grants_is_there_in_time(tmp_path: Path) -> None:
    text = campaign(a_round("r1", "1000000.00", 10_000_000), a_round("r2", "1.00", 10))
    async with without_server(tmp_path, text) as world, world.client("olga") as olga:
        SqliteRecords.open_path(world.data_dir.records).close()
        file = apsw.Connection(str(world.data_dir.records))
        file.pragma("synchronous", "off")
        file.pragma("cache_size", -1_000_000)
        # The index is made when all is there: ten million users in no order would be put into it one by one.
        index = str(file.execute("SELECT sql FROM sqlite_master WHERE name = 'grants_of_user'").get)
        file.execute("DROP INDEX grants_of_user")
        file.execute("INSERT INTO campaigns (campaign, id) VALUES (1, 'c')")
        file.execute("INSERT INTO pots (pot, campaign, name) VALUES (1, 1, 'r1')")
        file.execute("BEGIN")
        file.execute(FILL, {"last": GRANTS - 1})
        file.execute(index)
        file.execute("COMMIT")
        file.close()
        await look_at_every_page(olga, "user00007919")
        async with olga.stream("GET", "/grants.csv") as table:
            rows = sum([piece.count(b"\r\n") async for piece in table.aiter_bytes()])
        assert rows == GRANTS + 1, "all of them, after the names of the columns"


async def look_at_every_page(olga: httpx.AsyncClient, user: str) -> None:
    """Fail unless every page of ten million grants is there in time; tell how long each took."""
    await get(olga, "/grants?limit=1")
    took = {}
    asked = [f"/grants?limit=200&after=r1:{GRANTS * share // 100 - 1}" for share in (1, 25, 50, 75, 99)]
    asked += ["/grants?limit=200", "/grants?pot=r2", f"/story?user={user}", f"/story?grant=c-r1-{GRANTS - 1}"]
    for path in asked:
        began_s = time.perf_counter()
        found = await get(olga, path)
        took[path] = time.perf_counter() - began_s
        assert found["grants"] or "pot=r2" in path
    for path in ("/ledger", "/ledger?account=sponsor", "/balances"):
        began_s = time.perf_counter()
        await get(olga, path)
        took[path] = time.perf_counter() - began_s
    began_s = time.perf_counter()
    assert (await olga.get(f"/grants?after=r1:{GRANTS // 2}")).status_code == 200
    took["the page itself"] = time.perf_counter() - began_s
    began_s = time.perf_counter()
    assert (await olga.get("/ledger")).status_code == 200
    took["the page of the ledger"] = time.perf_counter() - began_s
    sys.stdout.write("".join(f"{path}: {took_s * 1e3:.1f} ms\n" for path, took_s in took.items()))
    assert max(took.values()) < PAGE_MAX_S
