"""Deployment files: which sets there are, where the records are, and where each role listens.

One file is given to every role of an event, so that all agree on the sets and their order (a user's home set follows
from it). It names secrets, it does not hold them: a password stands in the environment or in a file of its own.
Paths in it are relative to the file.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import msgspec

from redrush.config.addresses import address_of, listening
from redrush.config.admission_table import AdmissionTable, admission_terms
from redrush.config.campaign_file import GateSpec, check_gate
from redrush.config.deployment_tables import (
    ControlTable,
    EventTable,
    FixedTables,
    GateTable,
    LoginTable,
    PaymentsTable,
    QueryTable,
    RoleTable,
    SecretValue,
    SetTable,
    Tables,
    ValkeyTable,
)
from redrush.config.limits_table import LimitsSpec, limits_of_table
from redrush.config.secret import Secret
from redrush.config.secret_table import secret_of
from redrush.config.toml_file import Wrong, check_id, file_at, parse, read_text, tables_of, wrong_at
from redrush.core.roles import ROLES
from redrush.core.rush.durations import parse_duration_us
from redrush.core.sets.address import Address
from redrush.errors import ConfigError

SETS_MAX = 256
"""Each gate keeps a few connections to every set."""
ADDRESSES_MAX = 16
"""Servers of one set: a primary, its replicas, and spare ones."""
WORKERS_MAX = 256
GATES_MAX = 10_000
WARM_UP_US_MAX = 24 * 3_600_000_000
NEVER = "never"

_DSN_PASSWORD = re.compile(r"^\w+://[^/@:]*:[^/@]+@|\bpassword\s*=", re.ASCII)


class SetSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A set: the servers that may be its primary, and where its log is recorded."""

    id: str
    addresses: tuple[Address, ...]
    replicas_needed: int
    """How many replicas must hold a grant before it is answered, when nothing is broken."""
    from_round: str | None
    """The first round that uses this set; None: every round."""
    records: Secret


class Duty(StrEnum):
    """What a process does with a set's servers, which says as which user it signs in."""

    GATE = "gate"
    """Claims."""
    SETTLEMENT = "settlement"
    """Records logs, opens pots, moves slots: recorders and the settle role."""
    WARDEN = "warden"
    """Watches over servers, founds and rebuilds: the control role, and operators' commands."""


class Login(msgspec.Struct, frozen=True):
    """As whom to sign in."""

    user: str | None
    password: Secret | None


class ValkeySpec(msgspec.Struct, frozen=True, kw_only=True):
    """How roles sign in at the servers of the sets."""

    logins: dict[Duty, Login]
    """Of each duty; the same where the file has one user for all."""
    cluster: bool
    """The addresses are seeds of one Valkey Cluster, which promotes replicas by itself."""
    tls: bool
    tls_ca: Path | None
    """Who must have signed the servers' certificates; None: whom this machine trusts."""
    tls_cert: Path | None
    tls_key: Path | None
    """What this side shows of itself, where the servers want to see it (their default)."""


class GateSection(msgspec.Struct, frozen=True, kw_only=True):
    """The gates: `address` is the participants', `control` that of probes and metrics."""

    address: Address
    control: Address
    workers: int
    count: int
    """How many of these the event has, each with its workers; they share its release pace."""
    limits: GateSpec


class ControlSection(msgspec.Struct, frozen=True, kw_only=True):
    """The control role; `gates` are asked whether they live before the whole is called ready."""

    control: Address
    found_at: Address
    """Where the other roles and operators' commands find it: the same, unless what it binds is not what they reach."""
    gates: tuple[Address, ...]
    notes: Path
    """The directory where it notes what it is about to tell the sets' servers."""
    lower_after_us: int | None
    """A set goes on without its replica when that was away for so long; None: only when an operator says so."""
    names: tuple[str, ...] = ()
    """Names under which the control ports of all roles answer, besides loopback's, their hosts, and every address."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    """What the port of this role shows; None: it speaks plainly."""
    tls_ca: Path | None = None
    """Who must have signed that; None: it is known by the certificate itself."""
    prefix: str = "/v1"
    """What the paths of its control API begin with: the role has that of each of the deployment's campaigns."""


class QuerySection(msgspec.Struct, frozen=True, kw_only=True):
    """The query role: `address` serves grants and totals from the records."""

    address: Address
    control: Address


class PaymentsSection(msgspec.Struct, frozen=True, kw_only=True):
    """The payments role: `address` serves balances and payouts, of all campaigns of the deployment."""

    address: Address
    control: Address
    file: Path | None
    """The payments file: who moves money. None: nobody does."""
    records: Secret
    """The database with the books of what is no projection: bills, orders of sales, packets between people."""


