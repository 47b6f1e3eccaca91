"""What becomes of a bill by an answer: the cases that a provider has to be asked for at a particular moment."""

import msgspec
import pytest

from redrush.ports.bill_book import BillState, KeptBill
from redrush.ports.provider import Absent, Open, Terms
from redrush.settle.paying import steps

NOW_US = 1_800_000_000_000_000
MINUTE_US = 60_000_000
SOON = Terms(currency="CNY", longest_silence_s=5.0, looks_s=(5, 15))
LATE = Terms(currency="CNY", longest_silence_s=5.0, looks_s=(5, 15), opens_late=True)


def order(state: BillState, left_us: int = MINUTE_US) -> KeptBill:
    return KeptBill(
        id=1, kind="payin", source="s", attempt=1, number="N", campaign="c", user="u", account="a", provider="p",
        currency="CNY", amount_minor=100, fee_minor=0, to="", subject="s", how="qr", of="", expires_us=NOW_US + left_us,
        state=state, version=1, asked_us=NOW_US - 10 * MINUTE_US, next_us=NOW_US, looks=0, reference="", detail="qr:https://pay",
        made_us=NOW_US - 10 * MINUTE_US, changed_us=NOW_US - 10 * MINUTE_US, done_us=None,
    )  # fmt: skip


@pytest.mark.parametrize("state", [BillState.OPEN, BillState.CLOSING])
def test_an_order_that_nobody_has_begun_to_pay_is_open_until_its_time_is_over(state: BillState) -> None:
    change = steps.after(order(state), Absent(), LATE, NOW_US)
    assert (change.state, change.next_us) == (state, NOW_US + 15_000_000)
    near = steps.after(order(state, left_us=3_000_000), Absent(), LATE, NOW_US)
    assert (near.state, near.next_us) == (state, NOW_US + 3_000_000)
    over = steps.after(order(state, left_us=0), Absent(), LATE, NOW_US)
    assert (over.state, over.next_us) == (BillState.CLOSED, None)


def test_elsewhere_an_order_that_is_not_there_is_started_again() -> None:
    assert steps.after(order(BillState.OPEN), Absent(), SOON, NOW_US).state is BillState.NEW
    assert steps.after(order(BillState.OPEN), Open(), SOON, NOW_US).state is BillState.OPEN


def test_where_orders_open_late_too_a_start_that_was_lost_is_made_again() -> None:
    assert steps.after(order(BillState.ASKED), Absent(), LATE, NOW_US).state is BillState.NEW


def test_a_link_that_is_not_good_any_more_is_asked_for_again_under_the_same_number() -> None:
    terms = msgspec.structs.replace(SOON, link_s=240.0)
    sent = msgspec.structs.replace(order(BillState.OPEN), how="redirect")  # ten minutes ago
    change = steps.renewed(sent, terms, NOW_US)
    assert change is not None
    assert (change.state, change.next_us, change.number, change.attempt) == (BillState.NEW, NOW_US, None, None)
    fresh = msgspec.structs.replace(sent, asked_us=NOW_US - 239_000_000)
    over = msgspec.structs.replace(sent, expires_us=NOW_US)
    others = (fresh, over, order(BillState.OPEN), msgspec.structs.replace(sent, state=BillState.CLOSING))
    assert [steps.renewed(one, terms, NOW_US) for one in others] == [None] * 4
    assert steps.renewed(sent, SOON, NOW_US) is None, "a link of theirs is good as long as the payment is open"
