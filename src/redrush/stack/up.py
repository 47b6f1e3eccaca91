"""`stack up`: a whole deployment on this machine, from its data directory, until it is told to end.

The order: the lock of the directory, whatever an earlier stack has left, the plan, the servers, the sets, the seal, the
roles. "now" in the campaign file means the instant of sealing, so that is done as late as it can be.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.config import CampaignFile, DeploymentFile, load_deployment_file
from redrush.config.hosted import part_of_set
from redrush.control.campaigns import directory_of, load_served
from redrush.control.data_dir import DataDir
from redrush.control.doubts import Listed
from redrush.control.durable_file import write_durably
from redrush.control.event import doubts_before, is_current, load_event, prepare_event
from redrush.control.private import make_private
from redrush.control.user_list import read_users
from redrush.errors import ConfigError, RedrushError
from redrush.http.ask import lacking
from redrush.http.ending import when_told_to_stop
from redrush.operate.set_orders import describe_sets
from redrush.processes.console_child import console_child
from redrush.processes.loopback import HOST
from redrush.processes.names import ProcessName, process_name
from redrush.processes.postgres_server import PostgresServer
from redrush.processes.valkey_server import find_program
from redrush.records.postgres.greeting import refuse_newer
from redrush.stack import role_children
from redrush.stack.hosted_parts import PartOfSet, parts_of_sets
from redrush.stack.options import (
    StackOptions,
    StackPlan,
    deployment_text,
    has_moved_money,
    plan_stack,
    refuse_taken_ports,
)
from redrush.stack.server_users import ServerUsers
from redrush.stack.set_servers import STORE, SetWithheld, StackSet
from redrush.stack.stack_dir import Lock, StackDir, read_state, running_state
from redrush.stack.supervisor import Supervisor
from redrush.stores.valkey.keys import SetKeys
from redrush.watch.log import server_log
from redrush.wiring.clock import system_clock

LEFTOVERS_MAX_S: Final = 60.0
"""How long the children of a killed supervisor may take to end; then they are killed too."""
READY_MAX_S: Final = 120.0
"""From the roles being up to the whole being able to grant."""
DOWN_MAX_S: Final = 240.0
"""Longest end of a stack in good order: gates, then recorders with the rest of their logs, then servers."""
CONTROL_MAX_S: Final = 1.0
"""How long the status waits for the control role to say what the sets' grants rest on."""
CONTROL_LOOKS_S: Final = 15.0
"""How long a start in the background waits for the control role to say whether a set is withheld."""
POLL_S: Final = 0.05
ROLES_LATER: Final = "its servers are being started, the roles come after them"

Announce = Callable[[StackPlan], None]


def run_stack(
    file: CampaignFile, stack: StackDir, options: StackOptions, announce: Announce, keys_from: DataDir | None = None
) -> None:
    """Run a stack until SIGTERM, SIGINT or SIGHUP; `announce` gets the plan once the whole can grant.
    `keys_from`: the event whose keys a new one gets, so that its tickets are good here too.

    Raises RedrushError if it does not come up; no child is left behind then.
    """
    if stack.event.journal.exists():
        raise ConfigError(
            f"{stack.root}: is the directory of a single server, whose journal has its grants; use `redrush serve`"
        )
    _try_all(file, stack, keys_from)
    stack.event.create()
    with Lock(stack):
        end_leftovers(stack)
        asyncio.run(_Stack(file, stack, options, keys_from).run(announce))


def _try_all(file: CampaignFile, stack: StackDir, keys_from: DataDir | None) -> None:
    """Raise ConfigError for what would fail only after the seal, in a gate: "now" would have passed by then.

    What is doubtful is told.
    """
    listed = None if file.audience is None else Listed(file.audience, read_users(file.audience).survey)
    now_us = system_clock().now_us()
    for doubt in doubts_before(file, stack.event, listed, now_us, keys_from):
        server_log().warning(doubt)


def new_supervisor(stack: StackDir) -> Supervisor:
    """Return a supervisor of the directory, which is this process. It must hold the lock."""
    ourselves = process_name(os.getpid())
    assert ourselves is not None
    return Supervisor(stack, ourselves, server_log())


