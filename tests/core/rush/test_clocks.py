"""Who is wrong when clocks differ, and what a round may be held against."""

from itertools import pairwise

import pytest

from redrush.core.rush.clocks import OFFSET_MAX_US, SYSTEM, ClockCheck, Offset, judge
from redrush.ports.clock import HeardTimes
from tests.core.rush.test_phase import CLOSES_US, OPENS_US, ROUND

S = 1_000_000


def offsets(**seconds: float) -> list[Offset]:
    return [Offset(SYSTEM if name == "system" else name, round(value * S)) for name, value in seconds.items()]


@pytest.mark.parametrize(
    ("seconds", "doubts", "others"),
    [
        ({}, False, []),
        ({"system": 0, "s1": 0, "s2": 0, "control": 0}, False, []),
        ({"system": 0.1, "s1": -0.1}, False, []),
        # Two that differ: nobody knows which is wrong.
        ({"s1": 0.2}, True, []),
        # One against all: it is the one.
        ({"s1": -30, "control": -30}, True, []),
        ({"s1": 30, "control": 0}, False, ["s1"]),
        ({"s1": 0, "s2": 0, "control": -600}, False, ["control"]),
        ({"s1": 0, "s2": 30, "control": 0}, False, ["s2"]),
        ({"s1": 30, "s2": 30, "control": 0}, True, []),
        ({"s1": 30, "s2": -600, "s3": 0, "control": 0}, False, ["s1", "s2"]),
        # The system's clock was set since the start, whatever the others say.
        ({"system": -30, "s1": 0, "control": 0}, True, []),
        ({"system": 1, "s1": 0, "s2": -5, "control": 0}, True, ["s2"]),
    ],
)
def test_a_process_doubts_its_clock_unless_more_agree_with_it_than_do_not(
    seconds: dict[str, float], doubts: bool, others: list[str]
) -> None:
    verdict = judge("this gate", offsets(**seconds), OFFSET_MAX_US)
    assert (verdict.doubt is not None, [name for name, _ in verdict.others]) == (doubts, others)


def test_what_cannot_be_told_within_the_bound_says_nothing() -> None:
    slow = Offset("s1", 300_000, error_us=250_000)  # somewhere between 0.05 and 0.55 s
    assert judge("this gate", [slow], OFFSET_MAX_US).doubt is None
    assert not slow.agrees(OFFSET_MAX_US)
    sure = Offset("s1", 300_000, error_us=150_000)
    assert judge("this gate", [sure], OFFSET_MAX_US).doubt is not None
    # Nor does it stand by who is alone against another.
    assert judge("this gate", [slow, Offset("control", -30 * S)], OFFSET_MAX_US).doubt is not None


def test_the_words_say_who_is_ahead_of_whom() -> None:
    assert judge("this gate", offsets(s1=-30, control=-30), OFFSET_MAX_US).doubt == (
        "the clock of this gate is 30.000 s ahead of s1, 30.000 s ahead of control"
    )
    assert judge("this gate", offsets(s1=0.25, control=0), OFFSET_MAX_US).others == (
        ("s1", "its clock is 0.250 s ahead of that of this gate"),
    )
    assert judge("this server", offsets(system=-30), OFFSET_MAX_US).doubt == (
        "the system's clock was set and is 30.000 s behind that of this server"
    )


@pytest.mark.parametrize(
    ("now_us", "skew_us", "forbids"),
    [
        (OPENS_US, 0, None),
        (OPENS_US, -OFFSET_MAX_US, None),  # within the bound the process's own clock decides
        (OPENS_US, -OFFSET_MAX_US - 1, "early"),
        (OPENS_US + 30 * S - 1, -30 * S, "early"),
        (OPENS_US + 30 * S, -30 * S, None),
        (CLOSES_US - 1, -30 * S, None),
        (OPENS_US, 30 * S, None),
        (CLOSES_US - 30 * S - 1, 30 * S, None),
        (CLOSES_US - 30 * S, 30 * S, "late"),
        (OPENS_US, 600 * S, "late"),
    ],
)
def test_a_round_is_open_only_while_the_systems_clock_says_so_too(
    now_us: int, skew_us: int, forbids: str | None
) -> None:
    assert ClockCheck(lambda: skew_us).forbids(ROUND, now_us) == forbids


def test_operators_can_accept_a_clock_that_was_set() -> None:
    check = ClockCheck(lambda: -30 * S)
    check.bound_us = 31 * S
    assert check.forbids(ROUND, OPENS_US) is None


def test_the_error_of_what_was_heard_is_half_of_the_round_trip_however_unequal_the_ways() -> None:
    for there_ms, back_ms in pairwise((0, 1, 40, 0, 90, 3)):
        heard = HeardTimes()
        sent_ns = 5_000_000_000
        said_ns = sent_ns + there_ms * 1_000_000
        heard.hear(said_ns // 1_000 + 7 * S, sent_ns, said_ns + back_ms * 1_000_000)
        newest = heard.newest(sent_ns)
        assert newest is not None
        offset_us = newest.theirs_us - newest.at_ns // 1_000
        assert abs(offset_us - 7 * S) <= newest.error_us <= (there_ms + back_ms) * 500


def test_a_dull_hearing_does_not_replace_a_sharp_one_until_that_is_old() -> None:
    heard = HeardTimes()
    ms, s = 1_000_000, 1_000_000_000
    heard.hear(1, 0, 2 * ms)
    heard.hear(2, 1 * s, 1 * s + 400 * ms)
    assert (sharp := heard.newest(1 * s)) is not None
    assert sharp.theirs_us == 1
    heard.hear(3, 6 * s, 6 * s + 400 * ms)
    assert (dull := heard.newest(6 * s)) is not None
    assert dull.theirs_us == 3
    heard.hear(4, 7 * s, 7 * s + 3 * ms)
    assert (again := heard.newest(7 * s)) is not None
    assert again.theirs_us == 4
    assert heard.newest(18 * s) is None
