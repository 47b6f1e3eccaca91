"""Addresses of web servers, as people and other servers write them."""

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit


def parts_of(url: str) -> SplitResult | None:
    """Return the parts of an http or https address, whose port can be read; None for what is none. Other than those of
    the standard library it raises nothing."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if fine else None


def is_address(host: str) -> bool:
    """Return whether this is an IP address, rather than a name. One of IPv6 stands here without its brackets."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
