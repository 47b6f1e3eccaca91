"""Runs a command as another user, in the place of this process, and lets it end with its parent.

PostgreSQL refuses to run as root, and a server left behind by a killed parent holds its port and its files. Both are
settled between fork and exec, here in a process of its own: `python -m redrush.processes.lowered …`. Rejected:
`preexec_fn`, which may deadlock in a program with threads; `setpriv`, which not every machine has.

The unprivileged user may be unable to reach files below a directory that only root may enter, such as a home directory
or a fresh temporary one. Then, and only then, it keeps one capability of root: to read and to walk through directories
(CAP_DAC_READ_SEARCH). It still writes nowhere but in what it owns. PostgreSQL asks the kernel whether its programs are
there, with access(2), which leaves capabilities out of account unless the secure bit NO_SETUID_FIXUP is set; so it is.
"""

import argparse
import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from redrush.control.private import UMASK
from redrush.errors import ConfigError

USERS: Final = ("postgres", "nobody")
"""Whom root becomes: the first of these that the system has."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_KEEPCAPS: Final = 8
_PR_SET_SECUREBITS: Final = 28
_SECBIT_NO_SETUID_FIXUP: Final = 1 << 2
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAP_DAC_READ_SEARCH: Final = 2
_CAP_SETPCAP: Final = 8
_CAPABILITY_VERSION_3: Final = 0x20080522


def unprivileged_user() -> pwd.struct_passwd | None:
    """Return whom a server should run as, or None if this process is not root. ConfigError if root has nobody."""
    if os.geteuid() != 0:
        return None
    for name in USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ConfigError(f"PostgreSQL does not run as root, and this system has no user called {' or '.join(USERS)}")


def command_as(
    user: pwd.struct_passwd | None, end_signal: signal.Signals, directory: Path, command: Sequence[str]
) -> list[str]:
    """Return the command that runs `command` (its program with the whole path) as `user`, who must reach `directory`.

    To be started by this process. When the *thread* that starts it ends, it gets `end_signal`.
    """
    lowered = [sys.executable, "-m", __spec__.name, "--parent", str(os.getpid()), "--signal", str(int(end_signal))]
    if user is not None:
        lowered += ["--user", str(user.pw_uid), "--group", str(user.pw_gid), "--directory", str(directory)]
    return [*lowered, "--", *command]


def main(arguments: Sequence[str]) -> None:
    """Become the command. Returns never: it is exec'ed, or a fault is raised."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--signal", type=int, required=True)
    parser.add_argument("--user", type=int)
    parser.add_argument("--group", type=int)
    parser.add_argument("--directory")
    parser.add_argument("command", nargs="+")
    chosen = parser.parse_args(arguments)
    libc = ctypes.CDLL(None, use_errno=True)
    if chosen.user is not None:
        _become(libc, chosen.user, chosen.group)
        if not all(os.access(path, os.X_OK) for path in (chosen.command[0], chosen.directory)):
            _keep_reading(libc)
    # After the change of user, which would clear it.
    _check(libc.prctl(_PR_SET_PDEATHSIG, chosen.signal, 0, 0, 0), "prctl")
    os.umask(UMASK)
    if os.getppid() != chosen.parent:
        raise SystemExit("the parent ended before its server began")
    os.execv(chosen.command[0], chosen.command)  # noqa: S606 - no shell is wanted


def _become(libc: ctypes.CDLL, user: int, group: int) -> None:
    os.setgroups([])
    os.setresgid(group, group, group)
    _check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl")
    os.setresuid(user, user, user)


def _keep_reading(libc: ctypes.CDLL) -> None:
    """Keep the capability to read and search, and hand it on through exec."""
    kept = 1 << _CAP_DAC_READ_SEARCH
    if _have(libc, kept | 1 << _CAP_SETPCAP) == 0:
        # A container may have taken this capability from its root: then access(2) says no, and PostgreSQL says so.
        libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    _check(_have(libc, kept), "capset")
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_READ_SEARCH, 0, 0), "prctl")


def _have(libc: ctypes.CDLL, capabilities: int) -> int:
    """Have these capabilities and no other; returns what the call does."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Effective, permitted, inheritable; twice, for capabilities above 31.
    return int(libc.capset(header, (ctypes.c_uint32 * 6)(capabilities, capabilities, capabilities, 0, 0, 0)))


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


if __name__ == "__main__":
    main(sys.argv[1:])
