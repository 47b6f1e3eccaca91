"""A role that follows what is amended of its campaign while it runs.

A role holds nothing that is not in a store, in the records or in the directory of the event. So the way to go on as an
amended event is to begin again: the old role ends, and one made of the event as it is now takes its place, in the same
process and on the same control port. That is the way of a start, which is known to be right, and nothing in a role has
to be thought of twice. Roles that people are connected to go on as they are instead (`Role.amend`): nobody's connection
ends because a greeting was changed.

The directory is looked at every `LOOK_S`, which is one `stat`. Where machines have copies of it, `event.json` is copied
last, and to the machine of the settlement after all others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from redrush.control.durable_file import Stamp, stamp_of
from redrush.core.load.loop_share import LoopShare
from redrush.core.sets.address import Address
from redrush.core.steering.figure import Value
from redrush.errors import RedrushError
from redrush.http.reader import Request
from redrush.http.site import Found, Site
from redrush.wiring.role import Parts, Role, Surroundings, ready_unless, surroundings

LOOK_S: Final = 0.5
"""How soon an amendment is noticed; instants that it changes lie seconds ahead (`redrush.control.amending`)."""


class AmendedRole:
    """See the module. Is a `Role`."""

    def __init__(self, around: Surroundings, role: Role, make: Callable[[Surroundings], Role | None]) -> None:
        """`role` is that of the event as it is in `around`; `make` makes that of another."""
        self.beside: Callable[[], Sequence[Role]] = list
        self.elsewhere: Callable[[Request], Found | None] | None = None
        self.around = around
        """The event as it is followed now, and what is around it."""
        self._make = make
        self._role = role
        self._control: Site | None = None
        self._seen: Stamp | None = None
        self._changing = False
        self._parts = Parts()
        self._watching: asyncio.Task[None] | None = None

    @property
    def site(self) -> Site | None:
        """See `Role`."""
        return self._role.site

    def tick(self) -> None:
        """See `Role`."""
        self._role.tick()

    def beat(self, late_s: float, loop: LoopShare) -> float:
        """See `Role`."""
        return self._role.beat(late_s, loop)

    def readiness(self) -> bytes:
        """See `Role`."""
        return ready_unless("follows an amendment of the campaign") if self._changing else self._role.readiness()

    def readings(self) -> Iterator[Value]:
        """See `Role`."""
        if not self._changing:
            yield from self._role.readings()

    def failed(self) -> Awaitable[None]:
        """See `Role`."""
        return self._parts.failed()

    async def amend(self, around: Surroundings) -> bool:
        """It does so by itself."""
        del around
        return True

    async def start(self, control: Site) -> dict[str, Address]:
        """See `Role`."""
        self._control = control
        addresses = await self._begin()
        self._parts.add("amendments", self._follow())
        return addresses

    async def stop(self) -> None:
        """See `Role`."""
        await self._parts.cancel()
        if self._watching is not None:
            self._watching.cancel()
        await self._role.stop()

    async def _begin(self) -> dict[str, Address]:
        assert self._control is not None
        self._role.beside, self._role.elsewhere = self.beside, self.elsewhere
        addresses = await self._role.start(self._control)
        self._watching = asyncio.create_task(self._watch(self._role), name="end of a role")
        return addresses

    async def _watch(self, role: Role) -> None:
        try:
            await role.failed()
        except Exception as fault:  # noqa: BLE001 - whatever it is, whoever runs the role is to hear it
            self._parts.fail(fault)

    async def _follow(self) -> None:
        """Follow every amendment, for ever. One that cannot be read yet is tried again."""
        before = self.around
        while True:
            stamp = stamp_of(before.data_dir.event)
            if stamp != self._seen:
                self._seen = stamp
                try:
                    await self._look()
                except RedrushError as fault:
                    before.log.error("an amendment cannot be followed yet, it is tried again", fault=str(fault))
                    self._seen = None
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        before = self.around
        now = await asyncio.to_thread(surroundings, before.deployment, before.control, before.clock)
        if (now.terms, now.sealed.campaign) == (before.terms, before.sealed.campaign):
            return
        went_on = await self._role.amend(now)
        self.around = now  # only now: what the role could not follow is tried again
        if not went_on:
            await self._replace()
        before.log.info("the campaign was amended", campaign=now.sealed.campaign.id)

    async def _replace(self) -> None:
        """End the role, and begin one of the event as it is now. If that cannot be, the role has failed."""
        assert self._watching is not None
        self._watching.cancel()
        self._changing = True
        try:
            await self._role.stop()
            made = self._make(self.around)
            assert made is not None, "an amendment changes nothing of what a process is for"
            self._role = made
            await self._begin()
        except Exception as fault:  # noqa: BLE001 - nothing of this campaign goes on here: a start has to try it
            self._parts.fail(fault)
        finally:
            self._changing = False
