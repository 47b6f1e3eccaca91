"""The database is away for a whole rush: the logs of the sets wait, then drain into it, and nothing is lost.

Claims are made straight at the stores, in batches as gates make them: what is of interest here is what comes after.
Recorders are the processes that a deployment runs, one for each set.
"""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from redrush.config import load_campaign_file
from redrush.control.data_dir import DataDir
from redrush.control.event import prepare_event
from redrush.core.rush.campaign import Slots
from redrush.core.sets.division import divide
from redrush.ports.store import PotTerms, claims_of
from redrush.processes.loopback import free_port
from redrush.processes.postgres_server import PostgresServer
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import ValkeyStore
from redrush.stores.valkey.establishing import establish_set
from tests.acceptance.chaos import evidence
from tests.campaigns import OFF, campaign, lucky

SETS: Final = ("s1", "s2")
BATCH: Final = 256
"""Users in a claim: what a busy gate sends."""
CLAIMS_UNDER_WAY: Final = 8
SHORT_BACKLOG: Final = 60_000
LONG_BACKLOG: Final = 12_000_000
DRAIN_POLL_S: Final = 0.25
HOLDERS_COMPARED: Final = 2_000
PER_SECOND_MIN: Final = 50_000

ROUNDS: Final = 2
"""No round has more than ten million packets."""


