"""Connections to a set's servers: whoever gives up, or is refused, leaves none behind."""

import asyncio
import os
from pathlib import Path

import pytest

from redrush.ports.store import StoreUnavailable
from redrush.stores.valkey import Access, establish_set
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.rebuild import SetRebuild
from redrush.stores.valkey.search import Search
from tests.integration.valkey_sets import CAMPAIGN, SET, ask, servers

TURNS = 8
"""Of the loop, from when a server has answered until the search for it is done; more than there are."""


def sockets_open() -> int:
    """Return how many sockets this process has."""
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
        except FileNotFoundError:
            continue  # the list's own
    return found


def test_a_search_that_is_given_up_leaves_no_connection(tmp_path: Path) -> None:
    """Given up at each turn from the first answer on: also when nothing is left but to hear that all have answered."""

    async def run() -> None:
        async with servers(tmp_path, 1) as (server,):
            await establish_set([server.address], CAMPAIGN, SET, replicas_needed=0)
            await asyncio.sleep(0)  # its connection is closed in the turn after
            open_before = sockets_open()
            given_up = 0
            for turns in range(TURNS):
                search = Search(SetKeys(CAMPAIGN, SET), Access())
                running = asyncio.create_task(search.run([server.address], epoch_min=1))
                while not search.servers:
                    await asyncio.sleep(0)
                for _ in range(turns):
                    await asyncio.sleep(0)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                if running.cancelled():
                    given_up += 1
                else:
                    search.close()
                await asyncio.sleep(0)
                assert sockets_open() == open_before, f"given up {turns} turns after the answer"
            assert 1 < given_up < TURNS

    asyncio.run(run())


def test_a_rebuild_that_is_refused_leaves_no_connection(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,):
            await ask(server.address, "ACL", "SETUSER", "nobody", "on", ">secret", "+hello")
            open_before = sockets_open()
            with pytest.raises(StoreUnavailable, match="no permissions"):
                await SetRebuild.begin(server.address, CAMPAIGN, SET, Access("nobody", "secret"))
            await asyncio.sleep(0)  # its connection is closed in the turn after
            assert sockets_open() == open_before

    asyncio.run(run())
