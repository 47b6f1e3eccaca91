"""Tells winners by mail, over SMTP as in RFC 5321, with the library of Python.

The one instant that matters is the dot at the end of a mail: before it nobody has been told, for certain, and from it
on until the server's reply comes nobody knows (RFC 5321, 4.5.3.2.6, and RFC 1047 on the mails that arrive twice so). So
the steps are taken here one by one. Each mail has a Message-ID of the message's number: a mail program that knows it
shows a second one as the same.

Connections are kept for the next mail, one for each that is under way at a time.
"""

import asyncio
import contextlib
import re
import smtplib
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from queue import Empty, LifoQueue
from typing import Final, Literal

import msgspec

from redrush.http.trust import system_trust
from redrush.ports.notifier import Message, Told
from redrush.ports.provider import Accepted, Rejected, Terms, Unknown

Security = Literal["starttls", "tls", "none"]

WHY_CHARS_MAX: Final = 200
"""Of what a server says."""
TOO_LONG_AGO_S: Final = 60.0
"""A connection that was idle for so long is not used again."""

_ADDRESS: Final = re.compile(r"[^@\s<>,;:\"\\]{1,64}@[^@\s<>,;:\"\\]{1,255}")


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Where mail is handed in, and as whom."""

    host: str
    port: int
    sender: str
    security: Security = "starttls"
    user: str = ""
    password: str = ""
    context: ssl.SSLContext | None = None
    """Whom to trust; None: whom the system trusts."""


class SmtpNotifier:
    """Fulfils `redrush.ports.notifier.Notifier`. Threads of its own speak to the server."""

    repeats = False

    def __init__(self, account: Account, terms: Terms, now_us: Callable[[], int]) -> None:
        """Connects to nothing yet."""
        self._account = account
        self._terms = terms
        self._now_us = now_us
        self._threads = ThreadPoolExecutor(terms.at_once_max, thread_name_prefix="mail")
        self._idle: LifoQueue[tuple[smtplib.SMTP, int]] = LifoQueue()

    @property
    def terms(self) -> Terms:
        """See the port."""
        return self._terms

    async def send(self, message: Message) -> Told:
        """See the port."""
        if not message.to.isascii() or _ADDRESS.fullmatch(message.to) is None:
            return Rejected("the contact is no mail address", final=True)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._send, message)

    async def prove(self) -> str | None:
        """See the port: connect, log in, and ask for nothing."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, lambda: self._keep(self._connect()))
        except (OSError, smtplib.SMTPException) as fault:
            return _said(fault)
        return None

    def close(self) -> None:
        """See the port."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(Empty):
            while True:
                _end(self._idle.get_nowait()[0])

    def _send(self, message: Message) -> Told:
        try:
            mail = self._mail(message)
        except (ValueError, UnicodeError) as fault:
            return Rejected(f"it cannot be written as a mail: {fault}", final=True)
        try:
            server = self._ready()
        except (OSError, smtplib.SMTPException) as fault:
            return Rejected(_said(fault), final=False)
        told = self._hand_in(server, message.to, mail)
        if isinstance(told, Unknown):
            _end(server)
        else:
            self._keep(server)
        return told

    def _ready(self) -> smtplib.SMTP:
        """Return a connection that is ready for a mail: one that is kept and still answers, or a new one."""
        now_us = self._now_us()
        with contextlib.suppress(Empty):
            while True:
                server, since_us = self._idle.get_nowait()
                with contextlib.suppress(OSError, smtplib.SMTPException):
                    if now_us - since_us < TOO_LONG_AGO_S * 1e6 and server.rset()[0] == 250:
                        return server
                _end(server)
        return self._connect()

    def _connect(self) -> smtplib.SMTP:
        account, wait_s = self._account, self._terms.deadline_s
        context = account.context or system_trust()
        if account.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(account.host, account.port, timeout=wait_s, context=context)
        else:
            server = smtplib.SMTP(account.host, account.port, timeout=wait_s)
        try:
            if account.security == "starttls":
                server.starttls(context=context)
            if account.user:
                server.login(account.user, account.password)
            server.ehlo_or_helo_if_needed()
        except BaseException:
            _end(server)
            raise
        return server

    def _hand_in(self, server: smtplib.SMTP, to: str, mail: bytes) -> Told:
        try:
            code, said = server.mail(self._account.sender)
            if code != 250:
                return Rejected(f"{code} {_text(said)}", final=False)  # that is about us, not about the winner
            code, said = server.rcpt(to)
            if code not in (250, 251):
                return _refused(code, said)
            code, said = server.docmd("DATA")
            if code != 354:
                return _refused(code, said)
        except (OSError, smtplib.SMTPException) as fault:
            return Rejected(_said(fault), final=False)
        try:
            server.send(mail)
            code, said = server.getreply()
        except (OSError, smtplib.SMTPException) as fault:
            return Unknown(f"the mail was handed in, and no reply came: {_said(fault)}")
        return Accepted(_text(said)) if code == 250 else _refused(code, said)

    def _mail(self, message: Message) -> bytes:
        """Return the mail as it goes over the wire, with its dot."""
        mail = EmailMessage(policy=SMTP)
        mail.set_content(message.text + "\n", charset="utf-8", cte="base64")
        mail["From"], mail["To"], mail["Subject"] = self._account.sender, message.to, message.title
        mail["Date"] = format_datetime(datetime.fromtimestamp(self._now_us() / 1e6, UTC))
        mail["Message-ID"] = f"<{message.number}@{self._account.sender.rpartition('@')[2].rstrip('>')}>"
        mail["Auto-Submitted"] = "auto-generated"
        if message.language:
            mail["Content-Language"] = message.language
        return re.sub(rb"(?m)^\.", b"..", mail.as_bytes()).removesuffix(b"\r\n") + b"\r\n.\r\n"

    def _keep(self, server: smtplib.SMTP) -> None:
        self._idle.put((server, self._now_us()))


def _refused(code: int, said: bytes) -> Rejected:
    return Rejected(f"{code} {_text(said)}"[:WHY_CHARS_MAX], final=500 <= code <= 599)


def _text(said: bytes) -> str:
    return " ".join(said.decode("utf-8", "replace").split())[:WHY_CHARS_MAX]


def _said(fault: Exception) -> str:
    if isinstance(fault, smtplib.SMTPResponseException):
        said = fault.smtp_error
        return f"{fault.smtp_code} {_text(said if isinstance(said, bytes) else said.encode())}"
    return str(fault)[:WHY_CHARS_MAX] or type(fault).__name__


def _end(server: smtplib.SMTP) -> None:
    with contextlib.suppress(OSError, smtplib.SMTPException):
        server.close()
