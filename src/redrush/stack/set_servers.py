"""The servers of one set, as children: which of them starts as what.

A server does not start as primary beside another. Before each start its peers are asked: if one is a primary, the
server starts as its replica. Otherwise it starts *quiet*: as a replica of nobody, which keeps what it has and takes no
writes. A primary that was started anew is quiet too: its file may have been cut meanwhile, and its replica would copy
the loss.

Quiet servers are decided about by one who knows all of them. While the stack runs that is the warden of the control
role. When the stack starts, nobody writes yet, and `begin` does it: it waits for every server of the set and makes the
one with the highest (epoch, seq) the primary. What any of them acknowledged is there: a later epoch has all that
earlier ones acknowledged, and within one epoch who has more records has all of the other's that were acknowledged.
It must be so for every campaign that has a part of the set, for a replica drops what it has of all of them. With a
server missing, or with none that has most of each part, it would have to guess, so it does not begin. What it has
chosen is compared with what the records and the warden's notes know of the set: a set that lacks something of that is
*withheld*, and the stack goes on without.
"""

import asyncio
import signal
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from redrush.config.deployment_file import Duty
from redrush.control.comparing import Comparing, Lacking, nothing_heard
from redrush.control.mending_orders import MendingOrders, named_by
from redrush.control.warden_notes import WardenNotes
from redrush.core.sets.address import Address
from redrush.core.sets.failover import Noted, Terms
from redrush.errors import RedrushError
from redrush.ports.store import Known, StoreUnavailable
from redrush.processes.child import ChildSpec
from redrush.processes.loopback import HOST
from redrush.processes.lowered import unprivileged_user
from redrush.processes.valkey_server import Guard, Program, ValkeyServer
from redrush.records.postgres import PostgresRecords
from redrush.stack.ends import note_end
from redrush.stack.options import SetPlan
from redrush.stack.server_users import ServerUsers
from redrush.stack.stack_dir import StackDir
from redrush.stores.valkey.establishing import establish_set
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link, Reply, ReplyFault, pack
from redrush.stores.valkey.proof import prove, read_held
from redrush.stores.valkey.set_servers import ValkeySetServers
from redrush.stores.valkey.terms import fence

STORE: Final = "store"
REPLICA: Final = "replica"

NOBODY: Final = Address(HOST, 1)
"""Whom a quiet server follows: a port that nothing may listen on."""

STOP_MAX_S: Final = 15.0
BEGIN_MAX_S: Final = 60.0
"""Longest wait until every server answers, and then until a replica follows the primary that was chosen."""
POLL_S: Final = 0.05

NAMES: Final = "abcdefghijklmnop"
"""Of the servers of a set; which of them is the primary changes."""


class SetWithheld(RedrushError):
    """The set's servers lack what is known of it, or cannot be compared: it stays quiet until an operator decides."""


class Standing(msgspec.Struct, frozen=True):
    """A server's answer about itself. `follows` is None for a primary; epoch and seq are 0 where there is no set."""

    follows: Address | None
    in_sync: bool
    epoch: int
    seq: int
    beside: tuple[tuple[int, int], ...] = ()
    """Epoch and seq of each part that other campaigns have of the set."""

    def has_most(self, among: "Sequence[Standing]") -> bool:
        """Return whether none of these has more of any part."""
        return all(
            (self.epoch, self.seq) >= (other.epoch, other.seq)
            and all(mine >= its for mine, its in zip(self.beside, other.beside, strict=True))
            for other in among
        )


