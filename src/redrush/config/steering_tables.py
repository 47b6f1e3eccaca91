"""The `[[playbook]]` and `[[rule]]` tables of a campaign file: what operators prepare before the event.

They are not part of the seal: plans may be changed until the last minute, and during the event.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from redrush.config.toml_file import Wrong, check_id, wrong_at
from redrush.core.rush.durations import parse_duration_us
from redrush.core.steering.rules import READINGS, Rule
from redrush.core.steering.switches import Playbook, Registry, WrongSetting, check_settings

PLAYBOOKS_MAX: Final = 100
RULES_MAX: Final = 100
"""More plans than people can know are none."""

HOLD_S_DEFAULT: Final = "10s"
AFTER_S_DEFAULT: Final = "1s"


class PlaybookTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[[playbook]]` as written."""

    name: str
    settings: dict[str, Any]
    description: str = ""


class RuleTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[[rule]]` as written."""

    name: str
    playbook: str
    reading: str
    leaves_at: float
    returns_at: float
    after: str = AFTER_S_DEFAULT
    hold: str = HOLD_S_DEFAULT


def playbooks_of(tables: Sequence[PlaybookTable], registry: Registry) -> tuple[Playbook, ...]:
    """Return the playbooks. Raises Wrong for a setting that no switch can have."""
    if len(tables) > PLAYBOOKS_MAX:
        raise Wrong("playbook", f"a campaign has at most {PLAYBOOKS_MAX} playbooks, this one {len(tables)}")
    _check_names("playbook", [table.name for table in tables])
    return tuple(_playbook(f"playbook[{index}]", table, registry) for index, table in enumerate(tables))


def rules_of(tables: Sequence[RuleTable], playbooks: Sequence[Playbook]) -> tuple[Rule, ...]:
    """Return the rules. Raises Wrong for one that could never act, or never come back."""
    if len(tables) > RULES_MAX:
        raise Wrong("rule", f"a campaign has at most {RULES_MAX} rules, this one {len(tables)}")
    _check_names("rule", [table.name for table in tables])
    names = [playbook.name for playbook in playbooks]
    return tuple(_rule(f"rule[{index}]", table, names) for index, table in enumerate(tables))


def _playbook(at: str, table: PlaybookTable, registry: Registry) -> Playbook:
    settings = dict(_flat(table.settings))
    if not settings:
        raise Wrong(f"{at}.settings", "sets no switch")
    try:
        return Playbook(name=table.name, description=table.description, settings=check_settings(registry, settings))
    except WrongSetting as fault:
        raise Wrong(f"{at}.settings", str(fault)) from None


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield name and value of each setting: in TOML a name with dots is a table in tables, unless it is quoted."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _rule(at: str, table: RuleTable, playbooks: Sequence[str]) -> Rule:
    if table.playbook not in playbooks:
        known = ", ".join(f'"{name}"' for name in playbooks) or "none"
        raise Wrong(f"{at}.playbook", f'"{table.playbook}" is not a playbook of this file; there are {known}')
    if table.reading not in READINGS:
        raise Wrong(f"{at}.reading", f'"{table.reading}" is not a reading; there are {", ".join(READINGS)}')
    if table.leaves_at == table.returns_at:
        raise Wrong(f"{at}.returns_at", "must differ from leaves_at, or the rule would flap")
    with wrong_at(f"{at}.after"):
        after_us = parse_duration_us(table.after)
    with wrong_at(f"{at}.hold"):
        hold_us = parse_duration_us(table.hold)
    return Rule(
        name=table.name,
        playbook=table.playbook,
        reading=table.reading,
        leaves_at=table.leaves_at,
        returns_at=table.returns_at,
        after_s=after_us / 1e6,
        hold_s=hold_us / 1e6,
    )


def _check_names(kind: str, names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        check_id(f"{kind}[{index}].name", name)
        if name in names[:index]:
            raise Wrong(f"{kind}[{index}].name", f'the name "{name}" is used twice')
