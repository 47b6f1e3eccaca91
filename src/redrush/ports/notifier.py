"""Notifiers: who tells winners that they have won. By mail, by a webhook, by whatever a company uses.

Every answer is a value. `Accepted`: whoever carries it has it. `Rejected`: nobody was told, for certain. `Unknown`: it
may have arrived. What is unknown is sent again by itself only where the receiver knows a message by its number
(`repeats`); a person is not told twice because a machine was in doubt.
"""

from typing import Protocol

import msgspec

from redrush.ports.provider import Accepted, Rejected, Terms, Unknown

Told = Accepted | Rejected | Unknown


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What one winner is told of one grant. `to` is an address of the notifier's own kind, "" where it wants none."""

    number: str
    """Derived from the grant: the same however often it is sent."""
    user: str
    to: str
    language: str
    title: str
    text: str
    at_us: int
    fields: dict[str, str | int | None]
    """The same for programs: campaign, round, grant, amount, currency, what it holds."""


class Contact(msgspec.Struct, frozen=True):
    """Where a user is told, and in which language; "": the campaign's."""

    to: str = ""
    language: str = ""


class Notifier(Protocol):
    """See the module. Nothing raises for what a server or the network does."""

    @property
    def terms(self) -> Terms:
        """How often, how many at once and how patiently it may be asked."""

    @property
    def repeats(self) -> bool:
        """Whether its receiver knows a message by its number, so that sending it twice tells it once."""

    async def send(self, message: Message) -> Told:
        """Tell it."""

    async def prove(self) -> str | None:
        """Ask whether it would be taken, without telling anybody anything; return why not."""

    def close(self) -> None:
        """End the connections."""
