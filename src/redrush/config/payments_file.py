"""Payments files: who moves real money, and where their notices are heard. They name secrets and do not hold them.

[notices]
listen = "127.0.0.1:9105"            # behind a proxy with TLS; notices come to /notices/NAME

[[provider]]
name = "sandbox"                     # as in the campaign's [payout], sale or group
kind = "sandbox"
url = "http://127.0.0.1:9400"
calls_per_second = 100               # what the contract with it allows
"""

from pathlib import Path
from typing import Final

import msgspec

from redrush.config.deployment_tables import SecretTable
from redrush.config.secret import Secret
from redrush.config.toml_file import Wrong, check_id, parse, read_text
from redrush.core.sets.address import Address

KINDS: Final = ("sandbox",)
PROVIDERS_MAX: Final = 32
CALLS_PER_S_MAX: Final = 100_000.0


class ProviderSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One provider. What its kind needs besides is in `options` and `secrets`, by key."""

    name: str
    kind: str
    url: str = ""
    calls_per_s: float = 100.0
    options: dict[str, str] = {}
    secrets: dict[str, Secret] = {}


class PaymentsFile(msgspec.Struct, frozen=True, kw_only=True):
    """A payments file, validated; `listen` None: no notices are heard, everything is asked for."""

    path: Path
    providers: tuple[ProviderSpec, ...] = ()
    listen: Address | None = None


class _NoticesTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    listen: str


class _ProviderTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    kind: str
    url: str = ""
    calls_per_second: float = 100.0
    secret: SecretTable | None = None


class _Tables(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    provider: list[_ProviderTable]
    notices: _NoticesTable | None = None


def load_payments_file(path: Path) -> PaymentsFile:
    """Return what the file states. ConfigError says file, line and key."""
    return parse(read_text(path, "payments"), str(path), _Tables, lambda file: _payments(file, path), {"kind": KINDS})


def _payments(file: _Tables, path: Path) -> PaymentsFile:
    if not 1 <= len(file.provider) <= PROVIDERS_MAX:
        raise Wrong("provider", f"there are 1 to {PROVIDERS_MAX} providers")
    providers: list[ProviderSpec] = []
    for index, table in enumerate(file.provider):
        where = f"provider[{index}]"
        check_id(f"{where}.name", table.name)
        if any(table.name == other.name for other in providers):
            raise Wrong(f"{where}.name", f'the name "{table.name}" is used twice')
        if table.kind not in KINDS:
            raise Wrong(f"{where}.kind", f'"{table.kind}" is none of {", ".join(KINDS)}')
        if not 0 < table.calls_per_second <= CALLS_PER_S_MAX:
            raise Wrong(f"{where}.calls_per_second", f"must be above 0 and at most {CALLS_PER_S_MAX:,.0f}")
        if not table.url.startswith(("http://", "https://")):
            raise Wrong(f"{where}.url", 'must say where the sandbox answers, like "http://127.0.0.1:9400"')
        secrets = (
            {} if table.secret is None else {"secret": _secret(f"{path}: {where}.secret", where, table.secret, path)}
        )
        providers.append(
            ProviderSpec(
                name=table.name, kind=table.kind, url=table.url, calls_per_s=table.calls_per_second, secrets=secrets
            )
        )
    listen = None
    if file.notices is not None:
        host, _, port = file.notices.listen.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65_535:
            raise Wrong("notices.listen", f'"{file.notices.listen}" is no address: write it like "127.0.0.1:9105"')
        listen = Address(host.strip("[]"), int(port))
    return PaymentsFile(path=path, providers=tuple(providers), listen=listen)


def _secret(said: str, where: str, table: SecretTable, path: Path) -> Secret:
    named = [one for one in (table.env, table.file, table.credential) if one is not None]
    if len(named) != 1:
        raise Wrong(f"{where}.secret", 'say where it is: { file = "…" }, { env = "…" } or { credential = "…" }')
    file = None if table.file is None else path.parent / table.file
    return Secret(said, env=table.env, file=file, credential=table.credential)
