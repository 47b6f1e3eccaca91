"""What `stack up` is asked for, held against what the directory already is; and the deployment file that follows."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from redrush.config import CampaignFile, load_deployment_file
from redrush.config.deployment_file import Duty
from redrush.control.sealing import SealedCampaign
from redrush.core.roles import ROLES, Per, RoleRow
from redrush.core.rush.campaign import Round
from redrush.errors import ConfigError
from redrush.processes.loopback import HOST, free_port, is_free
from redrush.stack.server_users import user_of
from redrush.stack.stack_dir import StackDir

"""Bounds of one machine; more is for more machines."""


class StackOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `redrush stack up`. A port of 0 means any free one."""

    sets: int
    replicas: int
    gates: int
    port: int
    control_port: int
    console_port: int | None = None
    """None: no console is run beside it."""
    pays: bool = False
    """Whether there is money to move, so that it needs the role for it."""
    payments: Path | None = None
    """The payments file; None: nobody moves money."""


class SetPlan(msgspec.Struct, frozen=True):
    """A set of the stack: a port for each of its servers, and the first round that uses it (None: all)."""

    id: str
    ports: tuple[int, ...]
    from_round: str | None


class StackPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is settled before the first process starts."""

    sets: tuple[SetPlan, ...]
    controls: Mapping[str, tuple[int, ...]]
    """The control port of each process of each role that there is: of every gate, of the recorder of every set, of the
    others."""
    ports: Mapping[str, int]
    """Where the roles serve that serve participants."""
    postgres: int
    payments: Path | None = None
    """The payments file; None: nobody moves money."""

    @property
    def port(self) -> int:
        """The participants' port, which the gates share."""
        return self.ports["gate"]

    @property
    def control(self) -> int:
        """The control port of the control role."""
        return self.controls["control"][0]


def moves_money(file: CampaignFile) -> bool:
    """Whether a campaign has anything for the payments role to do."""
    sells = any(one.sale is not None for one in file.rounds)
    return sells or file.payout is not None or file.group is not None or bool(file.messages)


