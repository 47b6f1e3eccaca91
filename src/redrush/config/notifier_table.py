"""The `[[notifier]]` tables of a payments file: who tells winners that they have won. They name secrets.

[[notifier]]
name = "mail"                        # as in the campaign's [[message]]
kind = "smtp"
server = "smtp.example:587"
security = "starttls"                # or "tls" (usually port 465), or "none", on a network of one's own
from = "红包 <noreply@example.com>"
user = "noreply"
password = { file = "smtp.password" }
contacts = "contacts.csv"            # user,to,language; or to = "{user}@example.com"
messages_per_second = 10

[[notifier]]
name = "shop"                        # goods and codes, for whoever delivers them (Standard Webhooks)
kind = "webhook"
url = "https://shop.example/won"
secret = { file = "shop.key" }
private = true                       # it is in a private network, which is refused else

[[notifier]]
name = "phone"
kind = "apprise"
secret = { file = "apprise.url" }    # a URL of apprise with {to} or {user} in it
contacts = "phones.csv"
"""

from collections.abc import Sequence
from email.utils import parseaddr
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

from redrush.config.address_key import check_address
from redrush.config.secret import Secret
from redrush.config.secret_table import SecretTable, secret_of
from redrush.config.toml_file import Wrong, check_id

KINDS: Final = ("smtp", "webhook", "apprise")
NOTIFIERS_MAX: Final = 32
MESSAGES_PER_S_MAX: Final = 10_000.0
PORT_MAX: Final = 65_535

Security = Literal["starttls", "tls", "none"]


class NotifierSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One notifier. What its kind does not need is empty."""

    name: str
    kind: str
    messages_per_s: float
    url: str = ""
    host: str = ""
    port: int = 0
    security: Security = "starttls"
    sender: str = ""
    user: str = ""
    to: str = ""
    """A pattern with `{user}` in it; "": the file says it, or nobody needs it."""
    contacts: Path | None = None
    password: Secret | None = None
    secret: Secret | None = None
    private: bool = False
    """Whether a webhook's address may be in a private network."""


class NotifierTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    """`[[notifier]]`."""

    name: str
    kind: str
    messages_per_second: float = 10.0
    url: str = ""
    server: str = ""
    security: str = ""
    sender: str = ""
    user: str = ""
    to: str = ""
    contacts: str = ""
    password: SecretTable | None = None
    secret: SecretTable | None = None
    private: bool = False


_NEEDED: Final = {"smtp": ("server", "from"), "webhook": ("url", "secret"), "apprise": ("secret",)}
_TAKEN: Final = {
    "smtp": {"server", "from", "security", "user", "password", "to", "contacts"},
    "webhook": {"url", "secret", "private", "to", "contacts"},
    "apprise": {"secret", "to", "contacts"},
}
_COMMON: Final = {"name", "kind", "messages_per_second"}


def notifier_specs(tables: Sequence[NotifierTable], path: Path) -> tuple[NotifierSpec, ...]:
    """Return what the tables state; `path` is their file, which paths in them are relative to. Raises Wrong."""
    if len(tables) > NOTIFIERS_MAX:
        raise Wrong("notifier", f"there are at most {NOTIFIERS_MAX} notifiers")
    specs: list[NotifierSpec] = []
    for index, table in enumerate(tables):
        where = f"notifier[{index}]"
        check_id(f"{where}.name", table.name)
        if any(table.name == other.name for other in specs):
            raise Wrong(f"{where}.name", f'the name "{table.name}" is used twice')
        if table.kind not in KINDS:
            raise Wrong(f"{where}.kind", f'"{table.kind}" is none of {", ".join(KINDS)}')
        if not 0 < table.messages_per_second <= MESSAGES_PER_S_MAX:
            raise Wrong(f"{where}.messages_per_second", f"must be above 0 and at most {MESSAGES_PER_S_MAX:,.0f}")
        _check_keys(where, table)
        specs.append(_spec(where, table, path))
    return tuple(specs)


def _spec(where: str, table: NotifierTable, path: Path) -> NotifierSpec:
    host, port = _server(where, table)
    return NotifierSpec(
        name=table.name,
        kind=table.kind,
        messages_per_s=table.messages_per_second,
        url=table.url,
        host=host,
        port=port,
        security=_security(where, table),
        sender=table.sender,
        user=table.user,
        to=table.to,
        contacts=path.parent / table.contacts if table.contacts else None,
        password=None if table.password is None else secret_of(f"{where}.password", table.password, path),
        private=table.private,
        secret=None if table.secret is None else secret_of(f"{where}.secret", table.secret, path),
    )


def _server(where: str, table: NotifierTable) -> tuple[str, int]:
    if table.kind != "smtp":
        return "", 0
    host, _, port = table.server.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= PORT_MAX:
        raise Wrong(f"{where}.server", f'"{table.server}" is no server: write it like "smtp.example:587"')
    sender = parseaddr(table.sender)[1]
    if "@" not in sender or not table.sender.isprintable():
        raise Wrong(f"{where}.from", f'"{table.sender}" is no mail address: write it like "Gala <noreply@example.com>"')
    if (table.password is None) != (not table.user):
        raise Wrong(f"{where}.user", "user and password are given together, or neither is")
    return host.strip("[]"), int(port)


def _security(where: str, table: NotifierTable) -> Security:
    for known in get_args(Security):
        if table.security in (known, ""):
            found: Security = known
            break
    else:
        raise Wrong(f"{where}.security", f'"{table.security}" is none of {", ".join(get_args(Security))}')
    if found == "none" and table.password is not None:
        raise Wrong(
            f"{where}.security", "a password is not sent over a line that anybody may read: use starttls or tls"
        )
    return found


def _check_keys(where: str, table: NotifierTable) -> None:
    """Raise Wrong for what its kind needs and has not, or has and does not need."""
    empty = NotifierTable(name="", kind="")
    written = {
        {"sender": "from"}.get(name, name)
        for name in table.__struct_fields__
        if getattr(table, name) != getattr(empty, name)
    } - _COMMON
    for name in _NEEDED[table.kind]:
        if name not in written:
            raise Wrong(f"{where}.{name}", f"is missing: a notifier of the kind {table.kind} needs it")
    if strange := sorted(written - _TAKEN[table.kind]):
        raise Wrong(f"{where}.{strange[0]}", f"has no meaning for a notifier of the kind {table.kind}")
    check_address(f"{where}.url", table.url, 'it must say where the receiver answers, like "https://shop.example/won"')
    if "to" in written and "contacts" in written:
        raise Wrong(f"{where}.to", "is a pattern, and contacts a file: give one of them")
    if table.to and "{user}" not in table.to:
        raise Wrong(f"{where}.to", "has no {user} in it: everybody's message would go to one address")
    if table.kind == "smtp" and not {"to", "contacts"} & written:
        raise Wrong(
            f"{where}.contacts",
            'is missing: say to whom mail goes, by a file, contacts = "contacts.csv", or, in its place, by a pattern, '
            'to = "{user}@example.com"',
        )
