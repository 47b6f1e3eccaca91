"""A campaign beside the first one of a deployment, as a deployment of its own: the same servers, roles and database,
and nothing shared on them.

Each set has a part for the campaign, with an id, keys, a log and terms of its own, so what every role and command does
for one campaign it does for each. A file in the campaign's directory names the deployment that it is beside; so the
commands that take a deployment file take that one, and it stays true when the servers move.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from redrush.config.deployment_file import DeploymentFile, load_first_deployment
from redrush.config.toml_file import read_text, tables_of
from redrush.errors import ConfigError

TABLE: Final = "beside"


class Beside(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The only table of such a file."""

    deployment: str
    """The deployment file of the first campaign; relative to this file."""
    campaign: str
    sets: tuple[str, ...]
    """That the campaign is divided over, in order: those of the day when it was added."""


def part_of_set(set_id: str, campaign_id: str) -> str:
    """Return the id of a set's part for a campaign beside the first."""
    return f"{set_id}_{campaign_id}"


def deployment_beside(
    deployment: DeploymentFile, campaign_id: str, data: Path, sets: Sequence[str] | None = None
) -> DeploymentFile:
    """Return the deployment as that of a campaign in the directory `data`; `sets` None: over all there are today.

    ConfigError if one of the sets is not there any more, or another one is called like a part.
    """
    names = [spec.id for spec in deployment.sets] if sets is None else sets
    parts = tuple(
        msgspec.structs.replace(deployment.set_named(name), id=part_of_set(name, campaign_id), from_round=None)
        for name in names
    )
    taken = {spec.id for spec in deployment.sets} & {part.id for part in parts}
    if taken:
        raise ConfigError(
            f'campaign "{campaign_id}": the deployment has a set "{min(taken)}" already; choose another id'
        )
    control = msgspec.structs.replace(
        deployment.control,
        notes=deployment.control.notes / "campaigns" / campaign_id,
        prefix=f"/v1/campaigns/{campaign_id}",
    )
    return msgspec.structs.replace(deployment, data=data, audience=None, sets=parts, control=control)


def text_beside(path: Path, campaign_id: str, sets: Sequence[str]) -> str:
    """Return the content of the file; `path` is that of the deployment."""
    names = ", ".join(f'"{name}"' for name in sets)
    where = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return (
        "# Written by `redrush campaign add`: a campaign beside the first one of a deployment. For --deploy.\n\n"
        f'[{TABLE}]\ndeployment = "{where}"\ncampaign = "{campaign_id}"\nsets = [{names}]\n'
    )


def load_deployment_file(path: Path) -> DeploymentFile:
    """Return the deployment that a file states, or is beside. ConfigError says file, line, key, and what to write."""
    beside = read_beside(path)
    if beside is None:
        return load_first_deployment(path)
    first = load_first_deployment(path.parent / beside.deployment)
    return deployment_beside(first, beside.campaign, path.parent, beside.sets)


def read_beside(path: Path) -> Beside | None:
    """Return what such a file says; None for a deployment of its own. ConfigError if it is neither."""
    tables = tables_of(read_text(path, "deployment"), str(path))
    if TABLE not in tables:
        return None
    try:
        return msgspec.convert(tables[TABLE], type=Beside)
    except msgspec.ValidationError as fault:
        raise ConfigError(f"{path}: [{TABLE}]: {fault}; `redrush campaign add` writes such files") from fault
