"""Switches: the named operator settings that act on a running event, with their types, bounds and meaning.

One table says everything there is to know about a switch, and whoever shows, checks or applies one reads it there. A
switch stands in the table only when something acts on it: a setting that does nothing is worse than none in an
emergency. To add one, add an entry here, and read its value where the snapshot is applied (for the gate that is
`redrush.gate.switches`, for settlement the wiring).

Values are a flag, a number, a text, or "off" for a limit that does not hold, and for no text. A *snapshot* is the value
of every switch at one version; versions grow with every change, so whoever gets snapshots out of order keeps the
newest.

Long, because it is one table, and most of it is what its rows say to people.
"""

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from redrush.core.load.buckets import PER_SECOND_MAX

OFF: Final = "off"

Value = bool | float | str
"""A flag, a number, a text, or `OFF`."""

ANSWER_ENDED: Final = "answer_ended"
CLAIMS_WAITING_MAX: Final = "flow.store.claims_waiting_max"
USER_PER_SECOND: Final = "limits.user_per_second"
ADDRESS_PER_SECOND: Final = "limits.address_per_second"
NON_CORE_SHARE: Final = "sampling.non_core"
SETTLEMENT_PAUSED: Final = "settlement.paused"
REPORTING_DROPPED: Final = "reporting.dropped"
EXCHANGES_PER_SECOND: Final = "tickets.exchanges_per_second"
RULES: Final = "rules"
LEVEL_FLOOR: Final = "admission.level_floor"
LEVEL_AT_OPENING: Final = "admission.level_at_opening"
CONNECTIONS_MAX: Final = "flow.gate.connections_max"
CLOCKS_APART_MAX: Final = "clocks.apart_ms_max"
GRANTS_PER_SECOND_MAX: Final = "flow.settle.grants_per_second_max"
NOTICES: Final = {"zh": "notice.zh", "en": "notice.en"}
"""The switches of what the crowd is told, by language."""
NOTICE_MAX: Final = 200
"""Characters of it: a waiting page has place for some lines, and everybody fetches it once a second."""


def ended_of(round_id: str) -> str:
    """Return the name of the switch that ends one round."""
    return f"{ANSWER_ENDED}.{round_id}"


def pace_of(round_id: str) -> str:
    """Return the name of the switch for a round's release pace."""
    return f"release.{round_id}.per_second"


def line_pace_of(round_id: str) -> str:
    """Return the name of the switch for the pace of a round's line."""
    return f"line.{round_id}.per_second"


def line_paused_of(round_id: str) -> str:
    """Return the name of the switch that lets a round's line stand."""
    return f"line.{round_id}.paused"


def line_closed_of(round_id: str) -> str:
    """Return the name of the switch that lets nobody more into a round's line."""
    return f"line.{round_id}.closed"


def enabled_of(rule: str) -> str:
    """Return the name of the switch that allows an automatic rule to act."""
    return f"{RULES}.{rule}"


class Type(StrEnum):
    """What a switch can be set to."""

    FLAG = "flag"
    NUMBER = "number"
    WHOLE = "whole number"
    TEXT = "text"


class Role(StrEnum):
    """Which part of the system acts on a switch."""

    GATE = "gate"
    SETTLE = "settle"
    CONTROL = "control"
    REPORTING = "gate and recorder"
    CLOCKS = "gate, settle and control"


