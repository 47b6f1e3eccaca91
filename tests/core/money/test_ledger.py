from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from redrush.core.money import ledger
from redrush.core.money.ledger import LedgerFault, Posting
from redrush.core.rush.campaign import RETURNED_POT, Campaign, Kind, Leftover, Round, Slots, grant_id
from redrush.core.rush.holding import SlotAmounts

AMOUNTS = [100, 200, 300, 400, 500, 600]


def a_round(round_id: str, slots: Slots, opens_us: int) -> Round:
    return Round(
        id=round_id,
        opens_us=opens_us,
        closes_us=opens_us + 60_000_000,
        kind=Kind.LUCKY,
        total_minor=sum(AMOUNTS[slots.first : slots.end]),
        min_minor=1,
        max_minor=1000,
        slots=slots,
        leftover=Leftover.NEXT,
    )


FIRST = a_round("r1", Slots(0, 4), 1_000)
SECOND = a_round("r2", Slots(4, 2), 2_000)
CAMPAIGN = Campaign(id="c", name="C", currency="CNY", rounds=(FIRST, SECOND))


def balances(postings: Iterable[Posting | None]) -> dict[str, int]:
    balance: Counter[str] = Counter()
    for posting in {p.id: p for p in postings if p is not None}.values():
        balance[posting.debit_account] -= posting.amount_minor
        balance[posting.credit_account] += posting.amount_minor
    return {account: amount for account, amount in balance.items() if amount}


def granted(pot: str, first_slot: int, users: Sequence[str], amounts: SlotAmounts, at_us: int) -> list[Posting]:
    """Return what is posted of a run of grants: `users[k]` has slot `first_slot` + k."""
    rule, worths = ledger.grant_rule(CAMPAIGN.id, pot), ledger.amounts_of(Slots(first_slot, len(users)), amounts)
    slots = range(first_slot, first_slot + len(users))
    return [rule.posting(slot, user, worth, at_us) for slot, user, worth in zip(slots, users, worths, strict=True)]


def test_funding_moves_the_rounds_total_from_the_sponsor_at_the_opening() -> None:
    assert ledger.fund(FIRST.pots[0]) == Posting("fund:r1", "sponsor", "round:r1", 1000, 1_000)


@pytest.mark.parametrize(
    "amounts",
    [AMOUNTS, np.array(AMOUNTS, dtype="<i8"), memoryview(array("q", AMOUNTS))],
    ids=["list", "numpy", "memoryview"],
)
def test_each_granted_slot_moves_its_amount_from_the_round_to_the_user(amounts: SlotAmounts) -> None:
    postings = granted("r1", 2, ["ann", "bob"], amounts, 1_500)
    assert postings == [
        Posting(f"grant:{grant_id('c', 'r1', 2)}", "round:r1", "user:ann", 300, 1_500),
        Posting(f"grant:{grant_id('c', 'r1', 3)}", "round:r1", "user:bob", 400, 1_500),
    ]
    assert all(type(posting.amount_minor) is int for posting in postings)


def test_a_moved_slot_is_paid_by_the_round_that_granted_it() -> None:
    (posting,) = granted("r2", 3, ["ann"], AMOUNTS, 2_500)
    assert posting.debit_account == "round:r2"
    assert posting.amount_minor == AMOUNTS[3]


def test_a_transfer_passes_through_transit() -> None:
    slots = (Slots(1, 2), Slots(3, 1))
    assert ledger.taken("r1", slots, "leftover:r1", AMOUNTS) == Posting(
        "take:leftover:r1", "round:r1", "transit", 900, None
    )
    assert ledger.given("r2", slots, "leftover:r1", AMOUNTS) == Posting(
        "give:leftover:r1", "transit", "round:r2", 900, None
    )


def test_what_is_given_to_the_returned_pot_goes_back_to_the_sponsor() -> None:
    posting = ledger.given(RETURNED_POT, (Slots(4, 2),), "leftover:r2", AMOUNTS, 9_000)
    assert posting == Posting("give:leftover:r2", "transit", "sponsor", 1100, 9_000)


@pytest.mark.parametrize("slots", [(), (Slots(3, 0),)])
def test_a_transfer_of_no_slots_posts_nothing(slots: tuple[Slots, ...]) -> None:
    assert ledger.taken("r1", slots, "leftover:r1", AMOUNTS) is None
    assert ledger.given("r2", slots, "leftover:r1", AMOUNTS) is None


def test_a_whole_event_recorded_twice_balances_to_the_cent() -> None:
    postings = [
        ledger.fund(FIRST.pots[0]),
        ledger.fund(SECOND.pots[0]),
        *granted("r1", 0, ["ann", "bob"], AMOUNTS, 1_500),
        ledger.taken("r1", (Slots(2, 2),), "leftover:r1", AMOUNTS),
        ledger.given("r2", (Slots(2, 2),), "leftover:r1", AMOUNTS),
        *granted("r2", 4, ["bob"], AMOUNTS, 2_500),
        *granted("r2", 2, ["cyd"], AMOUNTS, 2_600),
        ledger.taken("r2", (Slots(5, 1), Slots(3, 1)), "leftover:r2", AMOUNTS),
        ledger.given(RETURNED_POT, (Slots(5, 1), Slots(3, 1)), "leftover:r2", AMOUNTS),
    ]
    expected = {"sponsor": -1100, "user:ann": 100, "user:bob": 700, "user:cyd": 300}
    assert balances(postings) == expected
    assert balances(postings * 2) == expected


@pytest.mark.parametrize("run", [Slots(5, 2), Slots(-1, 1), Slots(6, 1)])
def test_slots_outside_the_campaign_are_a_fault(run: Slots) -> None:
    with pytest.raises(LedgerFault, match="outside the campaign's amounts table of 6 slots"):
        granted("r1", run.first, ["u"] * run.count, AMOUNTS, 0)
    with pytest.raises(LedgerFault, match="outside"):
        ledger.taken("r1", (run,), "t", AMOUNTS)


@pytest.mark.parametrize("worth", [0, -5])
def test_a_slot_worth_nothing_is_a_fault_even_beside_others(worth: int) -> None:
    with pytest.raises(LedgerFault, match=str(worth)):
        granted("r1", 0, ["ann"], [worth, 10], 0)
    with pytest.raises(LedgerFault, match=str(worth)):
        ledger.taken("r1", (Slots(0, 2),), "t", [worth, 10])