def has_moved_money(stack: StackDir) -> bool:
    """Whether the directory's stack has had the payments role: what that has begun it ends, also when the campaign's
    file says nothing of money any more."""
    try:
        written = tomllib.loads(stack.deployment.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # what is wrong in it is told where it is used
        return False
    return "payments" in written


def plan_servers(stack: StackDir) -> StackPlan:
    """Return a plan for the servers that the directory's stack has, and their recorders, without anybody to serve."""
    sets = load_deployment_file(stack.deployment).sets
    replicas = len(sets[0].addresses) - 1
    options = StackOptions(sets=len(sets), replicas=replicas, gates=1, port=0, control_port=0)
    return plan_stack(options, stack, None, 0)


def plan_stack(options: StackOptions, stack: StackDir, sealed: SealedCampaign | None, now_us: int) -> StackPlan:
    """Return the plan. ConfigError if a port is taken, or if the directory's stack cannot become what is asked for."""
    _refuse_taken(options.port, options.control_port)
    if options.port and options.port == options.control_port:
        raise ConfigError(f"--port and --control-port are both {options.port}; they must differ")
    taken = {options.port, options.control_port}
    asked = {"gate": options.port}
    rows = [row for row in ROLES if row.is_always or options.pays]
    return StackPlan(
        sets=_sets(options, stack, sealed, now_us, taken),
        controls={row.name: _controls(row, options, taken) for row in rows},
        ports={row.name: asked.get(row.name) or free_port(taken) for row in rows if row.port is not None},
        postgres=free_port(taken),
        payments=None if options.payments is None else options.payments.absolute(),
    )


def _controls(row: RoleRow, options: StackOptions, taken: set[int]) -> tuple[int, ...]:
    if row.name == "control" and options.control_port:
        return (options.control_port,)
    processes = {"gate": options.gates}.get(row.name, options.sets if row.per is Per.SET else 1)
    return tuple(free_port(taken) for _ in range(processes))


def refuse_taken_ports(plan: StackPlan) -> None:
    """Raise ConfigError if somebody has taken a port that participants or operators were promised."""
    _refuse_taken(plan.port, plan.control)


def _refuse_taken(*ports: int) -> None:
    for port in ports:
        if port and not is_free(HOST, port):
            raise ConfigError(f"port {port} of {HOST} is in use; choose another one, or 0 for any")


def _sets(
    options: StackOptions, stack: StackDir, sealed: SealedCampaign | None, now_us: int, taken: set[int]
) -> tuple[SetPlan, ...]:
    before = load_deployment_file(stack.deployment).sets if stack.deployment.exists() else ()
    if options.sets < len(before):
        raise ConfigError(
            f"{stack.root}: the stack has {len(before)} sets, which hold grants; give --sets {len(before)} or more"
        )
    servers = options.replicas + 1
    replicas = len(before[0].addresses) - 1 if before else 0
    if options.replicas < replicas:
        raise ConfigError(
            f"{stack.root}: each set has {replicas} replicas, any of which may hold the newest data; "
            f"give --replicas {replicas} or more"
        )
    from_rounds = [spec.from_round for spec in before]
    if options.sets > len(before):
        joining = None if not before else _next_round(stack, sealed, now_us)
        from_rounds += [joining] * (options.sets - len(before))
    return tuple(
        SetPlan(f"s{index + 1}", tuple(free_port(taken) for _ in range(servers)), from_round)
        for index, from_round in enumerate(from_rounds)
    )


def _next_round(stack: StackDir, sealed: SealedCampaign | None, now_us: int) -> str | None:
    """Return the first round that nothing has been put into yet: neither its own shares nor anybody's leftover."""
    if sealed is None:
        return None
    from_us = now_us + JOIN_US
    warm_up_us = load_deployment_file(stack.deployment).warm_up_us
    before: Round | None = None
    for round_ in sealed.campaign.rounds:
        untouched = before is None or before.closes_us > from_us
        if untouched and round_.opens_us - warm_up_us > from_us:
            return round_.id
        before = round_
    raise ConfigError(f"{stack.root}: no round is left that a new set could serve; give the number of sets it has")


JOIN_US: Final = 120_000_000
"""A set joins a round no sooner than this before its warm-up: everything must be up by then."""


def deployment_text(plan: StackPlan, stack: StackDir) -> str:
    """Return the deployment file of the plan: where everything is. How the gates behave, the event says."""
    head = (
        "# Written by `redrush stack up`, anew at every start.\n\n"
        f'[event]\ndata = "."\nrecords = {{ file = {_toml(stack.records_dsn.name)} }}\n'
    )
    sets = "".join(_set_text(set_plan) for set_plan in plan.sets)
    logins = "".join(
        f"{duty} = {{ user = {_toml(user_of(duty))}, password = {{ file = {_toml(_relative(stack, duty))} }} }}\n"
        for duty in Duty
    )
    roles = "".join(_role_text(row, plan) for row in ROLES if row.name in plan.controls)
    return f"{head}{sets}\n[valkey]\n{logins}{roles}{_console_text(plan)}"


def _console_text(plan: StackPlan) -> str:
    """Return where the console finds each process."""
    named = {
        name: port
        for row in ROLES
        if row.name in plan.controls
        for name, port in zip(process_names(row, plan), plan.controls[row.name], strict=True)
    }
    return "\n[console.processes]\n" + "".join(f'{_toml(name)} = "{HOST}:{port}"\n' for name, port in named.items())


def process_names(row: RoleRow, plan: StackPlan) -> list[str]:
    """Return what the processes of a role are called, in the order of their control ports: by its set, by its number
    among the gates, or as its role."""
    if row.per is Per.SET:
        return [f"{row.name}-{spec.id}" for spec in plan.sets]
    count = len(plan.controls[row.name])
    return [f"{row.name}-{number}" for number in range(1, count + 1)] if row.name == "gate" else [row.name] * count


def _role_text(row: RoleRow, plan: StackPlan) -> str:
    """Return the table of a role; what only one of them has is said here."""
    serves = "" if row.port is None else f"host = {_toml(HOST)}\nport = {plan.ports[row.name]}\n"
    own = {
        "gate": f"count = {len(plan.controls['gate'])}\n",
        "control": f'gates = ["{HOST}:{plan.port}"]\n',
        "payments": "" if plan.payments is None else f"file = {_toml(str(plan.payments))}\n",
    }
    return f"\n[{row.name}]\n{serves}control_port = {plan.controls[row.name][0]}\n{own.get(row.name, '')}"


def _relative(stack: StackDir, duty: Duty) -> str:
    return str(stack.password(duty).relative_to(stack.root))


def _set_text(set_plan: SetPlan) -> str:
    addresses = ", ".join(f'"{HOST}:{port}"' for port in set_plan.ports)
    from_round = "" if set_plan.from_round is None else f"from_round = {_toml(set_plan.from_round)}\n"
    return f"\n[[set]]\nid = {_toml(set_plan.id)}\naddresses = [{addresses}]\n{from_round}"


def _toml(text: str) -> str:
    # A JSON string is a TOML basic string, once DEL is escaped too.
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
