"""An operator's command: asks the server that runs on a data directory, or does the same there if none runs.

Which of the two it is, the lock on the audit log tells; both ways run the same operations and answer the same.
"""

import asyncio
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from redrush.config import load_deployment_file
from redrush.control.data_dir import DataDir
from redrush.control.event import load_campaign, load_open_terms
from redrush.control.generations import note_generation
from redrush.control.operator_access import load_address, load_token
from redrush.control.operator_api import OperatorApi
from redrush.control.switch_log import SwitchLog, SwitchLogInUse, accept, entries_of
from redrush.control.switch_mark import mark_of
from redrush.control.switchboard import Switchboard
from redrush.core.steering.switches import WrongSetting, switch_of
from redrush.errors import ConfigError, RedrushError
from redrush.http.ask import Answered, ControlAddress, ask
from redrush.wiring.clock import system_clock
from redrush.wiring.control_tls import control_address, shown_by

DEADLINE_S: Final = 10.0
"""For a server to answer: a change is an fsync, and a log of a thousand entries some milliseconds."""


class OperationRefused(RedrushError):
    """The server, or the rules that it would follow, refuse the change."""


def operate(data_dir: DataDir, method: str, path: str, fields: dict[str, Any] | None) -> dict[str, Any]:
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
        answered, live = asyncio.run(_offline(data_dir, board_dir, method, path, fields or {})), False
    except SwitchLogInUse:
        answered, live = asyncio.run(_ask(load_address(board_dir), data_dir, method, path, fields)), True
    return {**_fields_of(answered, data_dir, path), "live": live}


def operate_deployment(
    file: Path, method: str, path: str, fields: dict[str, Any] | None, deadline_s: float = DEADLINE_S
) -> dict[str, Any]:
    """Return the same from the control role of a deployment, on whatever machine that is.

    Raises ControlUnreachable if it does not answer, and as `operate` does.
    """
    deployment = load_deployment_file(file)
    data_dir, found = DataDir(deployment.data), deployment.control.found_at
    data_dir.require()
    address = control_address(found.host, found.port, shown_by(deployment))
    answered = asyncio.run(ask(address, load_token(data_dir), method, path, fields, deadline_s))
    return {**_fields_of(answered, data_dir, path), "live": True}


async def _ask(
    address: ControlAddress, data_dir: DataDir, method: str, path: str, fields: dict[str, Any] | None
) -> Answered:
    return await ask(address, load_token(data_dir), method, path, fields, DEADLINE_S)


def _fields_of(answered: Answered, data_dir: DataDir, path: str) -> dict[str, Any]:
    if answered.status == 404:
        raise ConfigError(_no_such(data_dir, path))
    if answered.status in {400, 401}:
        raise ConfigError(str(answered.fields["detail"]))
    if answered.status >= 400:
        raise OperationRefused(str(answered.fields["detail"]))
    return answered.fields


def _no_such(data_dir: DataDir, path: str) -> str:
    """Say why there is nothing at the path, from what the last start of a server has kept."""
    if path.startswith("/v1/sets"):
        return f"the control role of {data_dir.root} watches over no such set; a Valkey Cluster promotes by itself"
    plans = load_open_terms(data_dir).plans
    name = unquote(path.split("/")[3])
    try:
        if path.startswith("/v1/playbooks/"):
            plans.playbook(name)
        else:
            switch_of(plans.registry(load_campaign(data_dir)), name)
    except WrongSetting as fault:
        return str(fault)
    return f"the server that runs on {data_dir.root} knows no {path}; restart it with this version of redrush"


async def _offline(data_dir: DataDir, board_dir: DataDir, method: str, path: str, fields: dict[str, Any]) -> Answered:
    log = SwitchLog.open(board_dir.switches)
    try:
        board = Switchboard(log, load_open_terms(data_dir).plans, load_campaign(data_dir), system_clock().now_us)
        api = OperatorApi(board, lambda last: entries_of(board_dir.switches, last))
        for operation in api.operations():
            if (operation.method, operation.path) == (method, path):
                return Answered(*await operation.run(fields))
        return Answered(404, {})
    finally:
        log.close()


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
