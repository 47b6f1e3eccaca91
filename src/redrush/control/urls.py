"""Addresses that a person gives to a command."""

from redrush.core.web_address import parts_of
from redrush.errors import ConfigError


def base_url(option: str, url: str) -> str:
    """Return the address without a slash at its end. ConfigError if it is none of a server, or says more than where."""
    parts = parts_of(url)
    if parts is None or parts.query or parts.fragment or not url.isascii() or " " in url:
        raise ConfigError(f'{option}: "{url}" is not an address: write it like https://hongbao.example')
    return url.rstrip("/")
