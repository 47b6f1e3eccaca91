"""Where the servers of a stack listen: on loopback only, at ports that they can come back to.

The system's own choice (port 0) lies where outgoing connections get theirs: a server that is restarted in the middle
of a rush could find its port taken by one of the crowd's. So ports are taken from below that range.

Between the choice of a port and its server's start are seconds in which others choose, too. So a chosen port is kept: a
socket of this process is bound to it and does not listen. Whoever chooses finds it taken; a server, which binds with
SO_REUSEADDR as they all do, does not.
"""

import os
import random
import socket
import sys
from collections import deque
from pathlib import Path
from typing import Final

from redrush.errors import ConfigError

HOST: Final = "127.0.0.1"
LOWEST: Final = 10_000
RANGE_DEFAULT: Final = 32_768
"""Where outgoing ports begin on Linux, if the system does not say."""
TRIES_MAX: Final = 1_000

KEPT_MAX: Final = 128
"""Ports that a process keeps, the last that it chose: more than it chooses before their servers are there."""

_kept: deque[int] = deque()
"""The descriptors of the sockets that keep them."""


def free_port(taken: set[int] | None = None) -> int:
    """Return a port of the loopback that nobody listens on or has chosen, and that is not in `taken`, to which it is
    added.

    Others who choose by this function choose another one while this process keeps it.
    """
    taken = set() if taken is None else taken
    below = max(LOWEST + 1_000, _outgoing_from())
    for _ in range(TRIES_MAX):
        port = random.randrange(LOWEST, below)  # noqa: S311 - any will do
        if port not in taken and _keep(port):
            taken.add(port)
            return port
    raise ConfigError(f"no free port was found between {LOWEST} and {below}")


def _keep(port: int) -> bool:
    """Return whether nobody has the port; then it is kept."""
    keeper = socket.socket()
    try:
        keeper.bind((HOST, port))  # without SO_REUSEADDR: only if nobody else is bound to it
    except OSError:
        keeper.close()
        return False
    if sys.platform == "linux":
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # from now on its server can bind it, too
        _kept.append(keeper.detach())
        if len(_kept) > KEPT_MAX:
            os.close(_kept.popleft())
    else:
        keeper.close()  # elsewhere nobody can share it
    return True


def is_free(host: str, port: int) -> bool:
    """Return whether one could listen on the port now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            # Two sockets with SO_REUSEADDR may bind one port, but only one may listen.
            probe.listen(1)
        except OSError:
            return False
        return True


def _outgoing_from() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return RANGE_DEFAULT
