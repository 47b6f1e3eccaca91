"""The query role over real HTTP and real PostgreSQL: two databases, one event."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from redrush.core.identity.receipts import ReceiptSigner
from redrush.core.identity.tickets import TicketVerifier, sign_ticket
from redrush.core.load.breaker import Rule, State
from redrush.core.money.ledger import grant_rule
from redrush.core.rush.campaign import Campaign
from redrush.core.steering.switches import NON_CORE_SHARE, Snapshot
from redrush.dependency import Share
from redrush.gate.grants import GrantWriter
from redrush.gate.rush.packet_grants import PacketGrantWriter
from redrush.http import answers
from redrush.http.reader import Limits
from redrush.http.server import Server
from redrush.ports.records import GrantRun, RecordedGrant
from redrush.processes.postgres_server import PostgresServer
from redrush.query import site as site_module
from redrush.query.site import CONNECTIONS, QUERY_MAX_S, GrantsRoute, Pool, Queries, RoundSum, TotalsRoute
from redrush.records.postgres import PostgresRecords
from tests import openapi
from tests.conftest import Databases
from tests.gate.world import RECEIPT_RING, TICKET_RING, Answer, read_answer, request
from tests.patience import PATIENCE_S
from tests.settle.event import OPENS_US, campaign_of
from tests.stopping import stopped

CAMPAIGN, AMOUNTS = campaign_of(10, 5)


def record(dsn: str, set_: str, seq: int, round_id: str, first_slot: int, users: Sequence[str]) -> None:
    records = PostgresRecords(dsn, set_)
    amounts = list(AMOUNTS[first_slot : first_slot + len(users)])
    rule = grant_rule(CAMPAIGN.id, round_id)
    run = GrantRun(
        seq=seq,
        campaign=CAMPAIGN.id,
        pot=round_id,
        first_slot=first_slot,
        at_us=OPENS_US,
        users=users,
        amounts_minor=amounts,
        rule=rule,
    )
    records.apply([run])
    records.close()


class Site:
    """The query role on a port of its own."""

    def __init__(self, port: int, queries: Queries) -> None:
        self._port = port
        self.queries = queries

    async def ask(self, path: str, user: str = "") -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        ticket = sign_ticket(TICKET_RING, user, OPENS_US // 1_000_000 + 60) if user else None
        writer.write(request("GET", path, ticket))
        received = b""
        async with asyncio.timeout(PATIENCE_S):
            while (parsed := read_answer(received)) is None:
                received += await reader.read(65_536)
        writer.close()
        await writer.wait_closed()
        return parsed[0]


@asynccontextmanager
async def serving(*dsns: str, campaign: Campaign = CAMPAIGN, query_max_s: float = QUERY_MAX_S) -> AsyncIterator[Site]:
    writers = {pot.id: GrantWriter(campaign, pot, AMOUNTS, RECEIPT_RING) for pot in campaign.pots}

    queries = Queries(
        campaign,
        writers,
        TicketVerifier(TICKET_RING),
        {f"records {dsn[-6:]}": partial(PostgresRecords, dsn, "query", query_max_s=query_max_s) for dsn in dsns},
        packets=PacketGrantWriter(campaign, RECEIPT_RING),
        limits=Limits(),
        now_us=lambda: OPENS_US,
    )
    server = Server([])
    port = await server.listen(queries.site, "127.0.0.1", 0)
    watch = asyncio.create_task(queries.watch())
    try:
        yield Site(port, queries)
    finally:
        watch.cancel()
        await server.stop()
        await queries.close()


def test_my_grants_are_those_of_all_databases_as_the_gate_writes_them(databases: Databases) -> None:
    one, other = databases.fresh(), databases.fresh()
    record(one, "s1", 1, "r2", 11, ["ann"])
    record(other, "s2", 1, "r1", 3, ["bob", "ann"])

    async def scenario() -> None:
        async with serving(one, other) as site:
            answer = await site.ask("/v1/grants", "ann")
            assert answer.status == 200
            grants = answer.json["grants"]
            assert [(grant["round"], grant["slot"], grant["amount"]) for grant in grants] == [
                ("r1", 4, "0.05"),
                ("r2", 11, "0.12"),
            ]
            receipt = ReceiptSigner(RECEIPT_RING, "cny", "r1", "CNY").sign(4, 5, "ann", OPENS_US)
            assert (grants[0]["id"], grants[0]["receipt"]) == ("cny-r1-4", receipt)
            assert (await site.ask("/v1/grants", "nobody")).json == {"grants": []}
            assert (await site.ask("/v1/grants")).status == 401

    asyncio.run(scenario())


def test_totals_are_added_up_over_databases(databases: Databases) -> None:
    one, other = databases.fresh(), databases.fresh()
    record(one, "s1", 1, "r1", 0, ["ann", "bob"])
    record(other, "s2", 1, "r1", 5, ["cy"])

    async def scenario() -> None:
        async with serving(one, other) as site:
            answer = await site.ask("/v1/totals")
            openapi.check("GET", "/v1/totals", answer)
            totals = answer.json
            assert (totals["campaign"], totals["grants"], totals["granted"]) == ("cny", 3, "0.09")
            assert totals["rounds"] == [
                {"round": "r1", "grants": 3, "granted": "0.09"},
                {"round": "r2", "grants": 0, "granted": "0.00"},
            ]

    asyncio.run(scenario())


def test_the_share_of_what_is_no_claim_holds_here_too(databases: Databases) -> None:
    dsn = databases.fresh()
    record(dsn, "s1", 1, "r1", 3, ["bob"])

    async def scenario() -> None:
        async with serving(dsn) as site:
            asked = (("/v1/grants", "bob"), ("/v1/totals", ""))
            assert [(await site.ask(*one)).status for one in asked] == [200, 200]
            site.queries.apply(Snapshot(1, {NON_CORE_SHARE: 0.0}))
            assert [(await site.ask(*one)).status for one in asked] == [503, 503]
            assert (await site.ask("/livez")).status == 200
            site.queries.apply(Snapshot(2, {NON_CORE_SHARE: 1.0}))
            assert [(await site.ask(*one)).status for one in asked] == [200, 200]

    asyncio.run(scenario())


def test_records_that_are_away_are_503_and_found_again_when_they_are_back(own_postgres: PostgresServer) -> None:
    own_postgres.start()
    record(own_postgres.dsn(), "s1", 1, "r1", 0, ["ann"])

    async def scenario() -> None:
        async with serving(own_postgres.dsn()) as site:
            assert len((await site.ask("/v1/grants", "ann")).json["grants"]) == 1
            own_postgres.kill()
            for path in ("/v1/grants", "/v1/totals"):
                away = await site.ask(path, "ann")
                assert (away.status, "retry-after" in away.headers) == (503, True)
            assert (await site.ask("/livez")).status == 200
            own_postgres.start()
            async with asyncio.timeout(PATIENCE_S):  # its first answers may take longer than is waited for
                while (found := await site.ask("/v1/grants", "ann")).status == 503:
                    await asyncio.sleep(0.1)
            assert len(found.json["grants"]) == 1

    asyncio.run(scenario())


def test_a_restart_of_the_database_costs_nobody_an_answer(own_postgres: PostgresServer) -> None:
    own_postgres.start()
    record(own_postgres.dsn(), "s1", 1, "r1", 0, ["ann"])

    async def scenario() -> None:
        async with serving(own_postgres.dsn()) as site:
            crowd = [site.ask("/v1/grants", "ann") for _ in range(20)]
            assert {answer.status for answer in await asyncio.gather(*crowd)} == {200}
            own_postgres.kill()
            own_postgres.start()
            crowd = [site.ask("/v1/grants", "ann") for _ in range(20)]
            assert {answer.status for answer in await asyncio.gather(*crowd)} == {200}

    asyncio.run(scenario())


async def test_a_database_that_hangs_is_told_at_once_makes_the_process_unready_and_comes_back_by_itself(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_module, "SHARE", Share(at_once_max=CONNECTIONS, waiting_max=1_024, deadline_s=0.5))
    monkeypatch.setattr(site_module, "RULE", Rule(failures=3, window_s=15, pause_s=0.2, pause_max_s=0.4, trial_max_s=5))
    monkeypatch.setattr(site_module, "WATCH_S", 0.1)
    await asyncio.to_thread(own_postgres.start)
    await asyncio.to_thread(record, own_postgres.dsn(), "s1", 1, "r1", 0, ["ann"])

    async with asyncio.timeout(PATIENCE_S), serving(own_postgres.dsn(), query_max_s=0.2) as site:
        (dependency,) = site.queries.dependencies
        assert len((await site.ask("/v1/grants", "ann")).json["grants"]) == 1
        assert site.queries.why_not_ready() is None
        with stopped(own_postgres.pid):
            crowd = await asyncio.gather(*(site.ask("/v1/grants", "ann") for _ in range(50)))
            assert {(answer.status, "retry-after" in answer.headers) for answer in crowd} == {(503, True)}
            while dependency.breaker.state is not State.AWAY:
                await asyncio.sleep(0.01)
            asked = dependency.breaker.failures
            while dependency.breaker.refused < 100:
                assert (await site.ask("/v1/grants", "ann")).status == 503
            assert dependency.breaker.failures - asked < 10, "a trial now and then, and nobody else waits"
            assert "is away" in (site.queries.why_not_ready() or "")
            assert (await site.ask("/livez")).status == 200
        while site.queries.why_not_ready() is not None:  # nobody asks but the process itself
            await asyncio.sleep(0.01)
        assert len((await site.ask("/v1/grants", "ann")).json["grants"]) == 1


class SlowSource:
    """Records that answer when the test lets them, and count what they are asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.free = threading.Event()

    def grants_of(self, user: str) -> list[RecordedGrant]:
        return self._answer([])

    def round_totals(self, campaign: str, rounds: Sequence[str]) -> Sequence[RoundSum]:
        return self._answer([])

    def _answer(self, answer: list[Any]) -> list[Any]:
        self.asked += 1
        assert self.free.wait(20)
        return answer

    def close(self) -> None:
        """Nothing is held."""


