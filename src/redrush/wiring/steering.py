"""Switches, playbooks and rules of a running event: the board on its data directory, and the control API on a site."""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from redrush.control.control_access import (
    forget_address,
    keep_address,
)
from redrush.control.control_api import ControlApi, Operation
from redrush.control.data_dir import DataDir
from redrush.control.operators import OperatorVerifier
from redrush.control.plans import Plans
from redrush.control.rule_runner import RuleRunner
from redrush.control.switch_log import SwitchLog, chained_entries
from redrush.control.switchboard import Switchboard
from redrush.control.told_readings import ToldReadings
from redrush.core.rush.campaign import Campaign
from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.core.steering.figures import Interface
from redrush.errors import RedrushError
from redrush.http import answers
from redrush.http.control_port import GUESTS_MAX, ControlConnection, Door, Guests
from redrush.http.hosts import Hosts
from redrush.http.operations import OPERATIONS_MAX, WATCHES_MAX, OperationRoute, Operations
from redrush.http.reader import Limits
from redrush.http.server import Server
from redrush.http.site import Site
from redrush.http.sockets import Reserved
from redrush.http.timed import Timed
from redrush.wiring.control_tls import Shown, control_address

CONTROL_LIMITS: Final = Limits(
    connections_max=WATCHES_MAX + OPERATIONS_MAX + GUESTS_MAX, claim_deadline_s=30.0, body_bytes_max=65_536
)
"""Of a control port: guests, and whoever has the token: operators, and processes that wait for the next change for
longer than a claim may take. What a gate tells of a long line is some 44 KB (`redrush.gate.rush.places`)."""


def operation_failed(log: Any) -> Callable[[Exception], None]:
    """Return what writes down that an operation broke off with what nobody thought of."""
    return lambda fault: log.error("an operation of the control port broke off", exc_info=fault, fault=repr(fault))


def control_site(data_dir: DataDir, used: Path | None, now_us: Callable[[], int], hosts: Hosts | None = None) -> Site:
    """Return a site that needs the token of the event, or of an operator: it is refused to everybody where there is
    none. `used`: the file to note in when operators' tokens were used; `hosts`: the names under which it answers."""
    return Site(CONTROL_LIMITS, OperatorVerifier(data_dir, now_us, used), now_us, answers.NO_TOKEN, hosts=hosts)


class ControlPort:
    """A control port: its site, and who is on it. `listen` when everything is on the site."""

    def __init__(
        self,
        data_dir: DataDir,
        now_us: Callable[[], int],
        names: Iterable[str],
        tls: ssl.SSLContext | None = None,
        used: Path | None = None,
    ) -> None:
        """`names` are those under which it answers, besides loopback's and every address. `tls`: what it shows; None:
        it speaks plainly. For the rest see `control_site`."""
        self._tls = tls
        self.site = control_site(data_dir, used, now_us, Hosts(names))
        self.guests = Guests()

    async def listen(self, server: Server, host: str, port: int) -> int:
        """Answer there; returns the port. ConfigError if it cannot be."""
        return await self.serve(server, Reserved.at(host, port))

    async def serve(self, server: Server, reserved: Reserved) -> int:
        """Answer at a port that was taken before; returns the port."""
        return await server.serve(self.site, reserved, self._make)

    def _make(self, site: Site) -> asyncio.BaseProtocol:
        return ControlConnection(site, self.guests) if self._tls is None else Door(site, self.guests, self._tls)

    def readings(self) -> Iterator[Value]:
        """Yield who is on it, and how long answers took."""
        yield figures.ANSWER_SECONDS.of(self.site.times, Interface.CONTROL)
        yield figures.CONTROL_CONNECTIONS(len(self.guests), "guests")
        yield figures.CONTROL_CONNECTIONS(max(0, len(self.site.connections) - len(self.guests)), "token")
        yield figures.CONTROL_GUESTS_ENDED(self.guests.pushed_out + self.site.counts["guests_ended"])


def _timed(site: Site, route: OperationRoute, body: bytes) -> Timed:
    return site.timed(route.reads(body))


class Steering:
    """The parts of one process that has the switchboard. `open`, then the rest, then `stop`."""

    def __init__(
        self,
        data_dir: DataDir,
        board: Switchboard,
        now_us: Callable[[], int],
        failed: Callable[[Exception], None],
    ) -> None:
        self.board = board
        self._now_us = now_us
        self._data_dir = data_dir
        self._operations = Operations(failed)
        self._told = ToldReadings(asyncio.get_running_loop().time)
        self._own: Callable[[], Mapping[str, float]] = dict
        self._rules: asyncio.Task[None] | None = None

    @classmethod
    def open(
        cls,
        data_dir: DataDir,
        plans: Plans,
        campaign: Campaign,
        now_us: Callable[[], int],
        failed: Callable[[Exception], None],
    ) -> Self:
        """Take the switches of the directory over. Raises SwitchLogInUse if another process has them. `failed` hears of
        operations that broke off with what nobody thought of."""
        return cls(data_dir, Switchboard(SwitchLog.open(data_dir.switches), plans, campaign, now_us), now_us, failed)

    def serve_on(self, site: Site, further: Iterable[Operation] = ()) -> None:
        """Let a control port serve the control API, and what else this process has operations for."""
        api = ControlApi(
            self.board, lambda last: chained_entries(self._data_dir.switches, last), self._told.tell, self._now_us
        )
        for operation in chain(api.operations(), further):
            route = self._operations.route(operation.run, waits=operation.waits)
            method, path = operation.method.encode("ascii"), operation.path.encode("ascii")
            if operation.waits:  # it is meant to take long
                site.add(method, path, route, needs_ticket=True, reads=route.reads)
            else:
                site.add(method, path, route, needs_ticket=True, reads=partial(_timed, site, route))

    def announce(self, host: str, port: int | None, shown: Shown | None = None, prefix: str = "/v1") -> None:
        """Let commands find the control port, and what it shows of itself; or know that there is none. `prefix` is what
        its paths begin with instead of /v1."""
        if port is None:
            forget_address(self._data_dir)
        else:
            keep_address(self._data_dir, msgspec.structs.replace(control_address(host, port, shown), prefix=prefix))

    def run_rules(self, readings: Callable[[], Mapping[str, float]], on_fault: Callable[[RedrushError], None]) -> None:
        """Let the automatic rules act from now on: on the readings of this process, and what others tell of theirs."""
        self._own = readings
        runner = RuleRunner(self.board, self.readings, asyncio.get_running_loop().time, on_fault=on_fault)
        self._rules = asyncio.create_task(runner.run(), name="rules")

    def readings(self) -> Mapping[str, float]:
        """Return what rules read now: the worst of what this process has, and others told lately."""
        return {**self._told(), **self._own()}

    async def stop(self) -> None:
        """Change nothing any more; whoever waits for a change is answered, and the directory is free for others."""
        if self._rules is not None:
            self._rules.cancel()
            await asyncio.gather(self._rules, return_exceptions=True)
        await self.board.end()
        forget_address(self._data_dir)
