"""`redrush init --opens`: when the rounds of a new campaign file open."""

from datetime import UTC, datetime, timedelta, timezone
from importlib import resources

import pytest

from redrush.cli.beginning import opening_at
from redrush.config import parse_campaign
from redrush.core.rush.instants import rfc3339
from redrush.errors import ConfigError

SAMPLE = resources.files("redrush.cli").joinpath("sample.toml").read_text(encoding="utf-8").replace("{id}", "c")
NOW = datetime(2026, 11, 28, 20, 30, 15, 250_000, tzinfo=timezone(timedelta(hours=8)))


def _opening(opens: str) -> list[str | None]:
    campaign = parse_campaign(opening_at(SAMPLE, opens, NOW), "c.toml")
    return [None if round_.opens_us is None else rfc3339(round_.opens_us)[:19] for round_ in campaign.rounds]


@pytest.mark.parametrize(
    ("opens", "first", "second"),
    [
        ("in 2 minutes", "2026-11-28T12:32:16", "2026-11-28T13:32:16"),
        ("in 1 minute", "2026-11-28T12:31:16", "2026-11-28T13:31:16"),
        ("IN 90s", "2026-11-28T12:31:46", "2026-11-28T13:31:46"),
        ("in 3 hours", "2026-11-28T15:30:16", "2026-11-28T16:30:16"),
        ("in 2d", "2026-11-30T12:30:16", "2026-11-30T13:30:16"),
        ("now", None, "2026-11-28T13:30:15"),
        ("2026-12-24T20:00:00+08:00", "2026-12-24T12:00:00", "2026-12-24T13:00:00"),
        ("2026-12-24T20:00:00Z", "2026-12-24T20:00:00", "2026-12-24T21:00:00"),
    ],
)
def test_rounds_open_when_it_was_asked_for(opens: str, first: str | None, second: str) -> None:
    assert _opening(opens) == [first, second]


def test_instants_are_written_with_the_offset_of_this_place() -> None:
    assert "opens = 2026-11-28T20:32:16+08:00 " in opening_at(SAMPLE, "in 2 minutes", NOW)
    assert "opens = 2026-11-28T20:32:16+00:00 " in opening_at(SAMPLE, "in 2 minutes", NOW.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    "opens",
    [
        "",
        "tomorrow",
        "in two minutes",
        "in 2 weeks",
        "20:00",
        "2026-12-24T20:00:00",
        "2026-12-24T20:00:00+08:00:30",
        "-2m",
    ],
)
def test_what_cannot_be_read_is_said_with_what_can(opens: str) -> None:
    with pytest.raises(ConfigError, match='write "in 2 minutes", "in 3 hours", "now", or an instant with its offset'):
        opening_at(SAMPLE, opens, NOW)


@pytest.mark.parametrize(
    ("opens", "year"),
    [("9999-12-31T23:59:59-12:00", 9999), ("1999-12-24T20:00:00Z", 1999), ("9000-12-31T23:30:00Z", 9001)],
)
def test_a_year_that_no_file_may_have_is_refused_as_there(opens: str, year: int) -> None:
    with pytest.raises(ConfigError, match=f"^--opens: {year} is not a year of 2000 to 9000$"):
        opening_at(SAMPLE, opens, NOW)


def test_the_sample_has_a_playbook_to_try() -> None:
    assert [playbook.name for playbook in parse_campaign(SAMPLE, "c.toml").playbooks] == ["calm"]
