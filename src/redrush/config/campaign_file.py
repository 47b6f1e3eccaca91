"""Campaign files: TOML in, one validated `CampaignFile` out, or an error with file, line and key.

Everything a person can get wrong is found here, before anything is created; what comes out needs no second look.
"""

from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import msgspec

from redrush.config.admission_table import AdmissionTable, admission_terms
from redrush.config.client_table import ClientTable, client_policy
from redrush.config.limits_table import LimitsSpec, LimitsTable, limits_of_table
from redrush.config.origins import check_origins
from redrush.config.steering_tables import PlaybookTable, RuleTable, playbooks_of, rules_of
from redrush.config.tickets_table import TicketsTable, proof_of_work
from redrush.config.toml_file import Wrong, check_id, parse, read_text, wrong_at
from redrush.config.toml_hints import INSTANT_FORM, instant_meant
from redrush.core.identity.proof_of_work import ProofOfWork
from redrush.core.load.client_policy import ClientPolicy
from redrush.core.load.levels import AdmissionTerms
from redrush.core.money.currency import format_amount, parse_amount
from redrush.core.money.feasibility import check_feasible
from redrush.core.rush.campaign import Kind, Leftover
from redrush.core.rush.durations import parse_duration_us
from redrush.core.rush.instants import to_us
from redrush.core.rush.zones import parse_zone, zone_of_offset
from redrush.core.steering.rules import Rule
from redrush.core.steering.switches import Playbook, registry_of

NOW: Literal["now"] = "now"
PACKETS_MAX = 10_000_000
"""Packets of one round: the amounts of all rounds are held in memory, eight bytes each."""
CAMPAIGN_PACKETS_MAX = 50_000_000
"""Packets of all rounds together: a table of 400 MB."""
ROUNDS_MAX = 1_000

LASTS_US_MAX = 366 * 86_400_000_000
"""A rush lasts seconds, an offer weeks; what is longer than a year is a slip of the pen."""
OPENS_YEARS = range(2000, 9001)
"""Years a round may open in: so far from both ends of the calendar that no sum with an instant leaves it."""

_ENUMS: dict[str, type[StrEnum]] = {"kind": Kind, "leftover": Leftover}


class RoundSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A round as written: `opens_us` is None for "now", which the start of the campaign turns into an instant."""

    id: str
    opens_us: int | None
    lasts_us: int
    kind: Kind
    total_minor: int
    packets: int
    min_minor: int
    max_minor: int
    leftover: Leftover
    release_per_s: float | None
    opens_text: str
    """The opening as it stands in the file, or "now"; what it means is `opens_us`."""


class GateSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the gate that a campaign may set; see `redrush.http.reader.Limits`."""

    connections_max: int | None = None
    parked_max: int | None = None
    origins: tuple[str, ...] | None = None
    """Of pages elsewhere that may ask the gate, as browsers write them: https://page.example."""


