"""The query role: "my grants" and totals from the records, which lag behind the stores by a moment.

Grants are the same JSON as the gate's, receipts included. Each database is a dependency (`redrush.dependency`): threads
and connections of its own, a bounded number of people waiting, a deadline, and a breaker; whoever comes beyond that is
asked to come back, at once. Totals are the same for everybody, so they are asked for at most once in `TOTALS_KEPT_S`,
however many want them.

A process that says that it is not ready is asked nothing any more, and would never learn that its database is back. So
`watch` asks each database now and then itself.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Final, Protocol, TypeVar

from redrush.core.identity.tickets import TicketVerifier
from redrush.core.load.breaker import Rule, State
from redrush.core.money.currency import format_amount
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.instants import http_date, rfc3339
from redrush.core.steering.switches import Snapshot
from redrush.dependency import Dependency, Share, Unanswered
from redrush.errors import RedrushError
from redrush.gate.grants import GrantWriter
from redrush.gate.queries import LateAnswers
from redrush.gate.rush.packet_grants import PacketGrantWriter
from redrush.gate.rush.rush import TIME_FRESH_US
from redrush.gate.switches import Sampled, Sampling
from redrush.http import answers
from redrush.http.reader import Limits
from redrush.http.route import Waiter
from redrush.http.site import Site
from redrush.ports.records import RecordedGrant, RecordsFailed, RecordsLate

CONNECTIONS: Final = 4
"""To each database: a look-up takes well under a millisecond, more connections would only take its cores."""

WAITING_MAX: Final = 1_024
"""Queries that wait for a connection; at some thousand a second everybody in the queue is served within a second."""

QUERY_MAX_S: Final = 2.0
"""What a source should give a query: one that takes longer has met a database in trouble."""

SHARE: Final = Share(at_once_max=CONNECTIONS, waiting_max=WAITING_MAX, deadline_s=QUERY_MAX_S + 1.0)
"""Of each database. The deadline is that of the people, so it holds the queue too; a query has its own, and ends a
moment earlier, so that a thread is rarely left behind with one that nobody waits for."""

RULE: Final = Rule(failures=3, window_s=15.0, pause_s=1.0, pause_max_s=5.0, trial_max_s=10.0)
"""A restart of the database fails nobody (`Pool`), and three answers that miss their deadlines one after the other, as
`watch` asks, come within the window."""

WATCH_S: Final = 1.0
"""How often each database is asked whether it is there: what a load balancer's probes are for a process."""

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
        """Return the user's grants of all campaigns."""

    def round_totals(self, campaign: str, rounds: Sequence[str]) -> Sequence[RoundSum]:
        """Return counts and sums of the campaign's rounds."""

    def close(self) -> None:
        """Release the connection."""


Question = Callable[[Source], Sequence[RoundSum]]


def sums_of(campaign: Campaign) -> Question:
    """Return the question for the sums of the campaign's pots."""
    pots = [pot.id for pot in campaign.pots]
    return lambda source: source.round_totals(campaign.id, pots)


