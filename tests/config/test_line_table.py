"""`[round.line]` refuses what cannot be, with the line, the key and what would be right."""

import pytest

from redrush.config import parse_campaign
from redrush.core.rush.line import LineTerms, Order
from redrush.errors import ConfigError

TEXT = """
[campaign]
id = "c"
name = "c"
currency = "CNY"
[[round]]
id = "r1"
opens = 2030-01-01T00:00:00Z
lasts = "60s"
kind = "equal"
total = "10.00"
packets = 3
[round.line]
"""


def terms_of(table: str) -> LineTerms | None:
    return parse_campaign(TEXT + table, "c.toml").rounds[0].line


def test_a_pace_is_enough() -> None:
    assert terms_of("pace = 200") == LineTerms(
        opens_before_us=600_000_000,
        order=Order.RANDOM,
        pace_per_s=200.0,
        grace_us=180_000_000,
        admitted_us=300_000_000,
    )


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", 'c.toml:13: round[0].line: the key "pace" is missing'),
        ("pace = 0", "c.toml:14: round[0].line.pace: must be above 0 and at most 1,000,000 people a second"),
        ('pace = 5\norder = "vip"', "c.toml:15: round[0].line.order"),
        ('pace = 5\ngrace = "1s"', 'c.toml:15: round[0].line.grace: "1s" is not from 5 seconds to an hour'),
        ('pace = 5\nopens = "40d"', 'c.toml:15: round[0].line.opens: "40d" is not from a second to 30 days'),
        ('pace = 5\nadmitted = "soon"', 'c.toml:15: round[0].line.admitted: "soon" is not a duration'),
        ("pace = 5\nplaces_max = 0", "c.toml:15: round[0].line.places_max: must be from 1 to"),
        ("pace = 5\nsoft_return = -1", "c.toml:15: round[0].line.soft_return: must be from 1 to"),
        ("pace = 5\npeace = 5", "c.toml:15: round[0].line.peace"),
    ],
)
def test_what_cannot_be_is_refused(table: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        terms_of(table)
    assert said in str(refused.value)


def test_an_amendment_leaves_the_line_as_it_is() -> None:
    """Its pace is a switch; what people were told when they joined is not."""
    assert terms_of("pace = 5") != terms_of("pace = 6")
