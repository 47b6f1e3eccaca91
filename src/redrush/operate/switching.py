"""An operator's command: asks the server that runs on a data directory, or does the same there if none runs.

Which of the two it is, the lock on the audit log tells; both ways run the same operations and answer the same.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.config import DeploymentFile, load_deployment_file
from redrush.control.control_access import load_address, load_token
from redrush.control.control_api import ControlApi
from redrush.control.data_dir import DataDir
from redrush.control.event import load_campaign, load_open_terms
from redrush.control.generations import note_generation
from redrush.control.operators import EVENTS_OWN, OperatorVerifier
from redrush.control.orders import (
    ApplyPlaybook,
    BoardOrder,
    Given,
    ListPlaybooks,
    ListSets,
    ListSwitches,
    LowerSet,
    Order,
    Preview,
    PromoteServer,
    ReadLog,
    RebuildSet,
    ReleaseSwitch,
    SetSwitch,
    UndoPlaybook,
    request_of,
)
from redrush.control.switch_log import SwitchLog, SwitchLogFailed, SwitchLogInUse, accept, chained_entries
from redrush.control.switch_mark import mark_of
from redrush.control.switchboard import ChangedMeanwhile, Switchboard
from redrush.core.steering.switch_layers import NotInForce
from redrush.core.steering.switches import WrongSetting, switch_of
from redrush.errors import ConfigError, RedrushError
from redrush.http.ask import ControlAddress, ask
from redrush.named_file import read_named
from redrush.wiring.clock import system_clock
from redrush.wiring.control_tls import control_role_of

DEADLINE_S: Final = 10.0
"""For a server to answer: a change is an fsync, and a log of a thousand entries some milliseconds."""


TOKEN_BYTES_MAX: Final = 4_096
"""Far more than a token or a key has: what is longer is some other file."""


class OperationRefused(RedrushError):
    """The server, or the rules that it would follow, refuse the change."""


class Holder(msgspec.Struct, frozen=True):
    """The person or program that gives an order: its token, and the name that it gives besides."""

    said: str = ""
    token: Path | None = None
    """A file with an operator's own token; None: the event's own."""
    by: str = ""
    """For whom the event's own token signs, where somebody has checked who that is; "": for itself."""
    expects: int | None = None
    """The version of the switches that was seen: see `redrush.control.orders.Given`."""


def operate(data_dir: DataDir, order: BoardOrder, holder: Holder = Holder()) -> dict[str, Any]:  # noqa: B008
    """Return the answer's fields, and in "live" whether a server has given it. For a server or stack on this machine.

    Raises ConfigError for a directory without a campaign and for what cannot be asked, OperationRefused for a change
    that is not possible now.
    """
    data_dir.require()
    board_dir = data_dir
    if data_dir.deployment.exists():
        board_dir = DataDir(load_deployment_file(data_dir.deployment).control.notes)
        board_dir.create()
    try:
        fields, live = asyncio.run(_offline(data_dir, board_dir, order, holder)), False
    except SwitchLogInUse:
        address = load_address(board_dir)
        fields, live = asyncio.run(_ask(address, data_dir, order, holder, DEADLINE_S)), True
    return {**fields, "live": live}


def operate_deployment(
    file: Path,
    order: Order,
    holder: Holder = Holder(),  # noqa: B008
    deadline_s: float = DEADLINE_S,
) -> dict[str, Any]:
    """Return the same from the control role of a deployment, on whatever machine that is.

    Raises ControlUnreachable if it does not answer, and as `operate` does.
    """
    return ask_deployment(load_deployment_file(file), order, holder, deadline_s)


def ask_deployment(
    deployment: DeploymentFile,
    order: Order,
    holder: Holder = Holder(),  # noqa: B008
    deadline_s: float = DEADLINE_S,
) -> dict[str, Any]:
    """See `operate_deployment`."""
    data_dir, address = DataDir(deployment.data), control_role_of(deployment)
    data_dir.require()
    return {**asyncio.run(_ask(address, data_dir, order, holder, deadline_s)), "live": True}


