"""Login files: how people log in with an OpenID Connect provider, for `redrush login`.

[login]
address = "https://hongbao.example/login"    # under which browsers reach this process
pages = ["https://hongbao.example/"]         # where people may be sent back to: addresses that begin so
key = "login-company.json"                   # of `redrush login-key add`
ticket_lasts = "2h"                          # of one ticket; the page has it renewed while the session lasts
session_lasts = "12h"

[login.oidc]
issuer = "https://id.example"
client_id = "hongbao"
client_secret = { file = "oidc.secret" }     # without it: a public client
user = "sub"                                 # the claim that is the user's id
scopes = ["openid"]
"""

import ipaddress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from redrush.config.secret import Secret
from redrush.config.secret_table import SecretTable, secret_of
from redrush.config.toml_file import Wrong, parse, read_text, wrong_at
from redrush.core.rush.durations import parse_duration_us
from redrush.core.web_address import parts_of

LASTS_S: Final = range(60, 31 * 86_400 + 1)
"""Of a ticket, and of a session."""
PAGES_MAX: Final = 64


class OidcTerms(msgspec.Struct, frozen=True, kw_only=True):
    """`[login.oidc]`: who says who somebody is, and by which name it knows us."""

    issuer: str
    client_id: str
    client_secret: Secret | None = None
    """None: a public client, held by its proof of possession (PKCE) alone."""
    user: str = "sub"
    """The claim that names a user."""
    scopes: tuple[str, ...] = ("openid",)


class LoginFile(msgspec.Struct, frozen=True, kw_only=True):
    """A login file, validated. `pages` are prefixes of addresses, the first one where nobody asks for another."""

    address: str
    pages: tuple[str, ...]
    key: Path
    oidc: OidcTerms
    ticket_lasts_s: int = 7_200
    session_lasts_s: int = 43_200

    @property
    def origins(self) -> frozenset[str]:
        """Origins of the pages, as browsers write them."""
        return frozenset("{0.scheme}://{0.netloc}".format(urlsplit(page)) for page in self.pages)

    def may_go_to(self, address: str) -> bool:
        """Whether people may be sent there with a ticket."""
        return address.isascii() and address.isprintable() and any(_below(address, page) for page in self.pages)


class OidcTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[login.oidc]` as it is written; other files have a table of this kind, too."""

    issuer: str
    client_id: str
    client_secret: SecretTable | None = None
    user: str = "sub"
    scopes: tuple[str, ...] = ("openid",)


class _LoginTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    address: str
    pages: list[str]
    key: str
    oidc: OidcTable
    ticket_lasts: str = "2h"
    session_lasts: str = "12h"


class _Tables(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    login: _LoginTable


def load_login_file(path: Path) -> LoginFile:
    """Return what the file states. ConfigError says file, line and key."""
    return parse(read_text(path, "login"), str(path), _Tables, lambda file: _login(file.login, path), {})


def _login(table: _LoginTable, path: Path) -> LoginFile:
    check_address("login.address", table.address)
    if not 1 <= len(table.pages) <= PAGES_MAX:
        raise Wrong("login.pages", f"there are 1 to {PAGES_MAX} pages where people may be sent back to")
    for page in table.pages:
        check_address("login.pages", page)
        if not urlsplit(page).path:
            raise Wrong("login.pages", f'"{page}" needs a path: write "{page}/"')
    return LoginFile(
        address=table.address.rstrip("/"),
        pages=tuple(table.pages),
        key=path.parent / table.key,
        oidc=oidc_terms("login.oidc", table.oidc, path),
        ticket_lasts_s=_lasts("login.ticket_lasts", table.ticket_lasts),
        session_lasts_s=_lasts("login.session_lasts", table.session_lasts),
    )


def oidc_terms(at: str, table: OidcTable, path: Path) -> OidcTerms:
    """Return what a table of this kind says. `path` is its file, which secrets are relative to. Raises Wrong."""
    check_address(f"{at}.issuer", table.issuer)
    if "openid" not in table.scopes:
        raise Wrong(f"{at}.scopes", 'must have "openid" in it: without it no provider says who somebody is')
    if not table.user or not table.client_id:
        raise Wrong(f"{at}.user" if table.client_id else f"{at}.client_id", "must not be empty")
    named = table.client_secret
    return OidcTerms(
        issuer=table.issuer,
        client_id=table.client_id,
        client_secret=None if named is None else secret_of(f"{at}.client_secret", named, path),
        user=table.user,
        scopes=table.scopes,
    )


def _lasts(at: str, text: str) -> int:
    with wrong_at(at):
        lasts_s = parse_duration_us(text) // 1_000_000
    if lasts_s not in LASTS_S:
        raise Wrong(at, f'"{text}" is not from a minute to 31 days')
    return lasts_s


def check_address(at: str, url: str) -> None:
    """Raise Wrong for what is no address, or would send secrets in the clear."""
    parts = parts_of(url)
    if parts is None or parts.hostname is None or parts.query or parts.fragment:
        raise Wrong(at, f'"{url}" is not an address: write it like "https://login.example", without ? and #')
    if not url.isascii() or not url.isprintable() or " " in url or parts.username is not None:
        raise Wrong(at, f'"{url}" has a sign in it that no address has')
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise Wrong(at, f'"{url}" would send tickets in the clear: https, but for this machine itself')


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _below(address: str, page: str) -> bool:
    """Whether the address is of the page's origin and its path begins as the page's does, step by step."""
    asked, allowed = parts_of(address), urlsplit(page)
    if asked is None or (asked.scheme, asked.netloc) != (allowed.scheme, allowed.netloc) or "\\" in address:
        return False
    if any(unquote(step) == ".." for step in asked.path.split("/")):
        return False
    within = allowed.path if allowed.path.endswith("/") else f"{allowed.path}/"
    return asked.path == allowed.path or asked.path.startswith(within)
