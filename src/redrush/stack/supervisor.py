"""Runs the children of a stack, in groups: started one group after the other, ended in the reverse order.

What is true of every moment is in `processes.json`. If this process ends without ending its children (`kill -9`), the
kernel ends them: see `lowered`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from redrush.errors import RedrushError
from redrush.processes.child import Child, ChildSpec
from redrush.processes.names import ProcessName
from redrush.stack.set_servers import StackSet
from redrush.stack.stack_dir import Running, StackDir, StackState, write_state

LOOK_S: Final = 1.0
"""How often readiness, logs, and who is primary are looked at."""


async def _nothing() -> None:
    """Nothing is to be done between the roles' end and the servers'."""


class Supervisor:
    """See the module. `watch` is to be run as a task while there are children."""

    def __init__(self, stack: StackDir, ourselves: ProcessName, log: Any) -> None:
        self._stack = stack
        self._ourselves = ourselves
        self._log = log
        self._groups: list[list[Child]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._sets: Sequence[StackSet] = ()
        self._stopping = False

    async def start(self, specs: Iterable[ChildSpec], *, until_ready: bool = True) -> None:
        """Start a group and return when all of it is ready, or answers. ChildFailed as soon as one does not come up."""
        if self._stopping:
            raise RedrushError("the stack is being ended")
        group = [Child(spec, self._stack.logs, self._log, self._changed) for spec in specs]
        self._groups.append(group)
        self._tasks += [asyncio.create_task(child.run(), name=child.spec.name) for child in group]
        self._changed()
        async with asyncio.TaskGroup() as waiting:
            for child in group:
                waiting.create_task(child.started(until_ready=until_ready))

    def show_roles_of(self, sets: Sequence[StackSet]) -> None:
        """From now on show which servers of these sets are stores and which replicas."""
        self._sets = sets

    async def watch(self) -> None:
        """Look after the children until cancelled. Raises what a child's task ended with, should one be at fault."""
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.gather(*(child.look() for child in self._children()))
            for servers in self._sets:
                await self._look_at_roles(servers)
            for task in self._tasks:
                if task.done():
                    task.result()

    async def stop(self, before_servers: Callable[[], Awaitable[None]] = _nothing) -> None:
        """End the groups, the last one first; return when no child is left. `before_servers` is done when all have
        ended but the first group, that of the servers."""
        self._stopping = True
        for number, group in reversed(list(enumerate(self._groups))):
            if number == 0:
                await before_servers()
            await asyncio.gather(*(child.stop() for child in group))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._stack.processes.unlink(missing_ok=True)

    async def _look_at_roles(self, servers: StackSet) -> None:
        children = [child for child in self._children() if child.spec.set_id == servers.id and child.spec.is_server]
        roles = await servers.roles()
        for child, role in zip(children, roles, strict=True):
            if role is not None and child.role != role:
                self._log.info("has another role", child=child.spec.name, role=role)
                child.role = role
                self._changed()

    def _children(self) -> list[Child]:
        return [child for group in self._groups for child in group]

    def _changed(self) -> None:
        processes = tuple(
            Running(
                role=child.role,
                set=child.spec.set_id,
                pid=None if child.process is None else child.process.pid,
                address=child.spec.address,
                state=child.state,
                why=child.why,
                name=child.spec.name,
                process=child.process,
            )
            for child in self._children()
        )
        write_state(self._stack, StackState(self._ourselves, processes))
