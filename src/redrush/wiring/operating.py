"""Switches, playbooks and rules of a running event: the board on its data directory, and the control API on a site."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Self

from redrush.config import CampaignFile
from redrush.control.data_dir import DataDir
from redrush.control.operator_access import (
    ControlAddress,
    TokenVerifier,
    forget_address,
    keep_address,
    load_or_create_token,
    load_token_if_any,
)
from redrush.control.operator_api import Operation, OperatorApi
from redrush.control.plans import Plans, keep_plans
from redrush.control.rule_runner import RuleRunner
from redrush.control.switch_log import SwitchLog, entries_of
from redrush.control.switchboard import Switchboard
from redrush.control.told_readings import ToldReadings
from redrush.core.campaign import Campaign
from redrush.errors import RedrushError
from redrush.gate import answers
from redrush.gate.operations import Operations
from redrush.gate.reader import Limits
from redrush.gate.site import Site

CONTROL_LIMITS = Limits(connections_max=256, claim_deadline_s=30.0)
"""Of a control port: operators, scrapers, and gates that wait for the next change longer than a claim may take."""

ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here: where a client finds such a port


def prepare_operating(data_dir: DataDir, file: CampaignFile) -> Plans:
    """Make what switching needs in the directory of an event: the token, and the plans of the file, which it returns.

    Unlike the seal this may be done again, with other plans. ConfigError if the disk refuses.
    """
    load_or_create_token(data_dir)
    work = file.proof_of_work
    plans = Plans(file.playbooks, file.rules, None if work is None else work.exchanges_per_s)
    keep_plans(data_dir, plans)
    return plans


def control_site(data_dir: DataDir, now_us: Callable[[], int]) -> Site:
    """Return the site of a control port, with nothing on it yet. What needs a ticket on it needs the control token; it
    is refused to everybody where there is none."""
    token = load_token_if_any(data_dir)
    return Site(CONTROL_LIMITS, None if token is None else TokenVerifier(token), now_us, answers.NO_TOKEN)


class Operating:
    """The parts of one process that has the switchboard. `open`, then the rest, then `stop`."""

    def __init__(self, data_dir: DataDir, board: Switchboard) -> None:
        self.board = board
        self._data_dir = data_dir
        self._operations = Operations()
        self._told = ToldReadings(asyncio.get_running_loop().time)
        self._rules: asyncio.Task[None] | None = None

    @classmethod
    def open(cls, data_dir: DataDir, plans: Plans, campaign: Campaign, now_us: Callable[[], int]) -> Self:
        """Take the switches of the directory over. Raises SwitchLogInUse if another process has them."""
        return cls(data_dir, Switchboard(SwitchLog.open(data_dir.switches), plans, campaign, now_us))

    def serve_on(self, site: Site, further: Iterable[Operation] = ()) -> None:
        """Let a control port serve the control API, and what else this process has operations for."""
        api = OperatorApi(self.board, lambda last: entries_of(self._data_dir.switches, last), self._told.tell)
        for operation in chain(api.operations(), further):
            route = self._operations.route(operation.run)
            method, path = operation.method.encode("ascii"), operation.path.encode("ascii")
            site.add(method, path, route, needs_ticket=True, reads=route.reads)

    def announce(self, host: str, port: int | None) -> None:
        """Let commands find the control port, or know that there is none."""
        if port is None:
            forget_address(self._data_dir)
        else:
            keep_address(self._data_dir, ControlAddress(ANY_HOST.get(host, host), port))

    def run_rules(self, readings: Callable[[], Mapping[str, float]], on_fault: Callable[[RedrushError], None]) -> None:
        """Let the automatic rules act from now on: on the readings of this process, and what others tell of theirs."""
        runner = RuleRunner(
            self.board, lambda: {**self._told(), **readings()}, asyncio.get_running_loop().time, on_fault=on_fault
        )
        self._rules = asyncio.create_task(runner.run(), name="rules")

    async def stop(self) -> None:
        """Change nothing any more; whoever waits for a change is answered, and the directory is free for others."""
        if self._rules is not None:
            self._rules.cancel()
            await asyncio.gather(self._rules, return_exceptions=True)
        await self.board.end()
        forget_address(self._data_dir)