class CampaignFile(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign file, validated."""

    id: str
    name: str
    currency: str
    timezone: str
    audience: Path | None
    """A file with one eligible user id a line; None means that every ticket is eligible."""
    rounds: tuple[RoundSpec, ...]
    gate: GateSpec
    client: ClientPolicy
    proof_of_work: ProofOfWork | None = None
    admission: AdmissionTerms = AdmissionTerms()
    limits: LimitsSpec = LimitsSpec()
    playbooks: tuple[Playbook, ...] = ()
    rules: tuple[Rule, ...] = ()


class _CampaignTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    name: str
    currency: str
    timezone: str | None = None
    audience: str | None = None


class _RoundTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    opens: Any  # a TOML instant or "now": msgspec has no union of the two
    lasts: str
    kind: Kind
    total: str
    packets: int
    min: str | None = None
    max: str | None = None
    leftover: Leftover = Leftover.RETURN
    release_per_second: float | None = None


class CampaignTables(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A campaign file as written: every key that one may have. Where each ends is in tests/wiring/test_every_key.py."""

    campaign: _CampaignTable
    round: list[_RoundTable]
    gate: GateSpec = GateSpec()
    limits: LimitsTable = LimitsTable()
    client: ClientTable = ClientTable()
    tickets: TicketsTable = TicketsTable()
    admission: AdmissionTable = AdmissionTable()
    playbook: list[PlaybookTable] = msgspec.field(default_factory=list)
    rule: list[RuleTable] = msgspec.field(default_factory=list)


def load_campaign_file(path: Path) -> CampaignFile:
    """Return the campaign that the file states. ConfigError says file, line, key, and what to write instead."""
    return parse_campaign(read_text(path, "campaign"), str(path))


def parse_campaign(text: str, name: str) -> CampaignFile:
    """Return the campaign that `text` states; `name` stands for the file in errors."""
    return parse(text, name, CampaignTables, lambda file: _campaign(file, Path(name).parent), _ENUMS)


def _campaign(file: CampaignTables, directory: Path) -> CampaignFile:
    """`directory` is what paths in the file are relative to."""
    table = file.campaign
    check_id("campaign.id", table.id)
    if not table.name.isprintable():
        raise Wrong("campaign.name", f'"{table.name}" has a sign in it that cannot be seen')
    with wrong_at("campaign.currency"):
        parse_amount("0", table.currency)
    if not 1 <= len(file.round) <= ROUNDS_MAX:
        raise Wrong("round", f"a campaign has 1 to {ROUNDS_MAX} rounds, this one {len(file.round)}")
    rounds = tuple(_round(f"round[{index}]", entry, table.currency) for index, entry in enumerate(file.round))
    for index, round_ in enumerate(rounds):
        if any(round_.id == other.id for other in rounds[:index]):
            raise Wrong(f"round[{index}].id", f'the id "{round_.id}" is used twice')
    packets = sum(round_.packets for round_ in rounds)
    if packets > CAMPAIGN_PACKETS_MAX:
        raise Wrong(
            "round", f"the rounds have {packets:,} packets in all; at most {CAMPAIGN_PACKETS_MAX:,} are possible"
        )
    check_gate(file.gate)
    work = proof_of_work(file.tickets)
    switches = registry_of(
        ((r.id, r.release_per_s) for r in rounds),
        (rule.name for rule in file.rule),
        None if work is None else work.exchanges_per_s,
    )
    client = client_policy(file.client)
    limits = limits_of_table(file.limits)
    _check_patience(limits, client)
    playbooks = playbooks_of(file.playbook, switches)
    return CampaignFile(
        id=table.id,
        name=table.name,
        currency=table.currency,
        timezone=_timezone(table.timezone, file.round),
        audience=None if table.audience is None else directory / table.audience,
        rounds=rounds,
        gate=file.gate,
        limits=limits,
        client=client,
        proof_of_work=work,
        admission=admission_terms(file.admission),
        playbooks=playbooks,
        rules=rules_of(file.rule, playbooks),
    )


def _timezone(written: str | None, rounds: Sequence[_RoundTable]) -> str:
    """Return the zone that people of the event live in: as written, or that of the first instant in the file."""
    if written is None:
        instants = (round_.opens for round_ in rounds if isinstance(round_.opens, datetime))
        return next(map(zone_of_offset, instants), "UTC")
    with wrong_at("campaign.timezone"):
        parse_zone(written)
    return written


def check_gate(gate: GateSpec) -> None:
    """Raise Wrong for a limit that nothing could pass."""
    for key in ("connections_max", "parked_max"):
        value = getattr(gate, key)
        if value is not None and value < 1:
            raise Wrong(f"gate.{key}", "must be at least 1")
    check_origins(gate.origins or ())


def _check_patience(limits: LimitsSpec, client: ClientPolicy) -> None:
    """Raise Wrong if who keeps to the client policy would be refused."""
    per_second = limits.user_per_second
    if per_second is not None and not isinstance(per_second, str) and per_second * client.interval_ms < 1_000:
        sentence = (
            f"is less often than clients are told to ask, which is every {client.interval_ms} ms (client.interval)"
        )
        raise Wrong("limits.user_per_second", sentence)


def _round(at: str, table: _RoundTable, currency: str) -> RoundSpec:
    check_id(f"{at}.id", table.id)
    with wrong_at(f"{at}.lasts"):
        lasts_us = parse_duration_us(table.lasts)
    if lasts_us > LASTS_US_MAX:
        raise Wrong(f"{at}.lasts", f'"{table.lasts}" is too long: a round lasts at most a year')
    if not 1 <= table.packets <= PACKETS_MAX:
        raise Wrong(f"{at}.packets", f"must be from 1 to {PACKETS_MAX:,}")
    with wrong_at(f"{at}.total"):
        total_minor = parse_amount(table.total, currency)
    min_minor, max_minor = _bounds(at, table, total_minor, currency)
    with wrong_at(f"{at}.total"):
        check_feasible(
            total_minor,
            table.packets,
            min_minor,
            max_minor,
            lambda minor: format_amount(minor, currency),
        )
    release_per_s = table.release_per_second
    if release_per_s is not None and not 0 < release_per_s <= 1e9:
        raise Wrong(f"{at}.release_per_second", "must be above 0 packets per second; leave it out for no limit")
    return RoundSpec(
        id=table.id,
        opens_us=_opens_us(at, table.opens),
        lasts_us=lasts_us,
        kind=table.kind,
        total_minor=total_minor,
        packets=table.packets,
        min_minor=min_minor,
        max_minor=max_minor,
        leftover=table.leftover,
        release_per_s=release_per_s,
        opens_text=table.opens.isoformat() if isinstance(table.opens, datetime) else NOW,
    )


def _opens_us(at: str, opens: object) -> int | None:
    if opens == NOW:
        return None
    if not isinstance(opens, datetime):
        raise Wrong(f"{at}.opens", _not_an_instant(opens))
    if opens.tzinfo is None:
        raise Wrong(f"{at}.opens", f"{opens.isoformat()} has no offset: write it like {opens.isoformat()}+08:00")
    if opens.year not in OPENS_YEARS:
        raise Wrong(f"{at}.opens", f"{opens.year} is not a year of {OPENS_YEARS.start} to {OPENS_YEARS.stop - 1}")
    return to_us(opens)


def _not_an_instant(opens: object) -> str:
    if isinstance(opens, str) and "now" not in opens.lower():
        return f'"{opens}" is not an instant: write {instant_meant(opens)} (no quotes)'
    if isinstance(opens, date):
        return f"{opens} is not an instant but a day: write {opens}T20:00:00+08:00"
    return f'"{opens}" is not an instant: write {INSTANT_FORM}'


def _bounds(at: str, table: _RoundTable, total_minor: int, currency: str) -> tuple[int, int]:
    if table.kind is Kind.EQUAL:
        for key in ("min", "max"):
            if getattr(table, key) is not None:
                raise Wrong(f"{at}.{key}", 'a round of kind "equal" has no bounds; leave it out')
        if total_minor < table.packets:
            least = format_amount(1, currency)
            sentence = (
                f"{table.packets:,} are too many for a total of {table.total} {currency}: each holds at least {least}, "
                f"so at most {total_minor:,} are possible"
            )
            raise Wrong(f"{at}.packets", sentence)
        return total_minor // table.packets, -(-total_minor // table.packets)
    if table.min is None or table.max is None:
        raise Wrong(at, f'a round of kind "{table.kind}" needs min and max, like min = "0.50" and max = "200.00"')
    with wrong_at(f"{at}.min"):
        min_minor = parse_amount(table.min, currency)
    with wrong_at(f"{at}.max"):
        max_minor = parse_amount(table.max, currency)
    if min_minor < 1:
        raise Wrong(f"{at}.min", f'"{table.min}" is nothing: a packet holds at least {format_amount(1, currency)}')
    if min_minor > max_minor:
        raise Wrong(f"{at}.min", f'the smallest packet, "{table.min}", is above the largest, max = "{table.max}"')
    return min_minor, max_minor
