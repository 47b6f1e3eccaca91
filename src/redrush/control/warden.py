"""The warden of a set: watches its servers, and keeps one of them primary under terms that fit what is there.

What to do is decided in `redrush.core.sets.failover`, anew at every look and one step at a time; here the servers are
asked and told. Each has a probe of its own (`server_probe`), which says when a server counts as dead.

Every step is noted before it is taken (`warden_notes`). There must be one warden of a set only: two that see different
halves of a torn network could each put another server under terms that need no replica. Where several campaigns have
parts on the same servers, the warden of each part asks the others first (`council`).

It is for sets of plain servers. A Valkey Cluster promotes by itself.
"""

import asyncio
import contextlib
from collections.abc import Callable

from redrush.control.comparing import (
    AllTold,
    Comparing,
    Heard,
    Lacking,
    Recorded,
    nobody_tells,
    nothing_heard,
)
from redrush.control.council import Council
from redrush.control.mending_orders import ELSEWHERE, MendingOrders
from redrush.control.patience import Patience
from redrush.control.server_probe import LOOK_S, Probe
from redrush.control.set_hands import Hands, Others
from redrush.control.set_state import SetState, is_bare, replica_state
from redrush.control.warden_notes import WardenNotes
from redrush.core.nobody import ignore
from redrush.core.sets.address import Address
from redrush.core.sets.consent import Stake
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
    in_step,
    in_words,
    next_epoch,
    next_step,
    primary_of,
    wanted_replicas,
)
from redrush.errors import RedrushError
from redrush.ports.clock import Clock
from redrush.ports.set_servers import SetServers
from redrush.ports.store import Known


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
        council: Council | None = None,
    ) -> None:
        """`recorded`, `heard` and `all_told` tell what is known of the log (`redrush.control.comparing`). `told` hears,
        in a sentence, of every step that is taken and of everything that fails. `council` is that of all campaigns on
        these servers; None: there is one."""
        self._servers = servers
        self._policy = policy
        self._notes = notes
        self._clock = clock
        self._told = told
        self._orders = MendingOrders(servers.id, event)
        self._comparing = Comparing(self._orders, notes, recorded, heard, all_told)
        self._lacking: str | None = None
        self._probes = {str(address): Probe(address, servers) for address in servers.addresses}
        self._last_told = ""
        self._short_since_s: float | None = None
        self._ample_since_s: float | None = None
        self.hands = Hands(servers, notes, self._comparing, others, told)
        self._council = Council() if council is None else council
        self._patience = Patience()
        self._state = SetState(servers.id, None, (), notes.noted.epoch, "none", clock.now_us(), "not looked at yet")

    @property
    def id(self) -> str:
        """The set, or the campaign's part of it."""
        return self._servers.id

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of all campaigns on the same servers, which an order about these is about too."""
        return self._council.parts

    @property
    def state(self) -> SetState:
        """The set as of the last look."""
        return self._state

    async def run(self) -> None:
        """Look, decide and act for ever."""
        self._council.join(self)
        probing = [asyncio.create_task(probe.run(), name=f"probe {name}") for name, probe in self._probes.items()]
        try:
            await asyncio.gather(*(probe.ask() for probe in self._probes.values()))
            while True:
                try:
                    await self._look()
                    await self._act()
                except OSError as fault:  # of the notes: without them nothing is done
                    self._tell_once(f"nothing can be noted: {fault}")
                await asyncio.sleep(LOOK_S)
        finally:
            self.leave()
            for task in probing:
                task.cancel()
            await asyncio.gather(*probing, return_exceptions=True)
            for probe in self._probes.values():
                probe.cut()

    async def force(self, address: Address) -> tuple[str, ...]:
        """Make this server the primary for every campaign, on its own disk, whatever it lacks: an operator's decision.

        Moves of slots that it lacks are entered by what the other sets say; returns those that could not be asked.
        Raises RedrushError if it holds no copy of the set, lacks what its moves rest on, or cannot be told; or if
        another campaign's part would be dropped by it.
        """
        async with self._council.deciding:
            await self._council.see_anew()
            seen = self._sight().seen.get(str(address))
            if seen is None or seen.terms is None:  # noted as the primary, it would keep those out that have a copy
                lack = "does not answer" if seen is None else "holds no copy of it"
                raise RedrushError(f"set {self.id}: {address} {lack}, and cannot be promoted")
            unasked = await self._council.force(self, str(address))
            # Seen as it was before, it would have become a replica of the old primary, and that the primary again.
            await self._council.ask_again()
            return unasked

    async def lower(self) -> None:
        """Let the primary go on with the replicas it has now, for every campaign that it is the primary of: an
        operator's decision. Raises RedrushError if it cannot be told so, or if there is no primary."""
        async with self._council.deciding:
            await self._council.see_anew()
            if primary_of(self._sight()) is None:
                raise RedrushError(f"set {self.id} has no primary that answers")
            for member in self._council.members():
                await member.lower_own()

    async def lower_own(self) -> None:
        """Lower the part's own terms to what is there, if it has a primary. For the council, which is deciding."""
        sight = self._sight()
        if (primary := primary_of(sight)) is None:
            return
        await self.hands.fence(Fence(primary, Terms(next_epoch(sight), wanted_replicas(sight, primary))))
        await self._probes[primary].ask()

    def leave(self) -> None:
        """Decide no more about the servers."""
        self._council.leave(self)

    def best_known(self) -> Known | None:
        """Return how far the set's log was, as far as is known without its servers."""
        return self._comparing.best_known()

    async def heard_out(self, *, write_off: bool = False) -> None:
        """Whoever may have been granted what the set lacks was heard; `write_off`: nobody is waited for any more. An
        operator's word. Raises RedrushError if there is no primary that answers."""
        async with self._council.deciding:
            await self._council.see_anew()
            primary = primary_of(self._sight())
            if primary is None:
                raise RedrushError(f"set {self.id} has no primary that answers: mend it first")
            async with self.hands.speaking_to(primary) as server:
                await server.heard_out(write_off=write_off)

    async def is_all_known(self) -> bool:
        """Return whether it is certain that nobody was told more than `best_known`."""
        return await self._comparing.is_all_known()

    async def expect_rebuilt(self, address: Address) -> int:
        """Take nobody for the primary any more but this server, which is to be rebuilt; return the epoch for it.

        An operator's decision, after which other copies that come back can only be promoted by force. Raises
        RedrushError if the set has a primary, or if that cannot be noted.
        """
        async with self._council.deciding:
            sight = self._sight()
            if (primary := primary_of(sight)) is not None and sight.seen[primary].is_proven:
                raise RedrushError(f"set {self.id} has a primary, {primary}: nothing is to be rebuilt")
            epoch = next_epoch(sight)
            try:
                self._notes.note(Noted(epoch, str(address)))
            except OSError as fault:
                raise RedrushError(f"set {self.id}: nothing can be noted: {fault}") from fault
            return epoch

    # -- looking

    def stake(self) -> Stake:
        """Return what the campaign has on the servers, as they were seen last."""
        sight = self._sight()
        return Stake(
            self.id,
            sight,
            {name: probe.held.seq for name, probe in self._probes.items() if name in sight.seen and probe.held},
            [name for name, probe in self._probes.items() if probe.was_bare],
        )

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

    async def _look(self) -> None:
        """Keep the state and the note of who is primary up to date."""
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

    def _show(self, sight: Sight, primary: str | None, terms: Terms | None) -> None:
        following = [] if primary is None else in_step(sight, primary)
        proven = primary is not None and sight.seen[primary].is_proven
        if terms is None or not proven or len(following) < terms.replicas_needed:
            durability = "none"
        else:
            durability = "replica" if terms.replicas_needed else "disk"
        why = self._lacking or self._waiting(self._next_step(), primary, sight)
        self._state = SetState(
            set=self.id,
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

    async def _act(self) -> None:
        step = self._next_step()
        if isinstance(step, Wait):
            self._tell_once(step.why or "")
            return
        holding = {name: probe.held for name, probe in self._probes.items()}
        if self._patience.is_too_soon((step, holding), asyncio.get_running_loop().time()):
            return
        if self._patience.is_first:
            self._tell_once(in_words(step))
        async with self._council.deciding:
            if not await self._is_still_next(step):
                return
            try:
                await self._take(step)
                self._patience.done()
            except Lacking as fault:
                self._lacking = str(fault)
                self._tell_once(self._lacking)
            except RedrushError as fault:
                self._tell_once(f"{in_words(step)}: failed, to be tried again: {fault}")
            await self._council.ask_again()

    def _next_step(self) -> Step:
        """Return what to do now, to which all agree who have a part on the servers."""
        return self._council.next_step(self)

    async def _is_still_next(self, step: Step) -> bool:
        """Return whether it is to be done also by what the servers say now, if others may have done something."""
        if len(self._council.parts) > 1 and not isinstance(step, Fence):
            await self._council.see_anew()
        if self._next_step() == step:
            return True
        self._patience.done()
        return False

    async def _take(self, step: Step) -> None:
        match step:
            case Fence():
                await self.hands.fence(step)
            case Follow():
                await self.hands.follow(step)
            case Prove():
                await self._prove(step)
            case Promote():
                if isinstance(lost := next_step(self._sight()), Prove):
                    more = f"{step.candidates[0]} has more of the log than {lost.address}, which was the primary"
                    self._told(f"set {self.id}: {more}")
                await self._council.promote(self, step)

    async def _prove(self, step: Prove) -> None:
        """Let the primary be used if it has all that is known. Raises Lacking."""
        seen = self._sight().seen
        terms = seen[step.address].terms
        copies = {
            name: probe.held.known
            for name, probe in self._probes.items()
            if name != step.address and probe.held is not None and name in seen and seen[name].terms == terms
        }
        await self.hands.prove(step.address, terms, copies)

    async def ask_again(self, wait_s: float | None = LOOK_S) -> None:
        """Ask the servers anew, so that the next look sees what was just changed. Wait for so long; None: until each
        has answered, or has been silent for too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await asyncio.gather(*(probe.ask() for probe in self._probes.values() if probe.seen is not None))

    def _tell_once(self, what: str) -> None:
        if what and what != self._last_told:
            self._told(f"set {self.id}: {what}")
        self._last_told = what
