"""Ports that are taken before anybody is served: what else a start needs can fail while nothing has happened yet."""

import errno
import os
import resource
import socket
from typing import Final, Self

from redrush.errors import ConfigError

BACKLOG_MAX: Final = 4_096
"""Connections the kernel keeps while the loop is busy: a crowd connects within the same second."""
BACKLOG_MIN: Final = 32
BACKLOG_PART: Final = 8
"""All that wait are accepted in one turn of the loop, before any of them can be refused. So no more may wait than this
part of the files that may be open, which is kept free for them."""

SOCKET_BUFFER_BYTES = 65_536
"""What the kernel keeps of one connection, in each direction (Linux allows twice the figure). By itself it would grow
to megabytes for every client that sends without reading; an answer has a few hundred bytes."""


_NO_ADDRESS: Final = "; give an address that this machine has, such as 127.0.0.1"
_MENDS: Final = {
    errno.EADDRINUSE: "; end what listens there, or choose another port",
    errno.EACCES: "; this user may not take a port so low: choose another one",
    errno.EADDRNOTAVAIL: _NO_ADDRESS,
}
"""What to do about it, where that is known."""


def backlog() -> int:
    """Return how many connections may wait to be accepted at a port."""
    files_max, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files_max == resource.RLIM_INFINITY:
        return BACKLOG_MAX
    return min(BACKLOG_MAX, max(BACKLOG_MIN, files_max // BACKLOG_PART))


class Reserved:
    """Listening sockets of one port, from which nothing is accepted yet: who connects waits."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self.sockets = sockets

    @property
    def port(self) -> int:
        """The port, also where the system chose it."""
        port: int = self.sockets[0].getsockname()[1]
        return port

    @classmethod
    def at(cls, host: str, port: int, *, reuse_port: bool = False) -> Self:
        """Take the port of every address of the host; 0 lets the system choose one. ConfigError if it is taken.

        `reuse_port`: other processes listen on the same port, and the system shares the connections out among them.
        """
        taken = cls([])
        try:
            for family, kind, protocol, _, address in socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            ):
                listening = socket.socket(family, kind, protocol)
                taken.sockets.append(listening)
                listening.setblocking(False)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                for direction in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # accepted sockets inherit them
                    listening.setsockopt(socket.SOL_SOCKET, direction, SOCKET_BUFFER_BYTES)
                if reuse_port:
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listening.bind((address[0], taken.port if len(taken.sockets) > 1 else port, *address[2:]))
                listening.listen(backlog())
        except OSError as fault:
            taken.close()
            known = not isinstance(fault, socket.gaierror)
            reason = os.strerror(fault.errno or 0) if known else fault.strerror
            mends = _MENDS.get(fault.errno or 0, "") if known else _NO_ADDRESS
            raise ConfigError(f"cannot listen on {host} port {port}: {reason}{mends}") from fault
        return taken

    def close(self) -> None:
        """Let go of the port. Who waits at it is cut off."""
        for listening in self.sockets:
            listening.close()
