"""Passes: nobody makes one, nobody changes one, and nobody uses another's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.identity.passes import PASS_BYTES_MAX, Flaw, Pass, Passes
from redrush.core.identity.tickets import KeyRing

RING = KeyRing("k2", {"k1": b"1" * 32, "k2": b"2" * 32})
PASSES = Passes(RING, "cny")
EARLY = Pass(round="r20", place=123_456_789, issued_s=1_000, expires_s=9_000)
LATE = Pass(round="r20", place=1_800_000_000_000_000, issued_s=1_000, expires_s=9_000, again=True)


@pytest.mark.parametrize("one", [EARLY, LATE])
@pytest.mark.parametrize("user", ["ann", "张伟"])
def test_a_pass_says_what_was_signed(one: Pass, user: str) -> None:
    assert PASSES.read(PASSES.sign(one, user), "r20", user, 8_999) == one


def test_the_text_of_a_pass_is_as_documented() -> None:
    assert PASSES.sign(EARLY, "ann").rpartition(".")[0] == "rw1~r20~u123456789~3e8~2328~k2"
    assert PASSES.sign(LATE, "ann").rpartition(".")[0] == "rw1~r20~n1800000000000000r~3e8~2328~k2"


def test_a_pass_is_worthless_to_another_user_in_another_round_and_in_another_campaign() -> None:
    text = PASSES.sign(EARLY, "ann")
    assert PASSES.read(text, "r20", "bob", 0) is Flaw.FORGED
    assert PASSES.read(text, "r21", "ann", 0) is Flaw.FORGED
    assert Passes(RING, "spring").read(text, "r20", "ann", 0) is Flaw.FORGED
    assert Passes(KeyRing("k3", {"k3": b"3" * 32}), "cny").read(text, "r20", "ann", 0) is Flaw.FORGED


def test_a_pass_expires_and_outlives_a_change_of_the_key() -> None:
    text = Passes(KeyRing("k1", RING.keys), "cny").sign(EARLY, "ann")
    assert PASSES.read(text, "r20", "ann", 0) == EARLY
    assert PASSES.read(text, "r20", "ann", 9_000) is Flaw.EXPIRED


@given(st.integers(0, 200), st.characters(codec="ascii"))
def test_a_pass_with_any_sign_changed_is_none(at: int, sign: str) -> None:
    text = PASSES.sign(EARLY, "ann")
    at %= len(text)
    if text[at] != sign:
        assert isinstance(PASSES.read(text[:at] + sign + text[at + 1 :], "r20", "ann", 0), Flaw)


@given(st.text())
def test_whatever_is_sent_as_a_pass_is_answered(text: str) -> None:
    assert PASSES.read(text, "r20", "ann", 0) is Flaw.UNREADABLE


def test_the_longest_pass_may_be_read() -> None:
    ring = KeyRing("k" * 16, {"k" * 16: b"k" * 32})
    one = Pass(round="r" * 32, place=9_999_999_999_999_999, issued_s=1 << 40, expires_s=1 << 41, again=True)
    text = Passes(ring, "c" * 32).sign(one, "u" * 200)
    assert len(text) <= PASS_BYTES_MAX
    assert Passes(ring, "c" * 32).read(text, "r" * 32, "u" * 200, 0) == one
