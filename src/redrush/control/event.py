"""The event of a campaign on disk, and the one way to prepare it: for `seal`, `serve` and `stack up` alike.

Everything of the campaign file ends up in the event's directory, in two parts with two lives. What is *sealed* (id,
currency, rounds, amounts) is written once, into `campaign.json` and `amounts.i64`, whose hash the journal remembers: no
later write may touch it (`redrush.control.sealing`). What is *open* may be another one at every start, and is one
versioned file, `event.json`, replaced as a whole. A deployment file says where things run; where it also has a key of
the open part, that is meant for its own gates and wins (`placed`).

Earlier releases kept the open part in `client_policy.json`, `proof_of_work.json` and `plans.json`, and some of it
nowhere. They are read where there is no `event.json`, and deleted once there is one.
"""

from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from redrush.config import CampaignFile, DeploymentFile, GateSpec, LimitsSpec
from redrush.config.admission_table import AdmissionTable, admission_terms
from redrush.config.limits_table import LimitsTable, limits_of_table
from redrush.config.toml_file import Wrong
from redrush.control import sealing
from redrush.control.adding import load_added_amounts
from redrush.control.budget_fuse import hold_table_to_budget
from redrush.control.control_access import load_or_create_token
from redrush.control.data_dir import DataDir
from redrush.control.doubts import Listed, doubts_about
from redrush.control.durable_file import write_durably
from redrush.control.json_file import load_json
from redrush.control.keys import Keys, check_keys, load_keys, load_or_create_keys
from redrush.control.plans import Plans
from redrush.control.sealing import SealedCampaign, is_sealed, seal, source_sha256
from redrush.control.written import keep_written
from redrush.core.identity.proof_of_work import ProofOfWork
from redrush.core.load.client_policy import ClientPolicy
from redrush.core.load.levels import AdmissionTerms
from redrush.core.money.payout_terms import PayoutTerms
from redrush.core.rush.additions import Added, with_added_rounds
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.draw import draw_key
from redrush.core.rush.group import GroupTerms
from redrush.core.rush.holding import SlotTable, parts_of
from redrush.core.rush.message import MessageTerms
from redrush.core.steering.rules import Rule
from redrush.core.steering.switches import Playbook
from redrush.errors import ConfigError
from redrush.page.terms import PageTerms

VERSION: Final = 1

KEPT: Final = ("rounds", "added", "amended_sha256")
"""Of the open part: what no campaign file says, and only an amendment changes."""

_Table = TypeVar("_Table", bound=msgspec.Struct)


class _Damaged(ConfigError):
    """The open part is there and not whole."""


class RoundTimes(msgspec.Struct, frozen=True):
    """What of a round may be amended (`redrush.control.amending`)."""

    opens_us: int
    closes_us: int
    release_per_s: float | None


class _Open(msgspec.Struct, frozen=True, kw_only=True):
    """What of a campaign file is not sealed, but for `limits`, whose networks JSON does not know."""

    name: str | None = None
    """None: as sealed. So in directories of earlier releases."""
    timezone: str | None = None
    audience: Path | None = None
    """The list of who may win, on the machine that prepared the event; None: everybody with a ticket."""
    blocked: Path | None = None
    """The list of who may not, whoever else may; None: nobody."""
    gate: GateSpec = GateSpec()
    admission: AdmissionTerms = AdmissionTerms()
    group: GroupTerms | None = None
    client: ClientPolicy = ClientPolicy()
    proof_of_work: ProofOfWork | None = None
    playbooks: tuple[Playbook, ...] = ()
    rules: tuple[Rule, ...] = ()
    page: PageTerms = PageTerms()
    payout: PayoutTerms | None = None
    messages: tuple[MessageTerms, ...] = ()
    rounds: dict[str, RoundTimes] = {}
    """Of rounds whose times are other ones than those that were sealed."""
    added: tuple[Added, ...] = ()
    """What amendments have added, in order: packets, and rounds."""
    amended_sha256: str | None = None
    """Of the rounds of the campaign file as last amended; None: it is as it was sealed."""