class Pool:
    """One database: `CONNECTIONS` sources of the same records, each used by one thread at a time."""

    def __init__(self, name: str, connect: Callable[[], Source]) -> None:
        """`connect` makes a source; it should connect to nothing before it is asked."""
        self.dependency = Dependency(name, SHARE, RULE, asyncio.get_running_loop().time)
        self._sources = [connect() for _ in range(CONNECTIONS)]
        self._idle: SimpleQueue[Source] = SimpleQueue()
        for source in self._sources:
            self._idle.put(source)
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="redrush-query")

    async def ask(self, question: Callable[[Source], _T]) -> _T | Unanswered:
        """Return what a source answers to the question, or why none was asked. Raises what it raises."""
        loop = asyncio.get_running_loop()
        return await self.dependency.ask(lambda: loop.run_in_executor(self._threads, self._ask, question))

    def _ask(self, question: Callable[[Source], _T]) -> _T:
        source = self._idle.get()  # never waits: there are as many as threads
        try:
            return question(source)
        except RecordsLate:
            raise  # nobody waits for a second try, and the database has enough to do
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
    """Everything that the query role serves. `site` is for `redrush.http.server.Server`."""

    def __init__(  # noqa: PLR0913 - what grants are written with, and asked of, by name
        self,
        campaign: Campaign,
        writers: Mapping[str, GrantWriter],
        verifier: TicketVerifier,
        connects: Mapping[str, Callable[[], Source]],
        *,
        packets: PacketGrantWriter,
        limits: Limits,
        now_us: Callable[[], int],
        draw: Callable[[], float] = random.Random().random,  # noqa: B008, S311 - a lottery among equals, seeded by the system
    ) -> None:
        """`writers` by pot, in the order to answer in, `packets` for those between people; `connects` by name, one for
        each database, not each set."""
        self._pools = [Pool(name, connect) for name, connect in connects.items()]
        self.site = Site(limits, verifier, now_us)
        self._sampling = Sampling(draw)
        self._sums = sums_of(campaign)
        self._grants = GrantsRoute(self._pools, campaign.id, writers, packets, now_us)
        self._totals = TotalsRoute(self._pools, campaign, now_us)
        grants = Sampled(self.site.timed(self._grants), self._sampling)
        totals = Sampled(self.site.timed(self._totals), self._sampling)
        self.site.add(b"GET", b"/v1/grants", grants, needs_ticket=True)
        self.site.add(b"GET", b"/v1/totals", totals, needs_ticket=False)
        self.site.add_livez()

    def amend(self, campaign: Campaign, writers: Mapping[str, GrantWriter]) -> None:
        """Answer for the rounds of this campaign from the next request on; `writers` by pot."""
        self._grants.amend(writers)
        self._totals.amend(campaign)

    def apply(self, snapshot: Snapshot) -> None:
        """Let the switches hold from the next request on: nothing here is a claim, so all of it is sampled."""
        self._sampling.apply(snapshot)

    @property
    def dependencies(self) -> list[Dependency]:
        """The databases."""
        return [pool.dependency for pool in self._pools]

    def why_not_ready(self) -> str | None:
        """Return which databases are away, in words; None: all answer."""
        away = [one for one in self.dependencies if one.breaker.state is not State.UP]
        return ", ".join(f"{one.name} is away for {one.away_s:.0f} s" for one in away) or None

    async def watch(self) -> None:
        """Ask every database from time to time, for ever, so that its absence and its return are known."""
        await asyncio.gather(*(_watch(pool, self._sums) for pool in self._pools))

    async def close(self) -> None:
        """Release all connections, after the server has stopped."""
        for pool in self._pools:
            await asyncio.to_thread(pool.close)


async def _watch(pool: Pool, question: Question) -> None:
    while True:
        with contextlib.suppress(RedrushError):  # the breaker has heard of it
            await pool.ask(question)
        await asyncio.sleep(WATCH_S)


def _told(_fault: RedrushError) -> bytes:
    return RECORDS_AWAY


def _refused(refusal: Unanswered) -> bytes:
    return answers.QUERIES_BUSY if refusal is Unanswered.FULL else RECORDS_AWAY


def _refused_now(pools: Sequence[Pool]) -> bytes | None:
    """Return the answer to whoever need not even wait."""
    for pool in pools:
        if (refusal := pool.dependency.refusal()) is not None:
            return _refused(refusal)
    return None


