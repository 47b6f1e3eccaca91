"""Which adapter speaks to which provider of a payments file."""

from collections.abc import Callable
from typing import Final

import msgspec

from redrush.config import ProviderSpec
from redrush.ports.provider import DailyBills, Notices
from redrush.providers.sandbox.remote import (
    SECRET,
    TERMS,
    SandboxBills,
    SandboxLink,
    SandboxNotices,
    SandboxPayIn,
    SandboxPayOut,
)
from redrush.settle.paying.teller import Provider


class Connected(msgspec.Struct, frozen=True):
    """A provider that can be asked, and what it is besides; `close` ends its connections."""

    provider: Provider
    notices: Notices | None
    bills: DailyBills | None
    close: Callable[[], None]


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
    return Connected(provider, SandboxNotices(secrets), SandboxBills(link), link.close)


_BY_KIND: Final[dict[str, Callable[[ProviderSpec, NowUs, str], Connected]]] = {"sandbox": _sandbox}
