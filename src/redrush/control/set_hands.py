"""What a warden does to the servers of its set, for one campaign's part: every order on a connection of its own.

What to do is decided in `redrush.core.sets`. Where several campaigns have parts on the servers, a promotion is one for
all of them (`redrush.control.council`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from redrush.control.comparing import Comparing
from redrush.control.warden_notes import WardenNotes
from redrush.core.sets.consent import Move
from redrush.core.sets.failover import Fence, Follow, Noted, Terms
from redrush.errors import RedrushError
from redrush.ports.set_servers import ForkedOff, Held, SetServer, SetServers
from redrush.ports.store import Known, Transfers

Others = Callable[[], Awaitable[Mapping[str, Transfers | None]]]
"""Asks every other set what it has taken and given; None for one that cannot be reached."""

Detached = Mapping[str, tuple[Terms | None, int]]
"""Of each server that was detached: its terms, and the last record of the part that it had then."""


class Hands:
    """See the module."""

    def __init__(
        self,
        servers: SetServers,
        notes: WardenNotes,
        comparing: Comparing,
        others: Others,
        told: Callable[[str], None],
    ) -> None:
        self._servers = servers
        self._notes = notes
        self._comparing = comparing
        self._others = others
        self._told = told
        self._addresses = {str(address): address for address in servers.addresses}

    @asynccontextmanager
    async def speaking_to(self, name: str) -> AsyncIterator[SetServer]:
        """Yield a connection for orders: on that of the probe a question would wait behind them."""
        if name not in self._addresses:
            raise RedrushError(f"{name} is no server of set {self._servers.id}")
        server = await self._servers.connect(self._addresses[name])
        try:
            yield server
        finally:
            server.cut("told")

    async def fence(self, step: Fence, fork: ForkedOff | None = None) -> None:
        """Note the terms, then put the primary under them; with `fork`, in a new history."""
        self._notes.note(Noted(step.terms.epoch, step.address))
        async with self.speaking_to(step.address) as server:
            await server.put_under(step.terms, fork)

    async def follow(self, step: Follow) -> None:
        """Make a server a replica of another."""
        async with self.speaking_to(step.address) as server:
            await server.follow(self._addresses[step.primary])

    async def prove(self, name: str, terms: Terms | None, copies: Mapping[str, Known]) -> None:
        """Let the primary be used if it has all that is known, and the other `copies` too. Raises Lacking."""
        async with self.speaking_to(name) as server:
            held = await server.held()
            if held.terms != terms:
                return  # it is rebuilt at this moment: look again
            await self._comparing.check(server, held, copies)
            await asyncio.to_thread(self._notes.forget_ended)
            await server.prove(held)

    # -- a promotion, in three steps

    async def detach(self, move: Move) -> Detached:
        """Detach the candidates, so that no other server can acknowledge anything. They must still be under the terms
        that this was decided on, unless it is forced."""
        held: dict[str, tuple[Terms | None, int]] = {}
        for name in move.candidates:
            async with self.speaking_to(name) as server:
                held[name] = await server.detach()
            if not move.is_forced and held[name][0] != move.expected[name]:
                raise RedrushError(f"{name} has come under other terms meanwhile: {held[name][0]}")
        return held

    async def see_whole(self, name: str) -> None:
        """Raise Lacking unless the server has all that is known of the part."""
        async with self.speaking_to(name) as server:
            await self._comparing.check(server, await server.held())

    async def go_without(self, name: str, detached: Detached) -> tuple[ForkedOff, tuple[str, ...]]:
        """Return the new history that begins with this server, which may lack what was acknowledged: an operator's
        decision. Moves of slots that it lacks are entered, by what the other sets say; and the sets are returned that
        could not be asked. RedrushError if it lacks what is recorded."""
        terms, last_seq = detached[name]
        async with self.speaking_to(name) as server:
            await self._comparing.check_recorded(server, await server.held())
        unasked = await self._settle_moves(name, terms)
        async with self.speaking_to(name) as server:
            return await self._fork(await server.held(), last_seq), unasked

    async def take_over(self, name: str, epoch: int, fork: ForkedOff | None) -> None:
        """Put the part under new terms on its new primary, and let it be used."""
        async with self.speaking_to(name) as server:
            await asyncio.to_thread(self._notes.forget_ended)
            await self.fence(Fence(name, Terms(epoch, 0)), fork)
            await server.prove(await server.held())

    async def _fork(self, held: Held, last_seq: int) -> ForkedOff:
        """Return the new history that begins with this server, and what is lost by it as far as anybody knows."""
        is_all_known = await self._comparing.is_all_known()
        known = self._comparing.best_known()
        if known is None or known.seq <= last_seq or known.generation != held.history.generation:
            return ForkedOff(last_seq, is_all_known=is_all_known)
        return ForkedOff(last_seq, known.seq, max(0, known.grants - held.grants), is_all_known)

    async def _settle_moves(self, name: str, terms: Terms | None) -> tuple[str, ...]:
        """Enter moves that the server lacks, for their slots would be granted in two sets; return who was not asked."""
        assert terms is not None, "it holds a copy"
        others = await self._others()
        known = {set_id: transfers for set_id, transfers in others.items() if transfers is not None}
        async with self.speaking_to(name) as server:
            settled = await server.settle_moves(terms.epoch, known)
        if settled:
            self._told(f"set {self._servers.id}: {settled} moves that {name} lacked are entered")
        return tuple(sorted(others.keys() - known.keys()))
