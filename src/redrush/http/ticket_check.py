"""Whose tickets are good at a path: one check for each campaign, so that no campaign's ticket passes for another's."""

from typing import Protocol

from redrush.core.identity.tickets import TICKET_BYTES_MAX, Ticket
from redrush.http import answers


class Verifier(Protocol):
    """Tells genuine tickets; see `redrush.core.identity.tickets.TicketVerifier`."""

    def verify(self, ticket: bytes) -> Ticket | None:
        """Return what the ticket states if it is genuine, else None, whatever the bytes are."""


class TicketCheck:
    """See the module."""

    __slots__ = ("_no_ticket", "_unproven", "_verifier", "known", "must_exchange")

    def __init__(
        self, verifier: Verifier | None, *, unproven: Verifier | None = None, no_ticket: bytes = answers.NO_TICKET
    ) -> None:
        """`no_ticket` answers whoever brings none that the verifier finds genuine. `unproven` finds those genuine that
        must be exchanged for others first; None: there are none such. `verifier` None: no ticket is genuine."""
        self.known: dict[bytes, Ticket] = {}
        """Tickets that were found genuine, as far as the site remembers them."""
        self.must_exchange = answers.UNPROVEN_TICKET
        """Answers whoever has to exchange their ticket first."""
        self._verifier = verifier
        self._unproven = unproven
        self._no_ticket = no_ticket

    def ticket(self, credentials: bytes | None) -> Ticket | None:
        """Return the ticket if it is genuine; whether it has expired is not checked here."""
        # As `_verified` does: every ticket that is new to a gate comes by here.
        verifier = self._verifier
        if verifier is None or not credentials or len(credentials) > TICKET_BYTES_MAX:
            return None
        return verifier.verify(credentials)

    def admit(self, credentials: bytes | None, now_s: int) -> Ticket | bytes:
        """Return the ticket if it is genuine and has not expired, else the refusal."""
        ticket = _verified(self._verifier, credentials)
        if ticket is None:
            return self._no_ticket if _verified(self._unproven, credentials) is None else self.must_exchange
        return ticket if ticket.expires_s > now_s else answers.EXPIRED_TICKET

    def admit_unproven(self, credentials: bytes | None, now_s: int) -> Ticket | bytes:
        """Return the ticket if it is one that must be exchanged and has not expired, else the refusal."""
        ticket = _verified(self._unproven, credentials)
        if ticket is None:
            return self._no_ticket
        return ticket if ticket.expires_s > now_s else answers.EXPIRED_TICKET


NONE_GENUINE = TicketCheck(None)
"""Where no ticket is wanted."""


def _verified(verifier: Verifier | None, credentials: bytes | None) -> Ticket | None:
    if verifier is None or not credentials or len(credentials) > TICKET_BYTES_MAX:
        return None
    return verifier.verify(credentials)
