"""The crowd of a run: every user claims until told something final, and every word is kept.

A connection has one request under way and belongs to whichever gate the kernel gave it to. Where it breaks, or nothing
comes in time, what became of the claim is unknown: the user asks again over another one, as people do.
"""

import asyncio
import json
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from tests.acceptance.crash.load import Key, Witness

CONNECTIONS: Final = 40
ANSWER_S: Final = 2.0
"""How long a user waits for an answer before hanging up."""
REPEAT_SHARE: Final = 0.15
"""Part of the requests that are of users who were granted something before, in this run or an earlier one."""
AGAIN_S: Final = 0.05
"""After a transient answer or a broken connection, before the next request of the connection."""
FINAL: Final = frozenset({"granted", "empty", "closed"})


@dataclass
class Tally:
    """What became of requests that were not answered with an outcome."""

    broken: Counter[str] = field(default_factory=Counter)
    emptied: Counter[str] = field(default_factory=Counter)
    """How many users were told that the round is sold out, by round."""


class Crowd:
    """See the module. `run` it as a task, `enough` ends it when everybody has a final answer."""

    def __init__(
        self, rng: random.Random, witness: Witness, tally: Tally, sign: Callable[[str], str], pause_max_s: float
    ) -> None:
        self._rng = rng
        self._witness = witness
        self._tally = tally
        self._sign = sign
        self._pause_max_s = pause_max_s
        self._waiting: deque[Key] = deque()
        self._unsettled: set[Key] = set()
        self._last: dict[Key, str] = {}
        self._known: list[Key] = list(witness.acknowledged)
        self._settled = asyncio.Event()
        self._ending = False
        self.is_closed_by_order: Callable[[], bool] = bool
        """Whether an operator has ended the event for a while: `closed` says nothing then, neither to winners."""

    @property
    def unsettled(self) -> dict[Key, str]:
        """Who still waits for a final answer, and what they were told last."""
        return {key: self._last.get(key, "not asked yet") for key in self._unsettled}

    def come(self, keys: Iterable[Key]) -> None:
        """Let these users claim."""
        new = list(keys)
        self._waiting.extend(new)
        self._unsettled.update(new)
        self._settled.clear()

    async def settled(self, deadline_s: float) -> bool:
        """Wait until everybody has a final answer; return whether that came in time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), deadline_s)
        return not self._unsettled

    def end(self) -> None:
        """Let `run` end after the requests under way."""
        self._ending = True

    async def run(self, port: int) -> None:
        """Ask until `end`."""
        async with asyncio.TaskGroup() as connections:
            for _ in range(CONNECTIONS):
                connections.create_task(self._connection(port))

    async def _connection(self, port: int) -> None:
        while not self._ending:
            writer = None
            try:
                async with asyncio.timeout(ANSWER_S):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                while not self._ending:
                    await self._ask(reader, writer)
            except (OSError, EOFError, TimeoutError) as fault:
                self._tally.broken[type(fault).__name__] += 1
                await asyncio.sleep(AGAIN_S)
            finally:
                if writer is not None:
                    writer.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        key = self._next()
        if key is None:
            await asyncio.sleep(AGAIN_S)
            return
        final = False
        try:
            final = await self._answer(key, reader, writer)
        except (OSError, EOFError, TimeoutError) as fault:
            self._last[key] = repr(fault)
            raise
        finally:
            if not final and key in self._unsettled:
                self._waiting.append(key)
        if not final:
            await asyncio.sleep(AGAIN_S)
        elif self._pause_max_s:
            await asyncio.sleep(self._rng.random() * self._pause_max_s)

    async def _answer(self, key: Key, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Ask once; return whether the answer was final."""
        before = self._witness.acknowledged.get(key)
        writer.write(
            f"POST /v1/rounds/{key[0]}/grab HTTP/1.1\r\nHost: redrush\r\nAuthorization: Bearer {self._sign(key[1])}\r\n"
            "Content-Length: 0\r\n\r\n".encode("ascii")
        )
        async with asyncio.timeout(ANSWER_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").lower()
            size = int(head.partition("\r\ncontent-length: ")[2].partition("\r\n")[0])
            body = await reader.readexactly(size)
        status = int(head.split(" ", 2)[1])
        outcome = json.loads(body)["outcome"] if status == 200 else ""
        # "Ask again" is no final word, so a gate that does not know of the grant yet may say it to its holder too.
        self._last[key] = f"{status} {body!r}"
        by_order = outcome == "closed" and self.is_closed_by_order()
        self._witness.hear(key, None if outcome == "missed" or by_order else before, status, head, body)
        if outcome in FINAL and not by_order:
            self._settle(key, outcome)
        return outcome in FINAL and not by_order

    def _settle(self, key: Key, outcome: str) -> None:
        if outcome == "granted":
            self._known.append(key)
        if key in self._unsettled:
            self._unsettled.discard(key)
            self._tally.emptied[key[0]] += outcome == "empty"
            if not self._unsettled:
                self._settled.set()

    def _next(self) -> Key | None:
        if self._known and self._rng.random() < REPEAT_SHARE:
            return self._rng.choice(self._known)
        return self._waiting.popleft() if self._waiting else None
