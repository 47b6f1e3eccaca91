"""Rounds of kind "sale": what they may say, and what is told where they say what cannot be."""

from pathlib import Path

import pytest

from redrush.config import CampaignFile, parse_campaign
from redrush.core.rush.campaign import Kind
from redrush.core.rush.sale import SaleTerms
from redrush.errors import ConfigError

MINUTE_US = 60_000_000
SALE = """\
[campaign]
id = "c"
name = "sale"
currency = "CNY"

[[round]]
id = "phone"
kind = "sale"
opens = 2027-02-06T20:00:00+08:00
lasts = "30m"
units = 500
price = "4999.00"
"""


def parsed(text: str, directory: Path = Path()) -> CampaignFile:
    return parse_campaign(text, str(directory / "c.toml"))


def terms_of(text: str, directory: Path = Path()) -> SaleTerms:
    sale = parsed(text, directory).rounds[0].sale
    assert sale is not None
    return sale


def test_a_price_and_units_are_a_sale() -> None:
    [round_] = parsed(SALE).rounds
    assert (round_.kind, round_.packets, round_.total_minor) == (Kind.SALE, 500, 0)
    assert round_.sale == SaleTerms(price_minor=499_900, hold_us=10 * MINUTE_US, return_every_us=MINUTE_US // 2)


def test_all_of_its_terms_may_be_said() -> None:
    more = 'hold = "90s"\nreturn_every = "5s"\nlimit_per_user = 2\nadmit_first = 1000\nsecret_url = true\n'
    assert terms_of(SALE + more + 'pay = "bank"\nshop = "store"\n') == SaleTerms(
        price_minor=499_900,
        hold_us=90_000_000,
        return_every_us=5_000_000,
        limit_per_user=2,
        admit_first=1000,
        secret_url=True,
        pay="bank",
        shop="store",
    )


@pytest.mark.parametrize("heading", ["", "Seat,row\n", "\ufeffid\n"])
def test_items_are_the_first_column_of_a_list(heading: str, tmp_path: Path) -> None:
    (tmp_path / "seats.csv").write_text(f'{heading}A-1,1\n"A, 2",1\n 厅-3 \n', encoding="utf-8")
    text = SALE.replace("units = 500", 'items = "seats.csv"')
    assert terms_of(text, tmp_path).items == ("A-1", "A, 2", "厅-3")
    assert parsed(text, tmp_path).rounds[0].packets == 3


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "sentence"),
    [
        ("units = 500\n", "", 6, "round[0]", 'either units = 500, all alike, or items = "seats.csv"'),
        ("units = 500", 'units = 500\nitems = "seats.csv"', 12, "round[0].items", "cannot be read"),
        ("units = 500", "units = 0", 11, "round[0].units", "must be from 1 to 10,000,000"),
        ('price = "4999.00"', 'price = "0"', 12, "round[0].price", "a unit costs at least 0.01 CNY"),
        ('price = "4999.00"\n', "", 6, "round[0]", 'the key "price" is missing'),
        ('price = "4999.00"', "price = 4999", 12, "round[0].price", 'price = "4999.00"'),
        ("units = 500", "packets = 500", 11, "round[0].packets", 'unknown key "packets"'),
        ("units = 500", 'units = 500\nhold = "46m"', 12, "round[0].hold", "15 minutes: what comes back so late can be"),
        ("units = 500", 'units = 500\nhold = "500ms"', 12, "round[0].hold", "at least 1000 ms"),
        ("units = 500", 'units = 500\nhold = "soon"', 12, "round[0].hold", "not a duration"),
        ("units = 500", 'units = 500\nreturn_every = "31m"', 12, "round[0].return_every", "nothing would be offered"),
        ("units = 500", "units = 500\nlimit_per_user = 0", 12, "round[0].limit_per_user", "must be from 1 to 100"),
        ("units = 500", "units = 5\nlimit_per_user = 6", 12, "round[0].limit_per_user", "from 1 to 5, for there are 5"),
        ("units = 500", "units = 500\nadmit_first = 499", 12, "round[0].admit_first", "some would be left"),
        ("units = 500", "units = 500\nadmit_first = 10000001", 12, "round[0].admit_first", "at most 10,000,000"),
        ("units = 500", 'units = 500\npay = "a b"', 12, "round[0].pay", "is not an id"),
        ("units = 500", 'units = 500\nshop = ""', 12, "round[0].shop", "is not an id"),
    ],
)
def test_what_cannot_be_is_told_with_line_key_and_what_would_be_right(
    old: str, new: str, line: int, key: str, sentence: str
) -> None:
    assert old in SALE
    with pytest.raises(ConfigError) as told:
        parsed(SALE.replace(old, new, 1))
    assert str(told.value).startswith(f"c.toml:{line}: {key}: ")
    assert sentence in str(told.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("A-1\nA-2\na-1\n", 'seats.csv:3 has "a-1" a second time, it stands in line 1: an item is sold once'),
        ("A-1\n\nA-2\n", "seats.csv:2 is blank"),
        ("A-1\n,row 2\n", "seats.csv:2 is blank"),
        ("id\n", "lists no items"),
        ("A-1\nx\x07y\n", "seats.csv:2 is no id"),
        ("A" * 65, "seats.csv:1 is no id: at most 64 signs"),
    ],
)
def test_a_list_of_items_is_checked_line_by_line(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "seats.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as told:
        parsed(SALE.replace("units = 500", 'items = "seats.csv"'), tmp_path)
    assert ":11: round[0].items: " in str(told.value)
    assert sentence in str(told.value)


def test_a_list_that_is_no_text_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "seats.csv").write_bytes(b"A-1\n\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"seats.csv is not UTF-8 text \(byte 4\)"):
        parsed(SALE.replace("units = 500", 'items = "seats.csv"'), tmp_path)
