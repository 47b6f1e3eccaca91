"""When claims go to a server, and with whom: those of all campaigns of this process together, in one write.

What a server does in a turn of its loop is one fsync, and what it answers leaves it behind that. So a call that comes
while another one is being made durable waits for that; and if a third one comes meanwhile its proof, which is given in
the turn behind, waits for the third one too. Campaigns that took their turns each by itself held each other back: where
an fsync took 40 ms, a flood on one of two made the p99 of claims on the other 2.6 times what it was.

So calls go in *parties*. Who comes while one is under way waits until all of it is answered. Then everybody who waits
goes at once, over the link of one of them: in one write, so in one turn of the server, with one fsync and one proof.
Who asks much has no more than one place in it, with a larger batch, and is answered last. Rejected: to let one go after
the other, where the last of ten campaigns waits for ten fsyncs; and a link for each in a party, whose writes came to
the server in two turns for one party of ten: the p99 was 1.5 times what it was.

The proof is part of the answer. A party that went before it was there saved no time, and cost some: on the disk alone
the proof comes 20 µs behind the reply, and a party that came in between, one time in six where gate and server shared a
core, made it wait for a second fsync. With replicas the server does nothing on a link that waits for one, so the party
lay there; then it was done in the turn that gave the proof, which so waited for its fsync each time.

A party is answered, or lost, as a whole. Whose link is lost by a fault of their own campaign takes the others of that
party along, whose fate is unknown then, as when the server goes: they ask again.
"""

import asyncio
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

from redrush.ports.store import StoreUnavailable
from redrush.stores.valkey.link import Link, Reply, pack
from redrush.stores.valkey.terms import FLUSH, WAIT_MS


class Proof(NamedTuple):
    """What is asked behind calls: the commands, and how many replies they have, of which the first are those of WAIT,
    where there is one, and of WAITAOF."""

    packed: bytes
    replies: int


def proof_of(link: Link, replicas_needed: int, nudge: bytes) -> Proof:
    """Return what proves calls on this link: see `redrush.stores.valkey.calls`."""
    if not replicas_needed:
        return Proof(FLUSH, 1)
    wait = pack(("WAIT", replicas_needed, WAIT_MS)) + FLUSH
    return Proof(wait, 2) if link.in_cluster else Proof(wait + nudge, 3)


class _Call(NamedTuple):
    link: Link
    packed: bytes
    replies: int
    replicas_needed: int
    nudge: bytes
    future: asyncio.Future[list[Reply]]


class Turns:
    """See the module: those at one server, of one event loop and one login."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._under_way = False
        self._party: list[_Call] = []
        self._expected = 0
        """How many come with the party that gathers: those who have waited for it."""
        self._waiting: list[asyncio.Future[None]] = []

    async def free(self) -> None:
        """Return when a call that is made in this turn of the loop goes at once."""
        while self._under_way:
            mine = self._loop.create_future()
            self._waiting.append(mine)
            await mine

    async def call(self, link: Link, packed: bytes, replies: int, replicas_needed: int, nudge: bytes) -> list[Reply]:
        """Send packed commands with the next party; return their replies and then those of its proof.

        `link` is the caller's own, to this server; that of anybody of the party may be used. Raises StoreUnavailable as
        `Link.call` does, and if the caller's own was lost while they waited."""
        await self.free()
        if link.lost is not None:
            raise StoreUnavailable(f"{link.address}: {link.lost}")
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        self._party.append(_Call(link, packed, replies, replicas_needed, nudge, future))
        if len(self._party) >= self._expected:
            self._go()
        elif len(self._party) == 1:
            self._loop.call_soon(self._go)  # one of those who have waited may have nothing to send any more
        return await future

    def _go(self) -> None:
        party, self._party = self._party, []
        if not party:
            return
        self._under_way = True
        party.sort(key=lambda one: len(one.packed))  # whose answers are few are not told behind those of a crowd
        link = next((one.link for one in party if one.link.lost is None), party[0].link)
        proof = proof_of(link, max(one.replicas_needed for one in party), party[0].nudge)
        packed = b"".join([one.packed for one in party]) + proof.packed
        shares = [(one.future, one.replies) for one in party]
        link.call_together(packed, shares, proof.replies, self._answered)

    def _answered(self) -> None:
        self._under_way = False
        waiting, self._waiting = [one for one in self._waiting if not one.done()], []
        self._expected = len(waiting)
        for one in waiting:
            one.set_result(None)


_AT: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[tuple[str, str], Turns]]] = (
    WeakKeyDictionary()
)


def turns_at(run_id: str, user: str | None) -> Turns:
    """Return the turns of this event loop at a server process for a login: the same ones for all campaigns. They are
    remembered for as long as somebody has them."""
    turns = _AT.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    return turns.setdefault((run_id, user or ""), Turns())
