"""A face of the sandbox: the API of a real provider over its bank, with its kind of faults and notices."""

from typing import Protocol

from redrush.http.small_server import Asked, Reply
from redrush.providers.sandbox.bank import Row

Told = tuple[dict[str, str], bytes]
"""Headers and body of a notice."""


class Face(Protocol):
    """What `redrush.sandbox.server` needs of it."""

    async def handle(self, asked: Asked) -> Reply:
        """Answer a request as the provider does."""

    def spoilt(self, reply: Reply, fault: str) -> Reply:
        """Return an answer with this wrong, one of `unsigned`, `wrong_signature`, `unknown_key` and `clock_off`; as it
        is, where the provider's answers are not signed."""

    def notice_of(self, row: Row, notice_id: str) -> Told:
        """Return the notice of what has become of a bill."""

    def forged(self, told: Told) -> Told:
        """Return the notice as somebody else would sign it."""
