"""What a packet's pot says of it, read back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.rush.campaign import Kind
from redrush.core.rush.group import ID_SIGNS, For, Packet, packet_id
from redrush.core.rush.packet_note import NotAPacket, note_of, packet_in, shared_packet_id

ID = "0123456789abcdef" * 2

PACKETS = st.builds(
    Packet,
    id=st.just(ID),
    sender=st.text(min_size=1, max_size=20),
    kind=st.sampled_from([Kind.LUCKY, Kind.EQUAL]),
    total_minor=st.just(0),
    count=st.just(0),
    greeting=st.text(max_size=30),
    word=st.none() | st.just("k1:00ff"),
    named=st.lists(st.text(min_size=1, max_size=9), max_size=4).map(tuple),
    whom=st.sampled_from(list(For)),
    created_us=st.integers(0, 2**53),
    paid_us=st.integers(0, 2**53),
    closes_us=st.integers(0, 2**53),
    amounts=st.lists(st.integers(1, 10**9), min_size=1, max_size=100).map(tuple),
    sponsored=st.booleans(),
    request=st.text(max_size=20),
)


@given(PACKETS)
def test_a_note_says_all_of_a_packet(made: Packet) -> None:
    packet = msgspec.structs.replace(made, total_minor=sum(made.amounts), count=len(made.amounts))
    assert packet_in(note_of(packet), ID) == packet


def test_the_note_of_a_usual_packet_is_short() -> None:
    packet = Packet(
        id=ID,
        sender="u123456789",
        kind=Kind.LUCKY,
        total_minor=1_000,
        count=5,
        created_us=1_800_000_000_000_000,
        paid_us=1_800_000_000_000_000,
        closes_us=1_800_086_400_000_000,
        amounts=(100, 250, 150, 300, 200),
    )
    assert len(note_of(packet)) < 150


def test_a_packet_that_was_not_split_has_none() -> None:
    with pytest.raises(ValueError, match="not split"):
        note_of(Packet(id=ID, sender="ann", kind=Kind.LUCKY, total_minor=3, count=3))


@pytest.mark.parametrize("text", ["", "x", "{}", "[]", '{"s":"ann","k":"lucky","a":["1"],"c":0,"p":0,"x":0}'])
def test_what_is_no_note_is_said_to_be_none(text: str) -> None:
    with pytest.raises(NotAPacket, match=ID):
        packet_in(text, ID)


def test_a_grants_packet_has_one_id_which_nobody_guesses_without_the_seed() -> None:
    ids = {shared_packet_id(seed, grant) for seed in (b"one", b"two") for grant in ("c-r1-1", "c-r1-2")}
    assert len(ids) == 4
    assert all(packet_id(id_.encode()) == id_ and len(id_) == ID_SIGNS for id_ in ids)
    assert shared_packet_id(b"one", "c-r1-1") in ids
