"""What `check`, and every start, says of a draw: what runs out, what the law asks, and a floor that cannot be kept."""

from pathlib import Path

import pytest

from redrush.config import load_campaign_file
from redrush.control.doubts import doubts_about, look_at_audience
from redrush.errors import ConfigError
from redrush.operate.checking import check_campaign

HEAD = """
[campaign]
id = "c"
name = "n"
currency = "CNY"
timezone = "Asia/Shanghai"
{campaign}
[[round]]
id = "d"
kind = "draw"
opens = 2030-01-01T20:00:00+08:00
lasts = "{lasts}"
plays = {plays}
{round}
"""


def doubts(directory: Path, people: int | None, text: str) -> list[str]:
    file = directory / "c.toml"
    (directory / "people.txt").write_text("".join(f"u{number}\n" for number in range(people or 0)))
    file.write_text(text)
    campaign = load_campaign_file(file)
    return doubts_about(campaign, look_at_audience(campaign), 0)


def campaign(
    prizes: str,
    *,
    plays: str = "{ per_user = 10 }",
    lasts: str = "2h",
    people: bool = True,
    floor: str = "",
    cn: bool = False,
) -> str:
    extra = ('audience = "people.txt"\n' if people else "") + ('jurisdiction = "CN"\n' if cn else "")
    return HEAD.format(campaign=extra, plays=plays, lasts=lasts, round=floor) + prizes


COUPONS = """
[[round.prize]]
id = "coupon"
holds = "goods"
count = {count}
odds = "1/20"
"""


def test_the_chance_that_a_prize_runs_out_is_told_with_how_many_are_hit(tmp_path: Path) -> None:
    (told,) = doubts(tmp_path, 1_000, campaign(COUPONS.format(count=500)))
    assert told.startswith("round d: if all 1,000 people make their 10 plays, coupon runs out before the end")
    assert "chance of 48." in told
    assert "about 500 plays hit it, and there are 500" in told
    assert doubts(tmp_path, 1_000, campaign(COUPONS.format(count=600))) == []


def test_where_nobody_knows_how_many_come_the_plays_until_it_is_gone_are_told(tmp_path: Path) -> None:
    (told,) = doubts(tmp_path, None, campaign(COUPONS.format(count=500), people=False))
    assert (
        told == "round d: 500 of coupon at odds of 1/20 are gone after about 10,000 plays, of 10 that each person has"
    )


PHONE = """
[[round.prize]]
id = "phone"
holds = "goods"
count = 3
release = "spread"
{worth}
"""


@pytest.mark.parametrize(
    ("worth", "cn", "said"),
    [
        (
            'worth = "50000.01"',
            True,
            "is worth 50000.01 yuan; in China a prize that is drawn may be worth at most 50000",
        ),
        ("", True, "what one phone is worth is not said"),
        ('worth = "50000.00"', True, None),
        ('worth = "50000.01"', False, None),
    ],
)
def test_the_cap_of_a_single_prize_is_told_where_the_campaign_is_chinese(
    worth: str, cn: bool, said: str | None, tmp_path: Path
) -> None:
    told = doubts(tmp_path, 5, campaign(PHONE.format(worth=worth), cn=cn))
    assert len(told) == (said is not None)
    assert said is None or said in told[0]


FLOOR = """
[[round.prize]]
id = "last"
holds = "money"
amount = "0.50"
count = {count}
"""


def test_a_floor_that_the_stock_cannot_carry_is_refused_with_the_numbers(tmp_path: Path) -> None:
    floor = 'floor = { within = 5, prize = "last" }'
    assert doubts(tmp_path, 100, campaign(FLOOR.format(count=200), floor=floor)) == []
    with pytest.raises(ConfigError, match=r"2 of last to each of 100 people, which are 200, and there are 199"):
        doubts(tmp_path, 100, campaign(FLOOR.format(count=199), floor=floor))
    (told,) = doubts(tmp_path, None, campaign(FLOOR.format(count=200), floor=floor, people=False))
    assert "kept for the first 100 people" in told


def test_plays_that_are_used_up_before_the_last_day_are_told(tmp_path: Path) -> None:
    plays = "{ per_user = 4, per_day = 2 }"
    (told,) = doubts(tmp_path, 1, campaign(PHONE.format(worth=""), plays=plays, lasts="3d"))
    assert "used up on day 2 of 4" in told
    assert doubts(tmp_path, 1, campaign(PHONE.format(worth=""), plays=plays, lasts="24h")) == []


def test_check_says_what_the_draw_will_do_and_names_codes_that_look_alike(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("code,expires\nAB-O1,x\nAB-01,y\nAB-02,z\n")
    prizes = '[[round.prize]]\nid = "coupon"\nname = "优惠券"\nholds = "code"\ncodes = "codes.csv"\nodds = "1/20"\n'
    file = tmp_path / "c.toml"
    file.write_text(campaign(prizes + PHONE.format(worth=""), people=False))
    summary, lines = check_campaign(load_campaign_file(file), str(file), 0)
    text = "\n".join(lines)
    assert "coupon (优惠券): 3 codes, odds 1/20" in text
    assert "phone: 3 goods, spread over the round" in text
    assert "10 plays a person" in text
    assert "codes in lines 2 and 3 look alike" in text
    assert [prize["id"] for prize in summary["rounds"][0]["prizes"]] == ["coupon", "phone"]