class WrongSetting(Exception):
    """A name that is no switch, or a value that the switch cannot have. The text says what would be right."""


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table. Bounds are inclusive and do not concern flags."""

    name: str
    type: Type
    default: Value
    does: str
    acts: Role
    unit: str = ""
    least: float = 0.0
    most: float = 0.0
    may_be_off: bool = False

    def check(self, value: object) -> Value:
        """Return the value as the switch has it; text is understood as a person would write it.

        Raises WrongSetting for anything the switch cannot be set to.
        """
        if self.type is Type.FLAG:
            flag = _FLAGS.get(value.strip().lower()) if isinstance(value, str) else value
            if isinstance(flag, bool):
                return flag
        elif self.may_be_off and value == OFF:
            return OFF
        elif self.type is Type.TEXT:
            text = " ".join(value.split()) if isinstance(value, str) else ""
            if self.least <= len(text) <= self.most and text.isprintable():
                return text
        else:
            number = _number(value)
            whole = number is not None and (self.type is Type.NUMBER or number.is_integer())
            if number is not None and whole and self.least <= number <= self.most:
                return number
        raise WrongSetting(f'"{self.name}" cannot be {_briefly(value)}: set it to {self.accepts}')

    @property
    def accepts(self) -> str:
        """What it can be set to, in words."""
        if self.type is Type.FLAG:
            return "true or false"
        if self.type is Type.TEXT:
            return f'a text of {self.least:g} to {self.most:g} characters that can be seen, or "off"'
        unit = f" ({self.unit})" if self.unit else ""
        off = ' or "off"' if self.may_be_off else ""
        return f"a {self.type} from {self.least:g} to {self.most:g}{unit}{off}"


Registry = Mapping[str, Switch]
"""Every switch of an event by its name, in the order to show them in."""

_FLAGS: Final = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}

PACE_MOST: Final = 1e9
"""Packets per second; as in the campaign file."""
WAITING_MOST: Final = 1_000_000
EXCHANGES_MOST: Final = 1_000_000
CONNECTIONS_MOST: Final = 1_000_000
CLOCKS_APART_MOST_MS: Final = 86_400_000


CAMPAIGN_WIDE: Final = (
    Switch(
        name=ANSWER_ENDED,
        type=Type.FLAG,
        default=False,
        does='every claim of every round is answered "closed"; who has won already still gets their grant',
        acts=Role.GATE,
    ),
    Switch(
        name=CLAIMS_WAITING_MAX,
        type=Type.WHOLE,
        default=OFF,
        unit="claims of one gate",
        least=1,
        most=WAITING_MOST,
        may_be_off=True,
        does="claims that may wait for the store at once, more get a prepared 503; the configured limit holds as well",
        acts=Role.GATE,
    ),
    Switch(
        name=NON_CORE_SHARE,
        type=Type.NUMBER,
        default=1.0,
        unit="share",
        least=0,
        most=1,
        does="share of the requests that are no claims (round state, own grants) that is served, others get a 503",
        acts=Role.GATE,
    ),
    Switch(
        name=SETTLEMENT_PAUSED,
        type=Type.FLAG,
        default=False,
        does="nothing is recorded and no leftover is moved; claims go on, and the log keeps everything",
        acts=Role.SETTLE,
    ),
    Switch(
        name=USER_PER_SECOND,
        type=Type.NUMBER,
        default=OFF,
        unit="requests a second of one user and gate process",
        least=0.01,
        most=PER_SECOND_MAX,
        may_be_off=True,
        does='how often one user may ask, instead of the configured limit; "off": the configured one holds',
        acts=Role.GATE,
    ),
    Switch(
        name=ADDRESS_PER_SECOND,
        type=Type.NUMBER,
        default=OFF,
        unit="requests a second of one address and gate process",
        least=0.01,
        most=PER_SECOND_MAX,
        may_be_off=True,
        does="as limits.user_per_second, for all requests from one network address; many people may share one",
        acts=Role.GATE,
    ),
    Switch(
        name=REPORTING_DROPPED,
        type=Type.FLAG,
        default=False,
        does="roles tell the control role nothing of how they are, so rules that need it stand still",
        acts=Role.REPORTING,
    ),
    Switch(
        name=LEVEL_FLOOR,
        type=Type.NUMBER,
        default=0.0,
        unit="share of users",
        most=1,
        does="at least this share of the users is refused, whether anything is overloaded or not; 1 refuses everybody",
        acts=Role.GATE,
    ),
    Switch(
        name=LEVEL_AT_OPENING,
        type=Type.NUMBER,
        default=OFF,
        unit="share of users",
        most=1,
        may_be_off=True,
        does='the share that is refused when a round opens, until the gate has counted; "off": as configured',
        acts=Role.GATE,
    ),
    Switch(
        name=CONNECTIONS_MAX,
        type=Type.WHOLE,
        default=OFF,
        unit="connections of one gate",
        least=1,
        most=CONNECTIONS_MOST,
        may_be_off=True,
        does="open connections at once, more are told to try another gate; the configured limit holds as well",
        acts=Role.GATE,
    ),
    Switch(
        name=GRANTS_PER_SECOND_MAX,
        type=Type.NUMBER,
        default=OFF,
        unit="grants per second and recorder",
        least=1,
        most=PACE_MOST,
        may_be_off=True,
        does="how fast grants are recorded, so that the database has time for others; the log keeps the rest",
        acts=Role.SETTLE,
    ),
    Switch(
        name=CLOCKS_APART_MAX,
        type=Type.NUMBER,
        default=OFF,
        unit="ms",
        least=1,
        most=CLOCKS_APART_MOST_MS,
        may_be_off=True,
        does='how far clocks may be apart, a set\'s too; "off": 100 ms, and a set grants by its own clock alone',
        acts=Role.CLOCKS,
    ),
    *(
        Switch(
            name=name,
            type=Type.TEXT,
            default=OFF,
            least=1,
            most=NOTICE_MAX,
            may_be_off=True,
            does=f'what everybody who waits is told on the page, {language}; "off": nothing',
            acts=Role.GATE,
        )
        for name, language in ((NOTICES["zh"], "in Chinese"), (NOTICES["en"], "in English"))
    ),
)


def registry_of(
    rounds: Iterable[tuple[str, float | None]],
    rules: Iterable[str],
    exchanges_per_s: int | None = None,
    lines: Iterable[tuple[str, float]] = (),
) -> Registry:
    """Return the switches of an event: those of the campaign, of each round (id, release pace), of each rule (name), of
    each line (its round's id, its pace).

    `exchanges_per_s` is None where tickets are not exchanged.
    """
    switches = list(CAMPAIGN_WIDE)
    if exchanges_per_s is not None:
        switches.append(
            Switch(
                name=EXCHANGES_PER_SECOND,
                type=Type.WHOLE,
                default=float(exchanges_per_s),
                unit="tickets per second and gate",
                least=0,
                most=EXCHANGES_MOST,
                does="how many tickets are exchanged for proof of work; 0: nobody new can take part",
                acts=Role.GATE,
            )
        )
    for round_id, release_per_s in rounds:
        switches.append(
            Switch(
                name=pace_of(round_id),
                type=Type.NUMBER,
                default=OFF if release_per_s is None else release_per_s,
                unit="packets per second, over all gates",
                most=PACE_MOST,
                may_be_off=True,
                does='how fast the shake filter lets packets go, 0 for none; "off": every claim goes to the store',
                acts=Role.GATE,
            )
        )
        switches.append(
            Switch(
                name=ended_of(round_id),
                type=Type.FLAG,
                default=False,
                does=f"as {ANSWER_ENDED}, for this round alone",
                acts=Role.GATE,
            )
        )
    for round_id, pace_per_s in lines:
        switches += _of_a_line(round_id, pace_per_s)
    switches += [
        Switch(
            name=enabled_of(rule),
            type=Type.FLAG,
            default=True,
            does="whether this automatic rule may act; false also undoes what it has applied",
            acts=Role.CONTROL,
        )
        for rule in rules
    ]
    return {switch.name: switch for switch in switches}


def _of_a_line(round_id: str, pace_per_s: float) -> Iterable[Switch]:
    yield Switch(
        name=line_pace_of(round_id),
        type=Type.NUMBER,
        default=pace_per_s,
        unit="people per second",
        most=PACE_MOST,
        does="how many people go in from the line, over all gates; 0: nobody more is called",
        acts=Role.CONTROL,
    )
    yield Switch(
        name=line_paused_of(round_id),
        type=Type.FLAG,
        default=False,
        does="the line stands, and people are told so; who was called may still go in",
        acts=Role.CONTROL,
    )
    yield Switch(
        name=line_closed_of(round_id),
        type=Type.FLAG,
        default=False,
        does="nobody more may join the line; who has a place keeps it",
        acts=Role.CONTROL,
    )


def switch_of(registry: Registry, name: str) -> Switch:
    """Return the switch of that name. Raises WrongSetting, with names like it, if there is none."""
    if name in registry:
        return registry[name]
    head = name.partition(".")[0]
    alike = [known for known in registry if known.partition(".")[0] == head] or list(registry)
    listed = ", ".join(alike[:_ALIKE_MAX]) + (", …" if len(alike) > _ALIKE_MAX else "")
    raise WrongSetting(f'"{_briefly(name)}" is no switch; there are {listed}')


_ALIKE_MAX: Final = 8
"""Names in an error: it must stay one sentence in a campaign of a thousand rounds."""


def check_settings(registry: Registry, settings: Mapping[str, object]) -> dict[str, Value]:
    """Return the settings with each value as its switch has it. Raises WrongSetting for the first that is wrong."""
    return {name: switch_of(registry, name).check(value) for name, value in settings.items()}


class Playbook(msgspec.Struct, frozen=True, kw_only=True):
    """A named list of switch settings, applied and undone as one."""

    name: str
    description: str
    settings: Mapping[str, Value]


class Snapshot(msgspec.Struct, frozen=True):
    """The value of every switch at one version."""

    version: int
    values: Mapping[str, Value]

    def flag(self, name: str) -> bool:
        """Return the value of a flag."""
        return self.values[name] is True

    def number(self, name: str) -> float | None:
        """Return the value of a number, or None if it is off."""
        value = self.values[name]
        return None if isinstance(value, str) else float(value)

    def text(self, name: str) -> str | None:
        """Return the value of a text, or None if it is off, or not known to whoever made the snapshot."""
        value = self.values.get(name, OFF)
        return value if isinstance(value, str) and value != OFF else None


def shown(value: object) -> str:
    """Return a value as a person would write it, cut where it becomes long."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.12g}"
    if not isinstance(value, str | int):
        return f"of type {type(value).__name__}"
    return in_one_line(str(value))[:NOTICE_MAX]


def _briefly(value: object) -> str:
    """Return a wrong value as an error has it, which must stay one sentence."""
    return shown(value)[:_BRIEF_MAX]


_BRIEF_MAX: Final = 64


def in_one_line(text: str) -> str:
    """Return the text with a ? for every character that could break a line of a log, or a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _number(value: Any) -> float | None:
    """Return a finite number that a person or JSON states, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
