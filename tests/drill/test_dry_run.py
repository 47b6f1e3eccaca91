"""A dry run: one's own campaign for seconds, by a simulated crowd, with nothing of it outside."""

from pathlib import Path

import pytest

from redrush.config import parse_campaign
from redrush.drill.dry_run import SLOTS_MAX, dry_run
from redrush.drill.rehearsal import REDRUSH
from redrush.drill.rehearsed_text import ROUNDS_MAX, rehearsed
from redrush.errors import ConfigError
from redrush.operate.drafts import templates
from tests.campaigns import a_round, campaign, lucky

FIRST_US = 3_786_912_000_000_000
CALM = """\
[payout]
provider = "bank"
policy = "end"
[[playbook]]
name = "calm"
[playbook.settings]
"release.a.per_second" = 0
"""
HOURLY = 'every = "1h"\nuntil = 2090-01-02T22:00:00+08:00\n'
ALL = campaign(
    a_round("a", "1.00", 10, opens="2090-01-01T20:00:00+08:00"),
    a_round("b", "1.00", 10, opens="2090-01-02T20:00:00+08:00", lasts="10m") + HOURLY,
    audience="who.txt",
    tables=CALM,
)


def test_the_text_that_is_played_opens_soon_and_reaches_nobody(tmp_path: Path) -> None:
    played = rehearsed(ALL, tmp_path, FIRST_US, 4, 6)
    assert played.rounds == (("a", FIRST_US), ("b", FIRST_US + 6_000_000))
    assert set(played.left_out) >= {"[payout]", "[playbook]", "campaign.audience", "round.every", "round.until"}
    file = parse_campaign(played.text, str(tmp_path / "c.toml"))
    assert [(one.id, one.opens_us, one.lasts_us) for one in file.rounds] == [
        ("a", FIRST_US, 4_000_000),
        ("b", FIRST_US + 6_000_000, 4_000_000),
    ]
    assert (file.audience, file.payout, file.playbooks) == (None, None, ())


def test_of_many_rounds_the_first_ones_are_played() -> None:
    many = campaign(*(a_round(f"r{number}", "1.00", 10) for number in range(ROUNDS_MAX + 3)))
    played = rehearsed(many, Path("/"), FIRST_US, 4, 6)
    assert len(parse_campaign(played.text, "c.toml").rounds) == len(played.rounds) == ROUNDS_MAX


@pytest.mark.parametrize("kind", sorted(set(templates()) - {"group"}))
def test_every_template_can_be_played(kind: str, tmp_path: Path) -> None:
    for name in ("users.txt", "seats.csv"):
        (tmp_path / name).write_text("one\ntwo\n")
    for name in ("coupons.csv", "codes.csv"):
        (tmp_path / name).write_text("".join(f"CODE{number:05}\n" for number in range(5_000)))
    played = rehearsed(templates()[kind].replace("{id}", "t"), tmp_path, FIRST_US, 4, 6)
    assert parse_campaign(played.text, str(tmp_path / "c.toml")).rounds[0].opens_us == FIRST_US


def test_what_cannot_be_sealed_meanwhile_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(campaign(lucky("r1", "20000000.00", SLOTS_MAX + 1)))
    with pytest.raises(ConfigError, match="a smaller copy"):
        dry_run(file, tmp_path / "d", REDRUSH, True, lambda _line: None)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["packets", "draw", "sale"])
def test_a_campaign_is_played_to_its_end(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    (tmp_path / "seats.csv").write_text("one\ntwo\n")
    (tmp_path / "coupons.csv").write_text("".join(f"CODE{number:05}\n" for number in range(5_000)))
    file.write_text(templates()[kind].replace("{id}", "t"), encoding="utf-8")
    directory = tmp_path / "d"
    directory.mkdir(mode=0o700)
    report = dry_run(file, directory, REDRUSH, True, lambda _line: None)
    assert report.passed, report.verdicts
    assert int(report.figures["answers"] or 0) >= 300
