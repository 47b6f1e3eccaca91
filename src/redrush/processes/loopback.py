"""Where the servers of a stack listen: on loopback only, at ports that they can come back to.

The system's own choice (port 0) lies where outgoing connections get theirs: a server that is restarted in the middle
of a rush could find its port taken by one of the crowd's. So ports are taken from below that range.
"""

import random
import socket
from pathlib import Path
from typing import Final

from redrush.errors import ConfigError

HOST: Final = "127.0.0.1"
LOWEST: Final = 10_000
RANGE_DEFAULT: Final = 32_768
"""Where outgoing ports begin on Linux, if the system does not say."""
TRIES_MAX: Final = 1_000


def free_port(taken: set[int] | None = None) -> int:
    """Return a port of the loopback that nobody listens on now, and that is not in `taken`, to which it is added.

    Somebody may take it before the server does.
    """
    taken = set() if taken is None else taken
    below = max(LOWEST + 1_000, _outgoing_from())
    for _ in range(TRIES_MAX):
        port = random.randrange(LOWEST, below)  # noqa: S311 - any will do
        if port not in taken and is_free(HOST, port):
            taken.add(port)
            return port
    raise ConfigError(f"no free port was found between {LOWEST} and {below}")


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
