"""A file that one process at a time holds, from when it begins until it ends, however it does."""

import fcntl
import os
from pathlib import Path

from redrush.errors import ConfigError


def hold_alone(path: Path, in_use: ConfigError, flags: int = 0) -> int:
    """Return a descriptor of the file, made if it is missing and opened with these flags besides, that keeps all others
    from it until it is closed: the kernel lets go of the lock with its holder. Raises `in_use` if somebody has it,
    ConfigError if it cannot be opened or locked."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be opened: {fault.strerror}") from fault
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise in_use from None
    except OSError as fault:
        os.close(descriptor)
        raise ConfigError(f"{path}: cannot be locked: {fault.strerror}") from fault
    return descriptor
