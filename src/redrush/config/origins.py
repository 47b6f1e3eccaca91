"""`origins` of `[gate]`: whose pages may ask the gate from elsewhere."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from redrush.config.toml_file import Wrong

ORIGINS_MAX: Final = 32
"""Each has known heads of its own: an event has one page, maybe in several places."""

_KEY: Final = "gate.origins"
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


def check_origins(origins: Sequence[str]) -> None:
    """Raise Wrong for what no browser would say of a page: an origin is compared byte by byte."""
    if len(origins) > ORIGINS_MAX:
        raise Wrong(_KEY, f"at most {ORIGINS_MAX} origins are possible")
    for text in origins:
        if text != _as_browsers_write(text):
            raise Wrong(
                _KEY,
                f'"{text}" is not an origin as browsers write it: scheme and host in small letters, a port only where '
                "it is not the usual one, no path and no slash at the end, like https://hongbao.example",
            )


def _as_browsers_write(text: str) -> str | None:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname
    if parts.scheme not in _DEFAULT_PORTS or not host or not text.isascii() or any(c.isspace() for c in text):
        return None
    shown = f"[{host}]" if ":" in host else host
    usual = port is None or port == _DEFAULT_PORTS[parts.scheme]
    return f"{parts.scheme}://{shown}" + ("" if usual else f":{port}")
