"""Double-entry rules: what each store log record means in money.

A posting takes an amount out of one account and puts the same amount into another, so the balances of all accounts
always add up to nought, and money can be neither made nor lost. A balance is credits minus debits: the sponsor's is
minus what was put into the event and not returned, a user's is what was won, and `transit` is nought once every
transfer that was taken has been given.

    opening     sponsor ─► round:<id>         fund:<round>        fund:<round>/<set>, of the set's share
    grant       round:<id> ─► user:<id>       grant:<grant id>
    take        round:<id> ─► transit         take:<transfer>
    give        transit ─► round:<id>         give:<transfer>     ─► sponsor, when the pot is `$returned`
    rest        round:<id> ─► sponsor         take:rest:<packet>   what a pot that is no round gives back
    added       sponsor ─► round:<id>         give:<transfer>     packets that an amendment has added
    hold        round:<id> ─► held:<id>       hold:<grant id>#<number>, the number of the grant among the pot's holds
    confirmed   held:<id> ─► user:<id>        confirm:<grant id>#<number>
    released    held:<id> ─► round:<id>       release:<grant id>#<number>

A posting's id is derived from the thing that it records, never drawn: recording twice is recording once. A slot's
amount is looked up in the campaign's amounts table, wherever the slot was moved, so a leftover that travels through
several rounds keeps its worth. The rules take plain values because the store's records are above the core.

A pot that is no round is funded in the same way, when it is opened; its slots are numbered, and looked up, for itself.
What holds no money moves none: it is granted, held and released without a posting.

Rejected: one posting per moved slot (a million lines for one leftover; the sum of a transfer is fixed by its slots),
and moving leftover straight from round to round (between take and give a crash may last; the money must be somewhere).
"""

from collections.abc import Iterable, Sequence

import msgspec

from redrush.core.rush.additions import ADDED_PREFIX
from redrush.core.rush.campaign import REST_PREFIX, RETURNED_POT, Campaign, Pot, Slots, grant_id, grant_id_prefix
from redrush.core.rush.holding import PotTables, SlotAmounts, SlotTable, table_of
from redrush.errors import RedrushError

SPONSOR = "sponsor"
"""The account that the event's budget comes from and that returned leftover goes back to."""

TRANSIT = "transit"
"""The account of slots that were taken from one pot and not yet given to another."""


class LedgerFault(RedrushError):
    """A record cannot be turned into money: it names slots or amounts that the campaign does not have."""


class TablesByPot:
    """What the slots of each pot of a campaign hold. Rounds share one table, for slots move from one to the next."""

    def __init__(self, campaign: Campaign, slots: SlotAmounts, pots: PotTables) -> None:
        """`slots` are the campaign's, `pots` finds the tables of pots that are no rounds."""
        self._rounds = {RETURNED_POT, *(pot.id for pot in campaign.pots)}
        self._slots = table_of(slots)
        self._pots = pots

    def of(self, pot: str) -> SlotTable:
        """Return the pot's table. Raises LedgerFault for a pot that the campaign does not have."""
        table = self._slots if pot in self._rounds else self._pots(pot)
        if table is None:
            raise LedgerFault(f"pot {pot!r} is none that the campaign has")
        return table


class Posting(msgspec.Struct, frozen=True, gc=False):
    """`amount_minor` (> 0) leaves `debit_account` and joins `credit_account`; `id` makes it count once.

    `at_us` is the instant of the event, µs since the epoch; None where the store's log does not state one.
    """

    id: str
    debit_account: str
    credit_account: str
    amount_minor: int
    at_us: int | None


class GrantRule(msgspec.Struct, frozen=True):
    """How every grant of one round is posted, as data: a database can post a whole run by it without Posting objects.

    The posting of a slot has the id `id_prefix` + slot, and takes from `debit_account` to `credit_prefix` + user.
    """

    id_prefix: str
    debit_account: str
    credit_prefix: str

    def posting(self, slot: int, user: str, amount_minor: int, at_us: int) -> Posting:
        """Return the posting of one grant. Raises LedgerFault if the slot is worth nothing."""
        return _posting(
            f"{self.id_prefix}{slot}", self.debit_account, f"{self.credit_prefix}{user}", amount_minor, at_us
        )


def grant_rule(campaign: str, pot: str) -> GrantRule:
    """Return the rule by which the grants of the pot are posted; `campaign` is its campaign's id."""
    return GrantRule(f"grant:{grant_id_prefix(campaign, pot)}", pot_account(pot), user_account(""))


def user_account(user: str) -> str:
    """Return the account of the user of that id."""
    return f"user:{user}"


def pot_account(pot: str) -> str:
    """Return the account that holds a pot's money: the round's own, or the sponsor's for `RETURNED_POT`."""
    return SPONSOR if pot == RETURNED_POT else f"round:{pot}"


def held_account(pot: str) -> str:
    """Return the account of what is promised to users of the pot, and neither theirs nor the pot's."""
    return f"held:{pot}"


