"""What tests write as a campaign file is one."""

from redrush.config import parse_campaign
from tests.campaigns import OFF, a_round, campaign, lucky


def test_a_campaign_of_tests_says_what_it_was_told() -> None:
    text = campaign(
        lucky("first", "20.00", 10, leftover="next", opens="2030-01-01T20:00:00+08:00"),
        a_round("second", packets=5, lasts="90s"),
        id="mine",
        audience="users.txt",
        tables=OFF,
    )
    file = parse_campaign(text, "c.toml")
    assert (file.id, file.name) == ("mine", "n")
    assert [(one.id, one.packets, one.kind) for one in file.rounds] == [("first", 10, "lucky"), ("second", 5, "equal")]
    first, second = file.rounds
    assert (first.min_minor, first.max_minor, second.lasts_us) == (1, 2_000, 90_000_000)
    assert file.limits.user_per_second == "off"


def test_without_rounds_it_has_one_that_is_open_now() -> None:
    (only,) = parse_campaign(campaign(), "c.toml").rounds
    assert (only.id, only.packets, only.total_minor) == ("r1", 100, 100)
