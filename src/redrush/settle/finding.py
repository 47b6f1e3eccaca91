"""What one user was granted, for whoever answers at a help desk: read from the logs, the authority, like the export.

A log is read through, some millions of grants a second; there is no index that could be behind.
"""

import unicodedata
from collections.abc import Iterable
from typing import Final

import msgspec

from redrush.core.identity.receipts import ReceiptSigner
from redrush.core.identity.tickets import KeyRing
from redrush.core.money.currency import format_amount
from redrush.core.money.ledger import TablesByPot, amounts_of
from redrush.core.rush.campaign import Campaign, Slots, grant_id
from redrush.core.rush.group import place_in_words
from redrush.core.rush.holding import PotTables, SlotAmounts
from redrush.core.rush.instants import rfc3339
from redrush.ports.store import LogRecord, grants_of
from redrush.settle.whole_log import permanent_grants

SIMILAR_MAX: Final = 5
"""Ids told that look like the one that was asked for: more are no help."""


class FoundGrant(msgspec.Struct, frozen=True):
    """A grant with its receipt, signed anew: it is the one that the winner got, as long as the keys are the same."""

    grant: str
    round: str
    slot: int
    user: str
    amount: str
    currency: str
    granted_at: str
    receipt: str
    holds: str | None = None
    """What the slot holds, where that is no money."""

    @property
    def prize(self) -> str:
        """What was won, for people."""
        return self.holds or f"{self.amount} {self.currency}"


class Found(msgspec.Struct, frozen=True):
    """The grants of a user, in order of the log; `similar` users have one where this one has none. `of` were read."""

    user: str
    grants: tuple[FoundGrant, ...]
    similar: tuple[str, ...]
    of: int

    def lines(self) -> list[str]:
        """Return the same for people."""
        if not self.grants:
            said = [f"{self.user} has none of the {self.of:,} grants that were made"]
            return said + [f'"{user}" has one: an id is the same only if each sign of it is' for user in self.similar]
        return [
            line
            for grant in self.grants
            for line in (
                f"{grant.user} won {grant.prize} in {place_in_words(grant.round)} at {grant.granted_at}",
                f"  grant {grant.grant}",
                f"  receipt {grant.receipt}",
            )
        ]


def find_user(
    log: Iterable[LogRecord],
    user: str,
    campaign: Campaign,
    slots: SlotAmounts,
    receipt_keys: KeyRing,
    pots: PotTables,
) -> Found:
    """Return what the log says of the user. `slots` says what the campaign's slots hold, `pots` finds the tables of its
    pots that are no rounds. Raises LedgerFault for a slot that the campaign does not have."""
    tables = TablesByPot(campaign, slots, pots)
    wanted, of = _folded(user), 0
    found: list[FoundGrant] = []
    similar: dict[str, None] = {}
    for record in permanent_grants(log):
        for grant in grants_of(record):
            of += 1
            holder, slot, pot = grant.user, grant.slot, grant.pot
            if holder == user:
                table = tables.of(pot)
                (worth,), holds = amounts_of(Slots(slot, 1), table), table.text(slot)
                signer = ReceiptSigner(receipt_keys, campaign.id, pot, campaign.currency)
                found.append(
                    FoundGrant(
                        grant=grant_id(campaign.id, pot, slot),
                        round=pot,
                        slot=slot,
                        user=user,
                        amount=format_amount(worth, campaign.currency),
                        currency=campaign.currency,
                        granted_at=rfc3339(record.at_us),
                        receipt=signer.sign(slot, worth, user, record.at_us)
                        if holds is None
                        else signer.sign_holding(slot, holds, user, record.at_us),
                        holds=holds,
                    )
                )
            elif len(similar) < SIMILAR_MAX and _folded(holder) == wanted:
                similar[holder] = None
    return Found(user, tuple(found), () if found else tuple(similar), of)


def _folded(user: str) -> str:
    return unicodedata.normalize("NFKC", user).strip().casefold()
