"""What the overview tells of money and of what is behind: of each campaign, from the books, and on the charts."""

from pathlib import Path
from typing import Any, Final

from redrush.core.money.ledger import user_account
from redrush.ports.bill_book import NewBill
from redrush.records.sqlite.bills import SqliteBillBook
from tests.campaigns import a_round, campaign
from tests.console.console_world import World, get, with_server, without_server
from tests.console.test_console_proving import win

LINE: Final = campaign(a_round("r1", "100.00", 1_000), a_round("r2", "1.00", 10), "[round.line]\npace = 50\n")


async def overview(world: World) -> dict[str, Any]:
    """Look until what is looked up beside has come."""
    await world.desk.live.look()
    assert world.desk.purses._looking is not None
    await world.desk.purses._looking
    await world.desk.live.look()
    async with world.client("vera") as vera:
        told: dict[str, Any] = await get(vera, "/live")
    return told


async def test_the_overview_tells_what_went_out_and_that_nothing_is_behind(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world:
        await win(world, "u1", "u2", "u3")
        async with world.client("vera") as vera:
            granted = (await get(vera, "/grants?pot=r1"))["grants"]
        out_minor = sum(round(float(row["amount"]) * 100) for row in granted)
        told = await overview(world)
        (one,) = told["campaigns"]
        assert one["money"]["currency"] == "CNY"
        assert round(float(one["money"]["granted"]) * 100) == out_minor
        assert one["money"]["paid"] is None, "nobody is paid there"
        r1 = next(row for row in one["rounds"] if row["round"] == "r1")
        assert r1["money_granted"] == one["money"]["granted"]
        assert r1["release_per_s"] is None
        assert one["lags"]["records_behind_s"] == 0.0
        assert one["lags"]["records_behind"] == 0
        assert told["figures"]["money_granted"] == out_minor / 100
        history = world.desk.live.history()
        last = dict(zip(history["columns"], history["points"][-1], strict=True))
        assert last["money_granted"] == out_minor / 100
        assert last["records_behind_s"] == 0.0
        async with world.client("vera", **{"Accept-Language": "zh-CN"}) as vera:
            page = (await vera.get("/")).text
        assert f'<output data-money="granted">{one["money"]["granted"]}</output>' in page
        assert "入账滞后" in page
        assert 'data-chart="lag"' in page
        assert 'data-chart="money"' in page


async def test_what_providers_moved_is_told_from_the_bill_book(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world:
        book = SqliteBillBook.open_path(world.data_dir.payments)
        bill = NewBill(
            kind="payout", source="g1", campaign="c", user="u1", provider="bank", currency="CNY", amount_minor=250,
            subject="red packet", to="u1",
        )  # fmt: skip
        book.make([bill], 1_000_000)
        assert book.under_way() == {"c": 1_000_000}
        assert user_account("u1") not in book.accounts("c")
        book.close()
        await world.desk.purses.look(["c"])
        money = world.desk.purses.now(["c"])["c"]
        assert (money.on_the_way, money.paid, money.taken, money.fees) == ("2.50", "0.00", "0.00", "0.00")
        await world.desk.purses.stop()


async def test_a_line_and_a_pace_are_told_with_their_round(tmp_path: Path) -> None:
    async with with_server(tmp_path, LINE) as world:
        told = await overview(world)
        (one,) = told["campaigns"]
        r2 = next(row for row in one["rounds"] if row["round"] == "r2")
        assert r2["line"]["pace_per_s"] == 50
        assert (r2["line"]["waiting"], r2["line"]["joined"], r2["line"]["paused"]) == (0, 0, False)
        assert "line" not in next(row for row in one["rounds"] if row["round"] == "r1")
        async with world.client("vera") as vera:
            page = (await vera.get("/")).text
        assert 'data-line="waiting"' in page
