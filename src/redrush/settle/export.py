"""Grants as lines of text, for people and for the systems that come after.

Read from a store's log, the authority, not from the records: a grant that was acknowledged is there at once, even when
the recorder lags. Reading takes nothing from a running server (another process reads the journal beside it). Where logs
are trimmed, their beginning is read from the journal in the records.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Final, Literal, TextIO

import msgspec

from redrush.core.money.currency import format_amount
from redrush.core.money.ledger import TablesByPot, amounts_of
from redrush.core.rush.campaign import Campaign, Slots, grant_id
from redrush.core.rush.holding import PotTables, SlotAmounts, table_of
from redrush.core.rush.instants import rfc3339
from redrush.ports.store import Granted, LogRecord, grants_of
from redrush.settle.whole_log import permanent_grants

Format = Literal["jsonl", "csv", "spreadsheet"]
"""`csv` has every value as it is, for programs; of `spreadsheet` no program that opens it makes something else."""

UTF8_MARK: Final = "\ufeff"
"""Without it Excel takes a CSV file for one in the encoding of its country."""

_LETTER_FIRST: Final = re.compile(r"[^\W\d_]")
_MEANT_OTHERWISE: Final = re.compile(
    r"true|false|wahr|falsch|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ ./-]?\d+", re.IGNORECASE
)


class ExportedGrant(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One line. `amount` is decimal text in the campaign's currency, `granted_at` RFC 3339 in UTC with microseconds.

    `holds` says what the slot holds where that is no money, worth 0, and `prize` which prize of a draw it is; a code is
    told by its place in the list alone. An event of packets alone has no such columns; in JSON they stand only where
    they say something. They are the last, for whoever reads columns by their place.
    """

    grant: str
    round: str
    slot: int
    user: str
    amount: str
    granted_at: str
    holds: str | None = None
    prize: str | None = None


COLUMNS: Final = ExportedGrant.__struct_fields__
MONEY_COLUMNS: Final = len(COLUMNS) - 2
"""Columns of an event of packets alone; one more where something is held, and all where prizes are drawn."""


def grants(
    log: Iterable[LogRecord], campaign: Campaign, slots: SlotAmounts, pots: PotTables
) -> Iterator[ExportedGrant]:
    """Yield every permanent grant of the log, in the order in which they became so: a hold when it was confirmed.
    `slots` says what the campaign's slots hold, `pots` finds the tables of its pots that are no rounds.

    Raises LedgerFault for a slot that the campaign does not have.
    """
    tables = TablesByPot(campaign, slots, pots)
    prizes = {pot.id: (pot.round.id, pot.prize) for pot in campaign.pots if pot.prize is not None}
    for record in permanent_grants(log):
        if isinstance(record, Granted):
            run, table = Slots(record.first_slot, len(record.users)), tables.of(record.pot)
            worths, texts = amounts_of(run, table), table.texts(run)
        else:
            at = [(tables.of(grant.pot), grant.slot) for grant in record.grants]
            worths = [amounts_of(Slots(slot, 1), table)[0] for table, slot in at]
            texts = [table.text(slot) for table, slot in at]
        granted_at = rfc3339(record.at_us)
        for grant, worth, text in zip(grants_of(record), worths, texts or repeat(None, len(worths)), strict=True):
            amount = format_amount(worth, campaign.currency)
            grant_of_slot = grant_id(campaign.id, grant.pot, grant.slot)
            round_id, prize = prizes.get(grant.pot, (grant.pot, None))
            yield ExportedGrant(grant_of_slot, round_id, grant.slot, grant.user, amount, granted_at, text, prize)


def write_grants(
    log: Iterable[LogRecord],
    campaign: Campaign,
    slots: SlotAmounts,
    file_format: Format,
    out: TextIO,
    pots: PotTables,
    *,
    has_pots: bool = False,
) -> None:
    """Write a line per grant to `out`: a JSON object each, or CSV (RFC 4180) with a header. See `grants`. `has_pots`
    tells whether the campaign has pots that are no rounds."""
    exported = grants(log, campaign, slots, pots)
    if file_format == "jsonl":
        encode = msgspec.json.Encoder().encode
        out.writelines(encode(grant).decode() + "\n" for grant in exported)
        return
    if file_format == "spreadsheet":
        out.write(UTF8_MARK)
    writer = csv.writer(out)
    width = _columns_of(campaign, slots, has_pots=has_pots)
    writer.writerow(COLUMNS[:width])
    if file_format == "spreadsheet":
        for grant in exported:
            kept = {name: as_text(getattr(grant, name)) for name in ("grant", "round", "user")}
            writer.writerow(msgspec.structs.astuple(msgspec.structs.replace(grant, **kept))[:width])
        return
    writer.writerows(msgspec.structs.astuple(grant)[:width] for grant in exported)


def _columns_of(campaign: Campaign, slots: SlotAmounts, *, has_pots: bool) -> int:
    if any(round_.draw is not None for round_ in campaign.rounds):
        return len(COLUMNS)
    return MONEY_COLUMNS + bool(table_of(slots).parts or has_pots)


def as_text(value: str) -> str:
    """Return the text with an apostrophe before it where a spreadsheet would make something else of it: a number of
    `007`, `1E5` or a long id, a date of `1-2` or `MAR1`, a formula of what begins with = + - or @."""
    if _LETTER_FIRST.match(value) and _MEANT_OTHERWISE.fullmatch(value) is None:
        return value
    return f"'{value}"
