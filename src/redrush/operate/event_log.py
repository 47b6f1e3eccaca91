"""A campaign's log from its beginning, and what is made of it: the same on one machine and over all sets of a stack.

Whoever reads a log (`redrush.operate.data_dir_reports`, `redrush.operate.deployment_reports`) brings with it what finds
the tables of its pots that are no rounds. So what was granted in a packet between people is in everything that is made.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TextIO

import msgspec

from redrush.control.event import Event
from redrush.core.identity.tickets import KeyRing
from redrush.core.money.currency import parse_amount
from redrush.core.rush.holding import PotTables
from redrush.ports.message_book import NewMessage
from redrush.ports.store import LogRecord
from redrush.settle.export import ExportedGrant, Format, grants, write_grants
from redrush.settle.finding import Found, find_user
from redrush.settle.messages.announcing import MessagesOfLog


class EventLog(msgspec.Struct, frozen=True):
    """See the module. It is read once, so one thing is made of it. Every call raises what reading it does, and
    LedgerFault for what the campaign does not have."""

    records: Iterable[LogRecord]
    """Of a stack those of permanent grants alone, of all sets."""
    event: Event
    pots: PotTables
    """Finds the tables of pots that are no rounds."""
    has_pots: bool
    """Whether there are any."""

    def grants(self) -> Iterator[ExportedGrant]:
        """Yield every permanent grant, in order of being granted."""
        sealed = self.event.sealed
        return grants(self.records, sealed.campaign, sealed.amounts, self.pots)

    def write_grants(self, file_format: Format, out: TextIO) -> None:
        """Write every permanent grant to `out`, a line each."""
        sealed = self.event.sealed
        write_grants(self.records, sealed.campaign, sealed.amounts, file_format, out, self.pots, has_pots=self.has_pots)

    def granted_minor(self) -> Counter[str]:
        """Return what each user was granted, in minor units."""
        currency, granted = self.event.sealed.campaign.currency, Counter[str]()
        for grant in self.grants():
            granted[grant.user] += parse_amount(grant.amount, currency)
        return granted

    def messages(self) -> Iterator[NewMessage]:
        """Yield what each winner is to be told, by each notifier that is to tell it."""
        sealed = self.event.sealed
        messages = MessagesOfLog(sealed.campaign, self.event.open.messages, sealed.amounts, self.pots)
        return (message for record in self.records for message in messages.of(record))

    def find(self, user: str, receipt_keys: KeyRing) -> Found:
        """Return what the user was granted, with receipts that these keys sign."""
        sealed = self.event.sealed
        return find_user(self.records, user, sealed.campaign, sealed.amounts, receipt_keys, self.pots)
