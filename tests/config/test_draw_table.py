"""A draw in a campaign file: what it says, and the sentence for everything that cannot be."""

from pathlib import Path

import pytest

from redrush.config import parse_campaign
from redrush.config.code_list import BadCodes, codes_of
from redrush.core.rush.campaign import Kind, Leftover
from redrush.core.rush.draw import DrawTerms, Floor, PrizeKind
from redrush.errors import ConfigError

HEAD = """
[campaign]
id = "c"
name = "n"
currency = "CNY"
timezone = "Asia/Shanghai"
[[round]]
id = "d"
kind = "draw"
opens = 2030-01-01T20:00:00+08:00
lasts = "2h"
"""
PLAYS = "plays = { per_user = 10, per_day = 3 }\n"


def prize(**keys: str) -> str:
    return "[[round.prize]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


PHONE = prize(id='"phone"', name='"手机"', holds='"goods"', count="3", release='"spread"')
CODES = prize(id='"coupon"', holds='"code"', codes='"codes.csv"', odds='"1/20"', otherwise='"red"')
RED = prize(id='"red"', holds='"money"', count="40", amount='"0.88"', release="{ per_second = 2 }")


def draw_of(text: str, directory: Path) -> DrawTerms:
    draw = parse_campaign(text, str(directory / "c.toml")).rounds[0].draw
    assert draw is not None
    return draw


