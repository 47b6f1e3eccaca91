"""An event on one real set, with two gates and a control role in this process, each with a clock that can be wrong.

The set's clock is the real one. "The set is 30 s ahead" is made by letting everybody else be 30 s behind.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.config import parse_campaign, parse_deployment
from redrush.control.data_dir import DataDir
from redrush.control.event import prepare_event
from redrush.control.keys import load_or_create_keys
from redrush.core.identity.tickets import sign_ticket
from redrush.core.rush.phase import SteadyClock
from redrush.core.sets.address import Address
from redrush.http.server import Server
from redrush.processes.loopback import free_port
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import establish_set
from redrush.wiring.control_role import ControlRole
from redrush.wiring.gate_role import GateRole
from redrush.wiring.role import Role, Surroundings, add_probes, division_of
from redrush.wiring.steering import ControlPort
from tests.campaigns import a_round, campaign
from tests.gate.world import read_answer, request
from tests.integration.valkey_sets import follow

HOST: Final = "127.0.0.1"
USERS: Final = 4_000
ASK_EVERY_S: Final = 0.02
LOOK_EVERY_S: Final = 0.02
NAMED_LOOKS_MAX: Final = 90
"""Two seconds of looks. They are counted, not timed: whatever delays the process that is asked delays them as well."""
TRIES_MAX: Final = 5
"""How often an event is brought up on a machine that was too slow to have it up before its opening."""
DEPLOYMENT: Final = """\
[event]
data = "event"
records = "host=nowhere"

[[set]]
id = "s1"
addresses = ["{set}"]
replicas_needed = {replicas}

[control]
control_port = {control}
"""


class FalseClock:
    """A machine's wall clock, so many seconds ahead of the real one, and the clock of a process that begins on it."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self._ahead_us = round(ahead_s * 1e6)
        self.process = SteadyClock(time.monotonic_ns, self.wall_us(), self.wall_us)

    def set_wall(self, ahead_s: float) -> None:
        """Somebody sets the machine's clock; the process goes on by its own."""
        self._ahead_us = round(ahead_s * 1e6)

    def jump(self, by_s: float) -> None:
        """All that this machine knows of the time jumps, as a set's clock does in the eyes of everybody."""
        self._ahead_us += round(by_s * 1e6)
        self.process._offset_ns += round(by_s * 1e9)

    def wall_us(self) -> int:
        """Return what it shows, µs since the epoch."""
        return time.time_ns() // 1_000 + self._ahead_us


class KeptLog:
    """A log whose lines a test can read."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def _write(self, text: str, **fields: Any) -> None:
        self.lines.append(f"{text} {fields}")

    info = warning = error = critical = _write


class Asked(msgspec.Struct, frozen=True):
    """One claim: when it was sent and answered by the set's clock, and what it came to."""

    sent_s: float
    answered_s: float
    status: int
    outcome: str | None


class Process:
    """A role that runs, as others see it."""

    def __init__(self, role: Role, log: KeptLog, clock: FalseClock, control_port: int, port: int | None) -> None:
        self.role = role
        self.log = log
        self.clock = clock
        self.control_port = control_port
        self.port = port
        self.asked: list[Asked] = []

    async def ready(self) -> tuple[int, str]:
        """Return status and text of `GET /readyz`."""
        return await get(self.control_port, "/readyz")

    async def metrics(self) -> str:
        """Return the text of `GET /metrics`."""
        return (await get(self.control_port, "/metrics"))[1]

    async def names(self, *words: str) -> None:
        """Return as soon as readiness, log and metrics show these patterns, within two seconds."""
        try:
            await soon(lambda: self._speaks_of(words))
        except AssertionError:
            raise AssertionError(f"{words} not named: {await self.ready()} {self.log.lines}") from None

    async def _speaks_of(self, words: tuple[str, ...]) -> bool:
        text, log = (await self.ready())[1], "\n".join(self.log.lines)
        return all(re.search(word, text) and re.search(word, log) for word in words)

    def granted(self) -> int:
        """Return how many claims were granted here."""
        return sum(asked.outcome == "granted" for asked in self.asked)

    async def claim(self, tickets: list[str]) -> None:
        """Claim for one user after the other, for ever; over another connection where one was closed."""
        assert self.port is not None
        left = iter(tickets)
        while True:
            reader, writer = await asyncio.open_connection(HOST, self.port)
            with contextlib.suppress(ConnectionError), contextlib.closing(writer):
                while await self._claim_once(reader, writer, next(left)):
                    await asyncio.sleep(ASK_EVERY_S)

    async def _claim_once(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ticket: str) -> bool:
        """Return whether there was an answer."""
        sent_s = time.time()
        writer.write(request("POST", "/v1/rounds/r1/grab", ticket))
        received = b""
        while (found := read_answer(received)) is None:
            more = await reader.read(65_536)
            if not more:
                return False
            received += more
        answer = found[0]
        self.asked.append(Asked(sent_s, time.time(), answer.status, answer.json.get("outcome")))
        return True


