import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.identity.tickets import (
    FRONTS_MAX,
    KEY_ID_PATTERN,
    TICKET_BYTES_MAX,
    Admission,
    KeyRing,
    Ticket,
    TicketVerifier,
    sign_admission,
    sign_login_ticket,
    sign_ticket,
)
from redrush.core.identity.user_ids import USER_BYTES_MAX
from tests.core.identity.any_user import NAMES, USERS

RING = KeyRing("k1", {"k1": b"t" * 32})
VERIFIER = TicketVerifier(RING)
TICKET = sign_ticket(RING, "alice.2@x-y_z", 1_800_000_000).encode()
assert VERIFIER.verify(TICKET) is not None, "from now on it knows the front of such tickets"
KEY_IDS = st.from_regex(KEY_ID_PATTERN, fullmatch=True)


@given(USERS, st.integers(0, (1 << 63) - 1), KEY_IDS, st.binary(min_size=32, max_size=32))
def test_a_ticket_states_what_was_signed_and_has_a_bounded_length(
    user: str, expires_s: int, key_id: str, key: bytes
) -> None:
    ring = KeyRing(key_id, {key_id: key})
    ticket = sign_ticket(ring, user, expires_s).encode()
    assert TicketVerifier(ring).verify(ticket) == Ticket(user, expires_s)
    assert len(ticket) <= TICKET_BYTES_MAX


def _verify(ticket: bytes) -> Ticket | None:
    """Return what a ticket states, to a verifier that knows such a front and to one that never met any."""
    found = VERIFIER.verify(ticket)
    assert TicketVerifier(RING).verify(ticket) == found
    return found


def _changed() -> Iterator[bytes]:
    for at in range(len(TICKET)):
        for value in (0, 10, 13, 32, 45, 46, 48, 70, 102, 126, 127, 128, 255, TICKET[at] ^ 1, TICKET[at] ^ 0x20):
            yield TICKET[:at] + bytes([value]) + TICKET[at + 1 :]
        yield TICKET[:at] + TICKET[at + 1 :]
        yield TICKET[:at] + TICKET[at : at + 1] + TICKET[at:]


def test_a_ticket_with_any_byte_changed_left_out_or_doubled_is_none() -> None:
    for changed in _changed():
        assert changed == TICKET or _verify(changed) is None, changed


def test_a_ticket_cut_at_any_length_is_none() -> None:
    for size in range(len(TICKET)):
        assert _verify(TICKET[:size]) is None
        assert _verify(TICKET[size + 1 :]) is None


@pytest.mark.parametrize("more", [b"0", b".", b" ", b"\n", b"\x00", b"\xff", b"." + TICKET, TICKET])
def test_a_ticket_with_something_before_or_behind_it_is_none(more: bytes) -> None:
    assert _verify(TICKET + more) is None
    assert _verify(more + TICKET) is None


@given(st.binary(max_size=200))
def test_no_bytes_make_the_verifier_fail(ticket: bytes) -> None:
    assert _verify(ticket) is None


@given(st.lists(st.sampled_from([b"k1", b".", b"", b"ff", b"alice", b"0" * 32, b"-", b"_"]), max_size=9))
def test_no_arrangement_of_its_parts_is_a_ticket(parts: list[bytes]) -> None:
    assert _verify(b"".join(parts)) is None


@given(st.lists(USERS, min_size=2), st.sampled_from([1_800_000_000, 1_800_000_001, 15]), st.booleans())
def test_tickets_with_a_front_that_came_before_state_what_was_signed(
    users: list[str], expires_s: int, proven: bool
) -> None:
    verifier = TicketVerifier(RING)
    for user in users:
        ticket = sign_ticket(RING, user, expires_s, proven=proven).encode()
        assert verifier.verify(ticket) == Ticket(user, expires_s)
        assert verifier.verify(ticket.replace(b".", b"", 1)) is None
        assert verifier.verify(ticket[:-1]) is None


def test_fronts_are_forgotten_when_they_are_too_many() -> None:
    verifier = TicketVerifier(RING)
    tickets = [sign_ticket(RING, "ann", expires_s).encode() for expires_s in range(1, FRONTS_MAX + 100)]
    for expires_s, ticket in enumerate(tickets, 1):
        assert verifier.verify(ticket) == Ticket("ann", expires_s)
        assert len(verifier._fronts) <= FRONTS_MAX
    assert verifier.verify(tickets[0]) == Ticket("ann", 1)


def test_another_key_or_an_unknown_key_id_verifies_nothing() -> None:
    assert TicketVerifier(KeyRing("k1", {"k1": b"x" * 32})).verify(TICKET) is None
    assert TicketVerifier(KeyRing("k2", {"k2": b"t" * 32})).verify(TICKET) is None


