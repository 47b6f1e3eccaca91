"""How many connections a process may take by the files that the system lets it have open.

Every connection is an open file. When the last one is taken by the crowd, nothing else can be opened: no probe is
answered, no switch set, and at worst no journal grows. So what everything else needs is set aside first, for a crowd
that arrives faster than it can be refused as well, and the connections get what is left.
"""

import resource
from typing import Any, Final

import msgspec

from redrush.config import GateSpec
from redrush.errors import ConfigError
from redrush.http.connection import REFUSALS_MAX
from redrush.http.control_port import GUESTS_MAX, OPERATOR_CONNECTIONS_MAX
from redrush.http.reader import Limits
from redrush.http.sockets import BACKLOG_MAX, backlog

OWN_FILES: Final = 64
"""The process's own: journal, records, logs, listening ports, the loop; and what threads open for a moment."""

LINKS_OF_A_SET: Final = 8
"""Connections to the servers of one set, at most."""

CONNECTIONS_MIN: Final = 128
"""With fewer connections than these, unless fewer were asked for, there is no use in a start."""


def raise_files_max() -> int | None:
    """Raise the soft limit of open files to the hard one; returns it, or None if there is none."""
    _, files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    return None if files_max == resource.RLIM_INFINITY else files_max


def files_beside(sets: int) -> int:
    """Return how many files are set aside for what is no connection of a participant."""
    return OWN_FILES + LINKS_OF_A_SET * sets + GUESTS_MAX + OPERATOR_CONNECTIONS_MAX + REFUSALS_MAX + backlog()


def limits_of(spec: GateSpec, log: Any, sets: int = 0) -> Limits:
    """Return the gate's limits: the defaults, over them what the file sets, and no more connections than this process
    may have files for, which is logged with what raises it.

    `sets` are those that are reached over the network. ConfigError if too few connections are left to begin at all.
    """
    chosen = {name: value for name, value in msgspec.structs.asdict(spec).items() if value is not None}
    limits = msgspec.structs.replace(Limits(), **chosen)
    files_max = raise_files_max()
    if files_max is None:
        return limits
    beside = files_beside(sets)
    asked, possible = limits.connections_max, files_max - beside
    if asked <= possible:
        return limits
    needed = asked + files_beside_of_any(sets)
    remedy = (
        f"raise the limit with `ulimit -n {needed}` in the shell that starts redrush, or LimitNOFILE={needed} in its "
        "systemd unit"
    )
    if possible < min(asked, CONNECTIONS_MIN):
        raise ConfigError(
            f"only {files_max:,} files may be open here, which leaves {max(0, possible):,} connections of the "
            f"{asked:,} asked for ({beside:,} files are set aside for the journal, the control port and refusals): "
            f"{remedy}"
        )
    log.warning(
        f"{files_max:,} files may be open here, so at most {possible:,} connections are taken instead of {asked:,}: "
        f"{remedy}, or ask for fewer with connections_max of [gate]",
        connections_max=possible,
        asked=asked,
        files_max=files_max,
    )
    return msgspec.structs.replace(limits, connections_max=possible)


def limits_within(spec: GateSpec, limits: Limits) -> Limits:
    """Return the limits of one campaign among several of a process: how many claims may wait is its own, connections
    and pages of other origins are the process's."""
    return limits if spec.parked_max is None else msgspec.structs.replace(limits, parked_max=spec.parked_max)


def files_beside_of_any(sets: int) -> int:
    """Return the most that is set aside, however high the limit of open files is."""
    return files_beside(sets) - backlog() + BACKLOG_MAX
