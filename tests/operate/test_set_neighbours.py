"""Where the other campaigns of a set are in use: real servers, of which one is the primary of all parts."""

import asyncio
from pathlib import Path

from redrush.config.deployment_file import Duty
from redrush.operate.set_neighbours import Neighbour, in_use_at
from redrush.stack.server_users import ServerUsers
from redrush.stack.stack_dir import StackDir
from redrush.stores.valkey.establishing import establish_set
from redrush.stores.valkey.keys import SetKeys
from tests.stack.test_set_servers import quiet_pair

SUMMER, AUTUMN = SetKeys("summer", "s1_summer"), SetKeys("autumn", "s1_autumn")


def test_a_part_is_in_use_at_its_primary_alone_and_nowhere_once_that_is_gone(tmp_path: Path) -> None:
    async def run() -> list[list[Neighbour]]:
        async with quiet_pair(tmp_path) as (sets, servers):
            access = ServerUsers.of(StackDir(tmp_path)).access(Duty.WARDEN)
            primary, replica = (server.address for server in servers)
            await sets.begin()
            await establish_set([primary, replica], "summer", "s1_summer", 1, access)
            found = [await in_use_at([one], [AUTUMN, SUMMER], access) for one in (primary, replica)]
            servers[0].kill()
            found.append(await in_use_at([primary, replica], [AUTUMN, SUMMER], access))
            assert found[0] == [Neighbour("summer/s1_summer", primary)]
            return found[1:]

    assert asyncio.run(run()) == [[], []]
