"""What a log record of a store means in the records: the link between slots and money."""

from redrush.core.money import ledger
from redrush.core.money.ledger import LedgerFault, Posting, SlotAmounts
from redrush.core.rush.campaign import RETURNED_POT, Campaign, Slots
from redrush.ports.records import Change, GrantRun, Posted
from redrush.ports.store import Confirmed, Granted, LogRecord, Offered, Opened, Released, Scattered, Taken


class Interpreter:
    """Reads log records with the campaign's amounts table; `amounts[slot]` is in minor units.

    `set_id` names the set whose log it is, where rounds are divided over several; None where one store has them whole.
    Every method raises LedgerFault for a record that names a pot or a slot which the campaign does not have.
    """

    def __init__(self, campaign: Campaign, amounts: SlotAmounts, set_id: str | None = None) -> None:
        self._rounds = {round_.id: round_ for round_ in campaign.rounds}
        self._rules = {round_id: ledger.grant_rule(campaign, round_id) for round_id in self._rounds}
        self._campaign = campaign.id
        self._amounts = amounts
        self._set_id = set_id

    def change(self, record: LogRecord) -> Change:
        """Return what the record changes."""
        if isinstance(record, Scattered | Confirmed | Released | Offered):
            raise LedgerFault(f"log record {record.seq} is of a kind that the records cannot keep: {record}")
        if record.pot not in self._rounds and record.pot != RETURNED_POT:
            raise LedgerFault(f"log record {record.seq} names pot {record.pot!r}, which the campaign does not have")
        if isinstance(record, Granted):
            return self._grants(record)
        if isinstance(record, Opened):
            return Posted(record=record, campaign=self._campaign, postings=self._funding(record))
        rule = ledger.taken if isinstance(record, Taken) else ledger.given
        posting = rule(record.pot, record.slots, record.transfer, self._amounts)
        return Posted(record=record, campaign=self._campaign, postings=() if posting is None else (posting,))

    def _grants(self, record: Granted) -> GrantRun:
        if record.pot == RETURNED_POT:
            raise LedgerFault(f"log record {record.seq} grants slots that were returned to the sponsor")
        return GrantRun(
            seq=record.seq,
            campaign=self._campaign,
            pot=record.pot,
            first_slot=record.first_slot,
            at_us=record.at_us,
            users=record.users,
            amounts_minor=ledger.amounts_of(Slots(record.first_slot, len(record.users)), self._amounts),
            rule=self._rules[record.pot],
        )

    def _funding(self, record: Opened) -> tuple[Posting, ...]:
        round_ = self._rounds.get(record.pot)
        if round_ is None:
            return ()
        if self._set_id is not None:
            share = ledger.fund_share(round_, self._set_id, record.slots, self._amounts)
            return () if share is None else (share,)
        if record.slots != round_.slots:
            raise LedgerFault(
                f"log record {record.seq} opens {record.pot} with {record.slots}, but its campaign says {round_.slots}"
            )
        return (ledger.fund(round_),)
