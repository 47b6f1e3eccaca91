"""A part of one payment goes back from the console: seen first, typed, bound to what was left, and once."""

from urllib.parse import quote

import pytest

from redrush.console.wording import in_chinese
from redrush.control.data_dir import DataDir
from redrush.core.rush.sale_order import State
from redrush.operate.paying import Books
from redrush.ports.packets import Stage
from tests.console.console_world import World, get, post
from tests.operate.test_refunding_part import ORDER, PACKET, a_packet, an_order, books, give, refunds

__all__ = ["books"]

WHY = "a scratch on the box"
ADDRESS = f"/payment?order={quote(str(ORDER.order))}"


async def test_a_part_is_seen_typed_and_given_back_once(books: Books) -> None:
    an_order(books)
    world = World(DataDir(books.data_dir.root), {})
    async with world.client("olga") as olga, world.client("otto") as otto, world.client("vera") as vera:
        await get(vera, ADDRESS, 403)
        await post(vera, "/refunds/preview", 403, order=ORDER.order, amount="1.20")
        told = await get(olga, ADDRESS)
        assert (told["paid"], told["left"], told["user"], told["parts"]) == ("5.00", "5.00", "ann", [])
        for amount in ("1.234", "-1", "x", ""):
            await post(olga, "/refunds/preview", 400, order=ORDER.order, amount=amount)
        for amount in ("5.01", "0"):
            refused = await post(olga, "/refunds/preview", 409, order=ORDER.order, amount=amount)
            assert "5.00 of 5.00 CNY is left" in refused["detail"]
            assert in_chinese(refused["detail"]) != refused["detail"]
        seen = await post(olga, "/refunds/preview", order=ORDER.order, amount="1.20")
        assert (seen["part"], seen["amount"], seen["left_then"]) == (1, "1.20", "3.80")
        assert refunds(books) == []
        token = seen["token"]
        await post(olga, "/refunds", 400, token=token, typed="1.2", why=WHY)
        await post(olga, "/refunds", 400, token=token, typed="1.20", why="")
        await post(olga, "/refunds", 400, token=token, typed="1.20", why="two\nlines")
        await post(otto, "/refunds", 409, token=token, typed="1.20", why=WHY)
        assert refunds(books) == []
        for _ in range(2):
            given = await post(olga, "/refunds", token=token, typed="1.20", why=WHY)
            assert (given["left"], [one["amount"] for one in given["parts"]]) == ("3.80", ["1.20"])
        assert [amount for _, amount in refunds(books)] == [120]
        noted = [(line.who, line.what, line.about, line.why) for line in world.desk.diary.lines()]
        assert ("olga", "refund", "1.20 CNY of order c-s-1#1, part 1", WHY) in noted
        assert ("olga", "read story", "ann by order c-s-1#1", "") in noted
    await world.desk.stop()


async def test_who_saw_less_gone_gives_nothing_back(books: Books) -> None:
    an_order(books)
    world = World(DataDir(books.data_dir.root), {})
    async with world.client("olga") as olga, world.client("otto") as otto:
        seen = await post(olga, "/refunds/preview", order=ORDER.order, amount="all")
        assert seen["amount"] == "5.00"
        other = await post(otto, "/refunds/preview", order=ORDER.order, amount="2")
        await post(otto, "/refunds", token=other["token"], typed="2.00", why=WHY)
        refused = await post(olga, "/refunds", 409, token=seen["token"], typed="5.00", why=WHY)
        assert "part 1 of it was 2.00 CNY" in refused["detail"]
        seen = await post(olga, "/refunds/preview", order=ORDER.order, amount="1")
        give(books, 50, 2)
        give(books, 50, 3)
        refused = await post(olga, "/refunds", 409, token=seen["token"], typed="1.00", why=WHY)
        assert "part 2 of it was 0.50 CNY" in refused["detail"]
        assert [amount for _, amount in refunds(books)] == [200, 50, 50]
    await world.desk.stop()


async def test_the_pages_lead_from_a_story_to_a_part_that_goes_back(books: Books) -> None:
    an_order(books)
    world = World(DataDir(books.data_dir.root), {})
    async with world.client("olga") as olga:
        story = (await olga.get("/story?user=ann")).text
        assert 'href="/refund?order=c-s-1%231&amp;packet=&amp;campaign="' in story
        page = (await olga.get("/refund?order=c-s-1%231")).text
        assert "5.00 CNY" in page
        shown = await olga.post("/refund/preview", data={"order": str(ORDER.order), "amount": "1.20"})
        token = shown.text.partition('name="token" value="')[2].partition('"')[0]
        assert "5.00 → 3.80" in shown.text
        answer = await olga.post("/refund", data={"token": token, "typed": "1.20", "why": WHY})
        assert (answer.status_code, answer.headers["location"]) == (303, "/refund?order=c-s-1%231")
        olga.headers["Accept-Language"] = "zh"
        page = (await olga.get(answer.headers["location"])).text
        assert "1.20 CNY 正在退还，或已退还" in page
        assert WHY not in page
        assert "3.80 CNY" in page
        refused = await olga.post("/refund/preview", data={"order": str(ORDER.order), "amount": "4"})
        assert (refused.status_code, "尚可退还" in refused.text) == (409, True)
    await world.desk.stop()


async def test_what_goes_back_as_a_whole_or_is_a_packet_that_is_open_has_no_parts(books: Books) -> None:
    an_order(books, State.REFUNDING)
    a_packet(books, Stage.OPEN)
    world = World(DataDir(books.data_dir.root), {})
    async with world.client("olga") as olga:
        for what, why in (({"order": ORDER.order}, "goes back as a whole"), ({"packet": PACKET.packet}, "is not over")):
            refused = await post(olga, "/refunds/preview", 409, **what, amount="1")
            assert why in refused["detail"]
            assert in_chinese(refused["detail"]) != refused["detail"]
        await get(olga, "/payment?order=none", 400)
        await get(olga, "/payment", 400)
        await get(olga, f"/payment?order=x&packet={PACKET.packet}", 400)
    assert refunds(books) == []
    await world.desk.stop()


@pytest.mark.parametrize("amount", ["3.80", "all"])
async def test_of_a_packet_goes_back_what_others_had(books: Books, amount: str) -> None:
    a_packet(books, Stage.OVER)
    world = World(DataDir(books.data_dir.root), {})
    async with world.client("olga") as olga:
        seen = await post(olga, "/refunds/preview", packet=PACKET.packet, amount=amount)
        given = await post(olga, "/refunds", token=seen["token"], typed="3.80", why=WHY)
        assert given["left"] == "0.00"
    assert [amount for _, amount in refunds(books)] == [380]
    await world.desk.stop()
