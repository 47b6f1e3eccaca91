"""Payments files: who moves real money, and where their notices are heard. They name secrets and do not hold them.

[notices]
listen = "127.0.0.1:9105"            # behind a proxy with TLS; notices come to /notices/NAME

[[provider]]
name = "sandbox"                     # as in the campaign's [payout], sale or group
kind = "sandbox"
url = "http://127.0.0.1:9400"
calls_per_second = 100               # what the contract with it allows

[[provider]]
name = "store"                       # a shop's order system, which is told what was sold (Standard Webhooks)
kind = "webhook"
url = "https://shop.example/orders"
secret = { file = "shop.key" }       # whsk_… of `redrush webhook-key`, whsec_…, or both
private = true                       # it is in a private network, which is refused else
"""

from pathlib import Path
from typing import Final, Literal

import msgspec

from redrush.config.address_key import check_address
from redrush.config.notifier_table import NotifierSpec, NotifierTable, notifier_specs
from redrush.config.secret import Secret
from redrush.config.secret_table import SecretTable, secret_of
from redrush.config.toml_file import Wrong, check_id, parse, read_text
from redrush.core.money.way_to_pay import How
from redrush.core.sets.address import Address

KINDS: Final = ("sandbox", "wechat", "alipay", "stripe", "csv", "webhook")
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
    public_keys: dict[str, Secret] = {}
    """Of the provider, by serial: the last one is what its answers are asked to be signed with."""
    reports: dict[str, str] = {}
    """What has to be stated of each transfer."""
    directory: Path | None = None
    """Where files of payouts are written."""
    private: bool = False
    """Whether its address may be in a private network."""
    ways: tuple[How, ...] = ()
    """What people can be shown to pay by; none: as the kind of provider does it."""


class PaymentsFile(msgspec.Struct, frozen=True, kw_only=True):
    """A payments file, validated; `listen` None: no notices are heard, everything is asked for."""

    path: Path
    providers: tuple[ProviderSpec, ...] = ()
    listen: Address | None = None
    notifiers: tuple[NotifierSpec, ...] = ()
    """Who tells winners: see `redrush.config.notifier_table`."""


class _NoticesTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    listen: str


class _ProviderTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    kind: str
    url: str = ""
    calls_per_second: float = 100.0
    secret: SecretTable | None = None
    appid: str = ""
    mchid: str = ""
    serial: str = ""
    key: SecretTable | None = None
    api_key: SecretTable | None = None
    public_keys: dict[str, SecretTable] = {}
    notify: str = ""
    scene: str = ""
    perception: str = ""
    reports: dict[str, str] = {}
    directory: str = ""
    private: bool = False
    seller: str = ""
    app_cert: SecretTable | None = None
    root_cert: SecretTable | None = None
    payee: Literal["open_id", "user_id", "logon_id"] = "open_id"
    page: Literal["wap", "page"] = "wap"
    back: str = ""
    account: Literal["BASIC", "OPERATION"] = "BASIC"
    ways: list[Literal["qr", "jsapi", "redirect"]] = []


_OPTIONS: Final = (
    "appid",
    "mchid",
    "serial",
    "notify",
    "scene",
    "perception",
    "seller",
    "payee",
    "page",
    "back",
    "account",
)
_SECRETS: Final = ("secret", "key", "api_key", "app_cert", "root_cert")
_NEEDED: Final = {
    "sandbox": ("url",),
    "webhook": ("url", "secret"),
    "wechat": ("appid", "mchid", "serial", "key", "api_key", "public_keys", "notify", "scene", "reports"),
    "alipay": ("appid", "seller", "key", "public_keys", "notify"),
    "stripe": ("key", "secret", "back"),
    "csv": ("directory",),
}
_TAKEN: Final = {
    "sandbox": {"url", "secret"},
    "webhook": {"url", "secret", "private"},
    "wechat": {*_NEEDED["wechat"], "url", "perception", "account", "ways", "back"},
    "alipay": {*_NEEDED["alipay"], "app_cert", "root_cert", "payee", "page", "url", "ways"},
    "stripe": {*_NEEDED["stripe"], "url"},
    "csv": {"directory"},
}
_COMMON: Final = {"name", "kind", "calls_per_second"}


class _Tables(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    provider: list[_ProviderTable] = []
    notifier: list[NotifierTable] = []
    notices: _NoticesTable | None = None


def load_payments_file(path: Path) -> PaymentsFile:
    """Return what the file states. ConfigError says file, line and key."""
    return parse(read_text(path, "payments"), str(path), _Tables, lambda file: _payments(file, path), {"kind": KINDS})


def _payments(file: _Tables, path: Path) -> PaymentsFile:
    if len(file.provider) > PROVIDERS_MAX or not (file.provider or file.notifier):
        raise Wrong("provider", f"there are 1 to {PROVIDERS_MAX} providers, or notifiers alone")
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
        _check_keys(where, table)
        written = {name: getattr(table, name) for name in _SECRETS}
        if len(set(table.ways)) < len(table.ways):
            raise Wrong(f"{where}.ways", "names one of them twice")
        providers.append(
            ProviderSpec(
                name=table.name,
                kind=table.kind,
                url=table.url,
                calls_per_s=table.calls_per_second,
                options={name: getattr(table, name) for name in _OPTIONS},
                secrets={
                    name: secret_of(f"{where}.{name}", one, path) for name, one in written.items() if one is not None
                },
                public_keys={
                    serial: secret_of(f"{where}.public_keys", one, path) for serial, one in table.public_keys.items()
                },
                reports=table.reports,
                directory=path.parent / table.directory if table.directory else None,
                private=table.private,
                ways=tuple(table.ways),
            )
        )
    notifiers = notifier_specs(file.notifier, path)
    listen = None
    if file.notices is not None:
        host, _, port = file.notices.listen.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65_535:
            raise Wrong("notices.listen", f'"{file.notices.listen}" is no address: write it like "127.0.0.1:9105"')
        listen = Address(host.strip("[]"), int(port))
    return PaymentsFile(path=path, providers=tuple(providers), listen=listen, notifiers=notifiers)


def _check_keys(where: str, table: _ProviderTable) -> None:
    """Raise Wrong for what its kind needs and has not, or has and does not need."""
    empty = _ProviderTable(name="", kind="")
    written = {
        name for name in table.__struct_fields__ if getattr(table, name) != getattr(empty, name)
    } - _COMMON  # fmt: skip
    for name in _NEEDED[table.kind]:
        if name not in written:
            raise Wrong(f"{where}.{name}", f"is missing: a provider of the kind {table.kind} needs it")
    if strange := sorted(written - _TAKEN[table.kind]):
        raise Wrong(f"{where}.{strange[0]}", f"has no meaning for a provider of the kind {table.kind}")
    check_address(f"{where}.url", table.url, 'it must say where the provider answers, like "http://127.0.0.1:9400"')
    check_address(f"{where}.back", table.back, 'it must say where buyers come back to, like "https://rush.example/"')
    check_address(f"{where}.notify", table.notify, 'write it like "https://rush.example/notices/pay"')
    if table.notify and (not table.notify.startswith("https://") or "?" in table.notify):
        raise Wrong(f"{where}.notify", "must be https:// and without a query: no other address is called")
    if (table.app_cert is None) != (table.root_cert is None):
        raise Wrong(f"{where}.app_cert", "goes with root_cert: Alipay's certificate mode needs both")
