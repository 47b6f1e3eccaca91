import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.identity.receipts import Receipt, ReceiptSigner, verify_receipt
from redrush.core.identity.tickets import KeyRing
from tests.core.identity.any_user import NAMES, USERS

RING = KeyRing("k1", {"k1": b"r" * 32})
STATED = Receipt("cny2027", "r20", 17, 1_234, "CNY", "alice", 1_800_000_000_123_456)
RECEIPT = ReceiptSigner(RING, "cny2027", "r20", "CNY").sign(17, 1_234, "alice", 1_800_000_000_123_456)


def test_a_receipt_states_its_grant() -> None:
    assert RECEIPT.startswith("rr1~k1~cny2027~r20~17~1234~CNY~alice~1800000000123456~")
    assert verify_receipt(RING, RECEIPT) == STATED


@given(st.integers(0, 10**10), st.integers(0, 10**15), USERS, st.integers(0, 1 << 62))
def test_every_receipt_can_be_verified(slot: int, amount_minor: int, user: str, at_us: int) -> None:
    receipt = ReceiptSigner(RING, "c", "r", "JPY").sign(slot, amount_minor, user, at_us)
    assert verify_receipt(RING, receipt) == Receipt("c", "r", slot, amount_minor, "JPY", user, at_us)


@pytest.mark.parametrize("user", NAMES)
def test_a_receipt_is_ascii_that_urls_need_not_quote_whoever_won(user: str) -> None:
    receipt = ReceiptSigner(RING, "c", "r", "JPY").sign(1, 2, user, 3)
    assert re.fullmatch(r"[A-Za-z0-9_.:@~%-]+", receipt)
    assert receipt.count("~") == 9


NO_MONEY = ReceiptSigner(RING, "cny2027", "seats", "CNY").sign_holding(
    4, "item:A~12/左", "bob~1", 1_800_000_000_000_001
)


def test_a_receipt_of_what_is_no_money_states_what_it_is() -> None:
    assert NO_MONEY.startswith("rr2~k1~cny2027~seats~4~item:A%7E12%2F%E5%B7%A6~bob%7E1~1800000000000001~")
    assert verify_receipt(RING, NO_MONEY) == Receipt(
        "cny2027", "seats", 4, 0, "", "bob~1", 1_800_000_000_000_001, "item:A~12/左"
    )


def test_one_kind_of_receipt_cannot_be_made_the_other() -> None:
    assert verify_receipt(RING, NO_MONEY.replace("rr2", "rr1")) is None
    assert verify_receipt(RING, RECEIPT.replace("rr1", "rr2")) is None
    assert verify_receipt(RING, NO_MONEY.replace("item:", "code:")) is None
    for size in range(len(NO_MONEY)):
        assert verify_receipt(RING, NO_MONEY[:size]) is None


def test_receipts_of_earlier_releases_are_still_good() -> None:
    old = "rr1~k1~cny2027~r20~17~1234~CNY~al.ice:2@x-y_z~1800000000123456~a738a7441b06d2089013596493932ce5"
    stated = verify_receipt(RING, old)
    assert stated is not None
    assert stated.user == "al.ice:2@x-y_z"


def test_a_receipt_with_any_character_changed_left_out_or_doubled_is_none() -> None:
    for at, right in enumerate(RECEIPT):
        for value in ("", right * 2, "0", "9", "~", "a", "F", " ", "\n", "\x00", "é", "٣", "\udc80", right.swapcase()):
            changed = RECEIPT[:at] + value + RECEIPT[at + 1 :]
            assert changed == RECEIPT or verify_receipt(RING, changed) is None, changed


def test_a_receipt_cut_at_any_length_is_none() -> None:
    for size in range(len(RECEIPT)):
        assert verify_receipt(RING, RECEIPT[:size]) is None
        assert verify_receipt(RING, RECEIPT[size + 1 :]) is None


@pytest.mark.parametrize("more", ["0", "~", " ", "\n", "~" + RECEIPT, RECEIPT])
def test_a_receipt_with_something_before_or_behind_it_is_none(more: str) -> None:
    assert verify_receipt(RING, RECEIPT + more) is None
    assert verify_receipt(RING, more + RECEIPT) is None


@given(st.text(max_size=200))
def test_no_text_makes_the_check_fail(text: str) -> None:
    assert verify_receipt(RING, text) is None


def test_two_fields_cannot_trade_characters() -> None:
    assert verify_receipt(RING, RECEIPT.replace("~17~1234~", "~171~234~")) is None


def test_only_the_key_that_signed_verifies_and_an_old_one_does_after_a_rotation() -> None:
    assert verify_receipt(KeyRing("k1", {"k1": b"x" * 32}), RECEIPT) is None
    assert verify_receipt(KeyRing("k2", {"k2": b"r" * 32}), RECEIPT) is None
    assert verify_receipt(KeyRing("k2", {"k1": b"r" * 32, "k2": b"s" * 32}), RECEIPT) == STATED
