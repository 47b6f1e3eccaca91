"""Campaign files: TOML in, one validated `CampaignFile` out, or an error with file, line and key.

Everything a person can get wrong is found here, before anything is created; what comes out needs no second look.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from redrush.config.admission_table import AdmissionTable, admission_terms
from redrush.config.client_table import ClientTable, client_policy
from redrush.config.group_table import GroupTable, group_terms
from redrush.config.limits_table import LimitsSpec, LimitsTable, limits_of_table
from redrush.config.message_table import MessageTable, message_terms
from redrush.config.origins import check_origins
from redrush.config.page_table import PageTable, page_terms
from redrush.config.payout_table import PayoutTable, payout_terms
from redrush.config.rounds import KINDS, RoundSpec, RoundTable, RoundTables
from redrush.config.rounds.schedule import written_out
from redrush.config.steering_tables import PlaybookTable, RuleTable, playbooks_of, rules_of
from redrush.config.tickets_table import TicketsTable, proof_of_work
from redrush.config.toml_file import Wrong, check_id, file_at, parse, read_text, wrong_at
from redrush.core.identity.proof_of_work import ProofOfWork
from redrush.core.load.client_policy import ClientPolicy
from redrush.core.load.levels import AdmissionTerms
from redrush.core.money.budget import OverBudget, hold_to_budget
from redrush.core.money.currency import parse_amount
from redrush.core.money.payout_terms import PayoutTerms, Policy
from redrush.core.rush.campaign import Leftover
from redrush.core.rush.draw import PrizeKind
from redrush.core.rush.group import GroupTerms
from redrush.core.rush.message import MessageTerms
from redrush.core.rush.zones import parse_zone, zone_of_offset
from redrush.core.steering.rules import Rule
from redrush.core.steering.switches import Playbook, registry_of
from redrush.errors import ConfigError
from redrush.named_file import is_kept
from redrush.page.terms import PageTerms

CAMPAIGN_PACKETS_MAX = 50_000_000
"""Packets of all rounds together: a table of 400 MB."""
ROUNDS_MAX = 1_000

_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
_LISTED = {"holds": tuple(PrizeKind), "kind": KINDS, "policy": tuple(Policy), "leftover": tuple(Leftover)}


class GateSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the gate that a campaign may set; see `redrush.http.reader.Limits`."""

    connections_max: int | None = None
    parked_max: int | None = None
    origins: tuple[str, ...] | None = None
    """Of pages elsewhere that may ask the gate, as browsers write them: https://page.example."""


class WrittenFile(msgspec.Struct, frozen=True):
    """A campaign file as somebody wrote it."""

    text: str
    directory: str
    """Where it was: what the paths in it are relative to."""


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
    group: GroupTerms | None = None
    """What packets between people may be; None: there are none."""
    playbooks: tuple[Playbook, ...] = ()
    rules: tuple[Rule, ...] = ()
    page: PageTerms = PageTerms()
    payout: PayoutTerms | None = None
    messages: tuple[MessageTerms, ...] = ()
    budget_minor: int | None = None
    """What may be granted in all; None: what the rounds hold."""
    rehearsal: bool = False
    """Whether nothing of it may reach anybody outside."""
    blocked: Path | None = None
    """A file with one user id a line who may not win, whoever else may."""
    jurisdiction: str | None = None
    """Whose law the campaign has to keep to, as a country's two letters; only what it asks is told, nothing is done."""
    codes: Mapping[str, Path] = {}
    """Where the codes of prizes are, by pot. They are read once more when the campaign is sealed."""
    written: WrittenFile | None = None
    """With its comments; nothing is decided by it."""


class _CampaignTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    name: str
    currency: str
    timezone: str | None = None
    audience: str | None = None
    blocked: str | None = None
    budget: str | None = None
    jurisdiction: str | None = None
    rehearsal: bool = False


