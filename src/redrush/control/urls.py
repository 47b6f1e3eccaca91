"""Addresses that a person gives to a command."""

import re
from typing import Final

from redrush.core.web_address import parts_of
from redrush.errors import ConfigError

_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
"""A name, or an address of either kind: what stands in a configuration as it is."""


def base_url(option: str, url: str) -> str:
    """Return the address without a slash at its end. ConfigError if it is none of a server, or says more than where."""
    parts = parts_of(url)
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts is None or parts.query or parts.fragment or not plain or _HOST.fullmatch(parts.hostname or "") is None:
        raise ConfigError(f'{option}: "{url}" is not an address: write it like https://hongbao.example')
    return url.rstrip("/")


def origin_url(option: str, url: str) -> str:
    """Return the address without a slash at its end. ConfigError if it says more than which server is meant."""
    origin = base_url(option, url)
    parts = parts_of(origin)
    if parts is None or parts.path or "@" in parts.netloc:
        raise ConfigError(f'{option}: "{url}" has more than a name and a port: write it like https://gates.example')
    return origin
