"""Money is an integer count of minor units (分, cents); text appears only at the boundary.

Exponents are those of ISO 4217. Floats never touch an amount.
"""

import re

EXPONENTS = {
    "CNY": 2, "HKD": 2, "MOP": 2, "TWD": 2, "USD": 2, "EUR": 2, "GBP": 2, "SGD": 2, "MYR": 2, "THB": 2,
    "IDR": 2, "PHP": 2, "INR": 2, "AUD": 2, "CAD": 2, "CHF": 2, "JPY": 0, "KRW": 0, "VND": 0, "KWD": 3,
}  # fmt: skip

_MEANT = {
    "RMB": "CNY", "CNH": "CNY", "YUAN": "CNY", "人民币": "CNY", "元": "CNY", "¥": "CNY", "￥": "CNY",
    "NTD": "TWD", "NT$": "TWD", "HK$": "HKD", "STG": "GBP", "£": "GBP", "€": "EUR", "$": "USD", "US$": "USD",
}  # fmt: skip
"""What people write for a currency, by its code."""

AMOUNT_MINOR_MAX = 10**15
"""No amount may exceed this: sums of amounts then stay exact in a signed 64-bit integer."""

_AMOUNT = re.compile(r"(\d{1,16})(?:\.(\d{1,3}))?", re.ASCII)


def parse_amount(text: str, currency: str) -> int:
    """Return the minor units that `text` ("50000.00") states in `currency` (ISO 4217 code).

    Raises ValueError, with a sentence for the person who wrote the text, if it is not a plain non-negative decimal,
    has more places than the currency, is above `AMOUNT_MINOR_MAX`, or the currency is unknown.
    """
    exponent = exponent_of(currency)
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not an amount: write it like "{format_amount(12345, currency)}"')
    whole, places = match[1], match[2] or ""
    if len(places) > exponent:
        raise ValueError(f'"{text}" has {len(places)} decimal places, but {currency} has {exponent}')
    scale: int = 10**exponent
    amount_minor = int(whole) * scale + int(places.ljust(exponent, "0") or "0")
    if amount_minor > AMOUNT_MINOR_MAX:
        raise ValueError(f'"{text}" is above the largest amount, {format_amount(AMOUNT_MINOR_MAX, currency)}')
    return amount_minor


def format_amount(amount_minor: int, currency: str) -> str:
    """Return `amount_minor` as decimal text with all places of the currency: 5 CNY-minor units are "0.05"."""
    exponent = exponent_of(currency)
    sign, digits = ("-", -amount_minor) if amount_minor < 0 else ("", amount_minor)
    if exponent == 0:
        return f"{sign}{digits}"
    whole, places = divmod(digits, 10**exponent)
    return f"{sign}{whole}.{places:0{exponent}d}"


def exponent_of(currency: str) -> int:
    """Return the number of decimal places of `currency`; raises ValueError if it is not one that redrush knows."""
    try:
        return EXPONENTS[currency]
    except KeyError:
        code = currency.strip().upper()
        if (code := _MEANT.get(code, code)) in EXPONENTS:
            raise ValueError(f'currency "{currency}" is written "{code}", its code in ISO 4217') from None
        raise ValueError(f'currency "{currency}" is not known; known are {", ".join(sorted(EXPONENTS))}') from None
