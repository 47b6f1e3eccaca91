"""The login of tests: its file, and somebody who comes to it with a browser of few lines."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from re import search
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import httpx2
import msgspec
from litestar.testing import TestClient

from redrush.client.issue import LoginKeyFile
from redrush.config.login_file import load_login_file
from redrush.core.identity.tickets import KeyRing, Ticket, TicketVerifier
from redrush.login.app import Logins, make_app
from tests.login.provider import CLIENT, SECRET

KEY: Final = bytes(range(32))
HOST: Final = "http://127.0.0.1:8070"
ADDRESS: Final = f"{HOST}/login"
PAGE: Final = "http://127.0.0.1:8080/c/spring"
FILE: Final = """[login]
address = "{address}"
pages = ["{page}", "http://127.0.0.1:8080/"]
key = "key.json"
ticket_lasts = "2h"
session_lasts = "12h"

[login.oidc]
issuer = "{issuer}"
client_id = "{client}"
client_secret = {{ file = "oidc.secret" }}
user = "{user}"
scopes = ["openid", "email"]
"""


def login_file(directory: Path, issuer: str, *, user: str = "sub", address: str = ADDRESS, page: str = PAGE) -> Path:
    """Write a login file with what belongs beside it; returns where."""
    key = LoginKeyFile(id="company", key=base64.b64encode(KEY).decode())
    (directory / "key.json").write_bytes(msgspec.json.encode(key))
    (directory / "oidc.secret").write_text(f"{SECRET}\n")
    file = directory / "login.toml"
    file.write_text(FILE.format(address=address, page=page, issuer=issuer, client=CLIENT, user=user))
    return file


def ticket_of(text: str) -> Ticket | None:
    """Return what a ticket states, as a gate sees it that knows the login key."""
    ring = KeyRing("k1", {"k1": bytes(32)}, {"company": KEY})
    return TicketVerifier(ring).verify(text.encode())


class Browser:
    """Comes to a login. `now_s` is the login's clock."""

    def __init__(self, client: "TestClient[Any]", now_s: list[int]) -> None:
        self.client = client
        self.now_s = now_s

    def begins(self, path: str = "/login") -> str:
        """Return the address of the provider that the login sends to."""
        answer = self.client.get(path, follow_redirects=False)
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    def comes_back(self, url: str, user: str = "ann") -> Any:
        """Log in at the provider, and return what the login says to whoever comes back from it."""
        answer = httpx2.get(f"{url}&as={user}")
        assert answer.status_code == 302, answer.text
        return self.client.get(answer.headers["location"], follow_redirects=False)

    def logs_in(self, user: str = "ann", path: str = "/login") -> tuple[str, str]:
        """Return the page that the browser is sent to in the end, and the ticket behind its #."""
        answer = self.comes_back(self.begins(path), user)
        assert answer.status_code == 200, answer.text
        return handed_over(answer.text)

    def renews(self, origin: str | None = "http://127.0.0.1:8080") -> Any:
        headers = {} if origin is None else {"Origin": origin}
        return self.client.post("/login/renew", headers=headers)


def handed_over(html: str) -> tuple[str, str]:
    """Return page and ticket of a handover."""
    found = search(r'<a id="on" href="([^"]+)"', html)
    assert found is not None, html
    page, _, fragment = unescape(found[1]).partition("#")
    assert fragment.startswith("ticket=")
    return page, unquote(fragment.removeprefix("ticket="))


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@contextmanager
def browser_at(file: Path, now_s: int) -> Iterator[Browser]:
    """Somebody at the login of this file, whose clock begins with `now_s`."""
    clock = [now_s]
    app = make_app(Logins(load_login_file(file), lambda: clock[0]))
    with TestClient(app, base_url=HOST) as client:
        yield Browser(client, clock)
