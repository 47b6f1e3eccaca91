"""The crowd: sends each request at its intended time, whether or not answers come back, and times it from then.

Open loop. A request that finds no idle connection waits in a bounded queue while its latency already runs; one that
finds the queue full is counted `not_sent`. Nothing is skipped, delayed or merged in silence, so coordinated omission
cannot happen, and `late_s` in the observations says how much of a latency the generator itself caused.

One process on one core sends some tens of thousands of requests a second, because a request is three byte strings
joined (head of the round, ticket, tail), an answer is three searches, and a row is eight stores into memory that is
already there. There is no task, future or timer per request: one tick a millisecond sends what is due.

Rejected: httpx/aiohttp (2,000 to 5,000 requests/s, closed loop by nature); wrk2 (open loop, but cannot act on answers).
"""

import asyncio
import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

import msgspec

from redrush.drill.answers import (
    Answer,
    MalformedAnswer,
    check_refusal,
    ending_of,
    header_number,
    read_granted,
    read_opens_at,
)
from redrush.drill.behaviour import LAST_TRY, Behaviour, NextTry, People
from redrush.drill.connections import Connection, ConnectionPool
from redrush.drill.observations import Acknowledged, Ending, ObservationColumns, Observations
from redrush.drill.schedules import Schedule
from redrush.drill.witness import Witness
from redrush.errors import RedrushError

TIMER_EARLY_S = 0.001
"""A timer of uvloop fires up to a millisecond early: nobody who was told when to come should knock before."""

TICK_S = 0.001
"""The finest timer of libuv. A request is sent at most this late while the process keeps up."""
SWEEP_S = 0.1
"""How often answers that are overdue are looked for, and the progress is told."""
ANSWER_DEADLINE_S = 10.0
"""How long a person waits for an answer before the connection is dropped."""
WAITING_MAX = 1 << 18
"""Requests waiting for a connection: some ten seconds at the highest rate one process can send."""

RECENT_ANSWERS = 1024
"""Answers behind the quantiles in the progress: sorting them takes less than a tick."""

_Item = tuple[float, int, int, int]
"""(intended time in seconds of the performance counter, round index, user index, tries before)."""

_DENIALS = frozenset({Ending.MISSED, Ending.EMPTY, Ending.NOT_ELIGIBLE})


class CrowdFailed(RedrushError):
    """The crowd could not begin: nobody answers at the address."""


class Target(msgspec.Struct, frozen=True):
    """Where the requests go: an address and the ids of the rounds that a schedule's indices mean."""

    host: str
    port: int
    rounds: tuple[str, ...]


class CrowdPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a crowd does, fixed before it starts. `starts_us` is the schedule's zero, µs since the Unix epoch."""

    target: Target
    tickets: Sequence[tuple[str, str]]
    """(user, ticket); a schedule's user indices point into it."""
    schedule: Schedule
    starts_us: int
    behaviour: Behaviour = Behaviour()
    connections: int = 512
    waiting_max: int = WAITING_MAX
    answer_deadline_s: float = ANSWER_DEADLINE_S
    seed: int = 1


class CrowdProgress(msgspec.Struct, frozen=True):
    """The crowd so far. `endings` counts per round index and Ending; the quantiles are of the newest answers."""

    now_s: float
    sent: int
    waiting: int
    connections: int
    endings: tuple[tuple[int, ...], ...]
    grabs: tuple[int, ...]
    """Per round, answers that gave a packet for the first time."""
    p50_ms: float
    p99_ms: float


class CrowdResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. Every planned or repeated request is one row: rows = answered + errors + not_sent."""

    rounds: tuple[str, ...]
    observations: Observations
    acknowledged: list[Acknowledged]
    breaches: dict[str, int]
    """Answers that contradict an earlier promise to the same user (see `redrush.drill.witness`)."""
    connections: int
    reconnects: int
    given_up: int
    held_back: int
    """Requests that polite clients kept to themselves (the adaptive throttle); they are in no row."""
    starts_us: int


def request_heads(target: Target) -> list[bytes]:
    """Return, per round, a grab up to and including "Bearer ": a browser's request line and headers."""
    return [
        (
            f"POST /v1/rounds/{round_id}/grab HTTP/1.1\r\n"
            f"Host: {target.host}:{target.port}\r\n"
            "Connection: keep-alive\r\n"
            "Content-Length: 0\r\n"
            "User-Agent: Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/126.0.0.0 Mobile Safari/537.36\r\n"
            "Accept: application/json\r\n"
            "Accept-Encoding: gzip, deflate, br\r\n"
            "Accept-Language: zh-CN,zh;q=0.9,en;q=0.8\r\n"
            f"Origin: http://{target.host}:{target.port}\r\n"
            f"Referer: http://{target.host}:{target.port}/\r\n"
            "Sec-Fetch-Mode: cors\r\n"
            "Authorization: Bearer "
        ).encode()
        for round_id in target.rounds
    ]