def _token_of(data_dir: DataDir, holder: Holder) -> str:
    if holder.token is None:
        return load_token(data_dir)
    try:
        return read_named(holder.token, TOKEN_BYTES_MAX).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{holder.token}: cannot be read as a token: {fault}") from fault


async def _ask(
    address: ControlAddress, data_dir: DataDir, order: Order, holder: Holder, deadline_s: float
) -> dict[str, Any]:
    request = request_of(order, holder.said, holder.by, holder.expects)
    token = _token_of(data_dir, holder)
    answered = await ask(address, token, request.method, request.path, request.fields, deadline_s)
    if answered.status == 404:
        raise ConfigError(_no_such(data_dir, order))
    if answered.status in {400, 401}:
        raise ConfigError(str(answered.fields["detail"]))
    if answered.status >= 400:
        raise OperationRefused(str(answered.fields["detail"]))
    return answered.fields


def _no_such(data_dir: DataDir, order: Order) -> str:
    """Say why the server knows no such thing, from what the last start of a server has kept."""
    plans = load_open_terms(data_dir).plans
    asked = order.order if isinstance(order, Preview) else order
    try:
        match asked:
            case LowerSet() | PromoteServer() | RebuildSet() | ListSets():
                return (
                    f"the control role of {data_dir.root} watches over no such set; a Valkey Cluster promotes by itself"
                )
            case SetSwitch() | ReleaseSwitch():
                switch_of(plans.registry(load_campaign(data_dir)), asked.name)
            case ApplyPlaybook() | UndoPlaybook():
                plans.playbook(asked.playbook)
            case ListSwitches() | ListPlaybooks() | ReadLog():
                pass
    except WrongSetting as fault:
        return str(fault)
    path = request_of(order).path
    return f"the server that runs on {data_dir.root} knows no {path}; restart it with this version of redrush"


async def _offline(data_dir: DataDir, board_dir: DataDir, order: BoardOrder, holder: Holder) -> dict[str, Any]:
    """Carry the order out without a server. Who may write here may do anything, and signs with a token all the same."""
    log = SwitchLog.open(board_dir.switches)
    try:
        board = Switchboard(log, load_open_terms(data_dir).plans, load_campaign(data_dir), system_clock().now_us)
        api = ControlApi(board, lambda last: chained_entries(board_dir.switches, last))
        given = Given(name_of(data_dir, holder), holder.said, holder.expects)
        return await api.carry_out(order, given)
    except WrongSetting as refusal:
        raise ConfigError(str(refusal)) from None
    except (NotInForce, ChangedMeanwhile, SwitchLogFailed) as refusal:
        raise OperationRefused(str(refusal)) from None
    finally:
        log.close()


def name_of(data_dir: DataDir, holder: Holder) -> str:
    """Return under which name the order of a holder stands in the log. ConfigError for a token that is not good."""
    if holder.by:
        return holder.by
    if holder.token is None:
        return EVENTS_OWN
    found = OperatorVerifier(data_dir, system_clock().now_us).verify(_token_of(data_dir, holder).encode("ascii"))
    if found is None:
        raise ConfigError(f"{holder.token}: is no token of {data_dir.root}, or not any more; `redrush operator list`")
    return found.user


def accept_switches(data_dir: DataDir, why: str, who: str) -> dict[str, Any]:
    """Go on with the log of switches of the directory as it is; who did so stands in `generations.jsonl`.

    Raises SwitchLogInUse while a server runs, ConfigError where nothing was ever switched or the disk refuses.
    """
    path = data_dir.switches
    if not path.exists() and not mark_of(path).exists():
        raise ConfigError(f"{path}: nothing was switched here, nothing is to be accepted")
    done = msgspec.structs.asdict(accept(path))
    try:
        note_generation(data_dir, {"what": "accept switches", "why": why, "who": who, **done})
    except OSError as fault:
        raise ConfigError(f"{data_dir.generations}: cannot be written: {fault.strerror}") from fault
    return done
