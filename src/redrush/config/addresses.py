"""Addresses as configuration files write them."""

from ipaddress import IPv6Address
from typing import Final

from redrush.config.toml_file import Wrong, wrong_at
from redrush.core.sets.address import Address

_PORTS: Final = range(65_536)


def listening(key: str, host: str, port: int) -> Address:
    """Return where something listens. Raises Wrong for what is no port."""
    if port not in _PORTS:
        raise Wrong(key, f"{port} is not a port: 0 to {_PORTS.stop - 1}, where 0 means any free one")
    return Address(host, port)


def address_of(key: str, text: str) -> Address:
    """Return the address that is written there. Raises Wrong."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        with wrong_at(key):
            IPv6Address(host)
    elif ":" in host:
        raise Wrong(key, f'"{text}" is not an address: an IPv6 address stands in brackets, like [::1]:6379')
    if not host or not (port.isascii() and port.isdecimal()) or int(port) not in _PORTS[1:]:
        raise Wrong(key, f'"{text}" is not an address: write host:port, like 10.0.0.11:6379')
    return Address(host, int(port))
