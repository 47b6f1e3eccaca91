"""The roles of the scaled form: each makes its parts from the deployment, runs them, and ends them in order."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

from redrush.config import Address, DeploymentFile
from redrush.core.phase import SteadyClock
from redrush.settle.recorder import Recorder
from redrush.watch.metrics import Reading
from redrush.wiring.embedded import system_clock
from redrush.wiring.role import Announce, Role, Surroundings, Troubles, run_role, surroundings
from redrush.wiring.set_stores import access_of, open_records, open_store


class Parts:
    """The tasks of a role that run for as long as it does."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, name: str, part: Coroutine[Any, Any, None]) -> None:
        """Run a part from now on."""
        self._tasks.append(asyncio.create_task(part, name=name))

    async def first_end(self) -> None:
        """Return when one of the parts has ended; raise what it ended with."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def ended(self) -> None:
        """Return when all have ended, whatever with."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cancel(self) -> None:
        """End all at once."""
        for task in self._tasks:
            task.cancel()
        await self.ended()


class RecorderRole:
    """Follows one set's log into its records."""

    def __init__(self, around: Surroundings, set_id: str) -> None:
        self._around = around
        self._spec = around.deployment.set_named(set_id)
        self._troubles = Troubles(around.log)
        self._parts = Parts()

    async def start(self) -> dict[str, Address]:
        sealed = self._around.sealed
        access = access_of(self._around.deployment.valkey)
        self._records = open_records(self._spec)
        self._store = open_store(self._spec, sealed.campaign.id, access)
        self._recorder = Recorder(
            self._store,
            self._records,
            sealed.campaign,
            sealed.amounts,
            on_fault=self._troubles.listener("recording"),
        )
        self._parts.add("recorder", self._recorder.run())
        return {}

    def unready(self) -> str | None:
        return self._troubles.current()

    def readings(self) -> Iterator[Reading]:
        labels = (("set", self._spec.id),)
        yield Reading(
            "redrush_records_behind", "Log records not yet in the records", "gauge", labels, self._recorder.lag
        )
        yield from self._troubles.readings()

    def ended(self) -> Awaitable[None]:
        return self._parts.first_end()

    async def stop(self) -> None:
        if not hasattr(self, "_recorder"):
            return
        await self._recorder.stop(drain=True)
        await self._parts.ended()
        await self._store.close()
        self._records.close()


def run(deployment: DeploymentFile, make: Callable[[Surroundings], Role], control: Address, announce: Announce) -> None:
    """Run a role of the deployment until it is told to end."""
    clock: SteadyClock = system_clock()
    around = surroundings(deployment, clock)
    run_role(lambda: make(around), control, clock, announce)
