"""Keeping to somebody's rate: in no second more calls than it, and nearly as many as it allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.load.pace import Pace


def most_in_a_second(instants: list[float]) -> int:
    return max(sum(at <= other < at + 1.0 for other in instants) for at in instants) if instants else 0


@given(st.sampled_from([1.0, 7.0, 100.0]), st.lists(st.floats(0.0, 0.4), max_size=200))
def test_no_second_has_more_calls_than_the_rate(per_s: float, rests_s: list[float]) -> None:
    pace, now_s, made = Pace(per_s, 0.0), 0.0, []
    for rest_s in rests_s:
        now_s += rest_s
        room = pace.room(now_s)
        pace.take(room)
        made += [now_s] * room
    assert most_in_a_second(made) <= per_s


@pytest.mark.parametrize("per_s", [10.0, 100.0, 5_000.0])
def test_who_calls_as_soon_as_there_is_room_uses_nine_tenths_of_the_rate(per_s: float) -> None:
    pace, now_s, made = Pace(per_s, 0.0), 0.0, 0
    while now_s < 20.0:
        room = pace.room(now_s)
        pace.take(room)
        made += room
        now_s += max(pace.wait_s(), 0.001)
    assert 0.85 * per_s <= made / 20.0 <= 0.9 * per_s + 1


def test_one_that_was_just_started_has_gathered_nothing() -> None:
    """A process that is killed and started again and again keeps to the rate, too."""
    assert Pace(1_000.0, 5.0).room(5.0) == 0


def test_a_pace_of_nothing_is_none() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Pace(0.0, 0.0)
