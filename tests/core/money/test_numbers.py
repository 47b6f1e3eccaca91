"""Numbers of bills: the same for ever, letters and digits, and no two alike."""

import re

from hypothesis import given
from hypothesis import strategies as st

from redrush.core.money.numbers import NUMBER_SIGNS, bill_number


def test_a_number_is_the_same_in_every_release() -> None:
    """What was asked for yesterday under it is asked for today."""
    assert bill_number("payout", "gala-r1-7") == "18S3431CGVRNLDHQ02IMM3HS"
    assert bill_number("payout", "gala-r1-7", 2) != bill_number("payout", "gala-r1-7")


@given(st.text(), st.text(), st.integers(1, 10**9))
def test_a_number_has_letters_and_digits_only(kind: str, source: str, attempt: int) -> None:
    number = bill_number(kind, source, attempt)
    assert len(number) == NUMBER_SIGNS == 24
    assert re.fullmatch("[0-9A-V]{24}", number)


@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4), st.integers(1, 30)), unique=True, max_size=50))
def test_no_two_bills_have_one_number(bills: list[tuple[str, str, int]]) -> None:
    assert len({bill_number(*bill) for bill in bills}) == len(bills)


def test_parts_that_run_into_each_other_are_told_apart() -> None:
    assert bill_number("a", "1:b", 1) != bill_number("a1", ":b", 1)
    assert bill_number("a", "b1", 1) != bill_number("a", "b", 11)