class HoldRule(msgspec.Struct, frozen=True):
    """How the holds of a pot are posted; `set_id` where a pot is divided over several, which count for themselves."""

    campaign: str
    pot: str
    set_id: str | None = None

    def held(self, slot: int, number: int, amount_minor: int, at_us: int) -> Posting:
        """Return the posting of a hold that was granted."""
        return self._posting("hold", slot, number, pot_account(self.pot), held_account(self.pot), amount_minor, at_us)

    def confirmed(self, slot: int, number: int, user: str, amount_minor: int, at_us: int) -> Posting:
        """Return the posting of a hold that became permanent."""
        account = user_account(user)
        return self._posting("confirm", slot, number, held_account(self.pot), account, amount_minor, at_us)

    def released(self, slot: int, number: int, amount_minor: int, at_us: int) -> Posting:
        """Return the posting of a hold that ended."""
        account = pot_account(self.pot)
        return self._posting("release", slot, number, held_account(self.pot), account, amount_minor, at_us)

    def _posting(
        self, what: str, slot: int, number: int, debit_account: str, credit_account: str, amount_minor: int, at_us: int
    ) -> Posting:
        counted = f"{number}" if self.set_id is None else f"{self.set_id}/{number}"
        posting_id = f"{what}:{grant_id(self.campaign, self.pot, slot)}#{counted}"
        return _posting(posting_id, debit_account, credit_account, amount_minor, at_us)


def fund(pot: Pot) -> Posting:
    """Return the posting that puts the pot's total into its account, dated with its round's opening instant."""
    return _posting(f"fund:{pot.id}", SPONSOR, pot_account(pot.id), pot.total_minor, pot.opens_us)


def fund_share(pot: Pot, set_id: str, share: Slots, amounts: SlotAmounts) -> Posting | None:
    """Return the posting that puts a set's share of the pot into its account, or None for a share without money.

    Raises LedgerFault if the share is not of the pot's slots, or a slot of money is worth nothing.
    """
    if share.count and not pot.slots.first <= share.first < share.end <= pot.slots.end:
        raise LedgerFault(f"set {set_id} opens {pot.id} with {share}, but the pot's slots are {pot.slots}")
    worth = _sum_of((share,), amounts)
    return _posting(f"fund:{pot.id}/{set_id}", SPONSOR, pot_account(pot.id), worth, pot.opens_us) if worth else None


def fund_pot(pot: str, set_id: str | None, slots: Slots, table: SlotTable) -> Posting | None:
    """Return the posting that puts what a pot holds, which is no round, into its account; None where that is no money.

    Raises LedgerFault if the slots are not all that the table has.
    """
    if slots != Slots(0, len(table)):
        raise LedgerFault(f"pot {pot} opens with {slots}, but its table has {len(table)} slots from 0 on")
    worth = _sum_of((slots,), table)
    of_set = "" if set_id is None else f"/{set_id}"
    return _posting(f"fund:{pot}{of_set}", SPONSOR, pot_account(pot), worth, None) if worth else None


def taken(
    pot: str, slots: Iterable[Slots], transfer: str, amounts: SlotAmounts, at_us: int | None = None
) -> Posting | None:
    """Return the posting of slots that left `pot` under a transfer id, or None if the transfer holds no slot.

    Raises LedgerFault if a slot is outside the amounts table or worth nothing.
    """
    worth = _sum_of(slots, amounts)
    target = SPONSOR if transfer.startswith(REST_PREFIX) else TRANSIT
    return _posting(f"take:{transfer}", pot_account(pot), target, worth, at_us) if worth else None


def given(
    pot: str, slots: Iterable[Slots], transfer: str, amounts: SlotAmounts, at_us: int | None = None
) -> Posting | None:
    """Return the posting of slots that joined `pot` under a transfer id, or None if the transfer holds no slot.

    Raises LedgerFault if a slot is outside the amounts table or worth nothing.
    """
    worth = _sum_of(slots, amounts)
    source = SPONSOR if transfer.startswith(ADDED_PREFIX) else TRANSIT
    return _posting(f"give:{transfer}", source, pot_account(pot), worth, at_us) if worth else None


def _posting(posting_id: str, debit_account: str, credit_account: str, amount_minor: int, at_us: int | None) -> Posting:
    if amount_minor <= 0:
        raise LedgerFault(f"posting {posting_id} would move {amount_minor} minor units; it must move at least 1")
    return Posting(posting_id, debit_account, credit_account, amount_minor, at_us)


def amounts_of(run: Slots, amounts: SlotAmounts) -> list[int]:
    """Return what the slots of the run are worth, in minor units: 0 for what holds no money.

    Raises LedgerFault if a slot is outside the amounts table, or holds money and is worth nothing.
    """
    # Checked by hand: a slice would silently stop at the end of the table, or count a negative slot from there.
    if run.first < 0 or run.count < 0 or run.end > len(amounts):
        raise LedgerFault(
            f"slots {run.first} up to {run.end} are outside the campaign's amounts table of {len(amounts)} slots"
        )
    part = amounts[run.first : run.end]
    tolist = getattr(part, "tolist", None)  # of arrays of any kind, whose elements need not be int
    worths: list[int] = list(part) if tolist is None else tolist()
    if worths and min(worths) <= 0 and not _are_no_money(run, worths, amounts):
        raise LedgerFault(f"a slot of {run.first}…{run.end - 1} is worth {min(worths)} minor units; at least 1 is due")
    return worths


def _are_no_money(run: Slots, worths: Sequence[int], amounts: SlotAmounts) -> bool:
    """Whether all of these slots that are worth nothing hold something else."""
    texts = amounts.texts(run) if isinstance(amounts, SlotTable) else None
    return texts is not None and all(worth > 0 or text for worth, text in zip(worths, texts, strict=True))


def _sum_of(slots: Iterable[Slots], amounts: SlotAmounts) -> int:
    return sum(sum(amounts_of(run, amounts)) for run in slots)