class Deployment:
    """Two sets, a database, and the files that recorders are started with."""

    def __init__(self, directory: Path, grants: int) -> None:
        self.directory = directory / "event"
        self.grants = grants
        self.postgres = PostgresServer(directory / "postgres", free_port())
        self.servers = {set_id: ValkeyServer(directory / set_id) for set_id in SETS}
        file, each = directory / "campaign.toml", grants // ROUNDS
        rounds = [
            lucky(f"rush-{number}", f"{each}.00", each, lasts="24h", max="9.00", leftover="return")
            for number in range(ROUNDS)
        ]
        file.write_text(campaign(*rounds, id="backlog", tables=OFF), encoding="utf-8")
        data = DataDir(self.directory)
        self.sealed = prepare_event(load_campaign_file(file), data, lambda: time.time_ns() // 1_000).event.sealed

    async def start(self) -> None:
        """Start the servers, found the sets, open their shares, and write the deployment file."""
        await asyncio.to_thread(self.postgres.start)
        self._write_dsn()
        text = '[event]\ndata = "."\nrecords = { file = "records.dsn" }\n'
        for set_id, server in self.servers.items():
            await server.start()
            await establish_set([server.address], "backlog", set_id, 0)
            text += f'\n[[set]]\nid = "{set_id}"\naddresses = ["{server.address}"]\n'
        text += "\n[gate]\nport = 1\n"
        (self.directory / "deployment.toml").write_text(text, encoding="utf-8")

    def stop(self) -> None:
        """Kill the servers."""
        self.postgres.kill()
        for server in self.servers.values():
            server.kill()

    @contextmanager
    def recorders(self) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run the recorders."""
        processes = [self._recorder(set_id) for set_id in SETS]
        try:
            yield processes
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()

    def _recorder(self, set_id: str) -> subprocess.Popen[bytes]:
        deploy = ("--deploy", str(self.directory / "deployment.toml"), "--control-port", str(free_port()))
        command = [sys.executable, "-m", "redrush", "recorder", "--set", set_id, *deploy]
        with (self.directory / f"recorder-{set_id}.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    async def claim_all(self) -> None:
        """Open the sets' shares and claim every slot, by users whom nobody knows yet."""
        await asyncio.gather(*map(self._claim, SETS))

    def shares(self, set_id: str) -> dict[str, Slots]:
        """Return what the set has of each round."""
        place = SETS.index(set_id)
        return {round_.id: divide(round_.slots, len(SETS))[place] for round_ in self.sealed.campaign.rounds}

    async def _claim(self, set_id: str) -> None:
        store = await ValkeyStore.connect([self.servers[set_id].address], "backlog", set_id)
        at_us = time.time_ns() // 1_000

        async def claim(round_id: str, firsts: Iterator[int], end: int) -> None:
            for first in firsts:
                users = [f"u{number:013}" for number in range(first, min(first + BATCH, end))]
                await store.claim(claims_of(round_id, users), at_us)

        for round_id, share in self.shares(set_id).items():
            await store.open([PotTerms(round_id, share)])
            firsts = iter(range(share.first, share.end, BATCH))
            await asyncio.gather(*(claim(round_id, firsts, share.end) for _ in range(CLAIMS_UNDER_WAY)))
        await store.close()

    async def drained(self, recorders: list[subprocess.Popen[bytes]]) -> None:
        """Return when the records hold every record of every log."""
        ends = {set_id: self._last_seq(set_id) for set_id in SETS}
        while await asyncio.to_thread(self._recorded) != ends:
            assert all(process.poll() is None for process in recorders), "a recorder has ended"
            await asyncio.sleep(DRAIN_POLL_S)

    def _recorded(self) -> dict[str, int]:
        try:
            return evidence.recorded_seqs(self.directory)
        except psycopg.errors.UndefinedTable:  # the recorders have not been here yet
            return {}

    def _last_seq(self, set_id: str) -> int:
        with closing(evidence.Resp(str(self.servers[set_id].address))) as server:
            return int(server.call("HGET", f"{{backlog/{set_id}}}:meta", "seq"))

    def audit(self) -> None:
        """See that every slot is in the database once, with its amount, and with the user whom the store has."""
        worth = sum(self.sealed.amounts)
        with psycopg.connect(evidence.dsn(self.directory)) as database:
            grants = database.execute("SELECT count(*), sum(amount_minor), min(slot), max(slot) FROM grants").fetchone()
            assert grants == (self.grants, worth, 0, self.grants - 1)  # the slots are unique by the table's key
            assert database.execute('SELECT count(DISTINCT "user") FROM grants').fetchone() == (self.grants,)
            paid = "SELECT sum(amount_minor) FROM ledger WHERE starts_with(debit_account, 'round:')"
            assert database.execute(paid).fetchone() == (worth,)
            journal = "SELECT count(*), max(seq), sum(count) FILTER (WHERE kind = 'granted') FROM journal"
            for set_id in SETS:
                last, shares = self._last_seq(set_id), self.shares(set_id)
                granted = sum(share.count for share in shares.values())
                assert database.execute(f"{journal} WHERE log = %s", (set_id,)).fetchone() == (last, last, granted)
                for round_id, share in shares.items():
                    self._compare_holders(database, set_id, round_id, share)

    def _compare_holders(
        self, database: "psycopg.Connection[tuple[Any, ...]]", set_id: str, round_id: str, share: Slots
    ) -> None:
        chosen = random.Random(set_id).sample(range(share.first, share.end), min(HOLDERS_COMPARED, share.count))
        with closing(evidence.Resp(str(self.servers[set_id].address))) as server:
            for slot in chosen:
                row = database.execute('SELECT "user", amount_minor FROM grants WHERE slot = %s', (slot,)).fetchone()
                assert row is not None
                assert row[1] == self.sealed.amounts[slot]
                held = server.call("HGET", f"{{backlog/{set_id}}}:grants:{round_id}", str(row[0]))
                assert int.from_bytes(held[: evidence.RUN_BYTES]) == slot

    def _write_dsn(self) -> None:
        (self.directory / "records.dsn").write_text(self.postgres.dsn(), encoding="utf-8")


@asynccontextmanager
async def deployed(directory: Path, grants: int) -> AsyncIterator[Deployment]:
    """A deployment that runs, until the context ends."""
    deployment = Deployment(directory, grants)
    try:
        await deployment.start()
        yield deployment
    finally:
        deployment.stop()


async def _drain(directory: Path, grants: int) -> float:
    """Claim while the database is away; return how many grants a second were recorded when it was back."""
    async with deployed(directory, grants) as deployment:
        with deployment.recorders() as recorders:
            await asyncio.to_thread(deployment.postgres.kill)
            began_s = time.monotonic()
            await deployment.claim_all()
            _write(f"{grants:,} grants were claimed in {time.monotonic() - began_s:.1f} s, the database away")
            await asyncio.to_thread(deployment.postgres.start)
            began_s = time.monotonic()
            await deployment.drained(recorders)
            lasted_s = time.monotonic() - began_s
            _write(f"recorded within {lasted_s:.1f} s: {grants / lasted_s:,.0f} grants/s by {len(SETS)} recorders")
            await asyncio.to_thread(deployment.audit)
        return grants / lasted_s


def test_what_was_granted_while_the_database_was_away_is_recorded_when_it_is_back(tmp_path: Path) -> None:
    asyncio.run(_drain(tmp_path, SHORT_BACKLOG))


@pytest.mark.soak
def test_twelve_million_grants_drain_with_nothing_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grants = int(os.environ.get("REDRUSH_SOAK_BACKLOG", str(LONG_BACKLOG)))
    with capsys.disabled():
        per_second = asyncio.run(_drain(tmp_path, grants))
    assert per_second >= PER_SECOND_MIN


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
