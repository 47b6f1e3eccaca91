"""Tells winners through apprise: a hundred services behind one kind of URL (phones, chats, SMS, mail).

Of each message it is only said whether all went well. So what did not is *unknown*: nobody can tell a service that
refused from an answer that was lost. https://github.com/caronc/apprise

Needs the extra "notices".
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import quote

import apprise

from redrush.errors import ConfigError
from redrush.ports.notifier import Message, Told
from redrush.ports.provider import Accepted, Rejected, Terms, Unknown


class AppriseNotifier:
    """Fulfils `redrush.ports.notifier.Notifier`. Threads of its own do the work."""

    repeats = False

    def __init__(self, url: str, terms: Terms) -> None:
        """`{to}` and `{user}` in the URL are the winner's address and id. ConfigError for a URL that apprise does not
        know; it may be a secret, and is not told."""
        self._url = url
        self._terms = terms
        self._threads = ThreadPoolExecutor(terms.at_once_max, thread_name_prefix="apprise")
        # It writes whole URLs into its log, with whatever passwords are in them.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        if not apprise.Apprise().add(self._address("someone", "someone")):
            raise ConfigError("apprise knows no service of this URL")

    @property
    def terms(self) -> Terms:
        """See the port."""
        return self._terms

    async def send(self, message: Message) -> Told:
        """See the port."""
        service = apprise.Apprise()
        if not service.add(self._address(message.to, message.user)):
            return Rejected("the contact makes no address that apprise knows", final=True)
        notify = partial(service.notify, body=message.text, title=message.title, body_format=apprise.NotifyFormat.TEXT)
        done = await asyncio.get_running_loop().run_in_executor(self._threads, notify)
        return Accepted() if done else Unknown("apprise says that not everything went well")

    async def prove(self) -> str | None:
        """See the port: there is no request that would tell nobody anything."""
        return None

    def close(self) -> None:
        """See the port."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _address(self, to: str, user: str) -> str:
        return self._url.replace("{to}", quote(to, safe="@")).replace("{user}", quote(user, safe=""))
