"""The query role: "my grants" and totals from the records, which lag behind the stores by a moment.

Grants are the same JSON as the gate's, receipts included. Each database has threads and connections of its own and a
bounded number of people waiting; whoever comes beyond that is asked to come back. Totals are the same for everybody, so
they are asked for at most once in `TOTALS_KEPT_S`, however many want them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Final, Protocol, TypeVar

from redrush.core.campaign import Campaign
from redrush.core.instants import http_date, rfc3339
from redrush.core.money import format_amount
from redrush.core.tickets import TicketVerifier
from redrush.errors import RedrushError
from redrush.gate import answers
from redrush.gate.grants import GrantWriter
from redrush.gate.reader import Limits
from redrush.gate.route import Waiter
from redrush.gate.site import Site
from redrush.gate.views import Fixed
from redrush.ports.records import RecordedGrant, RecordsFailed

CONNECTIONS: Final = 4
"""To each database: a look-up takes well under a millisecond, more connections would only take its cores."""

WAITING_MAX: Final = 1_024
"""Queries under way at once; at some thousand a second everybody in the queue is served within a second."""

QUERY_MAX_S: Final = 2.0
"""What a source should give a query: one that takes longer has met a database in trouble."""

TOTALS_KEPT_S: Final = 1.0

RECORDS_AWAY: Final = answers.problem(503, "the records cannot be read now; your grants are safe", "Retry-After: 5\r\n")

_T = TypeVar("_T")


class RoundSum(Protocol):
    """What is recorded of one round."""

    @property
    def round(self) -> str: ...
    @property
    def grants(self) -> int: ...
    @property
    def granted_minor(self) -> int: ...


class Source(Protocol):
    """Records that can be asked; one call at a time. Every call blocks, and may raise RedrushError."""

    def grants_of(self, user: str) -> list[RecordedGrant]:
        """Return the user's grants."""

    def round_totals(self) -> Sequence[RoundSum]:
        """Return counts and sums by round."""

    def close(self) -> None:
        """Release the connection."""


