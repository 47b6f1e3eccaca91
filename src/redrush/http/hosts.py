"""Under which names a control port answers: the defence against DNS rebinding.

A page of a stranger can let its own name point to 127.0.0.1, and then ask whatever listens there as if it were its own
site. Its requests say whose name they were sent to. So only names that are ours are answered: loopback's, the one that
the port is bound to, and those that are configured. An address is no name, nobody else can let it point here, and
who says no name at all (HTTP/1.0) is no browser.
"""

import re
from collections.abc import Iterable
from typing import Final

from redrush.core.web_address import is_address

PORT_MAX: Final = 65_535
_NAMED: Final = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^:\[\]/?#@\s]+))(?::(?P<port>[0-9]{0,5}))?")

LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")


class Hosts:
    """See the module."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.lower().rstrip(".") for name in (*LOOPBACK_NAMES, *names))

    def has(self, host: bytes) -> bool:
        """Return whether a `Host` header names this server."""
        if not host:
            return True
        named = _NAMED.fullmatch(host.decode("latin-1").lower())
        if named is None or int(named["port"] or 0) > PORT_MAX:
            return False
        name = (named["name"] or named["address"]).rstrip(".")
        return name in self._names or is_address(name)
