"""Which address a request comes from: the peer's, or what proxies of ours say of it.

Limits by address need the client's. Behind a proxy every peer is the proxy, and `X-Forwarded-For` says who asked it;
but anybody can write that header. So it is read only from peers that the configuration trusts, and from its end: each
proxy appends whom it heard from, so the last address that is no proxy of ours is the last that one of ours has seen.
What stands before it is what a stranger says. Where the list cannot be read, the peer itself is counted.

`Forwarded` (RFC 7239) is not read: a proxy that writes one of two headers passes the other on as the client sent it.

An IPv6 address counts as its /64, which is what one subscriber has at the least, and an IPv4 address in IPv6 clothes
(::ffff:1.2.3.4) as the IPv4 address.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Network = IPv4Network | IPv6Network

HOPS_MAX: Final = 16
"""Addresses of a list that are looked at: nobody has so many proxies in a row."""

REMEMBERED_MAX: Final = 65_536
"""Texts whose meaning is remembered, some 10 MB; beyond it the memory starts anew."""

TEXT_BYTES_MAX: Final = 256
"""A longer list is read anew each time, so that what is remembered stays small."""

_SUBSCRIBER_BYTES: Final = 8
_IPV4_BYTES: Final = 4


class ClientAddresses:
    """See the module. Addresses are told apart by keys: bytes of no further meaning, but to `text_of`."""

    def __init__(self, trusted_proxies: Sequence[Network]) -> None:
        self._trusted = tuple(trusted_proxies)
        self._known: dict[bytes, bytes | None] = {}
        self.unreadable = 0
        """Lists of proxies of ours that made no sense, so that the proxy itself was counted. None at all is no such."""

    def of_peer(self, host: str) -> tuple[bytes, bool]:
        """Return the key of a peer, and whether it is a proxy of ours. A host that is no address has a key as well."""
        address = _address(host)
        if address is None:
            return host.encode(), False
        return _key(address), self._trusts(address)

    def of_forwarded(self, value: bytes) -> bytes | None:
        """Return the key of whom this `X-Forwarded-For`, from a proxy of ours, speaks; None if it makes no sense.

        If all its addresses are proxies of ours the first one asked.
        """
        try:
            found = self._known[value]
        except KeyError:
            found = self._read_anew(value)
        if found is None and value:
            self.unreadable += 1
        return found

    def _read_anew(self, value: bytes) -> bytes | None:
        found = self._read(value)
        if len(value) <= TEXT_BYTES_MAX:
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            self._known[value] = found
        return found

    def _read(self, value: bytes) -> bytes | None:
        found = None
        for hop in reversed(value.decode("latin-1").rsplit(",", HOPS_MAX)[-HOPS_MAX:]):
            address = _address(_without_port(hop.strip(" \t")))
            if address is None:
                return None
            found = _key(address)
            if not self._trusts(address):
                break
        return found

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _without_port(hop: str) -> str:
    """Return the address of what some balancers write with a port: 192.0.2.1:4711, [2001:db8::1]:4711."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


class _Subscriber(bytes):
    """The key of an IPv6 address: its /64. It remembers the whole of the address that it was first made of."""

    whole: str


def _key(address: IPv4Address | IPv6Address) -> bytes:
    if isinstance(address, IPv4Address):
        return address.packed
    key = _Subscriber(address.packed[:_SUBSCRIBER_BYTES])
    key.whole = str(address)
    return key


def text_of(key: bytes) -> str:
    """Return the address that a key was made of, as text; "" for what is none."""
    if isinstance(key, _Subscriber):
        return key.whole
    return str(IPv4Address(key)) if len(key) == _IPV4_BYTES else ""