async def soon(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return as soon as it is so, which takes no more than the looks of two seconds."""
    for _ in range(NAMED_LOOKS_MAX):
        if await holds():
            return
        await asyncio.sleep(LOOK_EVERY_S)
    raise AssertionError("not so within two seconds")


class Running(msgspec.Struct):
    """The event while it runs."""

    server: ValkeyServer
    data: DataDir
    opens_s: float
    closes_s: float
    gates: list[Process]
    control: Process
    replicas: list[ValkeyServer] = []

    @property
    def lasts_s(self) -> float:
        """How long the round is."""
        return self.closes_s - self.opens_s

    def everybody(self) -> list[Process]:
        return [*self.gates, self.control]

    def outside(self) -> list[Asked]:
        """Return the grants that were given, or may have been, before the opening or after the close."""
        return [
            asked
            for gate in self.gates
            for asked in gate.asked
            if asked.outcome == "granted" and (asked.answered_s < self.opens_s or asked.sent_s >= self.closes_s)
        ]


async def get(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        return int(head.split()[1]), body
    finally:
        writer.close()


@asynccontextmanager
async def running(
    directory: Path, opens_in_s: float, lasts_s: float, ahead_s: Mapping[str, float], replicas: int = 0
) -> AsyncIterator[Running]:
    """Bring the event up; it opens then by the clocks that are right. The set has so many replicas.

    `ahead_s`: of "gate", the first of the two, "control", or "set". Where it opens before everybody is up, another one
    gets twice the time that this one took.
    """
    for number in range(TRIES_MAX):
        async with AsyncExitStack() as stack:
            (own := directory / f"try-{number}").mkdir()
            began_s = time.monotonic()
            event = await _bring_up(stack, own, opens_in_s, lasts_s, ahead_s, replicas)
            if event.gates[1].clock.wall_us() / 1e6 < event.opens_s:
                yield event
                return
            opens_in_s = 2 * (time.monotonic() - began_s)
    raise AssertionError(f"it was never up before its opening, at last not within {opens_in_s / 2} s")


async def _bring_up(
    stack: AsyncExitStack, directory: Path, opens_in_s: float, lasts_s: float, ahead_s: Mapping[str, float],
    replicas: int,
) -> Running:  # fmt: skip
    others_s = -ahead_s.get("set", 0.0)
    server, *others = servers = [ValkeyServer(directory / f"valkey-{number}") for number in range(1 + replicas)]
    for one in servers:
        stack.callback(one.kill)
        await one.start()
    for replica in others:
        await follow(replica, server)
    await establish_set([one.address for one in servers], "clocks", "s1", replicas_needed=replicas)
    control_port = free_port()
    path = directory / "deployment.toml"
    deployment = parse_deployment(
        DEPLOYMENT.format(
            set='", "'.join(str(one.address) for one in servers), replicas=replicas, control=control_port
        ),
        path,
    )
    data = DataDir(deployment.data)
    text = campaign(a_round("r1", "100.00", 10_000, lasts=f"{round(lasts_s * 1e3)}ms"), id="clocks")
    file = parse_campaign(text, str(directory / "c.toml"))
    event = prepare_event(file, data, lambda: round((time.time() + others_s + opens_in_s) * 1e6)).event
    sealed = event.sealed

    async def begin(role_of: Any, control: int, own_s: float) -> Process:
        log, clock = KeptLog(), FalseClock(others_s + own_s)
        around = Surroundings(
            deployment,
            sealed,
            event.open,
            division_of(deployment, sealed.campaign),
            Address(HOST, control),
            clock.process,
            log,
        )
        role: Role = role_of(around)
        web = Server([])
        site_of = ControlPort(data, clock.process.now_us, [HOST])
        stack.push_async_callback(web.stop)
        stack.push_async_callback(role.stop)
        addresses = await role.start(site_of.site)
        add_probes(site_of.site, role.readiness, [role.readings])
        port = await site_of.listen(web, HOST, control)
        return Process(role, log, clock, port, addresses["gate"].port if "gate" in addresses else None)

    def gate_of(around: Surroundings) -> Role:
        return GateRole(around, None, Address(HOST, 0), 2)

    control = await begin(ControlRole, control_port, ahead_s.get("control", 0.0))
    gates = [await begin(gate_of, 0, ahead_s.get("gate", 0.0)), await begin(gate_of, 0, 0.0)]
    round_ = sealed.campaign.rounds[0]
    return Running(server, data, round_.opens_us / 1e6, round_.closes_us / 1e6, gates, control, others)


def tickets_for(data: DataDir, name: str) -> list[str]:
    """Return a ticket for each of many users, whose names begin so."""
    ring = load_or_create_keys(data).tickets
    expires_s = round(time.time()) + 3_600
    return [sign_ticket(ring, f"{name}{number}", expires_s) for number in range(USERS)]
