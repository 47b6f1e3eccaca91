"""The tables of a deployment file as TOML has them; `deployment_file` makes of them what the roles use."""

from typing import Final, cast

import msgspec

from redrush.config.admission_table import AdmissionTable
from redrush.config.limits_table import LimitsTable
from redrush.config.secret_table import SecretTable
from redrush.core.roles import ROLES, role_named

WARM_UP_DEFAULT = "60s"
LOWER_AFTER_DEFAULT = "5s"


SecretValue = str | SecretTable


class EventTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: str
    records: SecretValue | None = None
    audience: str | None = None
    warm_up: str = WARM_UP_DEFAULT


class SetTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    addresses: list[str]
    replicas_needed: int | None = None
    from_round: str | None = None
    records: SecretValue | None = None


class LoginTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    user: str
    password: SecretValue


class ValkeyTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user: str | None = None
    password: SecretValue | None = None
    gate: LoginTable | None = None
    settlement: LoginTable | None = None
    warden: LoginTable | None = None
    cluster: bool = False
    tls: bool = False
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None


class GateTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "0.0.0.0"  # noqa: S104 - participants come from everywhere
    port: int = 8080
    control_host: str = "127.0.0.1"
    control_port: int = role_named("gate").control_port
    workers: int = 1
    count: int = 1
    connections_max: int | None = None
    parked_max: int | None = None
    origins: tuple[str, ...] | None = None


class RoleTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    control_host: str = "127.0.0.1"
    control_port: int


class ControlTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    control_host: str = "127.0.0.1"
    control_port: int = role_named("control").control_port
    address: str | None = None
    gates: list[str] = []
    notes: str = "control"
    lower_after: str = LOWER_AFTER_DEFAULT
    names: list[str] = []
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_ca: str | None = None


class QueryTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "0.0.0.0"  # noqa: S104 - participants come from everywhere
    port: int = 8081
    control_host: str = "127.0.0.1"
    control_port: int = role_named("query").control_port


class PaymentsTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "0.0.0.0"  # noqa: S104 - participants come from everywhere
    port: int = 8082
    control_host: str = "127.0.0.1"
    control_port: int = role_named("payments").control_port
    file: str | None = None
    records: SecretValue | None = None


class ConsoleTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    processes: dict[str, str] = {}


class FixedTables(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    event: EventTable
    set: list[SetTable]
    valkey: ValkeyTable = ValkeyTable()
    gate: GateTable = GateTable()
    limits: LimitsTable = LimitsTable()
    control: ControlTable = ControlTable()
    query: QueryTable = QueryTable()
    payments: PaymentsTable = PaymentsTable()
    console: ConsoleTable = ConsoleTable()
    admission: AdmissionTable = AdmissionTable()


PLAIN: Final = tuple(row for row in ROLES if row.name not in FixedTables.__struct_fields__)
"""Roles whose tables have no keys but where the control port is."""

Tables = cast(
    type[FixedTables],
    msgspec.defstruct(
        "Tables",
        [(row.name, RoleTable, RoleTable(control_port=row.control_port)) for row in PLAIN],
        bases=(FixedTables,),
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    ),
)
"""A deployment file as written, with a table for each role."""
