"""The courier of one notifier: takes messages from the book when it is time, sends, writes down what became of them.

    NEW ─taken─► SENDING ─accepted─► SENT
     ▲              ├─ certainly not told ─► NEW, later; after the last try, or where it never can be: FAILED
     │              └─ unknown ─► UNKNOWN, until a person decides (`redrush message retry`)
     └──────────────── unknown, and the receiver knows numbers: the same again

A message is SENDING in the book before anybody outside hears of it. So of those that were under way when a process was
killed nobody knows whether they arrived, and they are UNKNOWN from the next start on, or once another process takes its
turn: not told twice, as far as we can know. How many these are at most is how many are under way at once
(`Terms.at_once_max`).

A process that was only stopped for a while (SIGSTOP, a machine that sleeps) with a message in its hands may come back
to one that somebody else has seen to since. So what was not begun soon after it was taken (`OURS_S`) is looked up once
more, and is not sent where it is not as it was.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from redrush.core.load.breaker import Breaker, Rule, State
from redrush.core.load.pace import Pace
from redrush.core.nobody import ignore, never
from redrush.errors import RedrushError
from redrush.ports.message_book import OURS_S, Fate, KeptMessage, MessageBook, MessageState
from redrush.ports.notifier import Message, Notifier, Told
from redrush.ports.provider import Accepted, Rejected, Unknown
from redrush.settle.hiding import SECOND_US, Hidden, running_s

IDLE_S: Final = 0.5
"""How soon a message is noticed that another process has made, or whose time has come."""

RULE: Final = Rule(failures=3, window_s=60.0, pause_s=2.0, pause_max_s=120.0, trial_max_s=60.0)
"""Three in a row who did not take a message: they are left alone, and tried now and then."""

AGAIN_S: Final = (10, 60, 300, 1_800, 7_200, 21_600, 43_200, 86_400)
"""How long after a try the next one is made; after the last it has failed."""

FAULT_PAUSE_S: Final = 1.0
UNDER_WAY_PAGE: Final = 1_000

Compose = Callable[[KeptMessage], Message | Rejected]
"""Returns what is to be sent, or why it cannot be. May read files."""


class Courier:
    """See the module. `run` it as a task; `stop` ends it."""

    def __init__(  # noqa: PLR0913 - what it stands on, and what it gives way to
        self,
        name: str,
        book: MessageBook,
        notifier: Notifier,
        compose: Compose,
        now_us: Callable[[], int],
        *,
        busy: Callable[[], bool] = never,
        on_fault: Callable[[RedrushError], None] = ignore,
        running_s: Callable[[], float] = running_s,
    ) -> None:
        """`name` is the notifier's in the payments file; nothing is begun while it is `busy` at the gate beside it.
        `running_s` is a clock that is never set."""
        self.name = name
        self.notifier = notifier
        self.breaker = Breaker(RULE)
        self.sent = 0
        """Messages that were taken since it began."""
        self.dropped = 0
        """Those that it had in its hands for too long, and that are somebody else's."""
        self._book = book
        self._compose = compose
        self._now_us = now_us
        self._busy = busy
        self._on_fault = on_fault
        self._running_s = running_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"messages by {name}")
        self._under_way: set[asyncio.Task[None]] = set()
        self._known: list[Fate] = []
        self._wake = asyncio.Event()
        self._stopping = False
        self._turn = 0

    def wake(self) -> None:
        """There may be something to do now."""
        self._wake.set()

    def stop(self) -> None:
        """Begin nothing more; `run` returns when what is under way was written down."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Look after the notifier's messages until `stop`."""
        now_s = asyncio.get_running_loop().time
        terms = self.notifier.terms
        pace = Pace(terms.calls_per_s, now_s())
        while not (self._stopping and not self._under_way and not self._known):
            self._wake.clear()
            try:
                await self._write_down()
                ours = not self._stopping and await self._in_thread(self._is_our_turn)
                wait_s = await self._begin(pace) if ours and not self._busy() else IDLE_S
            except RedrushError as fault:
                self._on_fault(fault)
                if self._stopping:
                    break
                await asyncio.sleep(FAULT_PAUSE_S)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
        self._thread.shutdown(wait=False)

    def _is_our_turn(self) -> bool:
        """Whether this process sends now. Blocks."""
        turn = self._book.turn()
        if turn not in (0, self._turn):
            self._recall()
            self._turn = turn
        return turn != 0

    def _recall(self) -> None:
        """Say of what was under way when the process before was killed what is known of it."""
        while killed := self._book.under_way(self.name, UNDER_WAY_PAGE):
            self._book.change([
                self._doubtful(one, "the server was killed while it was being sent") for one in killed
            ])  # fmt: skip

    async def _begin(self, pace: Pace) -> float:
        """Send as many as there is room for; return how long there is nothing to do."""
        now_s = asyncio.get_running_loop().time()
        room = min(pace.room(now_s), self._room(now_s))
        if room < 1:
            return max(min(IDLE_S, pace.wait_s()), 0.005)
        ours = self._hidden()
        taken = await self._in_thread(self._book.take, self.name, self._now_us(), room)
        pace.take(len(taken))
        for one in taken:
            task = asyncio.create_task(self._see_to(one, ours))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return max(min(IDLE_S, pace.wait_s()), 0.005) if len(taken) == room else IDLE_S

    def _room(self, now_s: float) -> int:
        """Return how many more may be under way: one, to whoever was away. What is known and not written down counts,
        too: the next process would not know it."""
        at_once_max = self.notifier.terms.at_once_max
        if self.breaker.state is not State.UP:
            at_once_max = 0 if self.breaker.retry_in_s(now_s) else 1
        return max(0, at_once_max - len(self._under_way) - len(self._known))

    def _hidden(self) -> Hidden:
        """Return for how long what is asked of the book from now on holds."""
        return Hidden.for_s(OURS_S, self._now_us(), self._running_s())

    def _holds(self, ours: Hidden) -> bool:
        return ours.leaves(0.0, self._now_us(), self._running_s())

    async def _see_to(self, one: KeptMessage, ours: Hidden) -> None:
        now_s = asyncio.get_running_loop().time
        try:
            message = await self._composed(one)
            if isinstance(message, Rejected):
                self._known.append(self._after(one, message))
                return
            if not await self._may_send(one, ours):
                return
            began_s = now_s()
            permit = self.breaker.admit(began_s)
            if permit is None:
                self._known.append(self._put_back(one, self.breaker.retry_in_s(now_s())))
                return
            told = await self._send(message)
            if isinstance(told, Accepted) or (isinstance(told, Rejected) and told.final):
                self.breaker.succeeded(permit)
            else:
                self.breaker.failed(now_s(), permit, began_s=began_s)
            self.sent += isinstance(told, Accepted)
            self._known.append(self._after(one, told))
        finally:
            self._wake.set()

    async def _may_send(self, one: KeptMessage, ours: Hidden) -> bool:
        """Whether it is still ours to send, at this moment; where it may be later, that is known from now on."""
        if self._holds(ours):
            return True
        ours = self._hidden()
        try:
            still = await self._in_thread(self._book.is_ours, one)
        except RedrushError as fault:
            self._on_fault(fault)
            self._known.append(self._put_back(one, FAULT_PAUSE_S))
            return False
        if still and self._holds(ours):
            return True
        if still:
            self._known.append(self._put_back(one, 0.0))
        self.dropped += not still
        return False

    async def _composed(self, one: KeptMessage) -> Message | Rejected:
        try:
            composed: Message | Rejected = await self._in_thread(self._compose, one)
        except RedrushError as fault:
            return Rejected(str(fault), final=False)
        except Exception as fault:  # noqa: BLE001 - it reads files of others: whatever it is, this one is not told yet
            return Rejected(repr(fault), final=False)
        return composed

    async def _send(self, message: Message) -> Told:
        deadline_s = self.notifier.terms.deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                return await self.notifier.send(message)
        except TimeoutError:
            return Unknown(f"no answer within {deadline_s:g} s")
        except RedrushError as fault:
            return Unknown(str(fault))
        except Exception as fault:  # noqa: BLE001 - a notifier runs code of others: whatever it is, it may have arrived
            return Unknown(repr(fault))

    def _after(self, one: KeptMessage, told: Told) -> Fate:
        match told:
            case Accepted():
                return self._fate(one, MessageState.SENT)
            case Rejected(why, final, retry_after_s):
                return self._fate(one, MessageState.FAILED, why) if final else self._later(one, why, retry_after_s)
            case Unknown(why, retry_after_s):
                return self._doubtful(one, why, retry_after_s)

    def _doubtful(self, one: KeptMessage, why: str, retry_after_s: float | None = None) -> Fate:
        if self.notifier.repeats:
            return self._later(one, why, retry_after_s)
        return self._fate(one, MessageState.UNKNOWN, why)

    def _later(self, one: KeptMessage, why: str, retry_after_s: float | None = None) -> Fate:
        if one.tries >= len(AGAIN_S):
            return self._fate(one, MessageState.FAILED, why)
        return self._fate(one, MessageState.NEW, why, max(AGAIN_S[one.tries], retry_after_s or 0.0))

    def _put_back(self, one: KeptMessage, pause_s: float) -> Fate:
        """It was not even begun: that is no try."""
        return msgspec.structs.replace(self._fate(one, MessageState.NEW, one.why, pause_s), tries=one.tries)

    def _fate(self, one: KeptMessage, state: MessageState, why: str = "", again_s: float | None = None) -> Fate:
        now_us = self._now_us()
        next_us = None if again_s is None else now_us + int(again_s * SECOND_US)
        return Fate(
            id=one.id,
            version=one.version,
            state=state,
            tries=one.tries + 1,
            next_us=next_us,
            changed_us=now_us,
            why=why,
        )

    async def _write_down(self) -> None:
        fates = tuple(self._known)
        if fates:
            await self._in_thread(self._book.change, fates)
            del self._known[: len(fates)]

    async def _in_thread(self, call: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)
