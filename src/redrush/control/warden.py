"""The warden of a set: watches its servers, and keeps one of them primary under terms that fit what is there.

What to do is decided in `redrush.core.sets.failover`, anew at every look and one step at a time; here the servers are
asked and told. Each has a probe of its own (`server_probe`), which says when a server counts as dead.

Every step is noted before it is taken (`warden_notes`). There must be one warden of a set only: two that see different
halves of a torn network could each put another server under terms that need no replica.

It is for sets of plain servers. A Valkey Cluster promotes by itself.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from redrush.control.comparing import (
    AllTold,
    Comparing,
    Heard,
    Lacking,
    Recorded,
    nobody_tells,
    nothing_heard,
)
from redrush.control.mending_orders import ELSEWHERE, MendingOrders
from redrush.control.patience import Patience
from redrush.control.server_probe import LOOK_S, Probe
from redrush.control.set_state import SetState, is_bare, replica_state
from redrush.control.warden_notes import WardenNotes
from redrush.core.nobody import ignore
from redrush.core.sets.address import Address
from redrush.core.sets.failover import (
    Fence,
    Follow,
    Noted,
    Policy,
    Promote,
    Prove,
    Sight,
    Step,
    Terms,
    Wait,
    highest_epoch,
    in_step,
    in_words,
    next_step,
    primary_of,
    wanted_replicas,
)
from redrush.errors import RedrushError
from redrush.ports.clock import Clock
from redrush.ports.set_servers import ForkedOff, Held, SetServer, SetServers
from redrush.ports.store import Known, Transfers

Others = Callable[[], Awaitable[Mapping[str, Transfers | None]]]
"""Asks every other set what it has taken and given; None for one that cannot be reached."""


class Warden:
    """Watches over one set. `run` it as a task; cancel it to end it: the next one goes on from any point."""

    def __init__(  # noqa: PLR0913 - told apart by name
        self,
        servers: SetServers,
        *,
        policy: Policy,
        notes: WardenNotes,
        clock: Clock,
        others: Others,
        recorded: Recorded | None = None,
        heard: Heard = nothing_heard,
        all_told: AllTold = nobody_tells,
        told: Callable[[str], None] = ignore,
        event: str = ELSEWHERE,
    ) -> None:
        """`recorded`, `heard` and `all_told` tell what is known of the log (`redrush.control.comparing`). `told` hears,
        in a sentence, of every step that is taken and of everything that fails."""
        self._servers = servers
        self._policy = policy
        self._notes = notes
        self._clock = clock
        self._others = others
        self._told = told
        self._orders = MendingOrders(servers.id, event)
        self._comparing = Comparing(self._orders, notes, recorded, heard, all_told)
        self._lacking: str | None = None
        self._probes = {str(address): Probe(address, servers) for address in servers.addresses}
        self._last_told = ""
        self._short_since_s: float | None = None
        self._ample_since_s: float | None = None
        self._deciding = asyncio.Lock()
        self._patience = Patience()
        self._state = SetState(servers.id, None, (), notes.noted.epoch, "none", clock.now_us(), "not looked at yet")

    @property
    def state(self) -> SetState:
        """The set as of the last look."""
        return self._state

    async def run(self) -> None:
        """Look, decide and act for ever."""
        probing = [asyncio.create_task(probe.run(), name=f"probe {name}") for name, probe in self._probes.items()]
        try:
            await asyncio.gather(*(probe.ask() for probe in self._probes.values()))
            while True:
                async with self._deciding:
                    try:
                        await self._act(await self._look())
                    except OSError as fault:  # of the notes: without them nothing is done
                        self._tell_once(f"nothing can be noted: {fault}")
                await asyncio.sleep(LOOK_S)
        finally:
            for task in probing:
                task.cancel()
            await asyncio.gather(*probing, return_exceptions=True)
            for probe in self._probes.values():
                probe.cut()

    async def force(self, address: Address) -> tuple[str, ...]:
        """Make this server the primary, on its own disk, whatever it may lack: an operator's decision.

        Moves of slots that it lacks are entered by what the other sets say; returns those that could not be asked.
        Raises RedrushError if it holds no copy of the set, lacks what its moves rest on, or cannot be told.
        """
        async with self._deciding:
            sight = self._sight()
            seen = sight.seen.get(str(address))
            if seen is None or seen.terms is None:  # noted as the primary, it would keep those out that have a copy
                lack = "does not answer" if seen is None else "holds no copy of it"
                raise RedrushError(f"set {self._servers.id}: {address} {lack}, and cannot be promoted")
            step = Promote((str(address),), max(sight.noted.epoch, highest_epoch(sight)) + 1)
            is_primary = primary_of(sight) == str(address) and seen.is_proven  # it lacks nothing, its history goes on
            unasked = await self._promote(step, {str(address): seen.terms} if is_primary else None)
            # Seen as it was before, it would have become a replica of the old primary, and that the primary again.
            await self._probes[str(address)].ask()
            return unasked

    async def lower(self) -> None:
        """Let the primary go on with the replicas it has now: an operator's decision. Raises RedrushError if it cannot
        be told so, or if there is no primary."""
        async with self._deciding:
            sight = self._sight()
            primary = primary_of(sight)
            if primary is None:
                raise RedrushError(f"set {self._servers.id} has no primary that answers")
            epoch = max(sight.noted.epoch, highest_epoch(sight)) + 1
            await self._fence(Fence(primary, Terms(epoch, wanted_replicas(sight, primary))))
            await self._probes[primary].ask()

    def best_known(self) -> Known | None:
        """Return how far the set's log was, as far as is known without its servers."""
        return self._comparing.best_known()

    async def heard_out(self, *, write_off: bool = False) -> None:
        """Whoever may have been granted what the set lacks was heard; `write_off`: nobody is waited for any more. An
        operator's word. Raises RedrushError if there is no primary that answers."""
        async with self._deciding:
            primary = primary_of(self._sight())
            if primary is None:
                raise RedrushError(f"set {self._servers.id} has no primary that answers: mend it first")
            async with self._speaking_to(primary) as server:
                await server.heard_out(write_off=write_off)

    async def is_all_known(self) -> bool:
        """Return whether it is certain that nobody was told more than `best_known`."""
        return await self._comparing.is_all_known()

    async def expect_rebuilt(self, address: Address) -> int:
        """Take nobody for the primary any more but this server, which is to be rebuilt; return the epoch for it.

        An operator's decision, after which other copies that come back can only be promoted by force. Raises
        RedrushError if the set has a primary, or if that cannot be noted.
        """
        async with self._deciding:
            sight = self._sight()
            if (primary := primary_of(sight)) is not None and sight.seen[primary].is_proven:
                raise RedrushError(f"set {self._servers.id} has a primary, {primary}: nothing is to be rebuilt")
            epoch = max(sight.noted.epoch, highest_epoch(sight)) + 1
            try:
                self._notes.note(Noted(epoch, str(address)))
            except OSError as fault:
                raise RedrushError(f"set {self._servers.id}: nothing can be noted: {fault}") from fault
            return epoch

    # -- looking

    def _sight(self) -> Sight:
        return Sight(
            addresses=tuple(self._probes),
            seen={name: probe.seen for name, probe in self._probes.items() if probe.seen is not None},
            dead={name for name, probe in self._probes.items() if probe.is_dead()},
            noted=self._notes.noted,
            policy=self._policy,
            short_us=self._since_us(self._short_since_s),
            ample_us=self._since_us(self._ample_since_s),
        )

    async def _look(self) -> Sight:
        """Return what there is to decide on, and keep the state and the note of who is primary up to date."""
        sight = self._sight()
        primary = primary_of(sight)
        terms = None if primary is None else sight.seen[primary].terms
        if primary is not None and terms is not None and terms.epoch >= sight.noted.epoch:
            if sight.noted != Noted(terms.epoch, primary):
                self._notes.note(Noted(terms.epoch, primary))
            now_s = asyncio.get_running_loop().time()
            wanted = wanted_replicas(sight, primary)
            self._short_since_s = (self._short_since_s or now_s) if wanted < terms.replicas_needed else None
            self._ample_since_s = (self._ample_since_s or now_s) if wanted > terms.replicas_needed else None
            if sight.seen[primary].is_proven:
                self._lacking = None
                held = {name: probe.held for name, probe in self._probes.items() if probe.seen and probe.held}
                await self._comparing.watch(sight, primary, held)
        else:
            self._short_since_s = self._ample_since_s = None
        self._show(sight, primary, terms)
        return self._sight()

    def _show(self, sight: Sight, primary: str | None, terms: Terms | None) -> None:
        following = [] if primary is None else in_step(sight, primary)
        proven = primary is not None and sight.seen[primary].is_proven
        if terms is None or not proven or len(following) < terms.replicas_needed:
            durability = "none"
        else:
            durability = "replica" if terms.replicas_needed else "disk"
        why = self._lacking or self._waiting(next_step(sight), primary, sight)
        self._state = SetState(
            set=self._servers.id,
            primary=primary,
            replicas=tuple(
                replica_state(name, sight.seen.get(name), in_step=name in following)
                for name in self._probes
                if name != primary
            ),
            epoch=terms.epoch if terms else sight.noted.epoch,
            durability=durability,
            since_us=self._state.since_us if durability == self._state.durability else self._clock.now_us(),
            why=why,
            withheld=not proven and (self._lacking is not None or is_bare(sight)) and "`redrush set " in (why or ""),
        )

    def _waiting(self, step: Step, primary: str | None, sight: Sight) -> str | None:
        """Return what is done or waited for, and what an operator may do about it if it is waited for in vain."""
        if not isinstance(step, Wait):
            return in_words(step)
        if step.why is None:
            return None
        why, orders = self._orders.completed(step.why), self._orders
        if primary is not None or why != step.why:  # it names the order itself
            return why
        if is_bare(sight):
            order = orders.rebuild(sight.addresses[0])
            return f"its servers have lost their data; {order} makes it again from the records, {orders.afterwards}"
        return (
            f"{why}; if no more comes back: {orders.promote('ADDRESS', yes=False)} takes a copy that is there, "
            f"{orders.rebuild('ADDRESS', yes=False)} makes the set again from the records"
        )

    def _since_us(self, since_s: float | None) -> int:
        return 0 if since_s is None else int((asyncio.get_running_loop().time() - since_s) * 1e6)

    # -- acting

    async def _act(self, sight: Sight) -> None:
        step = next_step(sight)
        if isinstance(step, Wait):
            self._tell_once(step.why or "")
            return
        holding = {name: probe.held for name, probe in self._probes.items()}
        if self._patience.is_too_soon((step, holding), asyncio.get_running_loop().time()):
            return
        if self._patience.is_first:
            self._tell_once(in_words(step))
        try:
            if isinstance(step, Fence):
                await self._fence(step)
            elif isinstance(step, Follow):
                async with self._speaking_to(step.address) as server:
                    await server.follow(self._probes[step.primary].address)
            elif isinstance(step, Prove):
                await self._prove(step, sight)
            else:
                expected = {name: sight.seen[name].terms for name in step.candidates}
                await self._promote(step, expected)
            self._patience.done()
        except Lacking as fault:
            self._lacking = str(fault)
            self._tell_once(self._lacking)
        except RedrushError as fault:
            self._tell_once(f"{in_words(step)}: failed, to be tried again: {fault}")
        await self._ask_again()

    async def _prove(self, step: Prove, sight: Sight) -> None:
        """Let the primary be used if it has all that is known; the server that has more of the log, if there is one, is
        promoted in its place. Raises Lacking."""
        terms = sight.seen[step.address].terms
        copies = {
            name: probe.held.known
            for name, probe in self._probes.items()
            if probe.held is not None and name in sight.seen and sight.seen[name].terms == terms
        }
        best = max(copies, key=lambda name: (copies[name].seq, name == step.address))
        if best != step.address and copies[best].seq > copies[step.address].seq:
            epoch = max(sight.noted.epoch, highest_epoch(sight)) + 1
            self._told(f"set {self._servers.id}: {best} has more of the log than {step.address}, which was the primary")
            await self._promote(Promote((best,), epoch), {best: terms})
            return
        del copies[step.address]
        async with self._speaking_to(step.address) as server:
            held = await server.held()
            if held.terms != terms:
                return  # it is rebuilt at this moment: look again
            await self._comparing.check(server, held, copies)
            await asyncio.to_thread(self._notes.forget_ended)
            await server.prove(held)

    async def _fence(self, step: Fence, fork: ForkedOff | None = None) -> None:
        """Note the terms, then put the primary under them; with `fork`, in a new history."""
        self._notes.note(Noted(step.terms.epoch, step.address))
        async with self._speaking_to(step.address) as server:
            await server.put_under(step.terms, fork)

    async def _promote(self, step: Promote, expected: Mapping[str, Terms | None] | None) -> tuple[str, ...]:
        """Detach the candidates, so that no other server can acknowledge anything; then take the one that has most.

        They must still be under the terms that this was decided on, `expected`; None says that an operator forces it:
        what has been acknowledged may be lost then, and a new history begins. Returns the sets whose moves with this
        one are not settled for that reason.
        """
        held: dict[str, tuple[Terms | None, int]] = {}
        for name in step.candidates:
            async with self._speaking_to(name) as server:
                held[name] = await server.detach()
            if expected is not None and held[name][0] != expected[name]:
                raise RedrushError(f"{name} has come under other terms meanwhile: {held[name][0]}")
        chosen = max(step.candidates, key=lambda name: held[name][1])
        terms, last_seq = held[chosen]
        forced = expected is None
        unasked = await self._settle_moves(chosen, terms) if forced else ()
        async with self._speaking_to(chosen) as server:
            log = await server.held()
            if not forced:
                await self._comparing.check(server, log)
            fork = await self._fork(log, last_seq) if forced else None
            await asyncio.to_thread(self._notes.forget_ended)
            await self._fence(Fence(chosen, Terms(step.epoch, 0)), fork)
            await server.prove(await server.held())
        return unasked

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
        async with self._speaking_to(name) as server:
            settled = await server.settle_moves(terms.epoch, known)
        if settled:
            self._told(f"set {self._servers.id}: {settled} moves that {name} lacked are entered")
        return tuple(sorted(others.keys() - known.keys()))

    @asynccontextmanager
    async def _speaking_to(self, name: str) -> AsyncIterator[SetServer]:
        """Yield a connection for orders: on that of the probe a question would wait behind them."""
        if name not in self._probes:
            raise RedrushError(f"{name} is no server of set {self._servers.id}")
        server = await self._servers.connect(self._probes[name].address)
        try:
            yield server
        finally:
            server.cut("told")

    async def _ask_again(self) -> None:
        """Ask the servers anew, so that the next look sees what was just changed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await asyncio.gather(*(probe.ask() for probe in self._probes.values() if probe.seen is not None))

    def _tell_once(self, what: str) -> None:
        if what and what != self._last_told:
            self._told(f"set {self._servers.id}: {what}")
        self._last_told = what
