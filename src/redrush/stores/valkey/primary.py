"""The link to a set's primary, kept: found again in the background whenever it is lost.

A call takes what is attached now or fails at once; nobody queues up behind a dead server. One task searches
(`search`) with a growing pause while nothing is attached, and while something is asks it every PING_S whether it still
is the primary under these terms, so that a server that stopped or was replaced is noticed before the next claim.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from redrush.core.sets.absence import Absence
from redrush.core.sets.address import Address
from redrush.errors import ConfigError
from redrush.ports.clock import HeardTimes, TimeHeard
from redrush.ports.set_servers import Held
from redrush.ports.store import FIRST_HISTORY, History, Known, StoreUnavailable
from redrush.resting import next_question_s
from redrush.stores.valkey.absences import absence_of
from redrush.stores.valkey.entries import chain_of
from redrush.stores.valkey.keys import Library, SetKeys
from redrush.stores.valkey.link import Access, Link, ReplyFault, pack
from redrush.stores.valkey.proof import lack, prove
from redrush.stores.valkey.search import ASK_SETTINGS, Search, Server, wrong_setting
from redrush.stores.valkey.terms import Terms, load, read_terms
from redrush.stores.valkey.turns import Turns, turns_at

PING_S: Final = 0.5
"""How often a quiet primary is asked whether it still is the one, and has the settings that durability rests on."""

PAUSE_MIN_S: Final = 0.02
PAUSE_MAX_S: Final = 0.5
"""Between two searches; doubled each time. A promoted replica is found at most this late."""

PAUSE_LONG_S: Final = 2.0
"""The same where nothing was found for so long that some of that is no delay to speak of (`next_question_s`)."""


ELSEWHERE: Final = frozenset(
    {"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "NOSET", "UNPROVEN", "LOADING", "MASTERDOWN"}
)
"""Codes of a server that is not, or not yet, the one to ask, and did nothing."""

Prover = Callable[[Link, SetKeys, Held], Awaitable[str | None]]
"""Compares what a server holds with what its owner knows of the set; returns what it lacks, None if it may be used."""


class Attached(msgspec.Struct, frozen=True, gc=False):
    """A primary and the terms under which it is spoken to."""

    link: Link
    terms: Terms
    turns: Turns
    history: History = FIRST_HISTORY


def _nothing_to_forget() -> None:
    """Nobody remembers anything of the set."""


class Primary:
    """See the module. `start` it once, or `start_later`; `attached` is free of waiting."""

    def __init__(
        self,
        addresses: Sequence[Address],
        keys: SetKeys,
        access: Access,
        library: Library,
        prover: Prover | None = None,
    ) -> None:
        """`prover` decides on servers that were started anew, where there is no warden to do it (a cluster)."""
        self._addresses = tuple(addresses)
        self._keys = keys
        self._access = access
        self._library = library
        self._attached: Attached | None = None
        self._why = StoreUnavailable("not connected yet")
        self._attached_s = 0.0
        """When it was attached to what is attached now, by the loop's clock."""
        self._epoch_known = 0
        self.history: History | None = None
        """The history of the set, as of the last primary that was attached."""
        self.forget: Callable[[], None] = _nothing_to_forget
        """Called when the set was found to have another history, before any call gets to see that."""
        self._changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed = False
        self._times = HeardTimes()
        self.acknowledged: tuple[int, bytes, int] | None = None
        """Seq of the last log record that this process was told durable, the log's end there (`chain_of`), and its
        generation."""
        self._prover = prover
        self._compared = ""
        self._keeper: asyncio.Task[None] | None = None

    async def start(self, within_s: float) -> None:
        """Attach to the primary and stay so. Raises StoreUnavailable with the reason if there is none in this time.

        Raises ServerMisconfigured if one of the servers is; later on such a server is only not attached to.
        """
        try:
            async with asyncio.timeout(within_s):
                pause_s = PAUSE_MIN_S
                while not await self._search():
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, PAUSE_MAX_S)
        except TimeoutError:
            raise self._unavailable() from None
        self.start_later()

    def start_later(self) -> None:
        """Attach to the primary as soon as there is one, and stay so."""
        self._keeper = asyncio.create_task(self._keep(), name=f"primary of {self._keys.name}")

    @property
    def known(self) -> Known | None:
        """How far this process knows the set's log, by what it was told durable."""
        if self.acknowledged is None:
            return None
        seq, log_end, generation = self.acknowledged
        return Known(generation, seq, *chain_of(log_end))

    @property
    def is_attached(self) -> bool:
        """Whether there is a primary now."""
        return self._attached is not None

    def attached(self) -> Attached:
        """Return the primary now. Raises StoreUnavailable at once if none is attached."""
        attached = self._attached
        if attached is None or attached.link.lost is not None:
            if attached is not None and attached.link.lost is not None:
                self.drop(attached, attached.link.lost)
            raise self._unavailable()
        return attached

    def attached_for_s(self) -> float:
        """Return how long the primary has been attached, under the terms of now. Raises StoreUnavailable if none is."""
        self.attached()
        return asyncio.get_running_loop().time() - self._attached_s

    async def other_than(self, old: Attached | None, until_s: float) -> None:
        """Wait until something else is attached, at most until this instant of the loop's clock."""
        while self._attached is old or self._attached is None:
            wait_s = until_s - asyncio.get_running_loop().time()
            if wait_s <= 0:
                return
            await asyncio.wait([self._changed], timeout=wait_s)

    def drop(self, attached: Attached | None, why: str, reason: Absence = Absence.AWAY) -> None:
        """Attach anew if this is still what is attached; calls under way on it fail."""
        if attached is None or attached is not self._attached:
            return
        self._why = StoreUnavailable(f"set {self._keys.name}: {attached.link.address}: {why}", reason)
        self._attached = None
        attached.link.cut(why)

    async def read_terms_again(self, old: Attached) -> None:
        """The server refused the terms of `old`: adopt newer ones, or leave a server that holds older ones."""
        held = await read_terms(old.link, self._keys)
        if self._attached is not old:
            return
        if isinstance(held, tuple) and held[0].epoch > old.terms.epoch:
            terms, history = held
            self._attach(Attached(old.link, terms, old.turns, history))
        else:
            self.drop(old, f"does not hold epoch {old.terms.epoch} any more")

    def time_heard(self) -> TimeHeard | None:
        """Return what the clock of the attached primary said last, None if it was not heard for long."""
        return self._times.newest(time.monotonic_ns())

    async def close(self) -> None:
        """End the task and the link."""
        self.closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        attached, self._attached = self._attached, None
        self._why = StoreUnavailable(f"set {self._keys.name}: closed")
        if attached is not None:
            await attached.link.close()

    def _unavailable(self) -> StoreUnavailable:
        return StoreUnavailable(str(self._why), self._why.reason)

    def _attach(self, attached: Attached) -> None:
        self._attached = attached
        self._attached_s = asyncio.get_running_loop().time()
        # A reply that has come under another history was taken up by its caller before the next reply, on which this
        # rests, was read: nobody remembers it from now on.
        if self.history is not None and self.history != attached.history:
            self.forget()
        self.history = attached.history
        self._epoch_known = max(self._epoch_known, attached.terms.epoch)
        changed, self._changed = self._changed, asyncio.get_running_loop().create_future()
        changed.set_result(None)

    async def _keep(self) -> None:
        now_s = asyncio.get_running_loop().time
        pause_s, since_s = PAUSE_MIN_S, now_s()
        while True:
            if self._attached is not None:
                await self._watch(self._attached)
                pause_s, since_s = PAUSE_MIN_S, now_s()
                continue
            with contextlib.suppress(ConfigError):  # its text is in _why already
                if await self._search():
                    continue
            await asyncio.sleep(pause_s)
            pause_s = next_question_s(now_s() - since_s, min(2 * pause_s, PAUSE_MAX_S), PAUSE_LONG_S)

    async def _watch(self, attached: Attached) -> None:
        """Return when the link is lost, dropped, or has been quiet for PING_S and answered."""
        await asyncio.wait([attached.link.ended], timeout=PING_S)  # a dropped link is a cut one
        try:
            await self._hear_time(attached.link)
            reply, config = await attached.link.call(
                pack(("FCALL", self._library.touch, 1, self._keys.meta, attached.terms.epoch, 0)) + ASK_SETTINGS, 2
            )
            if isinstance(reply, ReplyFault) and reply.code == "TERMS":
                await self.read_terms_again(attached)
            elif isinstance(reply, ReplyFault) and reply.code in ELSEWHERE:
                self.drop(attached, str(reply), absence_of(reply))
            elif (wrong := wrong_setting(config)) is not None:
                self.drop(attached, wrong, Absence.SETTINGS)
        except StoreUnavailable:
            self.drop(self._attached, attached.link.lost or "lost")

    async def _hear_time(self, link: Link) -> None:
        """Ask the server for its time. Raises StoreUnavailable."""
        sent_ns = time.monotonic_ns()
        (reply,) = await link.call(pack(("TIME",)))
        if not isinstance(reply, ReplyFault):
            seconds, us = map(int, reply)
            self._times.hear(seconds * 1_000_000 + us, sent_ns, time.monotonic_ns())

    async def _search(self) -> bool:
        """Return whether a primary was found; it is attached then. Raises ServerMisconfigured."""
        found = Search(self._keys, self._access)
        try:
            await found.run(self._addresses, self._epoch_known)
        except ConfigError as error:
            self._why = StoreUnavailable(f"set {self._keys.name}: {error}", Absence.SETTINGS)
            raise
        primaries = found.primaries(self._epoch_known)
        if not primaries:
            unproven = found.unproven(self._epoch_known)
            self._why = StoreUnavailable(found.why_not(), found.reason())
            try:
                if unproven is not None and self._prover is not None:
                    await self._prove(unproven, self._prover)  # the next search finds it
            except StoreUnavailable as error:
                self._why = error
            finally:
                found.close()
            return False
        terms, link = primaries[-1]
        found.close(but=link)
        held = found.held_at(link)
        self._times = HeardTimes()  # another server has another clock
        try:
            await load(link, self._keys, self._library)
            await self._compare(link, held)
            await self._hear_time(link)
        except StoreUnavailable as error:
            link.cut("not usable")
            self._why = error
            return False
        except BaseException:
            link.cut("not needed")
            raise
        self._attach(Attached(link, terms, turns_at(held.run_id, self._access.user), held.history))
        return True

    async def _compare(self, link: Link, held: Held) -> None:
        """See that a server process which was not used yet has all that this one was told durable; else let nobody use
        it. Raises StoreUnavailable."""
        known = self.known
        if known is not None and held.run_id != self._compared:
            missing = await lack(link, self._keys, held, known, "a gate")
            if missing is not None:
                await link.call(pack(("FCALL", self._library.doubt, 1, self._keys.meta)))
                why = f"set {self._keys.name}: {link.address}: its log {missing}; `redrush set list` says what to do"
                raise StoreUnavailable(why, Absence.UNPROVEN)
        self._compared = held.run_id

    async def _prove(self, server: Server, prover: Prover) -> None:
        missing = await prover(server.link, self._keys, server.held)
        if missing is not None:
            why = f"set {self._keys.name}: {server.link.address}: its log {missing}"
            self._why = StoreUnavailable(why, Absence.UNPROVEN)
        else:
            await prove(server.link, self._keys, server.held)