class _Stack:
    def __init__(self, file: CampaignFile, stack: StackDir, options: StackOptions, keys_from: DataDir | None) -> None:
        self._file = file
        self._stack = stack
        self._options = options
        self._keys_from = keys_from
        self._clock = system_clock()
        self._stopping = asyncio.Event()
        self._supervisor = new_supervisor(stack)
        self._sets: Sequence[StackSet] = ()

    async def run(self, announce: Announce) -> None:
        when_told_to_stop(self._stopping.set)
        tasks = [asyncio.create_task(self._start(announce)), asyncio.create_task(self._stopping.wait())]
        try:
            # Until told to end, or the first fault: of the start, or of the watch that goes on after it.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks[0].cancel()
            ended = await asyncio.gather(*tasks[:1], return_exceptions=True)
            tasks[1].cancel()
            await self._supervisor.stop(self._note_ends)
        for fault in ended:
            if isinstance(fault, Exception):
                raise _first(fault)

    async def _start(self, announce: Announce) -> None:
        # A directory that holds another campaign is refused before anything is started on it.
        sealed = load_event(self._stack.event).sealed if is_current(self._file, self._stack.event) else None
        pays = self._options.pays or has_moved_money(self._stack)
        options = msgspec.structs.replace(self._options, pays=pays)
        plan = plan_stack(options, self._stack, sealed, self._clock.now_us())
        write_durably(self._stack.deployment, deployment_text(plan, self._stack).encode())
        sets = await start_servers(self._supervisor, self._stack, plan, self._file.id)
        await begin_hosted(self._stack, load_deployment_file(self._stack.deployment))
        self._sets = sets
        refuse_taken_ports(plan)  # again: the servers took their time
        prepare_event(self._file, self._stack.event, self._clock.now_us, self._keys_from)
        deployment = self._stack.deployment.absolute()
        groups = role_children.groups(plan, deployment)
        whole = not any(servers.withheld for servers in sets)
        starts = (self._supervisor.start(group, until_ready=whole) for group in groups)
        await asyncio.gather(*starts)
        self._supervisor.show_roles_of(sets)
        if whole:
            await self._until_ready(plan)
        announce(plan)
        if self._options.console_port is not None:
            child = console_child(self._stack.root, self._options.console_port)
            await self._supervisor.start([child], until_ready=False)
        await self._supervisor.watch()

    async def _note_ends(self) -> None:
        """No gate runs any more: what the sets hold now is all that they have acknowledged."""
        await note_ends(self._stack, self._stack.deployment, self._sets)

    async def _until_ready(self, plan: StackPlan) -> None:
        ready = role_children.whole_stack_ready(plan)
        try:
            async with asyncio.timeout(READY_MAX_S):
                while not await ready():
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise RedrushError(
                f"the stack cannot grant after {READY_MAX_S:g} s; http://{HOST}:{plan.control}/readyz and "
                f"{self._stack.logs} say why"
            ) from None


async def start_servers(supervisor: Supervisor, stack: StackDir, plan: StackPlan, campaign_id: str) -> list[StackSet]:
    """Start the database and the servers of all sets; return these when they are ready for roles. ConfigError if the
    database was used by a newer redrush: nothing in the directory is changed then."""
    stack.logs.mkdir(mode=0o700, exist_ok=True)
    make_private([*stack.logs.iterdir(), *(stack.control.rglob("*") if stack.control.is_dir() else ())])
    database = PostgresServer(stack.postgres, plan.postgres)
    program = await asyncio.to_thread(find_program)
    await asyncio.to_thread(database.prepare)
    write_durably(stack.records_dsn, database.dsn().encode())
    users = ServerUsers.of(stack)
    listed = load_served(stack.event).values()
    sets = [
        StackSet(
            spec,
            stack,
            campaign_id,
            program,
            users,
            database.dsn(),
            [SetKeys(one.id, part_of_set(spec.id, one.id)) for one in listed if spec.id in one.sets],
        )
        for spec in plan.sets
    ]
    servers = [child for spec in sets for child in spec.children()]
    await supervisor.start([role_children.postgres(database), *servers])
    await asyncio.to_thread(refuse_newer, database.dsn())  # a role would ask again and again, for ever
    await asyncio.gather(*(_begin(spec) for spec in sets))
    return sets


async def begin_hosted(stack: StackDir, deployment: DeploymentFile) -> None:
    """Let the campaigns besides the first have their parts of the sets where these are now. A part that is withheld is
    told of, and the others go on."""
    for servers in _hosted_parts(stack, deployment):
        try:
            await servers.begin()
        except RedrushError as fault:
            server_log().error("a set is withheld, and grants nothing", set=servers.id, why=str(fault))


async def note_ends(stack: StackDir, deployment: Path, sets: Sequence[StackSet]) -> None:
    """Note of each set, and of its part of every campaign, where the log ends: nobody is left who could add to it.
    `deployment` is the file that the servers were started with."""
    await asyncio.gather(*(servers.note_end() for servers in sets))
    if not sets:
        return
    try:
        parts = list(_hosted_parts(stack, load_deployment_file(deployment)))
    except RedrushError as fault:
        server_log().error("where the logs of the other campaigns end is not noted", why=str(fault))
        return
    await asyncio.gather(*(part.note_end() for part in parts))


def _hosted_parts(stack: StackDir, deployment: DeploymentFile) -> Iterator[PartOfSet]:
    """Yield the parts of the sets that the campaigns besides the first have."""
    for listing in load_served(stack.event).values():
        yield from parts_of_sets(deployment, listing, directory_of(stack.event, listing.id))