def test_a_draw_is_read_with_its_prizes_in_order(tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("RR-1\nRR-2\n\n")
    floor = 'floor = { within = 3, prize = "red" }\n'
    text = HEAD + PLAYS + floor + PHONE + CODES + RED
    (round_,) = parse_campaign(text, str(tmp_path / "c.toml")).rounds
    draw = draw_of(text, tmp_path)
    assert (round_.kind, round_.packets, round_.total_minor, round_.leftover) == (Kind.DRAW, 45, 3_520, Leftover.RETURN)
    assert (draw.per_user, draw.per_day, draw.zone, draw.floor) == (10, 3, "Asia/Shanghai", Floor(3, "red"))
    phone, coupon, red = draw.prizes
    assert (phone.name, phone.holds, phone.count, phone.spread) == ("手机", PrizeKind.GOODS, 3, True)
    assert (coupon.name, coupon.count, coupon.odds, coupon.otherwise) == ("coupon", 2, (1, 20), "red")
    assert (red.each_minor, red.per_second, red.limit_per_user) == (88, 2, 1)


def test_of_the_floors_prize_a_user_may_have_one_for_each_floor_unless_the_file_says(tmp_path: Path) -> None:
    floor = 'plays = { per_user = 9 }\nfloor = { within = 3, prize = "last" }\n'
    last = prize(id='"last"', holds='"money"', count="40", amount='"0.88"')
    assert draw_of(HEAD + floor + last, tmp_path).prizes[0].limit_per_user == 3
    said = last + "per_user = 2\n"
    assert draw_of(HEAD + floor + said, tmp_path).prizes[0].limit_per_user == 2


WRONG = {
    "no plays": ("plays = {}\n" + PHONE, "round[0].plays", "how often one may play"),
    "plays of nobody": ("plays = { per_user = 0 }\n" + PHONE, "plays.per_user", "from 1 to 1,000"),
    "more a day than in all": ("plays = { per_user = 2, per_day = 3 }\n" + PHONE, "plays.per_day", "more than the 2"),
    "odds over 1": (PLAYS + PHONE.replace('release = "spread"', 'odds = "3/2"'), "odds", "more than 1"),
    "odds as a number": (PLAYS + PHONE.replace('release = "spread"', 'odds = "0.05"'), "odds", 'like "1/20"'),
    "odds of never": (PLAYS + PHONE.replace('release = "spread"', 'odds = "0/2"'), "odds", "never"),
    "odds over 1 together": (
        PLAYS
        + PHONE.replace('release = "spread"', 'odds = "2/3"')
        + RED.replace("release = { per_second = 2 }", 'odds = "1/2"'),
        "round[0].prize",
        "add up to 7/6",
    ),
    "odds and release": (PLAYS + PHONE + 'odds = "1/2"\n', "release", "not both"),
    "never won": (PLAYS + PHONE.replace('release = "spread"', ""), "round[0].prize[0]", "nobody can win it"),
    "a pace of nothing": (PLAYS + RED.replace("= 2 }", "= 0 }"), "release.per_second", "above 0"),
    "another release": (PLAYS + PHONE.replace('"spread"', '"soon"'), "release", ""),
    "money without an amount": (PLAYS + RED.replace('amount = "0.88"\n', ""), "prize[0]", 'amount = "8.88"'),
    "money of nothing": (PLAYS + RED.replace("0.88", "0.00"), "amount", "is nothing"),
    "goods with an amount": (PLAYS + PHONE + 'amount = "1.00"\n', "amount", "worth"),
    "goods without a count": (PLAYS + PHONE.replace("count = 3\n", ""), "prize[0]", '"count" is missing'),
    "none of them": (PLAYS + PHONE.replace("count = 3", "count = 0"), "count", "from 1"),
    "two of one id": (PLAYS + PHONE + PHONE, "prize[1].id", "used twice"),
    "no such follower": (PLAYS + PHONE + 'otherwise = "car"\n', "otherwise", "none of the prizes: phone"),
    "a circle": (
        PLAYS + PHONE + 'otherwise = "red"\n' + RED + 'otherwise = "phone"\n',
        "otherwise",
        "phone -> red -> phone",
    ),
    "no such floor": (PLAYS + 'floor = { within = 3, prize = "car" }\n' + PHONE, "floor.prize", "none of the prizes"),
    "a floor nobody reaches": (
        'plays = { per_user = 3 }\nfloor = { within = 4, prize = "phone" }\n' + PHONE,
        "floor.within",
        "from 1 to 3",
    ),
    "codes of no list": (PLAYS + prize(id='"x"', holds='"code"', odds='"1/2"'), "prize[0]", 'codes = "coupons.csv"'),
    "a list that is not there": (PLAYS + CODES.replace("codes.csv", "away.csv"), "codes", "No such file"),
    "fewer codes than said": (PLAYS + CODES + "count = 3\n" + RED, "count", "3 are more than the 2 codes of codes.csv"),
    "goods with codes": (PLAYS + PHONE + 'codes = "codes.csv"\n', "codes", "leave it out"),
    "another thing to hold": (PLAYS + PHONE.replace('"goods"', '"luck"'), "holds", '"money", "code", "goods"'),
    "leftover": (PLAYS + 'leftover = "next"\n' + PHONE, "leftover", "unknown key"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_refused_with_file_line_key_and_what_would_be_right(name: str, tmp_path: Path) -> None:
    (tmp_path / "codes.csv").write_text("RR-1\nRR-2\n")
    text, key, sentence = WRONG[name]
    with pytest.raises(ConfigError) as told:
        draw_of(HEAD + text, tmp_path)
    message = str(told.value)
    assert message.startswith(f"{tmp_path / 'c.toml'}:")
    assert key in message
    assert sentence in message


def test_a_country_is_two_letters(tmp_path: Path) -> None:
    text = (HEAD + PLAYS + PHONE).replace('currency = "CNY"', 'currency = "CNY"\njurisdiction = "China"')
    with pytest.raises(ConfigError, match='write two letters, like "CN"'):
        draw_of(text, tmp_path)


def test_codes_are_taken_from_the_column_of_that_name_or_the_first() -> None:
    assert codes_of("value,Code\n5,AAA\n6,BBB\n", "f").codes == ("AAA", "BBB")
    assert codes_of("AAA,5\r\nBBB,6\r\n\r\n", "f").codes == ("AAA", "BBB")


def test_blank_and_doubled_codes_are_refused_by_line() -> None:
    with pytest.raises(BadCodes) as told:
        codes_of("code\nAAA\n\nBBB\nAAA\n \nCC\u200bC\n" + "D" * 201, "codes.csv")
    assert str(told.value) == (
        "codes.csv: line 3 is blank; line 5 is the same code as line 2; line 6 is blank; line 7 has a sign in it that "
        "cannot be seen; line 8 has 201 signs, a code has at most 200"
    )
    with pytest.raises(BadCodes, match="has no codes"):
        codes_of("code\n", "codes.csv")
    with pytest.raises(BadCodes, match="and 5 more"):
        codes_of("A\n" * 16, "codes.csv")


def test_codes_that_look_alike_are_told_and_no_others() -> None:
    listed = codes_of("AB-10\nAB-IO\nab-l0\nAB-1C\n", "f")
    assert listed.doubts == ("f: the codes in lines 1 and 2 look alike", "f: the codes in lines 1 and 3 look alike")
