"""Group packets as rules: what one may be, the word, how much is left in words, and whose luck was best."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.identity.tickets import KeyRing
from redrush.core.rush.campaign import Kind
from redrush.core.rush.group import (
    For,
    GroupTerms,
    Left,
    Packet,
    Unfit,
    best_luck,
    check_packet,
    checked_word,
    coarsely,
    folded_word,
    hashed_word,
    is_word,
    packet_id,
    packet_of,
)

KEYS = KeyRing("k2", {"k1": b"1" * 32, "k2": b"2" * 32})
TERMS = GroupTerms(count_max=100, share_minor_max=20_000, sender_day_minor_max=100_000)
PACKET = Packet(id="a" * 32, sender="ann", kind=Kind.LUCKY, total_minor=1_000, count=10)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"kind": Kind.LUCKY_DOUBLE_MEAN}, "kind"),
        ({"count": 0}, "count"),
        ({"count": 101, "total_minor": 1_010}, "count"),
        ({"total_minor": 9}, "total"),
        ({"total_minor": 20_001, "count": 1}, "total"),
        ({"total_minor": 100_001}, "total"),
        ({"greeting": "x" * 201}, "greeting"),
        ({"greeting": "a\u200bb"}, "greeting"),
        ({"whom": For.FOLLOWERS}, "for"),
        ({"named": ("u",) * 1_001}, "for"),
        ({"request": "x" * 65}, "request"),
    ],
)
def test_a_packet_that_the_terms_do_not_allow_is_refused_with_the_field(changed: dict[str, Any], field: str) -> None:
    check_packet(PACKET, TERMS, str)
    with pytest.raises(Unfit) as refused:
        check_packet(msgspec.structs.replace(PACKET, **changed), TERMS, str)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "said", ["开门大吉 open", "开门大吉ＯＰＥＮ", "  开门大吉 Open ", "开门大吉\u3000oPeN", "开门\t大吉open"]
)
def test_a_word_is_the_same_in_any_width_and_case(said: str) -> None:
    kept = hashed_word(checked_word("开门大吉OPEN", named=False), PACKET.id, KEYS)
    assert is_word(said, PACKET.id, KEYS, kept)


def test_a_word_is_kept_as_a_hash_of_its_own_packet_under_a_key_that_may_rotate() -> None:
    kept = hashed_word("sesame", PACKET.id, KEYS)
    assert "sesame" not in kept
    assert kept != hashed_word("sesame", "b" * 32, KEYS)
    assert not is_word("sesam", PACKET.id, KEYS, kept)
    assert not is_word("sesame", "b" * 32, KEYS, kept)
    assert is_word("sesame", PACKET.id, msgspec.structs.replace(KEYS, current="k1"), kept)
    assert not is_word("sesame", PACKET.id, KeyRing("k1", {"k1": b"1" * 32}), kept), "its key is not there"


WORDS = [
    ("abc", False, False),
    ("abcd", False, True),
    ("a", True, True),
    ("", True, False),
    ("a b c", False, False),
    ("x" * 65, True, False),
]


@pytest.mark.parametrize(("word", "named", "fine"), WORDS)
def test_a_word_that_alone_keeps_others_out_has_four_signs(word: str, named: bool, fine: bool) -> None:
    if fine:
        assert checked_word(word, named=named) == folded_word(word)
        return
    with pytest.raises(Unfit):
        checked_word(word, named=named)


@given(st.text(max_size=80))
def test_folding_is_done_once(text: str) -> None:
    assert folded_word(folded_word(text)) == folded_word(text)


def test_how_much_is_left_is_told_in_words() -> None:
    assert [coarsely(left, 8) for left in (8, 7, 3, 2, 1, 0)] == [
        Left.ALL, Left.MANY, Left.MANY, Left.FEW, Left.FEW, Left.NONE]  # fmt: skip


def test_the_best_luck_is_the_largest_share_that_somebody_has_and_the_lower_slot_of_two() -> None:
    assert best_luck([5, 9, 9, 20], {"a": 0, "b": 2, "c": 1}) == "c"
    assert best_luck([5], {}) is None


def test_pots_of_packets_are_told_by_their_names() -> None:
    assert packet_of(PACKET.pot) == PACKET.id
    assert packet_of("r1") is None
    assert packet_id(PACKET.id.encode()) == PACKET.id
    for other in (b"", b"terms", b"A" * 32, b"a" * 31 + b"g", b"a" * 33, b"a" * 31 + b"\0", b"\xff" * 32):
        assert packet_id(other) is None