async def _begin(servers: StackSet) -> None:
    """A set that is withheld is told of, and the stack goes on: with the control role, for the orders that mend it."""
    try:
        await servers.begin()
    except SetWithheld as fault:
        servers.withheld = str(fault)
        server_log().error("a set is withheld, and grants nothing", set=servers.id, why=str(fault))


def _first(fault: Exception) -> Exception:
    """Return the first fault of a group: the others follow from it, or are of the same kind."""
    while isinstance(fault, ExceptionGroup):
        fault = fault.exceptions[0]
    return fault


def end_leftovers(stack: StackDir) -> None:
    """End what an earlier supervisor of this directory left behind when it was killed. The caller holds the lock.

    The kernel has told the children to end already; whoever has not done so in time is killed.
    """
    state = read_state(stack)
    if state is None:
        return
    left = [running.process for running in state.processes if running.process is not None]
    if not _wait_for_end(left, LEFTOVERS_MAX_S):
        for process in left:
            process.send(signal.SIGKILL)
        if not _wait_for_end(left, LEFTOVERS_MAX_S):
            raise RedrushError(f"{stack.root}: processes of an earlier stack do not end: {', '.join(_pids(left))}")
    stack.processes.unlink()


def down(stack: StackDir) -> None:
    """End the stack that runs on the directory and return when it has ended. NotRunning if none does."""
    state = running_state(stack)
    state.supervisor.send(signal.SIGTERM)
    everyone = [state.supervisor, *(running.process for running in state.processes if running.process is not None)]
    if not _wait_for_end(everyone, DOWN_MAX_S):
        raise RedrushError(f"{stack.root}: the stack did not end within {DOWN_MAX_S:g} s: {', '.join(_pids(everyone))}")


def _wait_for_end(processes: Sequence[ProcessName], max_s: float) -> bool:
    deadline_s = time.monotonic() + max_s
    while any(process.alive for process in processes):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True


def _pids(processes: Sequence[ProcessName]) -> list[str]:
    return [str(process.pid) for process in processes if process.alive]


def status(stack: StackDir) -> dict[str, Any]:
    """Return who runs, as `stack status --json` prints it. NotRunning if nothing does.

    A store's `durability` is what its set's grants rest on, and `reason` why that cannot grant (`Absence`), None where
    it can, and both None where the control role cannot be asked now. A recorder's `disagrees` is what the running
    reconciliation finds wrong in the records, None if nothing. `why` is what a process lacks that is not ready;
    `lacking` is why not every claim could be granted, and which share could, None if every one could. `withheld` says
    of each set that grants nothing until an operator gives an order which order that is, of every campaign.
    """
    state = running_state(stack)
    told = _told_of_sets(stack)
    rows = []
    for running in state.processes:
        row = {key: getattr(running, key) for key in ("role", "set", "pid", "address", "state", "why", "name")}
        if running.role == STORE:
            found = told.get(str(running.set), {})
            row |= {"durability": found.get("durability"), "reason": found.get("reason")}
        elif running.role == "recorder" and running.process is not None and running.process.alive:
            port = int(running.address.rpartition(":")[2])
            row["disagrees"] = asyncio.run(lacking(HOST, port, "/reconcile"))
        rows.append(row)
    control = next((running.address for running in state.processes if running.role == "control"), None)
    why = ROLES_LATER if control is None else asyncio.run(lacking(HOST, int(control.rpartition(":")[2]), "/readyz"))
    withheld = {set_id: found["why"] for set_id, found in told.items() if found.get("withheld")}
    return {"processes": rows, "lacking": why, "withheld": withheld}


def _told_of_sets(stack: StackDir) -> dict[str, dict[str, Any]]:
    """Return what the wardens say, by set, also of the parts of the campaigns besides the first; nothing of those that
    cannot be asked now."""
    told: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(RedrushError):
        told = {found["set"]: found for found in describe_sets(stack.deployment, CONTROL_MAX_S)}
        for name in load_served(stack.event):
            with contextlib.suppress(RedrushError):  # it is being taken up
                beside = describe_sets(directory_of(stack.event, name).deployment, CONTROL_MAX_S)
                told |= {found["set"]: found for found in beside}
    return told


def withheld_at_start(stack: StackDir) -> dict[str, str]:
    """Return what mends each set that is withheld, once the control role of the stack, which was just started, has
    looked at all of them. RedrushError if it does not within CONTROL_LOOKS_S."""
    until_s = time.monotonic() + CONTROL_LOOKS_S
    while True:
        try:
            states = describe_sets(stack.deployment, CONTROL_MAX_S)
        except RedrushError:
            if time.monotonic() >= until_s:
                raise
        else:
            is_told = all(state["durability"] != "none" or state["withheld"] for state in states)
            if is_told or time.monotonic() >= until_s:
                return {state["set"]: state["why"] for state in states if state["withheld"]}
        time.sleep(POLL_S)
