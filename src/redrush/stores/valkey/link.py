"""One connection to a Valkey server: commands in, replies in the same order, no task and no lock per call.

A protocol on hiredis' reader and packer, because the claim path wants three things that a general client hides: several
commands in one write (a call and its WAIT), a lost connection as an event rather than as the next call's surprise, and
a bound on every wait that costs nothing while all goes well (one timer per link, not one per call).

Rejected: redis-py's asyncio `Connection`. Its reads belong to one caller at a time, so pipelining needs a reader task
and a lock around it, and each reply passes through a time-out context.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Self, cast

import hiredis
import msgspec

from redrush.core.sets.absence import Absence
from redrush.core.sets.address import Address
from redrush.ports.store import StoreUnavailable

CONNECT_S: Final = 1.0
"""Until a connection stands and has answered its greeting. A stopped server accepts connections, but never greets."""

REPLY_S: Final = 2.5
"""Until a reply must have come: more than a WAIT takes at most, and than a disk that stalls for a moment."""

_NO_REPLY: Final = object()


class Access(msgspec.Struct, frozen=True):
    """How to be let in: without a user as the server's default one; without TLS in the clear."""

    user: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Access(user={self.user!r}, tls={self.tls is not None})"  # never the password


class ReplyFault(Exception):
    """An error reply, a value like other replies: returned, not raised. `code` is its first word, `detail` the rest."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code, _, self.detail = text.partition(" ")


Reply = Any  # bytes, int, None, ReplyFault, lists and dicts of these: what the command is known to answer

Command = tuple[str | bytes | int, ...]


def pack(command: Command) -> bytes:
    """Return the command as the server reads it."""
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub says: a tuple of one
    return packed


def _nobody_waits() -> None:
    """Nobody wants to hear of the replies but who gets them."""


Share = tuple[asyncio.Future[list[Reply]], int]
"""Who waits for replies, and for how many of those that are not common to all."""


class _Call:
    __slots__ = ("deadline_s", "done", "part", "replies", "shares", "wanted")

    def __init__(self, shares: Sequence[Share], common: int, deadline_s: float, done: Callable[[], None]) -> None:
        self.shares = shares
        self.part = sum(count for _, count in shares)
        self.wanted = self.part + common
        self.replies: list[Reply] = []
        self.deadline_s = deadline_s
        self.done = done

    def hand_over(self) -> None:
        common, start = self.replies[self.part :], 0
        for future, count in self.shares:
            if not future.done():
                future.set_result(self.replies[start : start + count] + common)
            start += count

    def fail(self, why: str) -> None:
        for future, _ in self.shares:
            if not future.done():
                future.set_exception(StoreUnavailable(why))


class Link(asyncio.Protocol):
    """See the module. Made by `connect`; `lost` is None while it stands, and then says why it does not."""

    def __init__(self, address: Address, on_push: Callable[[list[Reply]], None] | None = None) -> None:
        self.address = address
        self.lost: str | None = None
        self.in_cluster = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_push = on_push
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(replyError=ReplyFault, notEnoughData=_NO_REPLY)
        self._calls: deque[_Call] = deque()
        self._late: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(
        cls, address: Address, access: Access, on_push: Callable[[list[Reply]], None] | None = None
    ) -> tuple[Self, dict[bytes, Reply]]:
        """Return a link and what the server said of itself. Raises StoreUnavailable within CONNECT_S."""
        link = cls(address, on_push)
        try:
            async with asyncio.timeout(CONNECT_S):
                await link._loop.create_connection(lambda: link, address.host, address.port, ssl=access.tls)
                greeting: Command = ("HELLO", "3")
                if access.password is not None:
                    greeting += ("AUTH", access.user or "default", access.password)
                (reply,) = await link.call(pack(greeting))
        except TimeoutError:
            link.cut(f"no answer within {CONNECT_S:g} s")
            raise StoreUnavailable(f"{address}: no answer within {CONNECT_S:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise StoreUnavailable(f"{address}: its certificate is not trusted: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise StoreUnavailable(f"{address}: no TLS connection: {error.reason or error}") from error
        except OSError as error:
            raise StoreUnavailable(f"{address}: {error.strerror or error}") from error
        except BaseException:
            link.cut("the attempt to connect was given up")
            raise
        if isinstance(reply, ReplyFault):
            link.cut("refused")
            reason = Absence.LOADING if reply.code == "LOADING" else Absence.DENIED
            raise StoreUnavailable(f"{address}: refused the connection: {reply}", reason)
        link.in_cluster = reply.get(b"mode") == b"cluster"
        return link, reply

    def call(self, packed: bytes, replies: int = 1) -> asyncio.Future[list[Reply]]:
        """Send packed commands; return a future of their replies, error replies included.

        The future fails with StoreUnavailable when the link is lost, or was before, and after REPLY_S without answer,
        which ends the link: what comes later would answer the wrong call. Cancelling it leaves other calls alone.
        """
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        self.call_together(packed, ((future, replies),))
        return future

    def call_together(
        self, packed: bytes, shares: Sequence[Share], common: int = 0, done: Callable[[], None] = _nobody_waits
    ) -> None:
        """Send packed commands of several calls: each future gets its share of the replies, in this order, and then
        the last `common` ones, which are everybody's. They fail as in `call`.

        `done` is called once, before any of the futures has its replies: when all are there, or when it is known that
        they never come.
        """
        call = _Call(shares, common, self._loop.time() + REPLY_S, done)
        if self._transport is None or self.lost is not None:
            call.fail(f"{self.address}: {self.lost}")
            done()
            return
        self._calls.append(call)
        if self._late is None:
            self._late = self._loop.call_later(REPLY_S, self._check_late)
        self._transport.write(packed)

    def cut(self, why: str) -> None:
        """End the link at once; calls under way fail. Does nothing the second time."""
        if self.lost is None:
            self._lose(why)
            if self._transport is not None:
                self._transport.abort()

    async def close(self) -> None:
        """End the link and return when its socket is closed."""
        self.cut("closed")
        if self._transport is not None:
            await self.ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one in all but its base class.
        self._transport = cast(asyncio.Transport, transport)
        if self.lost is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._lose(f"the connection was lost: {error}" if error else "the server closed the connection")
        if not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _NO_REPLY:
                self._take(reply)
        except hiredis.HiredisError as error:
            self.cut(f"what it says is no reply: {error}")

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, hiredis.PushNotification):
            if self._on_push is not None:
                self._on_push(reply)
            return
        if not self._calls:
            self.cut("it answered what was not asked")
            return
        call = self._calls[0]
        call.replies.append(reply)
        if len(call.replies) == call.wanted:
            self._calls.popleft()
            call.done()
            call.hand_over()

    def _check_late(self) -> None:
        self._late = None
        if not self._calls:
            return
        wait_s = self._calls[0].deadline_s - self._loop.time()
        if wait_s <= 0:
            self.cut(f"no answer within {REPLY_S:g} s")
        else:
            self._late = self._loop.call_later(wait_s, self._check_late)

    def _lose(self, why: str) -> None:
        if self.lost is None:
            self.lost = why
        if self._late is not None:
            self._late.cancel()
            self._late = None
        calls, self._calls = self._calls, deque()
        for call in calls:
            call.done()
            call.fail(f"{self.address}: {self.lost}")
