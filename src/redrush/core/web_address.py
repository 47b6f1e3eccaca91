"""Addresses of web servers, as people and other servers write them."""

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
