"""What an operator may ask of the control role about sets: how they are, and what it does only when told to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.config import DeploymentFile, load_deployment_file
from redrush.control.data_dir import DataDir
from redrush.control.orders import ListSets, LowerSet, NoteHeard, PromoteServer, RebuildSet, ReleaseSet, SetOrder
from redrush.errors import ConfigError, RedrushError
from redrush.http.ask import ControlUnreachable
from redrush.operate.switching import DEADLINE_S, Holder, ask_deployment, operate_deployment
from redrush.ports.store import Known

RESTS_ON: Final = {
    "replica": "a grant is on the primary's disk and a replica's",
    "disk": "a grant is on the primary's disk alone",
    "none": "nothing is granted",
}
"""What the durability of a set means."""
AFTER_A_LOSS: Final = (
    "what was granted after its last record is to be had from receipts (redrush set honour); gates, recorder and "
    "settlement notice by themselves that the set begins anew"
)
"""What whoever has promoted a server or rebuilt a set is told."""

ASKED_MAX_S: Final = 2.0
"""How long a command that needs no control role waits for its word."""


class NeedsYes(ConfigError):
    """Something may be lost by what was asked for; nothing was done."""


def deployment_path(data: Path | None, deploy: Path | None) -> Path:
    """Return the deployment file of a stack's directory, or the one that is named. ConfigError for a single server's
    directory, and unless exactly one is given."""
    if (data is None) == (deploy is None):
        raise ConfigError("say which event: --data DIR of a stack on this machine, or --deploy FILE")
    if deploy is not None:
        return deploy
    assert data is not None
    found = DataDir(data).deployment
    if not found.is_file():
        raise ConfigError(f"{data}: is not the directory of a stack, so it has no sets")
    return found


def describe_sets(path: Path, deadline_s: float = DEADLINE_S) -> list[dict[str, Any]]:
    """Return the state of each set. RedrushError if the control role cannot be asked."""
    found: list[dict[str, Any]] = _ask(path, ListSets(), deadline_s=deadline_s)["sets"]
    return found


def what_mends(deployment: DeploymentFile, set_id: str) -> str | None:
    """Return what the set's warden says about it, with the command that mends it; None if it does not, or nobody can be
    asked."""
    try:
        states = ask_deployment(deployment, ListSets(), deadline_s=ASKED_MAX_S)["sets"]
    except RedrushError:
        return None
    return next((state["why"] for state in states if state["set"] == set_id), None)


class Promoted(msgspec.Struct, frozen=True):
    """What became of a promotion by force."""

    unasked: list[str] = []
    """The sets that could not be asked for moves that the server lacks: their slots may be in two sets now."""
    parts: list[str] = []
    """The parts that campaigns have of the set: it was promoted for each."""


def for_all(parts: Sequence[str]) -> str:
    """Return whom an order about servers was carried out for, as the end of a sentence; nothing where there is one
    campaign."""
    return f", for all {len(parts)} campaigns of the set ({', '.join(parts)})" if len(parts) > 1 else ""


def lower(path: Path, set_id: str, why: str, holder: Holder) -> list[str]:
    """Let the primary of the set go on with the replicas that it has now, for every campaign. Return their parts of the
    set. RedrushError if it cannot be told so."""
    parts: list[str] = _order(path, LowerSet(set_id, why), holder).get("parts", [])
    return parts


def promote(path: Path, set_id: str, address: str, why: str, holder: Holder, *, yes: bool) -> Promoted:
    """Make this server the primary of the set, whatever it lacks, for every campaign. NeedsYes says what may be lost,
    unless `yes`."""
    if not yes:
        load_deployment_file(path).set_named(set_id)
        states = [state for state in describe_sets(path) if state["set"] == set_id]
        raise NeedsYes(f"{what_is_lost(states[0], address)}; add --yes to promote it nevertheless")
    return msgspec.convert(_order(path, PromoteServer(set_id, address, why), holder), Promoted)


class Expected(msgspec.Struct, frozen=True):
    """What a set is rebuilt under: the epoch to finish with, how far the set is known, and whether nobody was told
    more. A control role of an earlier release says nothing of that."""

    epoch: int
    known: Known | None = None
    is_all_known: bool = False


def expect_rebuilt(path: Path, set_id: str, address: str, why: str, holder: Holder) -> Expected:
    """Let the set's warden take no other server for the primary any more."""
    return msgspec.convert(_order(path, RebuildSet(set_id, address, why), holder), Expected)


def note_heard(path: Path, why: str, holder: Holder) -> None:
    """Let it be known of every set that whoever may have been granted what it lacks was heard.

    RedrushError if one has no primary: then it is to be mended first.
    """
    for spec in load_deployment_file(path).sets:
        _order(path, NoteHeard(spec.id, why), holder)


def order_release(path: Path, set_id: str, why: str, holder: Holder) -> None:
    """Let it be known of the set that nobody is waited for any more who may have been granted what it lacks."""
    _order(path, ReleaseSet(set_id, why), holder)


def what_is_lost(state: dict[str, Any], address: str) -> str:
    """Return what may be lost if this server becomes the primary of a set that is in this state. ConfigError for no
    server of the set, RedrushError for one that holds nothing of it."""
    if state["primary"] == address:
        return f"{address} is the primary of set {state['set']}: grants that wait for a replica now may be lost"
    found = next((replica for replica in state["replicas"] if replica["address"] == address), None)
    if found is None:
        known = ", ".join(filter(None, [state["primary"], *(replica["address"] for replica in state["replicas"])]))
        raise ConfigError(f"{address} is no server of set {state['set']}, which has {known}")
    if not found["answers"]:
        return f"{address} does not answer, so nobody knows which grants of set {state['set']} it lacks"
    if not found["epoch"]:
        raise RedrushError(f"{address} holds no copy of set {state['set']}: promoted, it would have lost every grant")
    if found["in_step"]:
        return f"{address} is in step with {state['primary']}, and what this grants on its own disk alone may be lost"
    if found["epoch"] < state["epoch"]:
        return (
            f"{address} has its copy from epoch {found['epoch']} and set {state['set']} is in epoch {state['epoch']}: "
            "every grant since then that is on no other server may be lost"
        )
    return f"{address} may lack the last grants of set {state['set']}, and those are lost then"


def _order(
    path: Path, order: LowerSet | NoteHeard | ReleaseSet | PromoteServer | RebuildSet, holder: Holder
) -> dict[str, Any]:
    load_deployment_file(path).set_named(order.set)
    return _ask(path, order, holder)


def _ask(
    path: Path,
    order: SetOrder,
    holder: Holder = Holder(),  # noqa: B008
    deadline_s: float = DEADLINE_S,
) -> dict[str, Any]:
    try:
        return operate_deployment(path, order, holder, deadline_s)
    except ControlUnreachable as fault:
        raise RedrushError(
            f"{fault}: the control role, which watches over the sets, must run: {_start_of(load_deployment_file(path))}"
        ) from fault


def _start_of(deployment: DeploymentFile) -> str:
    return f"start it with the deployment of {deployment.data} (redrush control, or redrush stack up)"
