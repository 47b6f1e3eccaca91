"""The payments role of a stack takes up sales that an amendment brings, and lets go of all when it cannot begin."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from redrush.config import load_deployment_file, parse_campaign
from redrush.control.data_dir import DataDir
from redrush.control.event import prepare_event
from redrush.control.issuing import plan_tickets
from redrush.core.rush.instants import rfc3339
from redrush.core.rush.phase import SteadyClock
from redrush.core.sets.address import Address
from redrush.errors import ConfigError
from redrush.operate.campaigns import change_campaign
from redrush.operate.switching import Holder
from redrush.processes.loopback import free_port
from redrush.stores.valkey import ValkeyStore
from redrush.wiring import set_stores
from redrush.wiring.payments_role import PaymentsRole
from redrush.wiring.recorder_role import RecorderRole
from redrush.wiring.role import Role, Surroundings, surroundings
from tests.campaigns import OFF, a_round, campaign
from tests.conftest import Databases
from tests.gate.world import Answer, read_answer, request
from tests.patience import PATIENCE_S

SECOND_NS = 1_000_000_000
NO_CONTROL_PORT: Any = None


class Said:
    """A log that is listened to."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def warning(self, _event: str, **more: Any) -> None:
        self.faults.append(str(more.get("fault", "")))

    info = error = critical = lambda _self, *_said, **_more: None


class Machine:
    """A deployment whose only set is away, and the campaign in its directory."""

    def __init__(self, root: Path, dsn: str, tables: str = "") -> None:
        self.root = root
        self.tables = tables
        self.data_dir = DataDir(root)
        self.log = Said()
        self.ahead_ns = 0
        self.began_us = time.time_ns() // 1_000
        self.clock = SteadyClock(lambda: time.monotonic_ns() + self.ahead_ns, self.began_us)
        self.port, self.control = (Address("127.0.0.1", free_port(taken)) for taken in [set[int]()] for _ in range(2))
        prepare_event(parse_campaign(self.text(), "c.toml"), self.data_dir, self.clock.now_us)
        (root / "dsn").write_text(dsn)
        (root / "deployment.toml").write_text(
            '[event]\ndata = "."\nrecords = { file = "dsn" }\n[[set]]\nid = "s1"\naddresses = ["127.0.0.1:1"]\n'
        )

    def text(self, *sales: tuple[str, int]) -> str:
        """Return the campaign with these sales, each so many seconds after the beginning."""
        rounds = [
            f'[[round]]\nid = "{name}"\nkind = "sale"\nlasts = "1h"\nprice = "5.00"\nunits = 10\n'
            f"opens = {rfc3339(self.began_us + after_s * 1_000_000)}\n"
            for name, after_s in sales
        ]
        return campaign(a_round(), *rounds, tables=OFF + self.tables)

    async def change(self, *sales: tuple[str, int]) -> None:
        file = parse_campaign(self.text(*sales), "c.toml")
        done = await asyncio.to_thread(change_campaign, file, self.data_dir, Holder(), "more", yes=True)
        assert done.done, done

    def around(self) -> Surroundings:
        deployment = load_deployment_file(self.root / "deployment.toml")
        return msgspec.structs.replace(surroundings(deployment, self.control, self.clock), log=self.log)

    async def ask(self, method: str, path: str) -> Answer:
        ticket = next(plan_tickets(self.data_dir, ["ann"], None, "2h", int(time.time())).lines()).split("\t")[1]
        reader, writer = await asyncio.open_connection(self.port.host, self.port.port)
        try:
            writer.write(request(method, path, ticket))
            received = b""
            while (found := read_answer(received)) is None:
                received += await reader.read(65_536)
            return found[0]
        finally:
            writer.close()


@pytest.fixture
def machine(tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(set_stores, "ATTACH_WAIT_S", 0.05)
    return Machine(tmp_path, databases.fresh())


@asynccontextmanager
async def started(role: Role) -> AsyncIterator[None]:
    try:
        await role.start(NO_CONTROL_PORT)
        yield
    finally:
        await role.stop()


async def test_a_sale_that_is_added_has_its_buyers_served_and_its_units_offered(machine: Machine) -> None:
    role = PaymentsRole(machine.around(), machine.port)
    async with started(role):
        assert (await machine.ask("GET", "/v1/orders")).status == 404, "nothing is sold"
        await machine.change(("later", 90_000))
        assert await role.amend(machine.around())
        for prefix in ("/v1", "/v1/campaigns/c"):
            assert (await machine.ask("GET", f"{prefix}/orders")).json == {"orders": []}
        await machine.change(("soon", 60), ("later", 90_000))
        assert await role.amend(machine.around())
        machine.ahead_ns = 70 * SECOND_NS
        ends = asyncio.ensure_future(role.failed())
        async with asyncio.timeout(PATIENCE_S):
            while not ends.done() and not any("s1" in fault for fault in machine.log.faults):
                await asyncio.sleep(0.02)
        assert not ends.done(), f"the role goes on at the opening: {ends}"


def fails(*_anything: Any, **_more: Any) -> None:
    raise ConfigError("it cannot begin")


@pytest.mark.parametrize("part", ["stack_sale.Units", "stack_group.homes_of_packets", "recorder_role.NotedTables"])
async def test_a_start_that_fails_half_way_leaves_nothing_open(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(set_stores, "ATTACH_WAIT_S", 0.05)
    monkeypatch.setattr(f"redrush.wiring.{part}", fails)
    opened, closed = [], []
    closes = ValkeyStore.close

    def attach_later(*where: Any, **how: Any) -> ValkeyStore:
        opened.append(store := ValkeyStore.attach_later(*where, **how))
        return store

    async def close(store: ValkeyStore) -> None:
        closed.append(store)
        await closes(store)

    monkeypatch.setattr(set_stores, "ValkeyStore", SimpleNamespace(attach_later=attach_later))
    monkeypatch.setattr(ValkeyStore, "close", close)
    machine = Machine(tmp_path, databases.fresh(), "[group]\n" if "group" in part else "")
    await machine.change(("soon", 60))
    around = machine.around()
    role = RecorderRole(around, "s1") if "recorder" in part else PaymentsRole(around, machine.port)
    with pytest.raises(ConfigError, match="it cannot begin"):
        async with started(role):
            pass
    assert opened
    assert closed == opened