class Pool:
    """One database: `CONNECTIONS` sources of the same records, each used by one thread at a time."""

    def __init__(self, connect: Callable[[], Source]) -> None:
        """`connect` makes a source; it should connect to nothing before it is asked."""
        self._sources = [connect() for _ in range(CONNECTIONS)]
        self._idle: SimpleQueue[Source] = SimpleQueue()
        for source in self._sources:
            self._idle.put(source)
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="redrush-query")

    async def ask(self, question: Callable[[Source], _T]) -> _T:
        """Return what a source answers to the question. Raises what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, question)

    def _ask(self, question: Callable[[Source], _T]) -> _T:
        source = self._idle.get()  # never waits: there are as many as threads
        try:
            return question(source)
        except RecordsFailed:
            # A connection that was idle learns only now that its server has been restarted; the next is a new one.
            return question(source)
        finally:
            self._idle.put(source)

    def close(self) -> None:
        """End the threads and connections; waits for questions under way."""
        self._threads.shutdown()
        for source in self._sources:
            source.close()


class Queries:
    """Everything that the query role serves. `site` is for `redrush.gate.server.Server`."""

    def __init__(
        self,
        campaign: Campaign,
        writers: Mapping[str, GrantWriter],
        verifier: TicketVerifier,
        connects: Sequence[Callable[[], Source]],
        *,
        limits: Limits,
        now_us: Callable[[], int],
    ) -> None:
        """`writers` by round id, in the order to answer in; `connects` one for each database, not for each set."""
        self._pools = [Pool(connect) for connect in connects]
        self.site = Site(limits, verifier, now_us)
        self.site.add(b"GET", b"/v1/grants", GrantsRoute(self._pools, writers, now_us), needs_ticket=True)
        self.site.add(b"GET", b"/v1/totals", TotalsRoute(self._pools, campaign, now_us), needs_ticket=False)
        self.site.add(b"GET", b"/livez", Fixed(answers.json_answer({"status": "alive"})), needs_ticket=False)

    async def close(self) -> None:
        """Release all connections, after the server has stopped."""
        for pool in self._pools:
            await asyncio.to_thread(pool.close)


class LateAnswers:
    """Answers that come later, each in a task of its own, so many at a time."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def promise(self, waiter: Waiter, answer: Coroutine[Any, Any, bytes]) -> bytes | None:
        """Send the answer to the waiter once it is there; or return a refusal, now, if too many wait."""
        if len(self._tasks) >= WAITING_MAX:
            answer.close()
            return answers.BUSY
        task = asyncio.create_task(self._send(waiter, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None

    async def _send(self, waiter: Waiter, answer: Coroutine[Any, Any, bytes]) -> None:
        try:
            waiter.send(await answer)
        except RedrushError:
            waiter.send(RECORDS_AWAY)


class GrantsRoute:
    """`GET /v1/grants`: the caller's recorded grants, in order of the rounds. Every database may have some."""

    def __init__(self, pools: Sequence[Pool], writers: Mapping[str, GrantWriter], now_us: Callable[[], int]) -> None:
        self._late = LateAnswers()
        self._pools = pools
        self._writers = writers
        self._now_us = now_us
        self._order = {round_id: position for position, round_id in enumerate(writers)}

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer when every database has been asked."""
        return self._late.promise(waiter, self._answer(user))

    async def _answer(self, user: str) -> bytes:
        found = await asyncio.gather(*(pool.ask(lambda source: source.grants_of(user)) for pool in self._pools))
        grants = sorted((grant for part in found for grant in part), key=lambda grant: self._order[grant.round])
        texts = [self._writers[grant.round].write(user, grant.slot, grant.at_us) for grant in grants]
        body = f'{{"grants":[{",".join(texts)}]}}'.encode("ascii")
        head = f"Date: {http_date(self._now_us())}\r\nCache-Control: no-store\r\n"
        return answers.answer(200, body, headers=head)


class TotalsRoute:
    """`GET /v1/totals`: recorded grants and what they are worth, by round and in all."""

    def __init__(self, pools: Sequence[Pool], campaign: Campaign, now_us: Callable[[], int]) -> None:
        self._late = LateAnswers()
        self._pools = pools
        self._campaign = campaign
        self._now_us = now_us
        self._kept = b""
        self._kept_at_s = -TOTALS_KEPT_S
        self._asking: asyncio.Task[bytes] | None = None

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer from what was asked within `TOTALS_KEPT_S`, or when the databases have been asked."""
        if asyncio.get_running_loop().time() - self._kept_at_s < TOTALS_KEPT_S:
            return self._kept
        return self._late.promise(waiter, self._answer())

    async def _answer(self) -> bytes:
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        # One who goes away must not take the answer from the others.
        return await asyncio.shield(self._asking)

    async def _ask(self) -> bytes:
        try:
            found = await asyncio.gather(*(pool.ask(lambda source: source.round_totals()) for pool in self._pools))
            self._kept = self._write([total for part in found for total in part])
            self._kept_at_s = asyncio.get_running_loop().time()
            return self._kept
        finally:
            self._asking = None

    def _write(self, totals: Sequence[RoundSum]) -> bytes:
        rounds = []
        for round_ in self._campaign.rounds:
            of_round = [total for total in totals if total.round == round_.id]
            granted_minor = sum(total.granted_minor for total in of_round)
            rounds.append({"round": round_.id, **self._sums(sum(total.grants for total in of_round), granted_minor)})
        everything = self._sums(sum(total.grants for total in totals), sum(total.granted_minor for total in totals))
        return answers.json_answer(
            {
                "campaign": self._campaign.id,
                "currency": self._campaign.currency,
                **everything,
                "rounds": rounds,
                "server_time": rfc3339(self._now_us()),
            },
            f"Date: {http_date(self._now_us())}\r\nCache-Control: public, max-age=1\r\n",
        )

    def _sums(self, grants: int, granted_minor: int) -> dict[str, Any]:
        return {"grants": grants, "granted": format_amount(granted_minor, self._campaign.currency)}