class GrantsRoute:
    """`GET /v1/grants`: the caller's recorded grants, in order of the rounds. Every database may have some."""

    def __init__(
        self,
        pools: Sequence[Pool],
        campaign_id: str,
        writers: Mapping[str, GrantWriter],
        packets: PacketGrantWriter,
        now_us: Callable[[], int],
    ) -> None:
        self._late = LateAnswers(WAITING_MAX, _told)
        self._pools = pools
        self._campaign_id = campaign_id
        self._packets = packets
        self._now_us = now_us
        self.amend(writers)

    def amend(self, writers: Mapping[str, GrantWriter]) -> None:
        """Write grants by these from now on."""
        self._writers = writers
        self._order = {pot: position for position, pot in enumerate(writers)}

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer when every database has been asked, or refuse at once."""
        return _refused_now(self._pools) or self._late.promise(waiter, self._answer(user))

    async def _answer(self, user: str) -> bytes:
        found = await asyncio.gather(*(pool.ask(lambda source: source.grants_of(user)) for pool in self._pools))
        parts: list[list[RecordedGrant]] = []
        for part in found:
            if isinstance(part, Unanswered):
                return _refused(part)
            parts.append([grant for grant in part if grant.campaign == self._campaign_id])
        # Behind those of the rounds, packets between people.
        order, last = self._order, len(self._order)
        grants = sorted((grant for part in parts for grant in part), key=lambda grant: order.get(grant.pot, last))
        texts = [self._written(grant) for grant in grants]
        body = f'{{"grants":[{",".join(texts)}]}}'.encode("ascii")
        head = f"Date: {http_date(self._now_us())}\r\nCache-Control: no-store\r\n"
        return answers.answer(200, body, headers=head)

    def _written(self, grant: RecordedGrant) -> str:
        if (writer := self._writers.get(grant.pot)) is not None:
            return writer.write(grant.user, grant.slot, grant.at_us)
        return self._packets.write(grant.pot, grant.user, grant.slot, grant.amount_minor, grant.at_us)


class TotalsRoute:
    """`GET /v1/totals`: recorded grants and what they are worth, by round and in all."""

    def __init__(self, pools: Sequence[Pool], campaign: Campaign, now_us: Callable[[], int]) -> None:
        self._late = LateAnswers(WAITING_MAX, _told)
        self._pools = pools
        self.amend(campaign)
        self._now_us = now_us
        self._totals: Sequence[RoundSum] = ()
        self._kept = b""
        self._fresh_until_us = 0
        self._kept_at_s = -TOTALS_KEPT_S
        self._asking: asyncio.Task[bytes] | None = None

    def amend(self, campaign: Campaign) -> None:
        """Tell of the rounds of this campaign from now on."""
        self._campaign = campaign
        self._question = sums_of(campaign)

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer from what was asked within `TOTALS_KEPT_S`, or when the databases have been asked."""
        if asyncio.get_running_loop().time() - self._kept_at_s < TOTALS_KEPT_S:
            if self._now_us() >= self._fresh_until_us:
                self._kept = self._write(self._totals)
            return self._kept
        return _refused_now(self._pools) or self._late.promise(waiter, self._answer())

    async def _answer(self) -> bytes:
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        # One who goes away must not take the answer from the others.
        return await asyncio.shield(self._asking)

    async def _ask(self) -> bytes:
        try:
            found = await asyncio.gather(*(pool.ask(self._question) for pool in self._pools))
            totals: list[RoundSum] = []
            for part in found:
                if isinstance(part, Unanswered):
                    return _refused(part)
                totals += part
            self._totals = tuple(totals)
            self._kept = self._write(totals)
            self._kept_at_s = asyncio.get_running_loop().time()
            return self._kept
        finally:
            self._asking = None

    def _write(self, totals: Sequence[RoundSum]) -> bytes:
        rounds = []
        for round_ in self._campaign.rounds:
            pots = {pot.id for pot in round_.pots}
            of_round = [total for total in totals if total.round in pots]
            granted_minor = sum(total.granted_minor for total in of_round)
            rounds.append({"round": round_.id, **self._sums(sum(total.grants for total in of_round), granted_minor)})
        now_us = self._now_us()
        self._fresh_until_us = now_us + TIME_FRESH_US
        everything = self._sums(sum(total.grants for total in totals), sum(total.granted_minor for total in totals))
        return answers.json_answer(
            {
                "campaign": self._campaign.id,
                "currency": self._campaign.currency,
                **everything,
                "rounds": rounds,
                "server_time": rfc3339(now_us),
            },
            f"Date: {http_date(now_us)}\r\nCache-Control: public, max-age=1\r\n",
        )

    def _sums(self, grants: int, granted_minor: int) -> dict[str, Any]:
        return {"grants": grants, "granted": format_amount(granted_minor, self._campaign.currency)}
