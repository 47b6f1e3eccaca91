"""The load: a bounded number of connections that grab as fast as they are answered, and remember every word.

Own code over plain asyncio, not the crowd generator: what is used to audit must not share its mistakes. A connection
has one request under way; it asks again when the answer is complete. Only complete answers count as heard. When the
server dies, the kernel still delivers what it had accepted, so connections read on to their end.
"""

import asyncio
import json
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from tests.acceptance.crash.evidence import Acknowledged

CONNECTIONS: Final = 64
CONNECT_DEADLINE_S: Final = 10.0
ANSWERS_DEADLINE_S: Final = 30.0
"""A load lasts seconds; one that has not ended by then waits for an answer that does not come."""
REPEAT_SHARE: Final = 0.3
"""Part of the requests that are of users who asked before, in this life of the server or an earlier one."""
RECALLED_MAX: Final = 64
"""Acknowledged grants that are asked for again first thing after a restart."""
LOSERS: Final = frozenset({"missed", "empty", "not_open", "closed"})

Key = tuple[str, str]
"""Round and user."""


@dataclass
class Witness:
    """What the clients of one event were told, over all lives of its server, and what was wrong with it."""

    acknowledged: dict[Key, Acknowledged] = field(default_factory=dict)
    new: set[Key] = field(default_factory=set)
    """Those who were told that their grant is no repeat; an answer may also be lost, or be overtaken by a repeat's."""
    asked: list[Key] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def hear(self, key: Key, before: Acknowledged | None, status: int, head: str, body: bytes) -> None:
        """Take down a complete answer. `before`: what was acknowledged to this user when the request was sent."""
        if status == 503:
            self._hear_refusal(head, body)
            return
        if status != 200:
            self.problems.append(f"{key}: status {status}: {body!r}")
            return
        answer = json.loads(body)
        self.answers[answer["outcome"]] += 1
        if answer["outcome"] == "granted":
            self._hear_grant(key, answer)
        elif answer["outcome"] not in LOSERS:
            self.problems.append(f"{key}: unknown outcome {answer}")
        elif before is not None:
            self.problems.append(f"{key}: had {before}, is now told {answer['outcome']}")

    def _hear_grant(self, key: Key, answer: dict[str, Any]) -> None:
        told = Acknowledged(user=key[1], **answer["grant"])
        first = self.acknowledged.setdefault(key, told)
        if told.round != key[0] or first != told:
            self.problems.append(f"{key}: was told {first}, then {told}")
        if not answer["repeat"]:
            if key in self.new:
                self.problems.append(f"{key}: is told for the second time that the grant is no repeat")
            self.new.add(key)

    def _hear_refusal(self, head: str, body: bytes) -> None:
        self.answers["503"] += 1
        if "content-type: application/problem+json" not in head or "retry-after:" not in head:
            self.problems.append(f"a refusal without Retry-After or problem+json: {head}")
        if json.loads(body)["status"] != 503:
            self.problems.append(f"a refusal that states another status: {body!r}")


class Load:
    """One life of the server under load. `sign` makes a ticket; `pause_max_s` is drawn up to before each request."""

    def __init__(
        self,
        rng: random.Random,
        witness: Witness,
        rounds: Sequence[str],
        sign: Callable[[str], str],
        *,
        pause_max_s: float = 0.0,
    ) -> None:
        self.rng = rng
        self.witness = witness
        self.pause_max_s = pause_max_s
        self.answered = 0
        self._rounds = rounds
        self._sign = sign
        self._quiet = False
        known = list(witness.acknowledged)
        self._recalled = deque(rng.sample(known, min(RECALLED_MAX, len(known))))
        self._asking: set[Asker] = set()
        self._ended = asyncio.Event()

    async def run(self, port: int) -> None:
        """Ask until the server goes away, or until `hush` and every answer is there; return when all is read."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_DEADLINE_S):
            connecting = [loop.create_connection(lambda: Asker(self), "127.0.0.1", port) for _ in range(CONNECTIONS)]
            await asyncio.gather(*connecting, return_exceptions=True)  # the server may die meanwhile
        try:
            async with asyncio.timeout(ANSWERS_DEADLINE_S):
                if self._asking:
                    await self._ended.wait()
        except TimeoutError:
            self.witness.problems.append(f"{len(self._asking)} requests were not answered in {ANSWERS_DEADLINE_S:g} s")

    def hush(self) -> None:
        """Ask nothing more, and close each connection once it has its answer."""
        self._quiet = True
        for asker in tuple(self._asking):
            asker.finish()

    def joined(self, asker: "Asker") -> None:
        self._asking.add(asker)

    def left(self, asker: "Asker") -> None:
        self._asking.discard(asker)
        if not self._asking:
            self._ended.set()

    def next_request(self) -> tuple[Key, bytes] | None:
        """Return whom to ask for next, and the request; None when nothing is to be asked."""
        if self._quiet:
            return None
        key = self._pick()
        head = f"POST /v1/rounds/{key[0]}/grab HTTP/1.1\r\nHost: redrush\r\nAuthorization: Bearer {self._sign(key[1])}"
        return key, f"{head}\r\nContent-Length: 0\r\n\r\n".encode("ascii")

    def _pick(self) -> Key:
        if self._recalled:
            return self._recalled.popleft()
        asked = self.witness.asked
        if asked and self.rng.random() < REPEAT_SHARE:
            return self.rng.choice(asked)
        key = self.rng.choice(self._rounds), f"u{self.rng.randrange(10**9)}"
        asked.append(key)
        return key


class Asker(asyncio.Protocol):
    """One connection."""

    _transport: asyncio.Transport

    def __init__(self, load: Load) -> None:
        self._load = load
        self._received = b""
        self._key: Key | None = None
        self._before: Acknowledged | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._load.joined(self)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._load.left(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.decode("ascii").lower()
        size = int(lines.partition("\r\ncontent-length: ")[2].partition("\r\n")[0])
        if len(rest) < size:
            return
        key, self._key = self._key, None
        if key is None or len(rest) > size:
            self._load.witness.problems.append(f"more was sent than was asked for: {self._received!r}")
            self._transport.abort()
            return
        self._received = b""
        self._load.answered += 1
        self._load.witness.hear(key, self._before, int(lines.split(" ", 2)[1]), lines, rest)
        self._pause()

    def finish(self) -> None:
        """Close as soon as no answer is awaited."""
        if self._key is None:
            self._transport.close()

    def _pause(self) -> None:
        pause_max_s = self._load.pause_max_s
        if not pause_max_s:
            self._ask()
        else:
            pause_s = self._load.rng.random() * pause_max_s
            self._timer = asyncio.get_running_loop().call_later(pause_s, self._ask)

    def _ask(self) -> None:
        chosen = self._load.next_request()
        if chosen is None or self._transport.is_closing():
            self.finish()
            return
        self._key, request = chosen
        self._before = self._load.witness.acknowledged.get(self._key)
        self._transport.write(request)
