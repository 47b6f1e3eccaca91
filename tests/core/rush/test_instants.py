"""Instants as people read them."""

import pytest

from redrush.core.rush.instants import how_far, rfc3339_s

S = 1_000_000


@pytest.mark.parametrize(
    ("away_s", "text"),
    [
        (0, "now"),
        (1, "in 1 s"),
        (61, "in 1 min 1 s"),
        (3_600, "in 1 h"),
        (86_400 + 7_260, "in 1 day 2 h"),
        (69 * 86_400 + 59, "in 69 days 59 s"),
        (-59, "59 s ago"),
        (-295 * 86_400, "295 days ago"),
    ],
)
def test_a_distance_is_told_in_its_two_largest_units(away_s: int, text: str) -> None:
    assert how_far(1_800_000_000 * S + away_s * S, 1_800_000_000 * S) == text


def test_seconds_are_told_without_places() -> None:
    assert rfc3339_s(1_801_918_860) == "2027-02-06T13:01:00Z"
