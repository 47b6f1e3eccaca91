"""Playbooks and rules in a campaign file: what they become, and what is said about those that cannot work."""

import pytest

from redrush.config import parse_campaign
from redrush.core.steering.rules import Rule
from redrush.core.steering.switches import Playbook
from redrush.errors import ConfigError

CAMPAIGN = """\
[campaign]
id = "c"
name = "n"
currency = "CNY"
[[round]]
id = "r1"
opens = "now"
lasts = "1h"
kind = "equal"
total = "10.00"
packets = 10
release_per_second = 100
"""
CALM = """
[[playbook]]
name = "calm"
description = "fewer packets, no queries"
[playbook.settings]
"release.r1.per_second" = 10
sampling.non_core = "0"
rules.behind = false
"""
BEHIND = """
[[rule]]
name = "behind"
playbook = "calm"
reading = "records.behind"
leaves_at = 100_000
returns_at = 1_000
hold = "2m"
"""


def test_a_setting_may_be_written_with_quotes_or_as_toml_understands_dots() -> None:
    found = parse_campaign(CAMPAIGN + CALM + BEHIND, "c.toml")
    settings = {"release.r1.per_second": 10.0, "sampling.non_core": 0.0, "rules.behind": False}
    assert found.playbooks == (Playbook(name="calm", description="fewer packets, no queries", settings=settings),)
    assert found.rules == (
        Rule(
            name="behind",
            playbook="calm",
            reading="records.behind",
            leaves_at=100_000,
            returns_at=1_000,
            after_s=1,
            hold_s=120,
        ),
    )


def _refused(text: str) -> tuple[str, str]:
    """Return the line that the error names, as it stands in the text, and the error."""
    with pytest.raises(ConfigError) as refused:
        parse_campaign(text, "c.toml")
    name, line, sentence = str(refused.value).split(":", 2)
    assert name == "c.toml"
    return text.splitlines()[int(line) - 1], sentence


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (CALM.replace("r1", "r2"), "[playbook.settings]", '"release.r2.per_second" is no switch; there are release'),
        (CALM.replace('"0"', "7"), "[playbook.settings]", '"sampling.non_core" cannot be 7: set it to a number from 0'),
        (
            CALM.replace("rules.behind", "rules.x"),
            "[playbook.settings]",
            '"rules.x" is no switch; there are rules.behi',
        ),
        (
            CALM.split("[playbook.settings]", maxsplit=1)[0] + "settings = {}",
            "settings = {}",
            "playbook[0].settings: sets no switch",
        ),
        (CALM.replace('"calm"', '"so calm"'), 'name = "so calm"', 'playbook[0].name: "so calm" is not an id'),
        (CALM + CALM, 'name = "calm"', 'playbook[1].name: the name "calm" is used twice'),
        (CALM.replace("description", "text"), 'text = "fewer packets, no queries"', 'unknown key "text"'),
    ],
)
def test_a_wrong_playbook_is_told_with_its_line(text: str, line: str, said: str) -> None:
    found, sentence = _refused(CAMPAIGN + text + BEHIND)
    assert (found, said in sentence) == (line, True), sentence


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('"calm"', '"storm"', 'playbook = "storm"', '"storm" is not a playbook of this file; there are "calm"'),
        (
            "records.behind",
            "records.x",
            'reading = "records.x"',
            '"records.x" is not a reading; there are store.claims',
        ),
        ("1_000\n", "100_000\n", "returns_at = 100_000", "must differ from leaves_at"),
        ('"2m"', '"soon"', 'hold = "soon"', '"soon" is not a duration'),
        ('"2m"', "2", "hold = 2", 'is a number; here a text in quotes is expected: hold = "2s"'),
        ("leaves_at = 100_000\n", "", "[[rule]]", 'the key "leaves_at" is missing'),
    ],
)
def test_a_wrong_rule_is_told_with_its_line(old: str, new: str, line: str, said: str) -> None:
    found, sentence = _refused(CAMPAIGN + CALM + BEHIND.replace(old, new, 1))
    assert (found, said in sentence) == (line, True), sentence
