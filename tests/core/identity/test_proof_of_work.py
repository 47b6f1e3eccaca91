"""Proof of work: what a solution is worth, to whom, until when; and that ALTCHA's own library agrees."""

import base64
import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from altcha.v1 import ChallengeOptions, Payload, create_challenge, solve_challenge, verify_solution
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.identity.proof_of_work import (
    SOLUTION_BYTES_MAX,
    Challenge,
    Challenger,
    ProofOfWork,
    Verdict,
    tries,
)
from redrush.core.identity.tickets import KeyRing, Ticket, TicketVerifier, is_proven, sign_ticket
from tests.core.identity.any_user import USERS

RING = KeyRing("k1", {"k1": b"t" * 32})
TERMS = ProofOfWork(max_number=500, challenge_lasts_s=600)
CHALLENGER = Challenger(RING, TERMS)
NOW_S = 1_800_000_123
ALICE = Ticket("alice", NOW_S + 3_600)


def solved(challenge: Challenge) -> str:
    solution = list(tries(challenge, 100))[-1]
    assert solution is not None
    return solution


CHALLENGE = CHALLENGER.challenge("alice", NOW_S)
SOLUTION = solved(CHALLENGE)


def changed(**fields: Any) -> str:
    return base64.b64encode(json.dumps(json.loads(base64.b64decode(SOLUTION)) | fields).encode()).decode()


@given(USERS, st.integers(0, 1 << 40))
def test_a_solved_challenge_is_accepted_from_its_user_and_is_short(user: str, now_s: int) -> None:
    solution = solved(CHALLENGER.challenge(user, now_s))
    assert CHALLENGER.judge(solution, Ticket(user, now_s), now_s) is Verdict.ACCEPTED
    assert len(solution) <= SOLUTION_BYTES_MAX


def test_every_gate_gives_a_user_the_same_challenge_for_a_while_and_others_another() -> None:
    elsewhere = Challenger(RING, TERMS)
    start_s = NOW_S // 600 * 600
    assert {elsewhere.challenge("alice", start_s + s).salt for s in range(0, 600, 7)} == {CHALLENGE.salt}
    assert elsewhere.challenge("alice", start_s + 600) != CHALLENGE != elsewhere.challenge("bob", NOW_S)
    assert elsewhere.judge(SOLUTION, ALICE, NOW_S) is Verdict.ACCEPTED


def test_a_challenge_can_be_solved_for_at_least_as_long_as_was_said_and_at_most_twice_as_long() -> None:
    for given_s in range(NOW_S, NOW_S + 700, 13):
        solution = solved(CHALLENGER.challenge("alice", given_s))
        assert CHALLENGER.judge(solution, ALICE, given_s + 600) is Verdict.ACCEPTED
        assert CHALLENGER.judge(solution, ALICE, given_s + 1_200) is Verdict.EXPIRED


def test_numbers_are_spread_over_the_whole_range() -> None:
    numbers = [json.loads(base64.b64decode(solved(CHALLENGER.challenge(f"u{n}", NOW_S))))["number"] for n in range(400)]
    assert min(numbers) < 25
    assert max(numbers) > 475
    assert 210 < sum(numbers) / len(numbers) < 290  # five standard errors, and the keys are fixed


def test_a_solution_is_worth_nothing_to_another_user() -> None:
    assert CHALLENGER.judge(SOLUTION, Ticket("bob", ALICE.expires_s), NOW_S) is Verdict.FOREIGN
    bobs = CHALLENGE.salt.replace("alice", "bob")
    assert CHALLENGER.judge(changed(salt=bobs), Ticket("bob", ALICE.expires_s), NOW_S) is Verdict.FORGED


def test_any_other_number_is_wrong() -> None:
    right = json.loads(base64.b64decode(SOLUTION))["number"]
    for number in {*range(TERMS.max_number + 1), 1 << 52} - {right}:
        assert CHALLENGER.judge(changed(number=number), ALICE, NOW_S) is Verdict.WRONG


def test_digits_cannot_move_between_salt_and_number() -> None:
    """The challenge would stay the same; with an expiry at the salt's end it would be a later one."""
    text = json.loads(base64.b64decode(SOLUTION))
    digits = str(text["number"])
    for moved in range(1, len(digits)):
        spliced = changed(salt=text["salt"] + digits[:moved], number=int(digits[moved:]))
        assert CHALLENGER.judge(spliced, ALICE, NOW_S) is Verdict.FORGED


def test_a_challenge_of_other_keys_or_of_ones_own_making_is_forged() -> None:
    other = solved(Challenger(KeyRing("k1", {"k1": b"x" * 32}), TERMS).challenge("alice", NOW_S))
    assert CHALLENGER.judge(other, ALICE, NOW_S) is Verdict.FORGED
    hashed = sha256(f"{CHALLENGE.salt}0".encode()).hexdigest()
    easy = solved(msgspec.structs.replace(CHALLENGE, challenge=hashed, maxnumber=0))
    assert CHALLENGER.judge(easy, ALICE, NOW_S) is Verdict.FORGED
    for signature in ("", ".", "k1", "k1.", "k2." + CHALLENGE.signature[3:], CHALLENGE.signature[:-1], "k1.é"):
        assert CHALLENGER.judge(changed(signature=signature), ALICE, NOW_S) is Verdict.FORGED


