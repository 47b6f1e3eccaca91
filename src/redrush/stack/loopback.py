"""Where the servers of a stack on one machine listen: on loopback only."""

import socket
from typing import Final

HOST: Final = "127.0.0.1"


def free_port() -> int:
    """Return a loopback port that nobody listens on now. Somebody may take it before the server does."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
