"""What a log record of a store means in the records: the link between slots and what they hold."""

from collections.abc import Callable

from redrush.core.money import ledger
from redrush.core.money.ledger import GrantRule, HoldRule, LedgerFault, Posting, TablesByPot
from redrush.core.nobody import ignore
from redrush.core.rush.campaign import RETURNED_POT, Campaign, Slots
from redrush.core.rush.holding import PotTables, SlotAmounts, SlotTable, no_pots
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
    """Reads log records with the table of what the campaign's slots hold, and those of its pots that are no rounds.

    `set_id` names the set whose log it is, where rounds are divided over several; None where one store has them whole.
    Every method raises LedgerFault for a record that names a pot or a slot which the campaign does not have.
    """

    def __init__(
        self,
        campaign: Campaign,
        slots: SlotAmounts,
        set_id: str | None = None,
        pots: PotTables = no_pots,
        noted: Callable[[str, str], object] = ignore,
    ) -> None:
        """`pots` finds the table of a pot that is no round: whoever opens one has written its table down before, or
        opens it with a note that says it: `noted` hears of pots with one before `pots` is asked for them."""
        self._noted = noted
        self._known = {pot.id: pot for pot in campaign.pots}
        self._rules = {pot: ledger.grant_rule(campaign.id, pot) for pot in self._known}
        self._hold_rules = {pot: ledger.HoldRule(campaign.id, pot, set_id) for pot in self._known}
        self._campaign = campaign.id
        self._tables = TablesByPot(campaign, slots, pots)
        self._of_pots = slots, pots
        self._set_id = set_id

    def amended(self, campaign: Campaign) -> "Interpreter":
        """Return one that knows the rounds of this campaign, with the same tables."""
        slots, pots = self._of_pots
        return Interpreter(campaign, slots, self._set_id, pots, self._noted)

    def change(self, record: LogRecord) -> Change:
        """Return what the record changes."""
        if isinstance(record, Scattered):
            return self._scattered(record)
        return self._grants(record) if isinstance(record, Granted) else self._posted(record)

    def _posted(self, record: Opened | Confirmed | Released | Offered | Taken | Given) -> Posted:
        postings: tuple[Posting, ...] = ()
        if isinstance(record, Confirmed | Released):
            ends = (self._end_of(hold, record) for hold in record.holds)
            postings = tuple(posting for posting in ends if posting is not None)
        elif isinstance(record, Opened):
            postings = self._funding(record)
        elif not isinstance(record, Offered):
            rule = ledger.taken if isinstance(record, Taken) else ledger.given
            posting = rule(record.pot, record.slots, record.transfer, self._table(record.pot, record))
            postings = () if posting is None else (posting,)
        return Posted(record=record, campaign=self._campaign, postings=postings)

    def _table(self, pot: str, record: LogRecord) -> SlotTable:
        try:
            return self._tables.of(pot)
        except LedgerFault:
            raise LedgerFault(f"log record {record.seq} names pot {pot!r}, which the campaign does not have") from None

    def _granting(self, pot: str, record: LogRecord) -> SlotTable:
        """Return the table of a pot that may grant."""
        if pot == RETURNED_POT:
            raise LedgerFault(f"log record {record.seq} grants slots that were returned to the sponsor")
        return self._table(pot, record)

    def _rule(self, pot: str) -> GrantRule:
        return self._rules.get(pot) or ledger.grant_rule(self._campaign, pot)

    def _hold_rule(self, pot: str) -> HoldRule:
        return self._hold_rules.get(pot) or HoldRule(self._campaign, pot, self._set_id)

    def _end_of(self, hold: Grant, record: Confirmed | Released) -> Posting | None:
        (worth,) = ledger.amounts_of(Slots(hold.slot, 1), self._granting(hold.pot, record))
        rule = self._hold_rule(hold.pot)
        if not worth:
            return None
        if isinstance(record, Confirmed):
            return rule.confirmed(hold.slot, hold.number, hold.user, worth, record.at_us)
        return rule.released(hold.slot, hold.number, worth, record.at_us)

    def _scattered(self, record: Scattered) -> ScatteredGrants:
        tables = {pot: self._granting(pot, record) for pot in {grant.pot for grant in record.grants}}
        worths = [ledger.amounts_of(Slots(grant.slot, 1), tables[grant.pot])[0] for grant in record.grants]
        texts = [tables[grant.pot].text(grant.slot) for grant in record.grants]
        return ScatteredGrants(
            record=record,
            campaign=self._campaign,
            amounts_minor=worths,
            holds=texts if any(text is not None for text in texts) else None,
            rules={pot: self._rule(pot) for pot in tables},
            postings=tuple(
                self._hold_rule(grant.pot).held(grant.slot, grant.number, worth, record.at_us)
                for grant, worth in zip(record.grants, worths, strict=True)
                if grant.number and worth
            ),
        )

    def _grants(self, record: Granted) -> GrantRun:
        table, run = self._granting(record.pot, record), Slots(record.first_slot, len(record.users))
        return GrantRun(
            seq=record.seq,
            campaign=self._campaign,
            pot=record.pot,
            first_slot=record.first_slot,
            at_us=record.at_us,
            users=record.users,
            amounts_minor=ledger.amounts_of(run, table),
            holds=table.texts(run),
            rule=self._rule(record.pot),
        )

    def _funding(self, record: Opened) -> tuple[Posting, ...]:
        if record.note:
            self._noted(record.pot, record.note)
        known = self._known.get(record.pot)
        if record.pot == RETURNED_POT:
            return ()
        if known is None:
            posting = ledger.fund_pot(record.pot, self._set_id, record.slots, self._table(record.pot, record))
            return () if posting is None else (posting,)
        if self._set_id is not None:
            share = ledger.fund_share(known, self._set_id, record.slots, self._tables.of(record.pot))
            return () if share is None else (share,)
        if record.slots != known.slots:
            raise LedgerFault(
                f"log record {record.seq} opens {record.pot} with {record.slots}, but its campaign says {known.slots}"
            )
        return (ledger.fund(known),) if known.total_minor else ()
