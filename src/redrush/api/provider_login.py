"""Operators who log in with an OpenID Connect provider: the way there and back, and whose account that is.

The provider says who somebody is; what they may do, and whether they may anything, is said by the accounts alone. What
is kept of somebody who is at the provider is in their browser, sealed by a key that lives as long as the console.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from redrush.config.console_login_file import ConsoleLogin
from redrush.login.keepsakes import Keepsakes
from redrush.login.oidc import NotLoggedIn, Provider, Started

ASKING_S: Final = 600
"""How long somebody may take at the provider."""
BACK: Final = "/login/back"


class _Asked(msgspec.Struct, frozen=True):
    started: Started
    then: str


class ProviderLogin:
    """See the module."""

    def __init__(self, terms: ConsoleLogin, now_s: Callable[[], int]) -> None:
        """ConfigError if the provider's secret cannot be read."""
        self._terms = terms
        self._provider = Provider(terms.oidc)
        self._asked = Keepsakes(secrets.token_bytes(32))
        self._now_s = now_s

    async def begin(self, then: str) -> tuple[str, str]:
        """Return where to send a browser that wants to go on to `then`, and what it has to keep. ProviderAway."""
        begun = await self._provider.begin(self._terms.address + BACK)
        return begun.url, self._asked.sealed(_Asked(begun.started, then), self._now_s())

    async def finish(self, kept: str, query: Mapping[str, str]) -> tuple[str, str]:
        """Return the account of whoever comes back, and where they wanted to go. NotLoggedIn, ProviderAway."""
        asked = self._asked.opened(kept, _Asked, ASKING_S, self._now_s())
        if asked is None:
            raise NotLoggedIn("state", "this login was begun in another browser, or more than ten minutes ago")
        user = await self._provider.finish(self._terms.address + BACK, asked.started, query)
        return self._terms.people.get(user, user), asked.then