class StackSet:
    """See the module."""

    def __init__(
        self,
        plan: SetPlan,
        stack: StackDir,
        campaign_id: str,
        program: Program,
        users: ServerUsers,
        records_dsn: str | None = None,
        beside: Sequence[SetKeys] = (),
    ) -> None:
        """`records_dsn` is where its records are, if it has any: they know what a founded set must have. `beside` are
        the parts that other campaigns have of it."""
        self.id = plan.id
        self._records_dsn = records_dsn
        self.withheld: str | None = None
        """Why it was not begun, if it was withheld."""
        self._was_founded = self.id in stack.read_founded()
        self._stack = stack
        self._campaign_id = campaign_id
        self._keys = SetKeys(campaign_id, plan.id)
        self._beside = tuple(beside)
        self._access = users.access(Duty.WARDEN)
        self._addresses = tuple(Address(HOST, port) for port in plan.ports)
        self._servers = [
            ValkeyServer(
                stack.server(plan.id, name),
                port=port,
                program=program,
                settings=("--logfile", ""),
                guard=Guard(users.lines(), self._access, unprivileged_user()),
            )
            for name, port in zip(NAMES, plan.ports, strict=False)
        ]

    def children(self) -> list[ChildSpec]:
        """Return a child for each server; at first all but the first are called replicas."""
        return [self._child(index) for index in range(len(self._servers))]

    async def roles(self) -> list[str | None]:
        """Return the role of each server now, None where it does not say."""
        standings = await self._standings()
        return [None if found is None else REPLICA if found.follows else STORE for found in standings]

    async def begin(self) -> None:
        """Make one server the primary and the others follow it. All must run, and no role of the event yet.

        Founds the set if it never was. A server that does not answer is waited for, up to BEGIN_MAX_S. Raises
        RedrushError if a set that was founded is on none of the servers.
        """
        until_s = asyncio.get_running_loop().time() + BEGIN_MAX_S
        while True:
            try:
                await self._begin()
            except StoreUnavailable:
                if asyncio.get_running_loop().time() >= until_s:
                    raise
                await asyncio.sleep(POLL_S)
            else:
                return

    async def note_end(self) -> None:
        """Note where the log ends, now that nobody is left who could add to it."""
        await note_end(self.id, self._addresses, self._keys, self._access, self._stack.control)

    async def _begin(self) -> None:
        """Try it once. Nobody writes yet, so what an earlier try has done may be done again, or be done otherwise."""
        standings = await self._standings()
        missing = [str(address) for address, found in zip(self._addresses, standings, strict=True) if found is None]
        if missing:
            names = ", ".join(missing)
            raise StoreUnavailable(f"set {self.id}: {names} does not answer, so its primary cannot be chosen")
        known = [found for found in standings if found is not None]
        newest = max(
            range(len(known)),
            key=lambda index: (known[index].has_most(known), known[index].epoch, known[index].seq),
        )
        if not known[newest].has_most(known):
            await self._withhold(newest, known[newest].epoch)
            orders = MendingOrders(self.id, named_by(self._stack.root.absolute()))
            raise SetWithheld(
                f"set {self.id}: no server has most of what every campaign was granted there; "
                f"{orders.promote(self._addresses[newest], yes=False)} goes on with that one for all"
            )
        if (why := await self._lacking(newest, known[newest])) is not None:
            await self._withhold(newest, known[newest].epoch)
            raise SetWithheld(f"set {self.id}: {why}")
        founded = known[newest].epoch > 0
        await self._command(newest, "REPLICAOF", "NO", "ONE")
        for index in range(len(known)):
            if index != newest:
                await self._follow(index, self._addresses[newest])
        epoch, replicas_needed = known[newest].epoch, min(1, len(self._servers) - 1)
        if founded and self.id not in self._stack.read_founded():
            self._stack.add_founded(self.id)
        if not founded:
            epoch = (
                await establish_set(self._addresses, self._campaign_id, self.id, replicas_needed, self._access)
            ).epoch
            self._stack.add_founded(self.id)
        await self._rename(self._addresses[newest], Terms(epoch + 1, replicas_needed))

    async def _lacking(self, index: int, standing: Standing) -> str | None:
        """Return what the server with the newest data lacks of what is known of the set; None: nothing. Nobody has
        anything of a set that was never founded."""
        records = None if self._records_dsn is None else PostgresRecords(self._records_dsn, self.id)

        async def recorded_by(records: PostgresRecords) -> Known | None:
            return await asyncio.to_thread(records.known)

        ask = None if records is None else partial(recorded_by, records)
        notes = WardenNotes.open_path(self._stack.control, self.id)
        orders = MendingOrders(self.id, named_by(self._stack.root.absolute()))
        try:
            address = self._addresses[index]
            servers = ValkeySetServers(self.id, self._addresses, self._keys, self._access)
            server = await servers.connect(address)
            try:
                if standing.epoch:
                    comparing = Comparing(orders, notes, ask, nothing_heard)
                    await comparing.check(server, await server.held())
                    return None
            finally:
                server.cut("compared")
            recorded = None if ask is None else await ask()
            if self._was_founded or notes.noted.epoch or notes.witnessed or (recorded is not None and recorded.seq):
                return (
                    f"its servers have lost their data; {orders.rebuild(address)} makes it again from the records, "
                    f"{orders.afterwards}"
                )
        except Lacking as fault:
            return str(fault)
        finally:
            notes.close()
            if records is not None:
                records.close()
        return None

    async def _withhold(self, index: int, epoch: int) -> None:
        """Leave every server as nobody's replica, and note this one as the primary that was: the warden compares it
        anew, until an operator has decided."""
        for other in range(len(self._addresses)):
            await self._command(other, "REPLICAOF", NOBODY.host, str(NOBODY.port))
        notes = WardenNotes.open_path(self._stack.control, self.id)
        try:
            notes.note(Noted(max(notes.noted.epoch, epoch), str(self._addresses[index])))
        finally:
            notes.close()

    async def _rename(self, primary: Address, terms: Terms) -> None:
        """Put the set under new terms: the servers may listen elsewhere than last time, so what the terms and the
        warden's note say of the primary names nobody any more."""
        notes = WardenNotes.open_path(self._stack.control, self.id)
        try:
            notes.note(Noted(terms.epoch, str(primary)))
            notes.forget_ended()
        finally:
            notes.close()
        link, _ = await Link.connect(primary, self._access)
        try:
            await fence(link, self._keys, terms, named=True)
            await prove(link, self._keys, await read_held(link, self._keys))
        finally:
            await link.close()

    def _child(self, index: int) -> ChildSpec:
        address = self._addresses[index]

        async def why_not() -> str | None:
            return "does not answer, or reads its file" if await self._standing(address) is None else None

        return ChildSpec(
            name=f"{self.id}-{NAMES[index]}",
            role=STORE if index == 0 else REPLICA,
            set_id=self.id,
            is_server=True,
            address=str(address),
            command=lambda: self._start_command(index),
            lacking=why_not,
            stop_signal=signal.SIGTERM,
            stop_max_s=STOP_MAX_S,
        )

    async def _start_command(self, index: int) -> Sequence[str]:
        server = self._servers[index]
        await asyncio.to_thread(server.prepare)
        server.replica_of = await self._to_follow(index)
        return server.command()

    async def _to_follow(self, index: int) -> Address | None:
        """Return whom the server starts as a replica of, None if it is the primary."""
        if len(self._servers) == 1:
            return None
        mine = self._addresses[index]
        for address, found in zip(self._addresses, await self._standings(but=mine), strict=True):
            if found is not None and found.follows is None and found.epoch:
                return address
        return NOBODY

    async def _follow(self, index: int, primary: Address) -> None:
        """Make the server follow the primary; return when it is in sync. Raises StoreUnavailable if one of the two was
        started anew meanwhile, and so has forgotten what it was told."""
        replica = self._addresses[index]
        await self._command(index, "REPLICAOF", primary.host, str(primary.port))
        try:
            async with asyncio.timeout(BEGIN_MAX_S):
                while True:
                    found, above = await asyncio.gather(self._standing(replica), self._standing(primary))
                    if (found is not None and found.follows != primary) or (above is not None and above.follows):
                        raise StoreUnavailable(f"set {self.id}: {replica} or {primary} was started anew")
                    if found is not None and found.in_sync:
                        return
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise RedrushError(f"set {self.id}: {replica} does not follow {primary} after {BEGIN_MAX_S:g} s") from None

    async def _standings(self, but: Address | None = None) -> list[Standing | None]:
        """Return what each server says, None where it says nothing (or is `but`, which is not asked)."""

        async def ask(address: Address) -> Standing | None:
            return None if address == but else await self._standing(address)

        return list(await asyncio.gather(*map(ask, self._addresses)))

    async def _standing(self, address: Address) -> Standing | None:
        try:
            link, _ = await Link.connect(address, self._access)
            try:
                questions = [("HMGET", keys.meta, "epoch", "seq", "detached") for keys in (self._keys, *self._beside)]
                replies = await link.call(pack(("ROLE",)) + b"".join(map(pack, questions)), len(questions) + 1)
            finally:
                await link.close()
        except StoreUnavailable:
            return None
        if any(isinstance(reply, ReplyFault) for reply in replies):
            return None  # it still reads its file
        role, *held = replies
        return _standing(role, *map(_newest, held))

    async def _command(self, index: int, *command: str) -> None:
        link, _ = await Link.connect(self._addresses[index], self._access)
        try:
            (reply,) = await link.call(pack(command))
        finally:
            await link.close()
        if isinstance(reply, ReplyFault):
            raise RedrushError(f"set {self.id}: {self._addresses[index]} refused {' '.join(command)}: {reply}")


def _newest(held: Reply) -> tuple[int, int]:
    """Return epoch and seq of a part."""
    epoch, seq = (0 if value is None else int(value) for value in held[:2])
    if held[2] is not None:
        # Cut off in the middle of a promotion. What was written to it since was not acknowledged; it counts with what
        # it had before.
        detached_epoch, detached_seq = map(int, held[2].split())
        seq = min(seq, detached_seq) if detached_epoch == epoch else seq
    return epoch, seq


def _standing(role: Reply, first: tuple[int, int], *beside: tuple[int, int]) -> Standing:
    if role[0] == b"master":
        return Standing(None, True, *first, beside)
    return Standing(Address(role[1].decode(), int(role[2])), role[3] == b"connected", *first, beside)