class Told:
    """Whoever waits for an answer."""

    address = b""

    def __init__(self) -> None:
        self.answer = asyncio.get_running_loop().create_future()

    @property
    def waiting(self) -> bool:
        return not self.answer.done()

    def send(self, answer: bytes) -> None:
        self.answer.set_result(answer)


def test_too_many_questions_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_module, "WAITING_MAX", 3)

    async def scenario() -> None:
        source = SlowSource()
        pool = Pool("records", lambda: source)
        route = GrantsRoute([pool], CAMPAIGN.id, {}, PacketGrantWriter(CAMPAIGN, RECEIPT_RING), lambda: OPENS_US)
        waiting = [Told() for _ in range(4)]
        refusals = [route.serve(waiter, "ann") for waiter in waiting]
        assert refusals[:3] == [None] * 3
        assert refusals[3] == answers.QUERIES_BUSY
        source.free.set()
        for waiter in waiting[:3]:
            assert b"200 OK" in await waiter.answer
        pool.close()

    asyncio.run(scenario())


def test_totals_are_asked_for_once_however_many_want_them() -> None:
    async def scenario() -> None:
        source = SlowSource()
        pool = Pool("records", lambda: source)
        route = TotalsRoute([pool], CAMPAIGN, lambda: OPENS_US)
        waiting = [Told() for _ in range(10)]
        assert [route.serve(waiter, "") for waiter in waiting] == [None] * 10
        source.free.set()
        first, *others = [await waiter.answer for waiter in waiting]
        assert set(others) == {first}
        assert route.serve(Told(), "") == first
        assert source.asked == 1
        pool.close()

    asyncio.run(scenario())
