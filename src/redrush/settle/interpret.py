"""What a log record of a store means in the records: the link between slots and money."""

from redrush.core.money import ledger
from redrush.core.money.ledger import LedgerFault, Posting, SlotAmounts
from redrush.core.rush.campaign import RETURNED_POT, Campaign, Slots
from redrush.ports.records import Change, GrantRun, Posted, ScatteredGrants
from redrush.ports.store import (
    Confirmed,
    Given,
    Grant,
    Granted,
    LogRecord,
    Offered,
    Opened,
    Released,
    Scattered,
    Taken,
)


class Interpreter:
    """Reads log records with the campaign's amounts table; `amounts[slot]` is in minor units.

    `set_id` names the set whose log it is, where rounds are divided over several; None where one store has them whole.
    Every method raises LedgerFault for a record that names a pot or a slot which the campaign does not have.
    """

    def __init__(self, campaign: Campaign, amounts: SlotAmounts, set_id: str | None = None) -> None:
        self._rounds = {round_.id: round_ for round_ in campaign.rounds}
        self._rules = {round_id: ledger.grant_rule(campaign, round_id) for round_id in self._rounds}
        self._hold_rules = {round_id: ledger.HoldRule(campaign.id, round_id, set_id) for round_id in self._rounds}
        self._campaign = campaign.id
        self._amounts = amounts
        self._set_id = set_id

    def change(self, record: LogRecord) -> Change:
        """Return what the record changes."""
        if isinstance(record, Scattered):
            return self._scattered(record)
        return self._grants(record) if isinstance(record, Granted) else self._posted(record)

    def _posted(self, record: Opened | Confirmed | Released | Offered | Taken | Given) -> Posted:
        postings: tuple[Posting, ...] = ()
        if isinstance(record, Confirmed | Released):
            postings = tuple(self._end_of(hold, record) for hold in record.holds)
        elif isinstance(record, Opened):
            self._check(record.pot, record)
            postings = self._funding(record)
        elif not isinstance(record, Offered):
            self._check(record.pot, record)
            rule = ledger.taken if isinstance(record, Taken) else ledger.given
            posting = rule(record.pot, record.slots, record.transfer, self._amounts)
            postings = () if posting is None else (posting,)
        return Posted(record=record, campaign=self._campaign, postings=postings)

    def _check(self, pot: str, record: LogRecord) -> None:
        if pot not in self._rounds and pot != RETURNED_POT:
            raise LedgerFault(f"log record {record.seq} names pot {pot!r}, which the campaign does not have")

    def _check_granting(self, pot: str, record: LogRecord) -> None:
        self._check(pot, record)
        if pot == RETURNED_POT:
            raise LedgerFault(f"log record {record.seq} grants slots that were returned to the sponsor")

    def _worth(self, slot: int) -> int:
        return ledger.amounts_of(Slots(slot, 1), self._amounts)[0]

    def _end_of(self, hold: Grant, record: Confirmed | Released) -> Posting:
        self._check_granting(hold.pot, record)
        rule, worth = self._hold_rules[hold.pot], self._worth(hold.slot)
        if isinstance(record, Confirmed):
            return rule.confirmed(hold.slot, hold.number, hold.user, worth, record.at_us)
        return rule.released(hold.slot, hold.number, worth, record.at_us)

    def _scattered(self, record: Scattered) -> ScatteredGrants:
        for grant in record.grants:
            self._check_granting(grant.pot, record)
        worths = [self._worth(grant.slot) for grant in record.grants]
        return ScatteredGrants(
            record=record,
            campaign=self._campaign,
            amounts_minor=worths,
            rules={grant.pot: self._rules[grant.pot] for grant in record.grants},
            postings=tuple(
                self._hold_rules[grant.pot].held(grant.slot, grant.number, worth, record.at_us)
                for grant, worth in zip(record.grants, worths, strict=True)
                if grant.number
            ),
        )

    def _grants(self, record: Granted) -> GrantRun:
        self._check_granting(record.pot, record)
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