def test_after_a_rotation_the_new_key_signs_and_the_old_one_still_verifies() -> None:
    rotated = KeyRing("k2", {"k1": b"t" * 32, "k2": b"u" * 32})
    new = sign_ticket(rotated, "alice", 5)
    assert new.startswith("k2.")
    assert TicketVerifier(rotated).verify(TICKET) == Ticket("alice.2@x-y_z", 1_800_000_000)
    assert TicketVerifier(rotated).verify(new.encode()) == Ticket("alice", 5)
    assert _verify(new.encode()) is None


@pytest.mark.parametrize(
    "user", ["", "a" * 257, "张" * 86, "al ice", "alice\n", "a\x00", "a\u200bb", "a\u3000b", "\ufeffa"]
)
def test_what_is_no_user_id_gets_no_ticket(user: str) -> None:
    with pytest.raises(ValueError, match="is not a user id"):
        sign_ticket(RING, user, 5)


def test_a_ticket_is_ascii_whoever_it_is_for_and_plain_ids_stand_in_it_as_they_are() -> None:
    assert sign_ticket(RING, "a.b:c@d-e_f", 255).startswith("k1.ff.a.b:c@d-e_f.")
    assert sign_ticket(RING, "张~|+", 255).startswith("k1.ff.%E5%BC%A0%7E%7C%2B.")
    for user in NAMES:
        assert re.fullmatch(r"[A-Za-z0-9_.:@%-]+", sign_ticket(RING, user, 255))


def test_a_ticket_states_the_normal_form_of_an_id() -> None:
    ticket = sign_ticket(RING, "Jose\u0301", 255)
    assert _verify(ticket.encode()) == Ticket("Jos\u00e9", 255)


def test_tickets_of_earlier_releases_are_still_good() -> None:
    plain = b"k1.6b49d200.alice.2@x-y_z.363017776f5f368fe54ff33914cfd1f0"
    proven = b"k1+.6b49d200.alice.2@x-y_z.9e5d07fba0b920784dcad8bcea7856ce"
    assert _verify(plain) == _verify(proven) == Ticket("alice.2@x-y_z", 1_800_000_000)


@pytest.mark.parametrize("key_id", ["", "a.b", "a~b", "a" * 17, "é", "a b", "k1\n"])
def test_a_key_id_that_a_ticket_could_not_carry_is_refused(key_id: str) -> None:
    with pytest.raises(ValueError, match="is not a key id"):
        KeyRing(key_id, {key_id: b"t" * 32})


def test_a_ring_without_its_signing_key_is_refused() -> None:
    with pytest.raises(ValueError, match='"k2" is not among the keys'):
        KeyRing("k2", {"k1": b"t" * 32})


def test_an_admission_is_good_for_its_round_and_campaign_alone() -> None:
    ring = KeyRing("k1", {"k1": b"a" * 32, "k2": b"b" * 32})
    into = Admission("cny", "r20")
    ticket = sign_admission(ring, into, "张伟", 0x6B01E22D).encode()
    assert ticket.startswith(b"k1@r20.6b01e22d.%E5%BC%A0%E4%BC%9F.")
    assert TicketVerifier(ring, admitted=into).verify(ticket) == Ticket("张伟", 0x6B01E22D)
    for other in (Admission("cny", "r21"), Admission("spring", "r20")):
        assert TicketVerifier(ring, admitted=other).verify(ticket) is None
    assert TicketVerifier(ring).verify(ticket) is None, "it is no ticket anywhere else"
    forged = ticket.replace(b"@r20", b"@r21")
    assert TicketVerifier(ring, admitted=Admission("cny", "r21")).verify(forged) is None


def test_no_other_ticket_lets_into_a_round_with_a_line() -> None:
    ring = KeyRing("k1", {"k1": b"a" * 32}, {"login": b"l" * 32})
    verifier = TicketVerifier(ring, admitted=Admission("cny", "r20"))
    for ticket in (
        sign_ticket(ring, "ann", 99),
        sign_ticket(ring, "ann", 99, proven=True),
        sign_login_ticket("login", b"l" * 32, "ann", 99),
    ):
        assert verifier.verify(ticket.encode()) is None
        assert verifier.verify(ticket.replace("k1", "k1@r20", 1).encode()) is None


def test_the_longest_admission_may_be_read() -> None:
    ring = KeyRing("k" * 16, {"k" * 16: b"a" * 32})
    longest = "\U0001f9e7" * (USER_BYTES_MAX // 4)
    ticket = sign_admission(ring, Admission("c" * 32, "r" * 32), longest, 1 << 63)
    assert len(ticket) <= TICKET_BYTES_MAX