class OpenTerms(_Open, frozen=True, kw_only=True):
    """What of a campaign file is not sealed."""

    limits: LimitsSpec = LimitsSpec()

    @property
    def plans(self) -> Plans:
        """What operators have prepared."""
        work = self.proof_of_work
        return Plans(self.playbooks, self.rules, None if work is None else work.exchanges_per_s)


class _OpenAsKept(_Open, frozen=True, kw_only=True):
    limits: LimitsTable = LimitsTable()


class _EventFile(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `event.json`."""

    version: int
    open: _OpenAsKept


class Event(msgspec.Struct, frozen=True):
    """A campaign as it is served: what is sealed of it, and what is open."""

    sealed: SealedCampaign
    open: OpenTerms


class Prepared(msgspec.Struct, frozen=True):
    """An event that can be served, with its keys."""

    event: Event
    keys: Keys


def open_terms_of(file: CampaignFile) -> OpenTerms:
    """Return the open part of a campaign file."""
    return OpenTerms(
        name=file.name,
        timezone=file.timezone,
        audience=None if file.audience is None else file.audience.absolute(),
        blocked=None if file.blocked is None else file.blocked.absolute(),
        gate=file.gate,
        limits=file.limits,
        admission=file.admission,
        group=file.group,
        client=file.client,
        proof_of_work=file.proof_of_work,
        playbooks=file.playbooks,
        rules=file.rules,
        page=file.page,
        payout=file.payout,
        messages=file.messages,
    )


def doubts_before(
    file: CampaignFile, data_dir: DataDir, listed: Listed | None, now_us: int, keys_from: DataDir | None
) -> list[str]:
    """Return what is doubtful about the event, a sentence each. ConfigError for what would fail only after the seal,
    when "now" has passed: another campaign is sealed in the directory, or there are no keys to be had.

    `listed` is who may win, as the caller has read it.
    """
    is_new = not is_current(file, data_dir)
    check_keys(data_dir, keys_from)
    return doubts_about(file, listed, now_us, is_new=is_new)


def is_current(file: CampaignFile, data_dir: DataDir) -> bool:
    """Whether the event of the directory is that of the file, as it was sealed or last amended; False if there is none.

    ConfigError, with what can be done, if it is another one.
    """
    if not data_dir.campaign.exists() or not (data_dir.event.exists() or data_dir.added_amounts(1).exists()):
        return is_sealed(file, data_dir)
    before = _terms_before(data_dir)
    expected = None if before is None else before.amended_sha256
    if expected is None:
        return is_sealed(file, data_dir)
    if source_sha256(file) == expected:
        return True
    raise ConfigError(
        f"{data_dir.root}: the campaign was amended, and its file says otherwise; use the file it was amended by, or "
        f"amend it again: `redrush campaign change FILE --data {data_dir.root}` shows what that would change"
    )


def prepare_event(
    file: CampaignFile,
    data_dir: DataDir,
    now_us: Callable[[], int],
    keys_from: DataDir | None = None,
    accept_keys: Callable[[Keys], None] | None = None,
) -> Prepared:
    """Make everything of the campaign file durable in the directory, and return it. The seal comes last, for "now" in
    the file is its instant; what is sealed already stays as it is.

    `accept_keys` may raise against the keys before anything rests on them. ConfigError if another campaign is sealed
    there, or if the disk refuses.
    """
    is_new = not is_current(file, data_dir)
    data_dir.create()
    keys = load_or_create_keys(data_dir, keys_from)
    if accept_keys is not None:
        accept_keys(keys)
    load_or_create_token(data_dir)
    terms = open_terms_of(file)
    if not is_new:
        before = _terms_before(data_dir)
        if before is not None:
            terms = msgspec.structs.replace(terms, **{key: getattr(before, key) for key in KEPT})
    keep_open_terms(terms, data_dir)
    keep_written(file, data_dir)
    sealed = seal(file, data_dir, now_us()) if is_new else sealing.load_sealed(data_dir)
    return Prepared(Event(_served(sealed, terms, data_dir), terms), keys)


def _terms_before(data_dir: DataDir) -> OpenTerms | None:
    """Return the open part that was kept last; None if it is not whole, and the campaign file says all that it did."""
    try:
        return load_open_terms(data_dir)
    except _Damaged:
        return None


def keep_open_terms(terms: OpenTerms, data_dir: DataDir) -> None:
    """Write the open part into the directory, over what was there. ConfigError if the disk refuses."""
    content = msgspec.json.encode({"version": VERSION, "open": terms}, enc_hook=str)
    try:
        write_durably(data_dir.event, msgspec.json.format(content))
        for path in data_dir.before_event_file:
            path.unlink(missing_ok=True)
    except OSError as fault:
        raise ConfigError(f"{data_dir.event}: cannot be written: {fault.strerror}") from fault


def load_event(data_dir: DataDir) -> Event:
    """Return the event of the directory. ConfigError if there is none, or if it is not as it was written."""
    sealed, terms = sealing.load_sealed(data_dir), load_open_terms(data_dir)
    return Event(_served(sealed, terms, data_dir), terms)


def load_prepared(data_dir: DataDir, accept_keys: Callable[[Keys], None]) -> Prepared:
    """Return an event that was prepared before, once its keys are accepted. ConfigError if it is not whole."""
    keys = load_keys(data_dir)
    accept_keys(keys)
    require_open_terms(data_dir)
    return Prepared(load_event(data_dir), keys)


def load_campaign(data_dir: DataDir) -> Campaign:
    """Return the campaign of the directory, without its amounts. ConfigError if there is none."""
    return as_served(sealing.load_campaign(data_dir), load_open_terms(data_dir))


def load_open_terms(data_dir: DataDir) -> OpenTerms:
    """Return the open part that was kept last; the defaults if there never was one. ConfigError if it is unreadable."""
    try:
        raw = data_dir.event.read_bytes()
    except FileNotFoundError:
        if data_dir.added_amounts(1).exists():
            raise ConfigError(
                f"{data_dir.event}: is missing, and it says what was added to the campaign; {_put_back(data_dir)}"
            ) from None
        return _of_earlier_releases(data_dir)
    except OSError as fault:
        raise ConfigError(f"{data_dir.event}: cannot be read: {fault.strerror}") from fault
    try:
        version = msgspec.json.decode(raw, type=_Versioned).version
        if version != VERSION:
            raise ConfigError(f"{data_dir.event}: has version {version}; this redrush reads version {VERSION}")
        kept = msgspec.json.decode(raw, type=_EventFile, dec_hook=_decode).open
        fields = {key: getattr(kept, key) for key in _Open.__struct_fields__}
        return OpenTerms(**fields, limits=limits_of_table(kept.limits))
    except (ValueError, Wrong) as fault:  # not JSON, not these fields, not UTF-8
        if data_dir.added_amounts(1).exists():
            raise ConfigError(
                f"{data_dir.event}: is not the open part of an event: {fault}; it says what was added to the campaign; "
                f"{_put_back(data_dir)}"
            ) from fault
        raise _Damaged(
            f"{data_dir.event}: is not the open part of an event: {fault}; start the server with the campaign file, or "
            f"`redrush seal FILE --data {data_dir.root}`, to write it anew"
        ) from fault


def _put_back(data_dir: DataDir) -> str:
    only = data_dir.event.name
    return f"`redrush restore BACKUP --data {data_dir.root} --only {only}` puts it back from any later backup"


def require_open_terms(data_dir: DataDir) -> None:
    """ConfigError if the open part is not there: without it a gate would let everybody win, and go by the defaults."""
    if not any(path.exists() for path in (data_dir.event, *data_dir.before_event_file)):
        raise ConfigError(
            f"{data_dir.event}: is missing; `redrush seal FILE --data {data_dir.root}` writes it anew, with the "
            "campaign file that was sealed there"
        )


def placed(terms: OpenTerms, deployment: DeploymentFile) -> OpenTerms:
    """Return the open part as the gates of a deployment keep to it: over the campaign's keys those that the deployment
    file has of its own. ConfigError if the two do not go together."""
    return msgspec.structs.replace(
        terms,
        audience=deployment.audience or terms.audience,
        gate=_over(terms.gate, deployment.gate.limits),
        limits=_over(terms.limits, deployment.limits),
        admission=_admission(terms.admission, deployment.admission),
    )


def _served(sealed: SealedCampaign, terms: OpenTerms, data_dir: DataDir) -> SealedCampaign:
    served = _with_additions(sealed, terms, data_dir)
    hold_table_to_budget(served.campaign, served.amounts, data_dir.root)
    return served


def _with_additions(sealed: SealedCampaign, terms: OpenTerms, data_dir: DataDir) -> SealedCampaign:
    campaign = as_served(sealed.campaign, terms)
    if not terms.added:
        return msgspec.structs.replace(sealed, campaign=campaign)
    amounts = array("q", sealed.amounts)
    amounts.extend(load_added_amounts(terms.added, data_dir))
    keys = {
        one.round: draw_key(bytes.fromhex(one.seed))
        for one in terms.added
        if one.new is not None and one.new.draw is not None
    }
    table = SlotTable(amounts, parts_of(campaign))
    return msgspec.structs.replace(sealed, campaign=campaign, amounts=table, draw_keys={**sealed.draw_keys, **keys})


def as_served(campaign: Campaign, terms: OpenTerms) -> Campaign:
    """Return what is sealed under the name, in the zone, and at the times that the campaign has now."""
    return msgspec.structs.replace(
        amended(with_added_rounds(campaign, terms.added), terms.rounds),
        name=terms.name or campaign.name,
        timezone=terms.timezone or campaign.timezone,
    )


def amended(campaign: Campaign, times: Mapping[str, RoundTimes]) -> Campaign:
    """Return the campaign with these times of its rounds, in order of their opening."""
    rounds = [
        round_
        if (now := times.get(round_.id)) is None
        else msgspec.structs.replace(
            round_, opens_us=now.opens_us, closes_us=now.closes_us, release_per_s=now.release_per_s
        )
        for round_ in campaign.rounds
    ]
    return msgspec.structs.replace(campaign, rounds=tuple(sorted(rounds, key=lambda round_: round_.opens_us)))


def _over(table: _Table, own: _Table) -> _Table:
    """Return the table with what `own` sets; what is left out is None, or empty."""
    set_keys = {key: value for key, value in msgspec.structs.asdict(own).items() if value not in {None, ()}}
    return msgspec.structs.replace(table, **set_keys)


def _admission(terms: AdmissionTerms, own: AdmissionTable) -> AdmissionTerms:
    try:
        return admission_terms(own, terms)
    except Wrong as fault:
        raise ConfigError(
            f"[admission] of the deployment file does not go with that of the campaign: {fault}"
        ) from None


class _Versioned(msgspec.Struct):
    version: int


def _decode(_kind: type, text: str) -> Path:
    return Path(text)


# -- directories of releases before `event.json`


def _of_earlier_releases(data_dir: DataDir) -> OpenTerms:
    policy, work, plans = data_dir.before_event_file
    prepared = load_json(plans, Plans, Plans(), "a file of plans")
    return OpenTerms(
        client=load_json(policy, ClientPolicy, ClientPolicy(), "a client policy"),
        proof_of_work=load_json(work, ProofOfWork | None, None, "what to ask for tickets"),
        playbooks=prepared.playbooks,
        rules=prepared.rules,
    )
