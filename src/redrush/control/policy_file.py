"""The client policy beside the sealed campaign, for gates that are given a data directory and no campaign file.

It is no part of the seal: it may be another one at the next start, and a directory without it means the defaults.
"""

import msgspec

from redrush.control.data_dir import DataDir
from redrush.control.durable_file import write_durably
from redrush.core.client_policy import ClientPolicy
from redrush.errors import ConfigError


def keep_policy(policy: ClientPolicy, data_dir: DataDir) -> None:
    """Write the policy into the directory, over an earlier one. ConfigError if the disk refuses."""
    try:
        write_durably(data_dir.policy, msgspec.json.format(msgspec.json.encode(policy)))
    except OSError as fault:
        raise ConfigError(f"{data_dir.policy}: cannot be written: {fault.strerror}") from fault


def load_policy(data_dir: DataDir) -> ClientPolicy:
    """Return the policy of the directory; the defaults if there is none. ConfigError if it cannot be read."""
    try:
        return msgspec.json.decode(data_dir.policy.read_bytes(), type=ClientPolicy)
    except FileNotFoundError:
        return ClientPolicy()
    except OSError as fault:
        raise ConfigError(f"{data_dir.policy}: cannot be read: {fault.strerror}") from fault
    except msgspec.DecodeError as fault:
        raise ConfigError(f"{data_dir.policy}: is not a client policy: {fault}") from fault
