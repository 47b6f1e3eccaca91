"""Whom the system trusts, read once for the process: all its authorities take a tenth of a second of computing."""

import ssl
from threading import Lock
from typing import Final


class SystemTrust:
    """Call it for what knows servers by the system's authorities. It is shared: nobody may change it.

    The first call takes its time: off the event loop, please. Any thread may call it.
    """

    def __init__(self) -> None:
        self._once = Lock()
        self._context: ssl.SSLContext | None = None

    def __call__(self) -> ssl.SSLContext:
        """Return it; whoever comes while it is read waits."""
        with self._once:
            if self._context is None:
                self._context = ssl.create_default_context()
            return self._context


system_trust: Final = SystemTrust()
