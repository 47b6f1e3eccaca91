"""Addresses that a person gives to a command."""

from urllib.parse import urlsplit

from redrush.errors import ConfigError


def base_url(option: str, url: str) -> str:
    """Return the address without a slash at its end. ConfigError if it is none of a server, or says more than where."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment or not url.isascii() or " " in url:
        raise ConfigError(f'{option}: "{url}" is not an address: write it like https://hongbao.example')
    return url.rstrip("/")
