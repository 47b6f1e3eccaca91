import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.money.currency import AMOUNT_MINOR_MAX, EXPONENTS, format_amount, parse_amount


@given(st.integers(0, AMOUNT_MINOR_MAX), st.sampled_from(sorted(EXPONENTS)))
def test_an_amount_survives_being_written_and_read(amount_minor: int, currency: str) -> None:
    assert parse_amount(format_amount(amount_minor, currency), currency) == amount_minor


@pytest.mark.parametrize(
    ("text", "currency", "amount_minor"),
    [("50000.00", "CNY", 5_000_000), ("0.5", "CNY", 50), ("7", "JPY", 7), ("1.005", "KWD", 1005), ("3", "CNY", 300)],
)
def test_amounts_are_read_in_minor_units(text: str, currency: str, amount_minor: int) -> None:
    assert parse_amount(text, currency) == amount_minor


@pytest.mark.parametrize(
    ("text", "currency", "complaint"),
    [
        ("-1.00", "CNY", "not an amount"),
        ("1e5", "CNY", "not an amount"),
        ("NaN", "CNY", "not an amount"),
        ("٣", "CNY", "not an amount"),
        ("1.005", "CNY", "3 decimal places"),
        ("1.5", "JPY", "1 decimal places"),
        ("99999999999999.00", "CNY", "above the largest"),
        ("1.00", "XXX", "not known"),
    ],
)
def test_a_bad_amount_is_refused_with_a_reason(text: str, currency: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_amount(text, currency)


def test_a_negative_balance_is_written_with_its_sign() -> None:
    assert format_amount(-5, "CNY") == "-0.05"