class DeploymentFile(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment file, validated. `data` holds the sealed campaign and the keys."""

    data: Path
    audience: Path | None
    warm_up_us: int
    sets: tuple[SetSpec, ...]
    valkey: ValkeySpec
    gate: GateSection
    limits: LimitsSpec
    """How often one may ask a gate."""
    controls: Mapping[str, Address]
    """Where the control port of each role is, by its name."""
    control: ControlSection
    query: QuerySection
    payments: PaymentsSection
    processes: Mapping[str, Address] = {}
    """Where the control port of each process is, by a name for people: for the console. Empty: as the roles' own tables
    say, on one machine."""
    admission: AdmissionTable = AdmissionTable()
    """What these gates do otherwise than the campaign says, as `audience`, `gate.limits` and `limits` are."""

    def set_named(self, set_id: str) -> SetSpec:
        """Return the set. ConfigError if there is none of this id."""
        for spec in self.sets:
            if spec.id == set_id:
                return spec
        raise ConfigError(f'there is no set "{set_id}" in the deployment, only {", ".join(s.id for s in self.sets)}')


def load_first_deployment(path: Path) -> DeploymentFile:
    """Return the deployment that the file states itself: not one of a campaign beside another.

    ConfigError says file, line, key, and what to write instead.
    """
    return parse_deployment(read_text(path, "deployment"), path)


def is_deployment(text: str, name: str) -> bool:
    """Return whether the text looks like a deployment rather than a campaign; `name` stands for the file in errors.
    ConfigError if it is no TOML."""
    return "campaign" not in (tables := tables_of(text, name)) and ("event" in tables or "set" in tables)


def parse_deployment(text: str, path: Path) -> DeploymentFile:
    """Return the deployment that `text` states; `path` stands for the file, in errors and for what it names."""
    return parse(text, str(path), Tables, lambda file: _Reading(path).deployment(file), {})


class _Reading:
    """One reading of a file: knows where the file is, for relative paths and for errors about secrets."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def deployment(self, file: FixedTables) -> DeploymentFile:
        _check_tls(file.control)
        admission_terms(file.admission)
        sets = self._sets(file)
        with wrong_at("event.warm_up"):
            warm_up_us = parse_duration_us(file.event.warm_up)
        if warm_up_us > WARM_UP_US_MAX:
            raise Wrong("event.warm_up", f'"{file.event.warm_up}" is too long: a day is the longest')
        return DeploymentFile(
            data=self._path_of(file.event.data),
            audience=None
            if file.event.audience is None
            else file_at("event.audience", self._path.parent, file.event.audience),
            warm_up_us=warm_up_us,
            sets=sets,
            valkey=self._valkey(file.valkey),
            gate=_gate(file.gate),
            limits=limits_of_table(file.limits),
            controls={row.name: _control(row.name, getattr(file, row.name)) for row in ROLES},
            control=ControlSection(
                control=_control("control", file.control),
                found_at=_control_found_at(file.control),
                gates=tuple(address_of("control.gates", gate) for gate in file.control.gates),
                notes=self._path_of(file.control.notes),
                lower_after_us=_lower_after_us(file.control.lower_after),
                names=tuple(file.control.names),
                tls_cert=self._path_if_any(file.control.tls_cert),
                tls_key=self._path_if_any(file.control.tls_key),
                tls_ca=self._path_if_any(file.control.tls_ca),
            ),
            query=QuerySection(
                address=listening("query.port", file.query.host, file.query.port),
                control=_control("query", file.query),
            ),
            payments=self._payments(file, sets),
            processes={
                name: address_of(f"console.processes.{name}", address)
                for name, address in file.console.processes.items()
            },
            admission=file.admission,
        )

    def _sets(self, file: FixedTables) -> tuple[SetSpec, ...]:
        if not 1 <= len(file.set) <= SETS_MAX:
            raise Wrong("set", f"a deployment has 1 to {SETS_MAX} sets, this one {len(file.set)}")
        sets = tuple(self._set(f"set[{index}]", table, file.event) for index, table in enumerate(file.set))
        ids: set[str] = set()
        addresses: set[Address] = set()
        for index, spec in enumerate(sets):
            if spec.id in ids:
                raise Wrong(f"set[{index}].id", f'the id "{spec.id}" is used twice')
            ids.add(spec.id)
            for address in spec.addresses:
                if address in addresses and not file.valkey.cluster:
                    sentence = (
                        f"{address} stands twice: a server belongs to one set, unless [valkey] has cluster = true"
                    )
                    raise Wrong(f"set[{index}].addresses", sentence)
                addresses.add(address)
        if all(spec.from_round is not None for spec in sets):
            raise Wrong("set", "every set has a from_round: at least one must serve the campaign from its first round")
        return sets

    def _set(self, key: str, table: SetTable, event: EventTable) -> SetSpec:
        check_id(f"{key}.id", table.id)
        if not 1 <= len(table.addresses) <= ADDRESSES_MAX:
            raise Wrong(f"{key}.addresses", f"a set has 1 to {ADDRESSES_MAX} servers, this one {len(table.addresses)}")
        addresses = tuple(address_of(f"{key}.addresses", text) for text in table.addresses)
        needed = table.replicas_needed
        if needed is None:
            needed = min(1, len(addresses) - 1)
        if not 0 <= needed < len(addresses):
            raise Wrong(f"{key}.replicas_needed", f"must be from 0 to {len(addresses) - 1}: the addresses but one")
        if table.records is not None:
            records = self._dsn(f"{key}.records", table.records)
        elif event.records is not None:
            records = self._dsn("event.records", event.records)
        else:
            raise Wrong(key, "has no records: give it a DSN of PostgreSQL here or for all sets in [event]")
        return SetSpec(
            id=table.id,
            addresses=addresses,
            replicas_needed=needed,
            from_round=table.from_round,
            records=records,
        )

    def _payments(self, file: FixedTables, sets: tuple[SetSpec, ...]) -> PaymentsSection:
        """The books are where all sets have their records, unless said otherwise; else with those of the first set."""
        table, everybodys = file.payments, file.event.records
        if table.records is not None:
            records = self._dsn("payments.records", table.records)
        else:
            records = sets[0].records if everybodys is None else self._dsn("event.records", everybodys)
        return PaymentsSection(
            address=listening("payments.port", table.host, table.port),
            control=_control("payments", table),
            file=self._path_if_any(table.file),
            records=records,
        )

    def _dsn(self, key: str, value: SecretValue) -> Secret:
        if isinstance(value, str) and _DSN_PASSWORD.search(value):
            raise Wrong(key, 'holds a password: write { env = "NAME" } or { file = "PATH" } and put the DSN there')
        if isinstance(value, str):
            return Secret(f"{self._path}: {key}", text=value)
        return secret_of(key, value, self._path)

    def _valkey(self, table: ValkeyTable) -> ValkeySpec:
        password = None if table.password is None else self._password("valkey.password", table.password)
        if table.user is not None and password is None:
            raise Wrong("valkey.user", "needs a password")
        logins = dict.fromkeys(Duty, Login(table.user, password))
        for duty in Duty:
            own: LoginTable | None = getattr(table, duty)
            if own is not None:
                logins[duty] = Login(own.user, self._password(f"valkey.{duty}.password", own.password))
        for key in ("tls_ca", "tls_cert", "tls_key"):
            if getattr(table, key) is not None and not table.tls:
                raise Wrong(f"valkey.{key}", "is of no use without tls = true")
        if (table.tls_cert is None) != (table.tls_key is None):
            raise Wrong("valkey.tls_cert", "goes with tls_key: give both files or neither")
        return ValkeySpec(
            logins=logins,
            cluster=table.cluster,
            tls=table.tls,
            tls_ca=self._path_if_any(table.tls_ca),
            tls_cert=self._path_if_any(table.tls_cert),
            tls_key=self._path_if_any(table.tls_key),
        )

    def _password(self, key: str, value: SecretValue) -> Secret:
        if isinstance(value, str):
            raise Wrong(key, 'does not belong here: write { env = "NAME" } or { file = "PATH" }')
        return secret_of(key, value, self._path)

    def _path_if_any(self, text: str | None) -> Path | None:
        return None if text is None else self._path_of(text)

    def _path_of(self, text: str) -> Path:
        return self._path.parent / text


def _gate(table: GateTable) -> GateSection:
    if not 1 <= table.workers <= WORKERS_MAX:
        raise Wrong("gate.workers", f"must be from 1 to {WORKERS_MAX}: one for each core")
    if not 1 <= table.count <= GATES_MAX:
        raise Wrong("gate.count", f"must be from 1 to {GATES_MAX}")
    limits = GateSpec(connections_max=table.connections_max, parked_max=table.parked_max, origins=table.origins)
    check_gate(limits)
    return GateSection(
        address=listening("gate.port", table.host, table.port),
        control=_control("gate", table),
        workers=table.workers,
        count=table.count,
        limits=limits,
    )


def _check_tls(table: ControlTable) -> None:
    if (table.tls_cert is None) != (table.tls_key is None):
        raise Wrong("control.tls_cert", "goes with tls_key: give both files or neither")
    if table.tls_ca is not None and table.tls_cert is None:
        raise Wrong("control.tls_ca", "is of no use without tls_cert and tls_key")


def _control(role: str, table: GateTable | RoleTable | ControlTable | QueryTable | PaymentsTable) -> Address:
    return listening(f"{role}.control_port", table.control_host, table.control_port)


def _control_found_at(table: ControlTable) -> Address:
    return _control("control", table) if table.address is None else address_of("control.address", table.address)


def _lower_after_us(text: str) -> int | None:
    if text == NEVER:
        return None
    with wrong_at("control.lower_after"):
        return parse_duration_us(text)
