"""What gates go by that is not sealed, beside the sealed campaign, for gates that are given a data directory and no
campaign file: the client policy, and what is asked for tickets.

It may be another one at the next start, and a directory without it means the defaults.
"""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from redrush.config import CampaignFile
from redrush.control.data_dir import DataDir
from redrush.control.durable_file import write_durably
from redrush.core.identity.proof_of_work import ProofOfWork
from redrush.core.load.client_policy import ClientPolicy
from redrush.errors import ConfigError

_Kept = TypeVar("_Kept")


def keep_unsealed(file: CampaignFile, data_dir: DataDir) -> None:
    """Write it into the directory, over what was there. ConfigError if the disk refuses."""
    _keep(file.client, data_dir.policy)
    _keep(file.proof_of_work, data_dir.proof_of_work)


def load_policy(data_dir: DataDir) -> ClientPolicy:
    """Return the policy of the directory; the defaults if there is none. ConfigError if it cannot be read."""
    return _load(data_dir.policy, ClientPolicy, ClientPolicy(), "a client policy")


def load_proof_of_work(data_dir: DataDir) -> ProofOfWork | None:
    """Return what is asked for tickets; None: nothing. ConfigError if it cannot be read."""
    return _load(data_dir.proof_of_work, ProofOfWork | None, None, "what to ask for tickets")


def _keep(value: object, path: Path) -> None:
    try:
        write_durably(path, msgspec.json.format(msgspec.json.encode(value)))
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be written: {fault.strerror}") from fault


def _load(path: Path, kind: Any, default: _Kept, meaning: str) -> _Kept:
    try:
        kept: _Kept = msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return default
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
    except msgspec.DecodeError as fault:
        raise ConfigError(f"{path}: is not {meaning}: {fault}") from fault
    return kept
