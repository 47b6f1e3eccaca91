"""The page as files for any web server or CDN: what to put where, and with which headers.

Everything is computed from the campaign, so the same campaign gives the same files, byte for byte.
"""

import base64
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha384
from importlib.resources import files
from typing import Final
from urllib.parse import urlsplit

from redrush.page.document import Page, worker_text
from redrush.page.sounds import ENDS, SOUND_HEADERS, SoundFile

CACHING: Final = "public, max-age=30, stale-while-revalidate=86400, stale-if-error=604800"
"""Of the page: what was opened yesterday opens still while everything else is away."""

SECURITY: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "accelerometer=(self), gyroscope=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Headers of the page besides its policy."""


def headers_of(page: Page) -> dict[str, str]:
    """Return the header lines of the page, by name, but for its type and its caching."""
    return {"Content-Security-Policy": page.policy, **SECURITY}


WORKER: Final = "sw.js"
"""The path of the service worker, whose site is all of it."""

WORKER_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
}
"""Its headers: a new one is taken at once, and it may ask this site alone."""


def site_files(
    page: Page,
    campaign_id: str,
    root: str,
    gates: Sequence[str],
    *,
    sounds: Mapping[str, SoundFile],
    offline: bool = True,
) -> dict[str, bytes]:
    """Return the files of the site, by path. `root` is where nginx will find them; `gates` are the origins of gates
    that it passes claims on to, of one scheme, and of one name if that is https; `sounds` by their paths; `offline`:
    browsers may keep the page."""
    worker = worker_text(offline).encode()
    zipped = gzip.compress(page.html, mtime=0)
    heard = {path.removeprefix("/"): sound.body for path, sound in sounds.items()}
    return {
        "index.html": page.html,
        "index.html.gz": zipped,
        f"c/{campaign_id}/index.html": page.html,
        f"c/{campaign_id}/index.html.gz": zipped,
        WORKER: worker,
        **heard,
        "manifest.json": _manifest({"index.html": page.html, WORKER: worker, **heard}),
        "_headers": _header_file(page, campaign_id),
        "nginx.conf": _nginx(page, campaign_id, root, gates),
    }


def _manifest(made: Mapping[str, bytes]) -> bytes:
    """Return what there is, and what it has to be: whoever mirrors the page can compare."""
    entries = [
        {"url": url, "bytes": len(content), "sha384": base64.b64encode(sha384(content).digest()).decode()}
        for url, content in made.items()
    ]
    return json.dumps(entries, indent=2).encode() + b"\n"


def _header_file(page: Page, campaign_id: str) -> bytes:
    """Return the headers as static hosts read them (a path, then its headers, indented)."""
    lines = "".join(f"  {name}: {value}\n" for name, value in {"Cache-Control": CACHING, **headers_of(page)}.items())
    pages = "".join(f"{path}\n{lines}" for path in ("/", "/index.html", f"/c/{campaign_id}/*"))
    worker, sounds = (
        "".join(f"  {name}: {value}\n" for name, value in some.items()) for some in (WORKER_HEADERS, SOUND_HEADERS)
    )
    return f"{pages}/{WORKER}\n{worker}/sounds/{campaign_id}/*\n{sounds}".encode()


def _nginx(page: Page, campaign_id: str, root: str, gates: Sequence[str]) -> bytes:
    # Of a sound that is not there yet nobody keeps for a year that it is not.
    headers, worker, sounds = (
        "\n".join(f'        add_header {name} "{value}"{always};' for name, value in some.items())
        for some, always in ((headers_of(page), " always"), (WORKER_HEADERS, " always"), (SOUND_HEADERS, ""))
    )
    upstream, passing = _to_gates(campaign_id, gates) if gates else ("", "")
    return (
        _template("site")
        .format(
            id=campaign_id,
            root=re.sub(r'(["\\])', r"\\\1", root),
            headers=headers,
            worker=worker,
            sounds=sounds,
            types=" ".join(f"{content_type} {end};" for content_type, end in ENDS.items()),
            upstream=upstream,
            passing=passing,
        )
        .encode("utf-8", "surrogateescape")  # a path of the system need not be UTF-8
    )


def _to_gates(campaign_id: str, gates: Sequence[str]) -> tuple[str, str]:
    """Return what nginx has to know of the gates, and what it passes on to them."""
    zone = re.sub(r"\W", "_", campaign_id)
    servers = "\n".join(f"    server {_server(gate)} max_fails=0;" for gate in gates)
    first = urlsplit(gates[0])
    encrypted = first.scheme == "https"
    passing = _template("site_claims").format(
        id=campaign_id,
        zone=zone,
        scheme=first.scheme,
        host=first.hostname if encrypted else "$host",
        tls=_template("site_tls").format(name=first.hostname) if encrypted else "",
    )
    return _template("site_gates").format(id=campaign_id, zone=zone, servers=servers), passing


def _template(name: str) -> str:
    return files("redrush.page").joinpath(f"{name}.nginx.conf").read_text(encoding="utf-8")


def _server(gate: str) -> str:
    parts = urlsplit(gate)
    host = parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