def test_after_a_rotation_of_keys_older_challenges_can_still_be_exchanged() -> None:
    rotated = Challenger(KeyRing("k2", {"k1": b"t" * 32, "k2": b"u" * 32}), TERMS)
    assert rotated.judge(SOLUTION, ALICE, NOW_S) is Verdict.ACCEPTED
    assert rotated.challenge("alice", NOW_S).signature.startswith("k2.")


@pytest.mark.parametrize(
    "solution",
    [
        "",
        "{}",
        "====",
        "é",
        base64.b64encode(b"[]").decode(),
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b'{"a":' * 100_000).decode(),
        changed(number="1"),
        changed(number=-1),
        changed(number=1 << 53),
        changed(number=True),
        changed(number=1.5),
        changed(salt=None),
        changed(algorithm="SHA-1"),
        changed(took="x" * 2_000),
    ],
)
def test_what_is_no_solution_is_unreadable(solution: str) -> None:
    assert CHALLENGER.judge(solution, ALICE, NOW_S) is Verdict.UNREADABLE


@given(st.text(max_size=300))
def test_no_text_makes_the_judge_fail(text: str) -> None:
    assert CHALLENGER.judge(text, ALICE, NOW_S) is Verdict.UNREADABLE
    encoded = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
    assert CHALLENGER.judge(encoded, ALICE, NOW_S) is Verdict.UNREADABLE


@given(st.sampled_from(["challenge", "salt", "signature"]), st.text(max_size=60))
def test_no_text_in_a_field_is_taken_for_what_was_signed(field: str, text: str) -> None:
    judged = CHALLENGER.judge(changed(**{field: text}), ALICE, NOW_S)
    assert judged in {Verdict.FORGED, Verdict.UNREADABLE}


def test_the_work_is_done_in_slices_and_ends_where_the_numbers_end() -> None:
    unsolvable = msgspec.structs.replace(CHALLENGE, challenge="0" * 64, maxnumber=99)
    assert list(tries(unsolvable, 10)) == [None] * 10
    number = json.loads(base64.b64decode(SOLUTION))["number"]
    assert list(tries(CHALLENGE, 10)) == [None] * (number // 10) + [SOLUTION]


# -- ALTCHA's own library


def test_the_library_of_altcha_solves_our_challenges() -> None:
    found = solve_challenge(CHALLENGE.challenge, CHALLENGE.salt, "SHA-256", CHALLENGE.maxnumber)
    assert found is not None
    payload = Payload("SHA-256", CHALLENGE.challenge, found.number, CHALLENGE.salt, CHALLENGE.signature)
    assert CHALLENGER.judge(payload.to_base64(), ALICE, NOW_S) is Verdict.ACCEPTED
    assert payload.parse_salt()[1:] == (1_800_000_600 + 600.0, {"expires": ["1800001200"], "user": ["alice"]})


def test_we_solve_the_challenges_of_altchas_library() -> None:
    theirs = create_challenge(ChallengeOptions(max_number=300, hmac_key="key", salt="00ff?user=alice&"))
    ours = Challenge(theirs.algorithm, theirs.challenge, theirs.max_number, theirs.salt, theirs.signature)
    assert verify_solution(solved(ours), "key", check_expires=False) == (True, None)


# -- the two kinds of tickets

PLAIN = sign_ticket(RING, "alice", 5).encode()
PROVEN = sign_ticket(RING, "alice", 5, proven=True).encode()


def test_a_ticket_and_a_proven_ticket_are_never_taken_for_each_other() -> None:
    plain_only, proven_only = TicketVerifier(RING, proven=False), TicketVerifier(RING, plain=False)
    assert (plain_only.verify(PLAIN), proven_only.verify(PROVEN)) == (Ticket("alice", 5), Ticket("alice", 5))
    assert (plain_only.verify(PROVEN), proven_only.verify(PLAIN)) == (None, None)
    assert is_proven(PROVEN.decode())
    assert not is_proven(PLAIN.decode())


def _made_from_what_everybody_has() -> Iterator[bytes]:
    """All that a user can put together from a ticket and a challenge."""
    macs = [PLAIN.rpartition(b".")[2], CHALLENGE.signature[3:].encode(), CHALLENGE.challenge[:32].encode()]
    for mac in macs:
        for body in (PROVEN.rpartition(b".")[0], PLAIN.rpartition(b".")[0].replace(b"k1", b"k1+")):
            yield body + b"." + mac
    yield PLAIN.replace(b"k1.", b"k1+.")
    yield b"k1+" + PLAIN


def test_no_proven_ticket_can_be_made_from_a_ticket_and_a_challenge() -> None:
    proven_only = TicketVerifier(RING, plain=False)
    for made in _made_from_what_everybody_has():
        assert proven_only.verify(made) is None, made
