"""A campaign that is a rehearsal: nothing of it reaches anybody, people and operators are shown it, no sum has it."""

from pathlib import Path
from typing import Final

import pytest

from redrush.config import load_payments_file, parse_campaign
from redrush.console.wording import validator_in_chinese
from redrush.control.amending import REHEARSAL_FIXED, changes_between
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event, prepare_event
from redrush.core.load.client_policy import ClientPolicy
from redrush.errors import ConfigError
from redrush.operate.campaigns import list_campaigns
from redrush.operate.paying import Books, book_of
from redrush.operate.paying_out import plan_payouts
from redrush.page.content import content_of
from redrush.page.document import page_of
from redrush.page.terms import PageTerms
from redrush.records.sqlite.bills import SqliteBillBook
from tests.campaigns import OFF, a_round, campaign
from tests.commands import redrush
from tests.console.console_world import get, post, with_server, without_server
from tests.console.test_console_proving import win

MARK: Final = "rehearsal = true\n"
LIVE: Final = campaign(a_round("r1", "100.00", 1_000), tables=OFF)
PLAYED: Final = campaign(a_round("r1", "100.00", 1_000), tables=MARK + OFF)
SALE: Final = (
    '[[round]]\nid = "s"\nkind = "sale"\nopens = "now"\nlasts = "1h"\nunits = 5\nprice = "1.00"\nhold = "10m"\n'
)
NOW_US: Final = 1_000_000


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        (campaign(tables=MARK + '[payout]\nprovider = "bank"\npolicy = "auto"\n'), "payout", "pays nobody"),
        (campaign(tables=MARK + '[group]\nkinds = ["equal"]\n'), "group", "pays nobody"),
        (campaign(tables=MARK + '[[message]]\nby = "sms"\n'), "message", "tells nobody"),
        (campaign(SALE, tables=MARK), "round[0].kind", "takes no money"),
    ],
)
def test_what_would_reach_somebody_is_refused_at_its_key(text: str, key: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_campaign(text, "c.toml")
    _, _, said = str(refused.value).partition(f"{key}: ")
    assert says in said
    assert validator_in_chinese(said) != said
    assert not parse_campaign(campaign(), "c.toml").rehearsal


def test_it_stays_what_people_were_shown(tmp_path: Path) -> None:
    for name, first, then in (("a", LIVE, PLAYED), ("b", PLAYED, LIVE)):
        data_dir = DataDir(tmp_path / name)
        data_dir.create()
        prepare_event(parse_campaign(first, "c.toml"), data_dir, lambda: NOW_US)
        (change,) = changes_between(load_event(data_dir), parse_campaign(then, "c.toml"), NOW_US)
        assert (change.what, change.refused) == ("rehearsal", REHEARSAL_FIXED)
        (listed,) = list_campaigns(data_dir)
        assert listed["rehearsal"] is (first == PLAYED)
        told = redrush("campaign", "list", "--data", data_dir.root).out
        assert told == f"c: over{', a rehearsal' if first == PLAYED else ''}, n\n"


def test_nobody_is_paid_by_an_order_either(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    data_dir.create()
    prepare_event(parse_campaign(PLAYED, "c.toml"), data_dir, lambda: NOW_US)
    SqliteBillBook.open_path(data_dir.payments).close()
    (tmp_path / "payments.toml").write_text(
        '[[provider]]\nname = "bank"\nkind = "sandbox"\nurl = "http://127.0.0.1:1"\n'
    )
    books = Books(data_dir, None)
    with book_of(books) as book, pytest.raises(ConfigError, match="is a rehearsal"):
        plan_payouts(books, book, load_payments_file(tmp_path / "payments.toml"), "bank", [])


def test_the_page_of_participants_says_so_in_both_languages(tmp_path: Path) -> None:
    for name, text in (("a", PLAYED), ("b", LIVE)):
        data_dir = DataDir(tmp_path / name)
        data_dir.create()
        prepare_event(parse_campaign(text, "c.toml"), data_dir, lambda: NOW_US)
        found = load_event(data_dir).sealed.campaign
        html = page_of(content_of(found, ClientPolicy(), PageTerms()), PageTerms()).html.decode()
        told = ["彩排：" in html, "nothing that is won here is paid" in html]
        assert told == [text == PLAYED] * 2


async def test_the_console_shows_it_and_leaves_it_out_of_sums(tmp_path: Path) -> None:
    async with with_server(tmp_path, PLAYED) as world, world.client("vera") as vera:
        await win(world, "ann")
        await world.desk.purses.look(["c"])
        await world.desk.live.look()
        snapshot = await get(vera, "/live")
        (one,) = snapshot["campaigns"]
        assert (one["rehearsal"], one["money"]["granted"]) == (True, "0.10")
        assert snapshot["figures"].get("money_granted") is None
        for language, word in (("en", "is a rehearsal"), ("zh", "是彩排")):
            vera.headers["Accept-Language"] = language
            for page in ("/", "/campaigns", "/steer", "/grants?campaign=c"):
                assert word in (await vera.get(page)).text, page
        assert "rehearsal" not in (await vera.get("/login")).text


async def test_its_rounds_stand_in_no_drill_s_way_and_those_of_others_do(tmp_path: Path) -> None:
    async with without_server(tmp_path, PLAYED) as world, world.client("olga") as olga:
        assert await world.desk.drills.live() is None
        await post(olga, "/drafts", 201, name="next")
        await olga.put("/api/v1/drafts/next", json={"text": campaign(a_round("r1", "1.00", 10), id="next")})
        assert (await post(olga, "/drafts/next/serve", yes=True))["done"]
        assert "round r1 of next " in (await post(olga, "/drills/overload", 409))["detail"]
        assert {one["campaign"]: one["rehearsal"] for one in await get(olga, "/campaigns")} == {
            "c": True,
            "next": False,
        }
        assert "is a rehearsal" not in (await olga.get("/steer?campaign=next")).text
