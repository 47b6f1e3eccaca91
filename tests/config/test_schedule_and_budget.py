"""Rounds that come again, and a budget that nothing passes."""

from array import array
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.config import parse_campaign
from redrush.control.amending import changes_between
from redrush.control.budget_fuse import hold_table_to_budget
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event, prepare_event
from redrush.control.sealing import source_sha256
from redrush.core.identity.audience import AllowedAudience, Audience
from redrush.core.rush.instants import rfc3339
from redrush.errors import ConfigError
from tests.campaigns import a_round, campaign

NOW_US = 1_790_000_000_000_000
OPENS = "2027-02-06T20:00:00+08:00"


def parsed(*rounds: str, **more: Any) -> Any:
    return parse_campaign(campaign(*rounds, **more), "c.toml")


def hourly(until: str = "2027-02-06T23:00:00+08:00", every: str = "1h", **more: Any) -> str:
    return a_round("r", opens=OPENS, lasts="10m", every=every, until=until, **more)


def test_every_full_hour_from_one_instant_until_another() -> None:
    rounds = parsed(hourly(total="1.00")).rounds
    assert [round_.id for round_ in rounds] == ["r-2000", "r-2100", "r-2200", "r-2300"]
    assert [rfc3339(round_.opens_us)[11:16] for round_ in rounds] == ["12:00", "13:00", "14:00", "15:00"]
    assert {round_.total_minor for round_ in rounds} == {100}, "each has what is written"


@pytest.mark.parametrize(
    ("every", "until", "ids"),
    [
        ("1d", "2027-02-08T20:00:00+08:00", ["r-0206-2000", "r-0207-2000", "r-0208-2000"]),
        ("45m", "2027-02-06T21:29:59+08:00", ["r-2000", "r-2045"]),
        ("3h", "2027-02-07T04:00:00+08:00", ["r-0206-2000", "r-0206-2300", "r-0207-0200"]),
    ],
)
def test_ids_tell_openings_apart(every: str, until: str, ids: list[str]) -> None:
    assert [round_.id for round_ in parsed(hourly(until, every)).rounds] == ids


def test_a_leftover_goes_to_the_next_of_them(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    prepare_event(parsed(hourly(leftover="next")), data_dir, lambda: NOW_US)
    assert [round_.id for round_ in load_event(data_dir).sealed.campaign.rounds][:2] == ["r-2000", "r-2100"]


CODES = """
[[round]]
id = "d"
opens = 2027-02-06T20:00:00+08:00
lasts = "10m"
kind = "draw"
plays = { per_user = 1 }
every = "1h"
until = 2027-02-06T22:00:00+08:00
[[round.prize]]
id = "coupon"
holds = "code"
codes = "codes.csv"
odds = "1/2"
"""


@pytest.mark.parametrize(
    ("round_", "said"),
    [
        (a_round("r", opens=OPENS, until="2027-02-06T23:00:00+08:00"), "round[0].until: is"),
        (
            a_round("r", opens="now", every="1h", until="2027-02-06T23:00:00+08:00"),
            "round[0].opens: a round that comes",
        ),
        (a_round("r", opens=OPENS, every="2h"), "round[0].until: a round that comes again needs"),
        (hourly(every="5m"), 'round[0].every: "5m" is shorter than a round lasts'),
        (hourly(until="2027-02-06T19:00:00+08:00"), "round[0].until: is before the first opening"),
        (hourly(until="2029-02-06T19:00:00+08:00"), "rounds; at most 1,000 are possible"),
        (hourly(every="hourly"), "is not a duration"),
        (CODES, "round[0].every: the codes of a list cannot come again"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(round_: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parsed(round_)
    assert said in str(refused.value)


def test_a_file_over_its_budget_is_refused() -> None:
    assert parsed(hourly(total="25.00"), budget="100.00").budget_minor == 10_000
    with pytest.raises(ConfigError, match=r"up to 104\.00 CNY could be granted, .* budget is 100\.00: 4\.00 too much"):
        parsed(hourly(total="26.00"), budget="100.00")


def test_what_winners_share_is_in_the_budget() -> None:
    shared = a_round(total="10.00", packets=10) + '[round.share]\ntotal = "1.00"\ncount = 5\n'
    group = '[group]\nkinds = ["lucky"]\ncount_max = 10\nshare_max = "9.00"\nsender_day_max = "9.00"\n'
    group += 'expires = "24h"\npay = "balance"\n'
    text = campaign(shared, budget="15.00") + group
    with pytest.raises(ConfigError, match=r"up to 20\.00 CNY could be granted, 10\.00 of it shared by winners"):
        parse_campaign(text, "c.toml")


def test_no_amendment_passes_the_budget(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    round_ = a_round(opens="2040-01-01T00:00:00Z", total="90.00")
    prepare_event(parsed(round_, budget="100.00"), data_dir, lambda: NOW_US)
    more = parsed(a_round(opens="2040-01-01T00:00:00Z", total="110.00", packets=120), budget="110.00")
    refused = {one.what: one.refused for one in changes_between(load_event(data_dir), more, NOW_US)}
    assert refused["budget"] == "the budget was fixed when the campaign was sealed, and nothing changes it"
    dropped = parsed(a_round(opens="2040-01-01T00:00:00Z", total="110.00", packets=120))
    assert any(one.what == "budget" and one.refused for one in changes_between(load_event(data_dir), dropped, NOW_US))
    with pytest.raises(ConfigError, match="the budget was fixed"):
        prepare_event(dropped, data_dir, lambda: NOW_US)


def test_the_table_itself_is_held_to_the_budget(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    prepare_event(parsed(a_round(total="90.00"), budget="100.00"), data_dir, lambda: NOW_US)
    sealed = load_event(data_dir).sealed
    less = msgspec.structs.replace(sealed.campaign, budget_minor=8_999)
    with pytest.raises(ConfigError, match=r"0\.01 too much; nothing of it is served"):
        hold_table_to_budget(less, sealed.amounts, tmp_path)
    cancelled = [msgspec.structs.replace(one, closes_us=one.opens_us) for one in sealed.campaign.rounds]
    hold_table_to_budget(msgspec.structs.replace(less, rounds=tuple(cancelled)), sealed.amounts, tmp_path)


def test_a_file_without_a_budget_has_the_hash_that_it_had() -> None:
    """Campaigns that were sealed before there were budgets, lines or schedules go on."""
    file = parsed(a_round(opens="2040-01-01T00:00:00Z"))
    assert source_sha256(file) == HASH_BEFORE
    assert source_sha256(msgspec.structs.replace(file, budget_minor=100)) != HASH_BEFORE


HASH_BEFORE = "c1b74f5e677e1edc0a27d7c37a776737414de0306a08ed6e8add88d2e14b44d4"
"""As the release before had it, by its own code."""


def _audience(*users: str) -> Audience:
    return Audience(array("q", sorted(map(hash, users))))


def test_who_is_blocked_may_not_win_whoever_else_may() -> None:
    everybody = AllowedAudience(None, _audience("eve"))
    assert ("ann" in everybody, "eve" in everybody) == (True, False)
    everybody.remove(["bob"])
    assert "bob" not in everybody
    everybody.add(["bob"])
    assert "bob" in everybody
    some = AllowedAudience(_audience("ann", "eve"), _audience("eve"))
    assert [user in some for user in ("ann", "eve", "bob")] == [True, False, False]
    some.add(["bob", "eve"])
    assert [user in some for user in ("bob", "eve")] == [True, False], "being added does not unblock anybody"
