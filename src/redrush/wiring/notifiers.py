"""Which adapter speaks for which notifier of a payments file, and where it finds whom to tell."""

from collections.abc import Callable
from typing import Final

import msgspec

from redrush.config import NotifierSpec
from redrush.extras import require
from redrush.ports.notifier import Notifier
from redrush.ports.provider import Terms
from redrush.providers.contacts import ContactFile, FindContact, by_pattern, nowhere
from redrush.providers.notifiers.smtp import Account, SmtpNotifier
from redrush.providers.notifiers.webhook import WebhookNotifier
from redrush.providers.signing import keys_of
from redrush.providers.webhook import WebhookOrders

AT_ONCE_MAX: Final = 8
"""Messages of one notifier that are under way: so many may have arrived or not when a server is killed."""
DEADLINE_S: Final = 30.0

NowUs = Callable[[], int]


class Reached(msgspec.Struct, frozen=True):
    """A notifier, and where each user is told."""

    spec: NotifierSpec
    notifier: Notifier
    contact: FindContact


def reached(spec: NotifierSpec, now_us: NowUs) -> Reached:
    """Return the adapter of a notifier. Connects to nothing yet. ConfigError for a secret or contacts that are not
    there, ExtraMissing."""
    contact: FindContact = nowhere
    if spec.contacts is not None:
        contact = ContactFile(spec.contacts)
    elif spec.to:
        contact = by_pattern(spec.to)
    return Reached(spec, _BY_KIND[spec.kind](spec, now_us), contact)


def _terms(spec: NotifierSpec) -> Terms:
    return Terms(currency="", calls_per_s=spec.messages_per_s, at_once_max=AT_ONCE_MAX, deadline_s=DEADLINE_S)


def _smtp(spec: NotifierSpec, now_us: NowUs) -> Notifier:
    account = Account(
        host=spec.host,
        port=spec.port,
        sender=spec.sender,
        security=spec.security,
        user=spec.user,
        password="" if spec.password is None else spec.password.read(),
    )
    return SmtpNotifier(account, _terms(spec), now_us)


def _webhook(spec: NotifierSpec, now_us: NowUs) -> Notifier:
    assert spec.secret is not None
    return WebhookNotifier(
        WebhookOrders(spec.url, spec.secret.read_as(keys_of), now_us, _terms(spec), public_only=not spec.private)
    )


def _apprise(spec: NotifierSpec, _now_us: NowUs) -> Notifier:
    require("notices", "a notifier of the kind apprise")
    from redrush.providers.notifiers.apprise import AppriseNotifier  # noqa: PLC0415 - an extra

    assert spec.secret is not None
    return AppriseNotifier(spec.secret.read(), _terms(spec))


_BY_KIND: Final[dict[str, Callable[[NotifierSpec, NowUs], Notifier]]] = {
    "smtp": _smtp,
    "webhook": _webhook,
    "apprise": _apprise,
}
