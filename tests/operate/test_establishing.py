"""`redrush found` on real servers that start as the shipped file has it: quiet, and with nothing."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from redrush.config.deployment_file import Duty
from redrush.core.rush.campaign import Slots
from redrush.errors import RedrushError
from redrush.operate.establishing import establish_sets
from redrush.ports.records import Posted
from redrush.ports.store import Opened, PotState, PotTerms, StoreUnavailable, claims_of
from redrush.records.postgres import PostgresRecords
from redrush.stores.valkey import Terms, ValkeyStore
from redrush.wiring.set_stores import open_stores
from tests.conftest import Databases
from tests.deploy.machines import Machines
from tests.patience import PATIENCE_S

DEPLOYMENT_PAGE = Path(__file__).resolve().parents[2] / "docs" / "deployment.md"


async def _is_away(store: ValkeyStore) -> bool:
    """Open a pot of two slots; return whether that was not possible."""
    try:
        await store.open([PotTerms("r1", Slots(0, 2))])
    except StoreUnavailable:
        return True
    return False


def claim_once(machines: Machines) -> tuple[Terms, PotState]:
    """Open a pot of two slots, claim one durably; return the terms under which, and the pot's state."""

    async def claim() -> tuple[Terms, PotState]:
        (store,) = (await open_stores(machines.deployment, "proxied", Duty.GATE)).values()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while await _is_away(store):
                    await asyncio.sleep(0.05)
                await store.claim(claims_of("r1", ["ann"]), 1_000_000)
                return store.terms, await store.state("r1")
        finally:
            await store.close()

    return asyncio.run(claim())


@pytest.fixture
def machines(tmp_path: Path, databases: Databases) -> Machines:
    return Machines(tmp_path, databases.fresh())


def test_quiet_and_empty_servers_become_a_set_that_grants_on_two_disks(machines: Machines) -> None:
    with machines.up(0, 1):
        assert establish_sets(machines.deployment) == {"s1": True}
        terms, state = claim_once(machines)
        assert terms == Terms(epoch=1, replicas_needed=1)
        assert (state.claimed_ever, state.left) == (1, 1)
        # Whoever asks again changes nothing.
        assert establish_sets(machines.deployment) == {"s1": False}
        assert claim_once(machines) == (terms, state)


def test_the_command_works_as_the_documentation_prints_it(machines: Machines, tmp_path: Path) -> None:
    """With passwords where the units have theirs, as the shipped deployment file says."""
    (line,) = re.findall(
        r"^(.* found --deploy /etc/redrush/deployment.toml)$", DEPLOYMENT_PAGE.read_text(), re.MULTILINE
    )
    text = machines.file.read_text()
    for name in ("gate.password", "settlement.password", "warden.password"):
        text = text.replace('{ file = "password" }', f'{{ credential = "{name}" }}', 1)
    machines.file.write_text(text.replace('{ file = "records.dsn" }', '{ credential = "records.dsn" }'))
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name, source in {"warden.password": "password", "records.dsn": "records.dsn"}.items():
        (secrets / name).write_text((tmp_path / source).read_text())
    here = line.replace("/etc/redrush", str(tmp_path)).replace(
        "/opt/redrush/bin/redrush", f"{shlex.quote(sys.executable)} -m redrush"
    )
    clean = {name: value for name, value in os.environ.items() if name != "CREDENTIALS_DIRECTORY"}
    with machines.up(0, 1):
        ran = subprocess.run(
            ["bash", "-c", here], capture_output=True, text=True, timeout=60, check=False, env=clean, cwd=tmp_path
        )
        assert (ran.returncode, ran.stdout) == (0, "s1: founded\n"), ran.stdout + ran.stderr


def test_a_set_is_not_founded_without_all_of_its_servers(machines: Machines) -> None:
    with machines.up(0), pytest.raises(RedrushError, match=str(machines.ports[1])):
        establish_sets(machines.deployment)


def test_a_set_whose_data_are_lost_is_not_founded_again(machines: Machines) -> None:
    records = PostgresRecords(machines.deployment.sets[0].records.read(), "s1")
    records.cursor()
    records.apply([Posted(record=Opened(1, "r1", Slots(0, 2)), campaign="c", postings=())])
    records.close()
    with machines.up(0, 1), pytest.raises(RedrushError, match="rebuilt"):
        establish_sets(machines.deployment)


def test_servers_that_hold_something_else_are_left_alone(machines: Machines) -> None:
    other = msgspec.structs.replace(machines.deployment.sets[0], id="other")
    with machines.up(0, 1):
        establish_sets(msgspec.structs.replace(machines.deployment, sets=(other,)))
        with pytest.raises(RedrushError, match="something else"):
            establish_sets(machines.deployment)
