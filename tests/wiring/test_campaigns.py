"""Many campaigns on one server: added, served, left asleep, and ended, each for itself."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.config import PaymentsFile, parse_campaign
from redrush.control.campaigns import Listing, RoundTimes, changing_listings, directory_of
from redrush.control.data_dir import DataDir
from redrush.control.event import prepare_event
from redrush.control.issuing import plan_tickets
from redrush.control.operators import add_operator
from redrush.control.orders import ListSwitches, ReadLog, SetSwitch
from redrush.core.rush.campaign import Slots
from redrush.core.rush.sale_order import NEVER_US, SaleOrder, State
from redrush.errors import ConfigError
from redrush.operate.backup import backup, restore
from redrush.operate.campaigns import add_campaign, end_campaign, list_campaigns, show_campaign
from redrush.operate.data_dir_reports import reconcile_data_dir
from redrush.operate.switching import Holder, operate
from redrush.ports.store import Claim, Grant, Held, PotTerms
from redrush.records.sqlite.book_examining import check_whole
from redrush.records.sqlite.sales import SqliteSaleBook
from redrush.settle.selling.private_book import PrivateSaleBook
from redrush.stores.sqlite.store import SqliteStore
from redrush.wiring import hosting
from redrush.wiring.clock import system_clock
from redrush.wiring.embedded import Embedded, Ports
from tests.gate.world import Answer, read_answer, request
from tests.patience import PATIENCE_S, OwnTime

TEXT = """
[campaign]
id = "{id}"
name = "Campaign {id}"
currency = "CNY"
[[round]]
id = "{round}"
opens = {opens}
lasts = "1h"
kind = "equal"
total = "{packets}.00"
packets = {packets}
"""
SALE = 'kind = "sale"\nunits = 20\nprice = "1.00"\nhold = "10m"'
NOW = '"now"'
FAR = "2040-01-01T00:00:00Z"
FAR_US = 2_208_988_800_000_000


def _file(name: str, opens: str = NOW, round_: str = "r1", packets: int = 3) -> Any:
    return parse_campaign(TEXT.format(id=name, opens=opens, round=round_, packets=packets), f"{name}.toml")


class Server:
    """A server on a directory, as participants and commands reach it."""

    def __init__(self, data_dir: DataDir, ports: dict[str, int], embedded: Embedded) -> None:
        self.data_dir = data_dir
        self.embedded = embedded
        self.ports = ports

    async def ask(self, method: str, path: str, ticket: str | None = None, port: str = "gate", **fields: Any) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[port])
        body = json.dumps(fields).encode() if fields else b""
        try:
            writer.write(request(method, path, ticket, body, ("Content-Type: application/json",) if body else ()))
            received = b""
            while (found := read_answer(received)) is None:
                more = await reader.read(65_536)
                assert more, received
                received += more
            return found[0]
        finally:
            writer.close()

    async def grab(self, path: str, ticket: str) -> Answer:
        return await self.ask("POST", f"{path}/grab", ticket)

    def ticket(self, campaign: str | None, user: str) -> str:
        directory = self.data_dir if campaign is None else directory_of(self.data_dir, campaign)
        now_s = int(time.time())
        return next(plan_tickets(directory, [user], None, "2h", now_s).lines()).split("\t")[1]

    async def until(self, path: str, status: int) -> Answer:
        """Ask until the answer has this status."""
        async with asyncio.timeout(PATIENCE_S):
            while (answer := await self.ask("GET", path)).status != status:
                await asyncio.sleep(0.02)
        return answer


@asynccontextmanager
async def running(directory: Path, first: Any = None, payments: PaymentsFile | None = None) -> AsyncIterator[Server]:
    data_dir = DataDir(directory)
    ports_ = Ports("127.0.0.1", 0, 0, control_names=("hongbao.example",))
    embedded = Embedded(first or _file("first"), data_dir, ports_, payments=payments)
    ports = await embedded.start()
    try:
        yield Server(data_dir, ports, embedded)
    finally:
        await embedded.stop()


async def _in_thread(work: Callable[..., Any], *args: Any, **named: Any) -> Any:
    return await asyncio.to_thread(work, *args, **named)


async def test_links_of_a_campaign_beside_another_to_the_first_ones_page_are_warned_of(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as server:
        await _in_thread(add_campaign, _file("spring"), server.data_dir, Holder())
        beside, now_s = directory_of(server.data_dir, "spring"), int(time.time())

        def warned(of: DataDir, links: str) -> list[str]:
            told = plan_tickets(of, ["ann"], None, "2h", now_s, links=links).warnings
            return [one for one in told if "--links" in one]

        (warning,) = warned(beside, "http://h.example/")
        assert warning.endswith("this one's is http://h.example/c/spring")
        assert warned(beside, "http://h.example/c/spring") == []
        assert warned(server.data_dir, "http://h.example") == []


async def test_a_campaign_is_added_to_a_running_server_within_a_second_while_grants_go_on(tmp_path: Path) -> None:
    async with running(tmp_path, _file("first", packets=5_000)) as server:
        granted, ended = [0], asyncio.Event()

        async def rush(number: int) -> None:
            count = 0
            while not ended.is_set():
                count += 1
                answer = await server.grab("/v1/rounds/r1", tickets[number][count])
                granted[0] += answer.outcome == "granted"

        tickets = {
            number: dict(enumerate(server.ticket(None, f"u{number}-{count}") for count in range(1_000)))
            for number in range(4)
        }
        crowd = [asyncio.create_task(rush(number)) for number in range(4)]
        await _in_thread(add_campaign, _file("spring"), server.data_dir, Holder())
        before, taken = granted[0], OwnTime()
        await server.until("/v1/campaigns/spring/rounds/r1", 200)
        taken_s = taken.passed_s
        assert granted[0] > before, "grants went on"
        ended.set()
        await asyncio.gather(*crowd)
        assert taken_s <= 1.0, taken_s
        won = await server.grab("/v1/campaigns/spring/rounds/r1", server.ticket("spring", "ann"))
        assert (won.outcome, won.json["grant"]["id"]) == ("granted", "spring-r1-0")


async def test_others_are_served_while_the_books_of_one_that_wakes_are_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, seen, in_time = threading.Semaphore(0), threading.Semaphore(0), []

    def waited_for(work: Callable[..., Any]) -> Callable[..., Any]:
        def waits(*what: Any) -> Any:
            begun.release()
            in_time.append(seen.acquire(timeout=PATIENCE_S))
            return work(*what)

        return waits

    async with running(tmp_path) as server:
        monkeypatch.setattr("redrush.wiring.embedded_sale.check_whole", waited_for(check_whole))
        monkeypatch.setattr(PrivateSaleBook, "hide_old", waited_for(PrivateSaleBook.hide_old))
        monkeypatch.setattr("redrush.wiring.embedded_group.check_whole", waited_for(check_whole))
        sale = TEXT.replace('kind = "equal"\ntotal = "{packets}.00"\npackets = {packets}', SALE) + "[group]\n"
        await _in_thread(
            add_campaign,
            parse_campaign(sale.format(id="spring", opens=NOW, round="s1"), "s.toml"),
            server.data_dir,
            Holder(),
        )
        for _ in range(3):
            await _in_thread(begun.acquire, timeout=PATIENCE_S)
            assert (await server.ask("GET", "/v1/rounds/r1")).status == 200
            seen.release()
        await server.until("/v1/campaigns/spring/rounds/s1", 200)
    assert in_time == [True, True, True]


async def test_campaigns_are_apart_in_tickets_rounds_and_grants(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        for name, round_ in (("a", "r1"), ("b", "only-b")):
            await _in_thread(add_campaign, _file(name, round_=round_), server.data_dir, Holder())
        at_a, at_b = "/v1/campaigns/a/rounds/r1", "/v1/campaigns/b/rounds/only-b"
        for path in (at_a, at_b):
            await server.until(path, 200)
        for _ in range(2):  # the second time the head is known
            for path, others in ((at_a, "b"), (at_b, "a"), (at_a, None), ("/v1/rounds/r1", "a")):
                assert (await server.grab(path, server.ticket(others, "ann"))).status == 401, (path, others)
        ids = []
        for path, own in ((at_a, "a"), (at_b, "b"), ("/v1/rounds/r1", None)):
            ids.append((await server.grab(path, server.ticket(own, "ann"))).json["grant"]["id"])
        assert ids == ["a-r1-0", "b-only-b-0", "first-r1-0"]
        again = await server.grab("/v1/rounds/only-b", server.ticket("b", "ann"))
        assert (again.outcome, again.json["repeat"]) == ("granted", True), "the short path, as the id is unique"
        same = await server.grab("/v1/campaigns/first/rounds/r1", server.ticket(None, "ann"))
        assert same.json["grant"]["id"] == "first-r1-0"
        for path in ("/v1/campaigns/c/rounds/r1", "/v1/campaigns/a/rounds/only-b", "/v1/campaigns/a", "/v1/rounds/no"):
            assert (await server.ask("GET", path)).status == 404, path
        for path in ("/c/c", "/c/a/"):
            shown = await server.ask("GET", path)
            assert (shown.status, "这个链接没有对应的活动" in shown.body.decode()) == (404, True), (
                "a person looks at it"
            )
    for directory in (tmp_path, *(directory_of(DataDir(tmp_path), name).root for name in ("a", "b"))):
        assert (await _in_thread(reconcile_data_dir, DataDir(directory))).ok


async def test_what_was_granted_is_there_after_a_restart_and_a_sleeping_campaign_is_woken(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await _in_thread(add_campaign, _file("a"), server.data_dir, Holder())
        await server.until("/v1/campaigns/a/rounds/r1", 200)
        won = (await server.grab("/v1/campaigns/a/rounds/r1", server.ticket("a", "ann"))).json["grant"]
        await _in_thread(add_campaign, _file("late", FAR), server.data_dir, Holder())
        assert (await server.until("/v1/campaigns/late/rounds/r1", 503)).headers["retry-after"] == "1"
        assert (await server.until("/v1/campaigns/late/rounds/r1", 200)).json["state"] == "not_open"
    async with running(tmp_path) as server:
        await server.until("/v1/campaigns/a/rounds/r1", 200)
        again = await server.grab("/v1/campaigns/a/rounds/r1", server.ticket("a", "ann"))
        assert (again.json["grant"]["id"], again.json["repeat"]) == (won["id"], True)


async def test_who_has_nothing_open_sleeps_and_costs_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "IDLE_S", 0.0)

    def parts() -> list[str]:
        names = (task.get_name() for task in asyncio.all_tasks())
        return sorted(name for name in names if name in {"closer", "journal guard", "recorder", "rules"})

    async with running(tmp_path):
        pass
    for number in range(30):
        add_campaign(_file(f"c{number}", FAR), DataDir(tmp_path), Holder())
    async with running(tmp_path) as server:
        of_the_first = ["closer", "journal guard", "recorder", "rules"]
        assert parts() == of_the_first, "nothing runs for a campaign that sleeps"
        metrics = (await server.ask("GET", "/metrics", port="control")).body.decode()
        assert 'redrush_campaigns{state="asleep"} 30.0' in metrics
        assert 'redrush_campaigns{state="awake"} 0.0' in metrics
        await server.until("/v1/campaigns/c7/rounds/r1", 200)
        assert len(parts()) == 2 * len(of_the_first)
        async with asyncio.timeout(PATIENCE_S):
            while parts() != of_the_first:
                await asyncio.sleep(0.05)
        assert (await server.ask("GET", "/v1/campaigns/c7/rounds/r1")).status == 503, "it sleeps again"


async def test_who_has_an_order_under_way_sleeps_only_when_it_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "IDLE_S", 0.0)
    async with running(tmp_path):
        pass
    add_campaign(_file("a", FAR), DataDir(tmp_path), Holder())
    order = SaleOrder(
        id="o", grant="a-s-1", pot="s", user="ann", slot=1, number=1, request="", until_us=FAR_US, price_minor=500,
        state=State.PAYING, due_us=FAR_US, since_us=1,
    )  # fmt: skip
    with closing(SqliteSaleBook.open_path(directory_of(DataDir(tmp_path), "a").sales)) as book:
        [paying] = book.keep([order])
        assert paying is not None
        looked, rests = [0], hosting.Hosting._wake_and_rest

        def rest(self: hosting.Hosting) -> None:
            looked[0] += any(hosted.event is not None for hosted in self._awake.values())
            rests(self)

        monkeypatch.setattr(hosting.Hosting, "_wake_and_rest", rest)

        async def until(state: str, looks: int) -> None:
            async with asyncio.timeout(2 * PATIENCE_S):
                metrics = ""
                while f'redrush_campaigns{{state="{state}"}} 1.0' not in metrics or looked[0] < looks:
                    await asyncio.sleep(0.02)
                    metrics = (await server.ask("GET", "/metrics", port="control")).body.decode()

        async with running(tmp_path) as server:
            await until("awake", 3)
            book.keep([msgspec.structs.replace(paying, state=State.RETURNED, due_us=NEVER_US)])
            await until("asleep", 0)


async def test_an_ended_campaign_is_served_no_more_and_keeps_what_it_has_granted(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        data_dir = server.data_dir
        await _in_thread(add_campaign, _file("a"), data_dir, Holder())
        await server.until("/v1/campaigns/a/rounds/r1", 200)
        ticket = server.ticket("a", "ann")
        assert (await server.grab("/v1/campaigns/a/rounds/r1", ticket)).outcome == "granted"
        with pytest.raises(ConfigError, match="has a round open now, and nobody could win any more; add --yes"):
            await _in_thread(end_campaign, "a", data_dir, Holder(), "w", yes=False)
        token = tmp_path / "bob.token"
        token.write_text(add_operator(data_dir, "bob", int(time.time())))
        await _in_thread(end_campaign, "a", data_dir, Holder("Bob", token), "over early", yes=True)
        await server.until("/v1/campaigns/a/rounds/r1", 404)
        with pytest.raises(ConfigError, match="was ended at"):
            await _in_thread(end_campaign, "a", data_dir, Holder(), "w", yes=True)
        with pytest.raises(ConfigError, match="has been ended; choose another id"):
            await _in_thread(add_campaign, _file("a"), data_dir, Holder())
    lines = [json.loads(line) for line in data_dir.campaign_log.read_text().splitlines()]
    assert [(line["what"], line["who"], line["said"], line["why"]) for line in lines] == [
        ("add", "event", "", ""),
        ("end", "bob", "Bob", "over early"),
    ]
    assert (await _in_thread(reconcile_data_dir, directory_of(data_dir, "a"))).ok


async def test_each_campaign_has_switches_of_its_own(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await _in_thread(add_campaign, _file("a"), server.data_dir, Holder())
        await server.until("/v1/campaigns/a/rounds/r1", 200)
        own = directory_of(server.data_dir, "a")
        done = await _in_thread(operate, own, SetSwitch("answer_ended", value=True), Holder("ann"))
        assert done["live"] is True
        closed = await server.grab("/v1/campaigns/a/rounds/r1", server.ticket("a", "ann"))
        assert closed.outcome == "closed"
        assert (await server.grab("/v1/rounds/r1", server.ticket(None, "ann"))).outcome == "granted"
        first = await _in_thread(operate, server.data_dir, ListSwitches())
        assert {row["name"]: row["value"] for row in first["switches"]}["answer_ended"] is False
        assert len((await _in_thread(operate, own, ReadLog()))["entries"]) == 1


def test_what_cannot_be_added_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no campaign"):
        add_campaign(_file("a"), DataDir(tmp_path), Holder())

    async def begin() -> None:
        async with running(tmp_path):
            pass

    asyncio.run(begin())
    with pytest.raises(ConfigError, match='"first" is the first campaign of this directory'):
        add_campaign(_file("first"), DataDir(tmp_path), Holder())
    assert add_campaign(_file("a", FAR), DataDir(tmp_path), Holder()).new is True
    assert add_campaign(_file("a", FAR), DataDir(tmp_path), Holder()).new is False
    with pytest.raises(ConfigError, match='round "r1", packets: sealed 3, in the file 4'):
        add_campaign(_file("a", FAR, packets=4), DataDir(tmp_path), Holder())
    rows = list_campaigns(DataDir(tmp_path))
    assert [(row["campaign"], row["state"]) for row in rows] == [("first", "open"), ("a", "ahead")]
    shown = show_campaign("a", DataDir(tmp_path))
    assert [(one["packets"], one["total"]) for one in shown["rounds"]] == [(3, "3.00")]
    with pytest.raises(ConfigError, match='no campaign "b" besides the first; there are a'):
        show_campaign("b", DataDir(tmp_path))
    with pytest.raises(ConfigError, match="is the first of this directory, and ends with its server: redrush stop"):
        end_campaign("first", DataDir(tmp_path), Holder(), "", yes=True)


def test_a_campaign_is_shown_without_its_table_of_amounts_being_read(tmp_path: Path) -> None:
    file, data_dir = _file("a", FAR), DataDir(tmp_path)
    event = prepare_event(file, data_dir, system_clock().now_us).event
    data_dir.amounts.unlink()
    (shown,) = show_campaign("a", data_dir)["rounds"]
    assert (shown["packets"], shown["total"]) == (len(event.sealed.amounts), "3.00")


def test_a_campaign_whose_change_was_killed_half_way_is_shown_with_the_rounds_that_it_has(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    prepare_event(_file("first", FAR), data_dir, system_clock().now_us)
    add_campaign(_file("a", FAR), data_dir, Holder())
    with changing_listings(data_dir) as listings:  # as a change leaves it that does not come to its end
        listings[0] = msgspec.structs.replace(listings[0], rounds=listings[0].rounds * 2)
    shown = show_campaign("a", data_dir)
    assert [(one["round"], one["opens_at"], one["packets"]) for one in shown["rounds"]] == [
        ("r1", "2040-01-01T00:00:00.000000Z", 3)
    ]


@pytest.mark.parametrize(
    ("now_us", "near"), [(89, None), (90, "r1"), (100, "r1"), (199, "r1"), (200, None), (289, None), (290, "r2")]
)
def test_a_round_is_near_from_so_long_before_it_opens_until_it_closes(now_us: int, near: str | None) -> None:
    rounds = (RoundTimes("r1", 100, 200), RoundTimes("r2", 300, 400))
    found = Listing(id="a", name="A", rounds=rounds, added_at="").near(now_us, ahead_us=10)
    assert (None if found is None else found.id) == near


async def test_a_campaign_that_cannot_be_opened_takes_no_other_along(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        for name in ("broken", "fine"):
            await _in_thread(add_campaign, _file(name, FAR), server.data_dir, Holder())
        directory_of(server.data_dir, "broken").amounts.write_bytes(b"")
        await server.until("/v1/campaigns/fine/rounds/r1", 200)
        await server.until("/v1/campaigns/broken/rounds/r1", 503)
        assert (await server.grab("/v1/rounds/r1", server.ticket(None, "ann"))).outcome == "granted"


async def test_a_connection_that_has_claimed_from_a_campaign_notices_that_it_was_ended(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await _in_thread(add_campaign, _file("spring"), server.data_dir, Holder())
        await server.until("/v1/campaigns/spring/rounds/r1", 200)
        claim = request("POST", "/v1/campaigns/spring/rounds/r1/grab", server.ticket("spring", "ann"))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["gate"])

        async def grab() -> Answer:
            writer.write(claim)
            received = b""
            while (found := read_answer(received)) is None:
                received += await reader.read(65_536)
            return found[0]

        try:
            assert [(await grab()).json["repeat"] for _ in range(4)] == [False, True, True, True]
            await _in_thread(end_campaign, "spring", server.data_dir, Holder(), "it is over", yes=True)
            async with asyncio.timeout(PATIENCE_S):
                while (await grab()).status != 404:
                    await asyncio.sleep(0.02)
        finally:
            writer.close()


async def test_the_metrics_tell_of_each_campaign_that_is_awake(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await _in_thread(add_campaign, _file("two"), server.data_dir, Holder())
        path = "/v1/campaigns/two/rounds/r1"
        await server.until(path, 200)
        assert (await server.grab(path, server.ticket("two", "alice"))).outcome == "granted"
        metrics = (await server.ask("GET", "/metrics", port="control")).body.decode()
    assert 'redrush_claims_total{campaign="two",outcome="granted",round="r1"} 1.0' in metrics
    assert 'redrush_reconcile_problems{campaign="two"} 0.0' in metrics
    assert "\nredrush_reconcile_problems 0.0" in metrics


async def test_a_backup_has_every_campaign_and_brings_each_back_with_its_grants(tmp_path: Path) -> None:
    won: dict[str, str] = {}
    paths = {"first": "/v1/rounds/r1", "spring": "/v1/campaigns/spring/rounds/r1"}
    async with running(tmp_path / "data", _file("first")) as server:
        await _in_thread(add_campaign, _file("spring"), server.data_dir, Holder())
        await server.until(paths["spring"], 200)
        for name, path in paths.items():
            campaign = None if name == "first" else name
            won[name] = (await server.grab(path, server.ticket(campaign, "ann"))).json["grant"]["receipt"]
        made = await _in_thread(backup, server.data_dir, tmp_path / "backup", _silent)
        assert made.campaigns == ("spring",)
        await server.grab(paths["spring"], server.ticket("spring", "bob"))

    with pytest.raises(ConfigError, match="campaigns/spring: was made at"):
        restore(tmp_path / "backup", server.data_dir, tell=_silent)

    elsewhere = DataDir(tmp_path / "elsewhere")
    restored = restore(tmp_path / "backup", elsewhere, tell=_silent)
    assert [one.directory for one in restored] == [elsewhere.root, directory_of(elsewhere, "spring").root]
    async with running(elsewhere.root, _file("first")) as server:
        await server.until(paths["spring"], 200)
        for name, path in paths.items():
            again = await server.grab(path, server.ticket(None if name == "first" else name, "ann"))
            assert (again.outcome, again.json["repeat"]) == ("granted", True)
            assert again.json["grant"]["receipt"] == won[name]
        assert (await server.grab(paths["spring"], server.ticket("spring", "cid"))).json["grant"]["slot"] == 1


async def test_a_backup_counts_the_grants_that_are_permanent_however_the_log_has_them(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "data")
    prepare_event(_file("first"), data_dir, system_clock().now_us)
    store = await SqliteStore.open_path(data_dir.journal)
    await store.open([PotTerms("r1", Slots(0, 3)), PotTerms("s1", Slots(100, 3), hold_us=600_000_000)])
    claimed = await store.claim([Claim("r1", "ann"), Claim("s1", "bob"), Claim("r1", "cid"), Claim("s1", "dan")], 1)
    bob = claimed[1]
    assert isinstance(bob, Held)
    await store.confirm([Grant("s1", "bob", bob.slot, number=bob.number)], 2)
    await store.close()
    made = await _in_thread(backup, data_dir, tmp_path / "backup", _silent)
    assert made.grants == 3, "dan only holds his"


def _silent(_name: str, _done: int, _total: int) -> None:
    """Nobody looks."""