class CampaignTables(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A campaign file as written: every key that one may have. Where each ends is in tests/wiring/test_every_key.py."""

    campaign: _CampaignTable
    round: list[RoundTables]
    gate: GateSpec = GateSpec()
    limits: LimitsTable = LimitsTable()
    client: ClientTable = ClientTable()
    tickets: TicketsTable = TicketsTable()
    admission: AdmissionTable = AdmissionTable()
    group: GroupTable | None = None
    payout: PayoutTable | None = None
    message: list[MessageTable] = msgspec.field(default_factory=list)
    playbook: list[PlaybookTable] = msgspec.field(default_factory=list)
    rule: list[RuleTable] = msgspec.field(default_factory=list)
    page: PageTable = PageTable()


def load_campaign_file(path: Path) -> CampaignFile:
    """Return the campaign that the file states. ConfigError says file, line, key, and what to write instead."""
    return parse_campaign(read_text(path, "campaign"), str(path))


def read_given(path: Path) -> str:
    """Return the text of a campaign or deployment file, or of a pipe; `-` is standard input.

    ConfigError if it cannot be read.
    """
    text = read_text(path, "campaign or deployment", or_pipe=True)
    if not text and not is_kept(path):
        raise ConfigError(f"{path}: nothing came by this pipe; is anybody writing to it?")
    return text


def given_campaign(text: str, path: Path) -> CampaignFile:
    """Return the campaign that was read with `read_given`. What one from a pipe names is looked for where the process
    is. ConfigError as for `load_campaign_file`."""
    return parse_campaign(text, str(path), path.parent if is_kept(path) else Path())


def parse_campaign(text: str, name: str, directory: Path | None = None) -> CampaignFile:
    """Return the campaign that `text` states; `name` stands for the file in errors; `directory` is what paths in it are
    relative to, its own unless said otherwise."""
    directory = Path(name).parent if directory is None else directory
    parsed = parse(text, name, CampaignTables, lambda file: _campaign(file, directory), _LISTED)
    return msgspec.structs.replace(parsed, written=WrittenFile(text, str(directory.absolute())))


def _campaign(file: CampaignTables, directory: Path) -> CampaignFile:
    """`directory` is what paths in the file are relative to."""
    table = file.campaign
    check_id("campaign.id", table.id)
    if not table.name.isprintable():
        raise Wrong("campaign.name", f'"{table.name}" has a sign in it that cannot be seen')
    with wrong_at("campaign.currency"):
        parse_amount("0", table.currency)
    entries = [
        (f"round[{index}]", one)
        for index, entry in enumerate(file.round)
        for one in written_out(f"round[{index}]", entry, ROUNDS_MAX)
    ]
    if not 1 <= len(entries) <= ROUNDS_MAX:
        raise Wrong("round", f"a campaign has 1 to {ROUNDS_MAX} rounds, this one {len(entries)}")
    rounds = tuple(entry.with_line(at, entry.spec(at, table.currency, directory)) for at, entry in entries)
    ids: set[str] = set()
    for (at, _), round_ in zip(entries, rounds, strict=True):
        if round_.id in ids:
            raise Wrong(f"{at}.id", f'the id "{round_.id}" is used twice')
        ids.add(round_.id)
    packets = sum(round_.packets for round_ in rounds)
    if packets > CAMPAIGN_PACKETS_MAX:
        raise Wrong(
            "round", f"the rounds have {packets:,} packets in all; at most {CAMPAIGN_PACKETS_MAX:,} are possible"
        )
    for (at, _), round_ in zip(entries, rounds, strict=True):
        if round_.share is not None and file.group is None:
            raise Wrong(f"{at}.share", "what is shared is a packet between people: add a [group], too")
    if table.rehearsal:
        _check_rehearsal(file, [(at, spec.sale is not None) for (at, _), spec in zip(entries, rounds, strict=True)])
    timezone = _timezone(table.timezone, file.round)
    rounds = tuple(entry.in_zone(at, spec, timezone) for (at, entry), spec in zip(entries, rounds, strict=True))
    if table.jurisdiction is not None and _COUNTRY.fullmatch(table.jurisdiction) is None:
        raise Wrong("campaign.jurisdiction", f'"{table.jurisdiction}" is no country: write two letters, like "CN"')
    check_gate(file.gate)
    work = proof_of_work(file.tickets)
    switches = registry_of(
        ((r.id, r.release_per_s) for r in rounds),
        (rule.name for rule in file.rule),
        None if work is None else work.exchanges_per_s,
        ((r.id, r.line.pace_per_s) for r in rounds if r.line is not None),
    )
    client = client_policy(file.client)
    limits = limits_of_table(file.limits)
    _check_patience(limits, client)
    playbooks = playbooks_of(file.playbook, switches)
    return CampaignFile(
        id=table.id,
        name=table.name,
        currency=table.currency,
        timezone=timezone,
        budget_minor=_budget(table, rounds),
        rehearsal=table.rehearsal,
        blocked=None if table.blocked is None else file_at("campaign.blocked", directory, table.blocked),
        audience=None if table.audience is None else file_at("campaign.audience", directory, table.audience),
        rounds=rounds,
        gate=file.gate,
        limits=limits,
        client=client,
        proof_of_work=work,
        admission=admission_terms(file.admission),
        group=group_terms(file.group, table.currency, directory),
        playbooks=playbooks,
        rules=rules_of(file.rule, playbooks),
        page=page_terms(file.page, directory, [round_.id for round_ in rounds]),
        payout=payout_terms(file.payout, table.currency),
        messages=message_terms(file.message),
        jurisdiction=table.jurisdiction,
        codes={pot: path for _, entry in entries for pot, path in entry.code_files(directory).items()},
    )


def _check_rehearsal(file: CampaignTables, rounds: Sequence[tuple[str, bool]]) -> None:
    """Refuse what would reach somebody outside. `rounds`: where each stands, and whether it is a sale."""
    for key, table in (("payout", file.payout), ("message", file.message), ("group", file.group)):
        if table:
            raise Wrong(key, "a rehearsal pays nobody and tells nobody: leave this table out")
    for at, sells in rounds:
        if sells:
            raise Wrong(f"{at}.kind", "a rehearsal takes no money: `redrush drill dry-run` plays a sale")


def _budget(table: _CampaignTable, rounds: Sequence[RoundSpec]) -> int | None:
    """Return the budget. Raises Wrong if the rounds could grant more."""
    if table.budget is None:
        return None
    with wrong_at("campaign.budget"):
        budget_minor = parse_amount(table.budget, table.currency)
    slots_minor = sum(round_.total_minor for round_ in rounds if round_.sale is None)
    shared_minor = sum(r.packets * r.share.total_minor for r in rounds if r.share is not None)
    try:
        hold_to_budget(budget_minor, slots_minor, shared_minor, table.currency)
    except OverBudget as over:
        raise Wrong("campaign.budget", str(over)) from None
    return budget_minor


def _timezone(written: str | None, rounds: Sequence[RoundTable]) -> str:
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
