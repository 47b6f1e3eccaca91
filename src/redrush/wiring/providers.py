"""Which adapter speaks to which provider of a payments file."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from redrush.config import ProviderSpec
from redrush.errors import ConfigError
from redrush.extras import require
from redrush.ports.provider import BillLine, DailyBills, Notices, Orders, Terms
from redrush.providers.batches import CsvPayOut
from redrush.providers.sandbox.remote import (
    SECRET,
    TERMS,
    SandboxBills,
    SandboxLink,
    SandboxNotices,
    SandboxPayIn,
    SandboxPayOut,
)
from redrush.providers.signing import keys_of
from redrush.providers.webhook import WebhookOrders
from redrush.providers.webhook.orders import DEADLINE_S
from redrush.settle.paying.teller import Provider


class Connected(msgspec.Struct, frozen=True):
    """A provider that can be asked, and what it is besides; `close` ends its connections."""

    provider: Provider
    notices: Notices | None
    bills: DailyBills | None
    close: Callable[[], None]
    orders: Orders | None = None
    """The order system of its shop, if it has one."""
    reads: Callable[[bytes], Sequence[BillLine]] | None = None
    """Reads a file of its daily bill that somebody has fetched; raises RedrushError for what is none."""


CSV_LOOKS_S: Final = (10.0, 60.0, 300.0)
"""How soon the answers of finance are looked at: in the first minutes, and then every five."""


def nothing() -> None:
    """Nothing is open that has to be closed."""


NowUs = Callable[[], int]


def connected(spec: ProviderSpec, now_us: NowUs, currency: str = "") -> Connected:
    """Return the adapter of a provider. Connects to nothing yet. ConfigError for a secret that is not there."""
    return _BY_KIND[spec.kind](spec, now_us, currency)


def _sandbox(spec: ProviderSpec, now_us: NowUs, currency: str) -> Connected:
    secrets = [secret.read() for secret in spec.secrets.values()] or [SECRET]
    terms = msgspec.structs.replace(
        TERMS,
        currency=currency or TERMS.currency,
        calls_per_s=spec.calls_per_s,
        queries_per_s=spec.calls_per_s,
        at_once_max=64,
    )
    link = SandboxLink(spec.url, secrets, now_us, terms)
    provider = Provider(spec.name, SandboxPayIn(link), SandboxPayOut(link))
    shop = WebhookOrders(f"{spec.url.rstrip('/')}/shop/orders", secrets[0], now_us, terms, public_only=False)

    def close() -> None:
        link.close()
        shop.close()

    return Connected(provider, SandboxNotices(secrets), SandboxBills(link), close, shop)


def _wechat(spec: ProviderSpec, now_us: NowUs, currency: str) -> Connected:
    require("payments", "WeChat Pay")
    from redrush.providers.rsa import public_key_of  # noqa: PLC0415
    from redrush.providers.wechat.adapters import WeChatNotices, WeChatPayIn, WeChatPayOut  # noqa: PLC0415 - an extra
    from redrush.providers.wechat.bills import WeChatBills, lines_of_file  # noqa: PLC0415
    from redrush.providers.wechat.keys import KeyRing, merchant_of  # noqa: PLC0415
    from redrush.providers.wechat.link import HOST, WeChatLink  # noqa: PLC0415
    from redrush.providers.wechat.link import TERMS as WECHAT_TERMS  # noqa: PLC0415

    options, secrets = spec.options, {name: secret.read() for name, secret in spec.secrets.items()}
    terms = _contract(spec, WECHAT_TERMS, currency, "WeChat Pay")
    merchant = merchant_of(options["mchid"], options["serial"], secrets["key"], secrets["api_key"])
    keys = {
        serial: public_key_of(key.read(), f"the key {serial} of WeChat Pay") for serial, key in spec.public_keys.items()
    }
    ring = KeyRing(keys)
    link = WeChatLink(
        merchant, ring, options["appid"], now_us, url=spec.url or HOST, notify_url=options["notify"], terms=terms
    )
    bills = WeChatBills(link, account=options["account"])
    pay_out = WeChatPayOut(link, scene=options["scene"], reports=spec.reports, perception=options["perception"])
    pay_in = WeChatPayIn(link, ways=spec.ways or ("qr",), back=options["back"])
    provider, notices = Provider(spec.name, pay_in, pay_out), WeChatNotices(merchant, ring)
    return Connected(provider, notices, bills, link.close, reads=lines_of_file)


def _alipay(spec: ProviderSpec, now_us: NowUs, currency: str) -> Connected:
    require("payments", "Alipay")
    from redrush.providers.alipay.adapters import AlipayPayIn, AlipayPayOut  # noqa: PLC0415 - an extra
    from redrush.providers.alipay.bills import AlipayBills, lines_of_file  # noqa: PLC0415
    from redrush.providers.alipay.keys import app_of, ring_of  # noqa: PLC0415
    from redrush.providers.alipay.link import GATEWAY, AlipayLink  # noqa: PLC0415
    from redrush.providers.alipay.link import TERMS as ALIPAY_TERMS  # noqa: PLC0415
    from redrush.providers.alipay.notices import AlipayNotices  # noqa: PLC0415

    options, secrets = spec.options, {name: secret.read() for name, secret in spec.secrets.items()}
    terms = _contract(spec, ALIPAY_TERMS, currency, "Alipay")
    app = app_of(options["appid"], options["seller"], secrets["key"], secrets.get("app_cert"), secrets.get("root_cert"))
    ring = ring_of({name: key.read() for name, key in spec.public_keys.items()})
    link = AlipayLink(app, ring, now_us, url=spec.url or GATEWAY, notify_url=options["notify"], terms=terms)
    pay_in = AlipayPayIn(link, page=options["page"], ways=spec.ways or ("qr",))
    pay_out = AlipayPayOut(link, payee=options["payee"])
    provider, notices = Provider(spec.name, pay_in, pay_out), AlipayNotices(app, ring)
    return Connected(provider, notices, AlipayBills(link), link.close, reads=lines_of_file)


def _stripe(spec: ProviderSpec, _now_us: NowUs, currency: str) -> Connected:
    require("stripe", "Stripe")
    from redrush.providers.stripe.adapters import StripeNotices, StripePayIn, StripePayOut  # noqa: PLC0415 - an extra
    from redrush.providers.stripe.link import API, StripeLink  # noqa: PLC0415
    from redrush.providers.stripe.link import TERMS as STRIPE_TERMS  # noqa: PLC0415

    terms = msgspec.structs.replace(STRIPE_TERMS, currency=currency or STRIPE_TERMS.currency)
    link = StripeLink(
        spec.secrets["key"].read(), url=spec.url or API, terms=_contract(spec, terms, currency, "Stripe"),
        back=spec.options["back"],
    )  # fmt: skip
    notices = StripeNotices(spec.secrets["secret"].read().split(), is_live=link.is_live)
    return Connected(Provider(spec.name, StripePayIn(link), StripePayOut(link)), notices, None, link.close)


def _contract(spec: ProviderSpec, terms: Terms, currency: str, who: str) -> Terms:
    """Return the terms with the pace of the contract. ConfigError for a currency that it does not move."""
    if currency not in ("", terms.currency):
        raise ConfigError(f"provider {spec.name}: {who} moves {terms.currency}, the campaign is in {currency}")
    return msgspec.structs.replace(terms, calls_per_s=spec.calls_per_s, queries_per_s=spec.calls_per_s)


def _csv(spec: ProviderSpec, now_us: NowUs, currency: str) -> Connected:
    assert spec.directory is not None
    terms = Terms(currency=currency or "CNY", longest_silence_s=1.0, looks_s=CSV_LOOKS_S, at_once_max=8)
    return Connected(Provider(spec.name, None, CsvPayOut(spec.directory, terms, now_us)), None, None, nothing)


def _webhook(spec: ProviderSpec, now_us: NowUs, currency: str) -> Connected:
    terms = Terms(currency=currency, deadline_s=DEADLINE_S, calls_per_s=spec.calls_per_s)
    shop = WebhookOrders(spec.url, spec.secrets["secret"].read_as(keys_of), now_us, terms, public_only=not spec.private)
    return Connected(Provider(spec.name, None, None), None, None, shop.close, shop)


_BY_KIND: Final[dict[str, Callable[[ProviderSpec, NowUs, str], Connected]]] = {
    "sandbox": _sandbox,
    "wechat": _wechat,
    "alipay": _alipay,
    "stripe": _stripe,
    "csv": _csv,
    "webhook": _webhook,
}
