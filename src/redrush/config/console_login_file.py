"""Login files of the console: how operators log in with an OpenID Connect provider, besides their passwords.

[console]
address = "https://console.example"          # under which browsers reach the console

[console.oidc]                               # as [login.oidc] of a login file
issuer = "https://id.example"
client_id = "redrush-console"
client_secret = { file = "oidc.secret" }
user = "email"                               # the claim that says who somebody is
scopes = ["openid", "email"]

[console.people]                             # whose account that is; who is not here has the account of this name
"olga@example.com" = "olga"
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from redrush.config.login_file import OidcTable, OidcTerms, check_address, oidc_terms
from redrush.config.toml_file import Wrong, check_id, parse, read_text

PEOPLE_MAX: Final = 1_000


class ConsoleLogin(msgspec.Struct, frozen=True, kw_only=True):
    """Such a file, validated. `people` is the account of whom the provider names so."""

    address: str
    oidc: OidcTerms
    people: Mapping[str, str] = {}


class _ConsoleTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    address: str
    oidc: OidcTable
    people: dict[str, str] = {}


class _Tables(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    console: _ConsoleTable


def load_console_login_file(path: Path) -> ConsoleLogin:
    """Return what the file states. ConfigError says file, line and key."""
    return parse(read_text(path, "login"), str(path), _Tables, lambda file: _login(file.console, path), {})


def _login(table: _ConsoleTable, path: Path) -> ConsoleLogin:
    check_address("console.address", table.address)
    if len(table.people) > PEOPLE_MAX:
        raise Wrong("console.people", f"there are at most {PEOPLE_MAX}")
    for account in table.people.values():
        check_id("console.people", account)
    return ConsoleLogin(
        address=table.address.rstrip("/"), oidc=oidc_terms("console.oidc", table.oidc, path), people=table.people
    )
