"""The fleet page: which release each process is, and what crowds need against what there is for them."""

from pathlib import Path

from redrush import __version__
from redrush.api.capacity import Have, Plan, come_together, is_enough
from redrush.api.handlers.watching import common_release
from redrush.core.load.capacity import need_of
from tests.campaigns import OFF, a_round, campaign
from tests.console.console_world import get, post, with_server, without_server

SOON = "2090-01-01T00:00:00Z"


async def test_every_process_says_its_release_and_a_person_says_how_many_come(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("vera") as vera:
        (plan,) = (await get(vera, "/capacity"))["plans"]
        assert (plan["need"], plan["why"]) == (None, "everybody with a ticket may come")
        told = await get(vera, "/capacity?people=1000000")
        assert told["plans"][0]["need"]["gates"] == 120
        assert told["together"]["requests_per_s"] == 3_000_000
        await get(vera, "/capacity?people=0", 400)
        assert "3,000,000" in (await vera.get("/fleet?people=1,000,000")).text
        for wrong in ("many", "-1", "0", "9" * 30, "²"):
            answer = await vera.get("/fleet", params={"people": wrong})
            assert answer.status_code == 400, wrong
        listed = (await get(vera, "/checklist?round=r2"))["items"]
        assert next(one for one in listed if one["name"] == "capacity")["by_person"]
        told = await get(vera, "/fleet")
        (server,) = told["processes"]
        assert (server["version"], server["differs"]) == (__version__, False)
        assert server["python"] == told["console"]["python"]
        page = (await vera.get("/fleet")).text
        assert page.count(f"{__version__} <small>Python") == 2, "the server and the console"
        assert "another release" not in page
        assert world.desk.live.latest is not None
        world.desk.live.latest.processes.extend(
            {**server, "name": name, "version": "0.0.9", "answers": True, "why": None} for name in ("old", "older")
        )
        found = await get(vera, "/fleet")
        assert [one["differs"] for one in found["processes"]] == [False, True, True]
        assert (await vera.get("/fleet")).text.count("another release than most") == 2


def test_the_release_of_most_is_the_common_one_and_of_as_many_the_later() -> None:
    rows = [{"version": version, "python": "3.12.1"} for version in ("1.0", "1.1", "1.0", None)]
    assert common_release(rows) == ("1.0", "3.12.1")
    assert common_release(rows[:2]) == ("1.1", "3.12.1")


async def test_what_a_list_of_people_needs_is_told_against_what_there_is(tmp_path: Path) -> None:
    text = campaign(
        a_round("r1", "1.00", 10, opens=SOON), audience="who.txt", tables='[client]\nstart_window = "2s"\n' + OFF
    )
    listed = tmp_path / "who.txt"
    listed.write_text("".join(f"user{number}\n" for number in range(500)))
    text = text.replace('"who.txt"', f'"{listed}"')
    async with with_server(tmp_path / "d", text) as world, world.client("olga") as olga:
        told = await get(olga, "/capacity")
        assert (told["have"]["gates"], told["have"]["requests_per_s"]) == (1, 25_000)
        (plan,) = told["plans"]
        assert plan["need"] == {
            "people": 500, "within_s": 2.0, "requests_per_s": 750, "gates": 1, "connections": 500,
        }  # fmt: skip
        assert plan["enough"] is True
        items = {one["name"]: one for one in (await get(olga, "/checklist?round=r1"))["items"]}
        assert items["capacity"]["ok"]
        assert "500 people within 2 s: 750 requests/s" in items["capacity"]["found"]
        assert not items["capacity"]["by_person"], "what can be looked up is"
        listed.write_text("".join(f"user{number}\n" for number in range(60_000)))
        told = await get(olga, "/capacity")
        assert (told["plans"][0]["need"]["gates"], told["plans"][0]["enough"]) == (4, False)
        page = (await olga.get("/fleet", headers={"Accept-Language": "zh"})).text
        assert "不够" in page
        items = {one["name"]: one for one in (await get(olga, "/checklist?round=r1"))["items"]}
        assert not items["capacity"]["ok"]
        await post(olga, "/checklist", round="r1", item="capacity", why="rehearsed with as many")


async def test_what_nobody_serves_has_no_capacity_and_a_page(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("vera") as vera:
        told = await get(vera, "/capacity?people=10")
        assert (told["have"]["gates"], told["plans"][0]["enough"]) == (0, False)
        assert (await vera.get("/fleet?people=10")).status_code == 200


def test_crowds_that_begin_while_another_comes_are_summed() -> None:
    def plan(number: int, opens_at: str, people: int) -> Plan:
        return Plan(campaign=f"c{number}", name="n", round="r", opens_at=opens_at, need=need_of(people, 10_000))

    plans = [
        plan(1, "2090-01-01T00:00:00.000000Z", 1_000),
        plan(2, "2090-01-01T00:00:05.000000Z", 2_000),
        plan(3, "2090-01-01T00:00:15.000000Z", 2_500),
        Plan(campaign="c4", name="n", round="r", opens_at="2090-01-01T00:00:05.000000Z", need=None, why="nobody knows"),
    ]
    together = come_together(plans)
    assert together is not None
    assert (together.people, together.requests_per_s) == (3_000, 900)
    assert come_together(plans[3:]) is None
    assert is_enough(together, Have(gates=1, requests_per_s=25_000, connections=3_000, sets=1))
    assert not is_enough(together, Have(gates=1, requests_per_s=25_000, connections=2_999, sets=1))
    assert not is_enough(together, Have(gates=0, requests_per_s=0, connections=None, sets=1))