REQUEST_TAIL = b"\r\nSec-Fetch-Site: same-origin\r\n\r\n"


class Crowd:
    """One run of a plan. `await Crowd(plan).run()` inside a uvloop (or asyncio) loop."""

    def __init__(self, plan: CrowdPlan, tell: Callable[[CrowdProgress], None] | None = None) -> None:
        self._plan = plan
        self._tell = tell
        self._heads = request_heads(plan.target)
        self._tickets = [ticket.encode("ascii") for _, ticket in plan.tickets]
        self._people = People(plan.behaviour, plan.seed)
        self._witness = Witness(plan.target.rounds, [user for user, _ in plan.tickets])
        self._rows = ObservationColumns(len(plan.schedule) * (plan.behaviour.tries_max + 1))
        self._endings = [[0] * len(Ending) for _ in plan.target.rounds]
        self._grabs = [0] * len(plan.target.rounds)
        self._recent_ms: deque[float] = deque(maxlen=RECENT_ANSWERS)
        self._pool = ConnectionPool(plan.target.host, plan.target.port, plan.connections, plan.seed)
        self._waiting: deque[_Item] = deque()
        self._follow_ups: list[_Item] = []
        self._next_planned = self._busy = self._sent = 0
        self._zero_s = 0.0
        self._done = asyncio.Event()

    async def run(self) -> CrowdResult:
        """Connect, play the schedule, and return when every request has ended.

        Raises CrowdFailed when no connection can be made at the start. Later losses are counted, never raised.
        """
        plan = self._plan
        await self._pool.open(self)
        if self._pool.dead:
            await self._pool.close()
            raise CrowdFailed(f"nobody answers at {plan.target.host}:{plan.target.port}: {self._pool.last_fault}")
        self._zero_s = time.perf_counter() + plan.starts_us / 1e6 - time.time()
        self._times = (plan.schedule.times_s + self._zero_s).tolist()
        self._users = plan.schedule.users.tolist()
        self._rounds = plan.schedule.rounds.tolist()
        loop = asyncio.get_running_loop()
        self._sweep(loop)
        self._tick(loop)
        await self._done.wait()
        await self._pool.close()
        return self._result()

    # Sending

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send everything due, then sleep until the next tick; set `_done` when nothing is left to come."""
        now_s = time.perf_counter()
        times, index = self._times, self._next_planned
        while index < len(times) and times[index] <= now_s:
            self._dispatch((times[index], self._rounds[index], self._users[index], 0))
            index += 1
        self._next_planned = index
        while self._follow_ups and self._follow_ups[0][0] <= now_s:
            item = heapq.heappop(self._follow_ups)
            held_back = self._people.sending(self._person(item[1], item[2]), now_s)
            if held_back is None:
                self._dispatch(item)
            else:
                heapq.heappush(self._follow_ups, (now_s + held_back.pause_s, *item[1:]))
        if index < len(times) or self._follow_ups or self._waiting or self._busy:
            loop.call_later(TICK_S, self._tick, loop)
        else:
            self._done.set()

    def _dispatch(self, item: _Item) -> None:
        idle = self._pool.idle
        while idle:
            connection = idle.popleft()
            if not connection.closed:
                self._send(connection, item, time.perf_counter())
                return
        if len(self._waiting) < self._plan.waiting_max and not self._pool.dead:
            self._waiting.append(item)
        else:
            self._record_unsent(item)

    def _send(self, connection: Connection, item: _Item, now_s: float) -> None:
        connection.intended_s, round_index, user, tries = item
        connection.round_index, connection.user, connection.tries = round_index, user, tries + 1
        self._witness.asked(round_index, user)
        self._busy += 1
        self._sent += 1
        connection.send(b"".join((self._heads[round_index], self._tickets[user], REQUEST_TAIL)), now_s)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Drop connections whose answer is overdue; empty the queue when no connection will ever come."""
        now_s = time.perf_counter()
        overdue_s = now_s - self._plan.answer_deadline_s
        for connection in tuple(self._pool.all):
            if connection.busy and connection.sent_s < overdue_s:
                connection.abort(Ending.TIMEOUT)
        if self._pool.dead:
            while self._waiting:
                self._record_unsent(self._waiting.popleft())
        if self._tell is not None:
            self._tell(self._progress(now_s))
        if not self._done.is_set():
            loop.call_later(SWEEP_S, self._sweep, loop)

    # What connections report

    def connected(self, connection: Connection) -> None:
        self._serve_next(connection, time.perf_counter())

    def answered(self, connection: Connection, answer: Answer, now_s: float) -> None:
        self._busy -= 1
        try:
            ending, repeat, next_try = self._judge(connection, answer, now_s)
        except MalformedAnswer:
            ending, repeat, next_try = Ending.MALFORMED, False, self._after_fault(connection, now_s)
        self._record(connection, ending, answer.status, repeat, now_s)
        self._plan_next(connection, next_try, now_s)
        if not connection.closed:
            self._serve_next(connection, now_s)

    def broke(self, connection: Connection, ending: Ending, now_s: float) -> None:
        self._busy -= 1
        self._record(connection, ending, 0, False, now_s)
        self._plan_next(connection, self._after_fault(connection, now_s), now_s)

    def lost(self, connection: Connection) -> None:
        self._pool.replace(self, connection)

    def _serve_next(self, connection: Connection, now_s: float) -> None:
        if self._waiting:
            self._send(connection, self._waiting.popleft(), now_s)
        else:
            self._pool.idle.append(connection)

    # What people make of it

    def _judge(self, connection: Connection, answer: Answer, now_s: float) -> tuple[Ending, bool, NextTry | None]:
        ending, tries = ending_of(answer.status, answer.body), connection.tries
        round_index, user = connection.round_index, connection.user
        person = self._person(round_index, user)
        if ending is Ending.GRANTED:
            body = read_granted(answer.body)
            self._witness.granted(round_index, user, body, now_s)
            self._grabs[round_index] += not body.repeat
            return ending, body.repeat, self._people.after_answer(person, ending, tries, now_s)
        if ending is Ending.NOT_OPEN:
            opens_in_s = read_opens_at(answer.body) - time.time() + TIMER_EARLY_S
            return ending, False, self._people.after_not_open(person, opens_in_s, tries, now_s)
        if ending is Ending.REFUSED:
            check_refusal(answer.status, answer.head, answer.body)
            retry_after_s = header_number(answer.head, b"retry-after")
            return ending, False, self._people.after_refusal(person, answer.status, retry_after_s, tries, now_s)
        if ending in _DENIALS:
            self._witness.denied(round_index, user, connection.sent_s)
        return ending, False, self._people.after_answer(person, ending, tries, now_s)

    def _after_fault(self, connection: Connection, now_s: float) -> NextTry | None:
        person = self._person(connection.round_index, connection.user)
        return self._people.after_fault(person, connection.tries, now_s)

    def _person(self, round_index: int, user: int) -> int:
        return round_index * len(self._tickets) + user

    def _plan_next(self, connection: Connection, next_try: NextTry | None, now_s: float) -> None:
        if next_try is not None:
            tries = LAST_TRY if next_try.last else connection.tries
            heapq.heappush(self._follow_ups, (now_s + next_try.pause_s, connection.round_index, connection.user, tries))

    # Keeping account

    def _record(self, connection: Connection, ending: Ending, status: int, repeat: bool, now_s: float) -> None:
        intended_s, round_index = connection.intended_s, connection.round_index
        latency_s = now_s - intended_s
        self._rows.add(
            intended_s - self._zero_s, latency_s, connection.sent_s - intended_s,
            status, ending, round_index, repeat, connection.user,
        )  # fmt: skip
        self._endings[round_index][ending] += 1
        self._recent_ms.append(latency_s * 1000)

    def _record_unsent(self, item: _Item) -> None:
        intended_s, round_index, user, _ = item
        waited_s = time.perf_counter() - intended_s
        self._rows.add(intended_s - self._zero_s, waited_s, waited_s, 0, Ending.NOT_SENT, round_index, False, user)
        self._endings[round_index][Ending.NOT_SENT] += 1

    def _progress(self, now_s: float) -> CrowdProgress:
        recent_ms = sorted(self._recent_ms) or [0.0]
        return CrowdProgress(
            now_s=now_s - self._zero_s,
            sent=self._sent,
            waiting=len(self._waiting),
            connections=len(self._pool.all),
            endings=tuple(tuple(counts) for counts in self._endings),
            grabs=tuple(self._grabs),
            p50_ms=recent_ms[len(recent_ms) // 2],
            p99_ms=recent_ms[len(recent_ms) * 99 // 100],
        )

    def _result(self) -> CrowdResult:
        return CrowdResult(
            rounds=self._plan.target.rounds,
            observations=self._rows.finish(),
            acknowledged=self._witness.acknowledged,
            breaches={breach.value: count for breach, count in self._witness.breaches.items()},
            connections=self._plan.connections,
            reconnects=self._pool.reconnects,
            given_up=self._pool.given_up,
            held_back=self._people.held_back,
            starts_us=self._plan.starts_us,
        )


def count_endings(observations: Observations) -> Counter[str]:
    """Return how many requests ended in which way, by label."""
    return Counter({Ending(code).label: int((observations.ending == code).sum()) for code in set(observations.ending)})
