"""Places in a line: drawn by a key or by the time, told from one value, and computed again by anybody."""

from itertools import pairwise

import pytest

from redrush.core.rush.line import (
    NEVER,
    START,
    LineState,
    Mark,
    commitment,
    drawn_place,
    in_order,
    line_key,
)

SEED = bytes(range(32))
KEY = line_key(SEED, "r20")


def test_a_drawn_place_follows_from_the_key_and_the_user_alone() -> None:
    assert drawn_place(KEY, "ann") == drawn_place(KEY, "ann") != drawn_place(KEY, "bob")
    assert drawn_place(line_key(SEED, "r21"), "ann") != drawn_place(KEY, "ann")
    # Never other ones: an order that was published is verified by later releases, and by others.
    assert (KEY.hex()[:16], drawn_place(KEY, "张伟"), commitment(KEY)[:16]) == (
        "fd779a6591b2d5b5",
        446284522475,
        "d36cddf672b6f8c7",
    )


def test_drawn_places_are_even_and_do_not_follow_the_ids() -> None:
    users = [f"u{number:05}" for number in range(20_000)]
    tenths = [0] * 10
    for user in users:
        tenths[10 * drawn_place(KEY, user) // START] += 1
    chi_square = sum((count - 2_000) ** 2 / 2_000 for count in tenths)
    assert chi_square < 27.9, tenths  # 9 degrees of freedom, 0.1 %
    ups = sum(drawn_place(KEY, one) < drawn_place(KEY, other) for one, other in pairwise(users))
    assert abs(ups - 10_000) < 200


def test_instants_are_behind_all_drawn_places() -> None:
    assert max(drawn_place(KEY, f"u{number}") for number in range(1_000)) < START
    assert START < 1_000_000 * 86_400 * 365, "any instant since 1971 is behind them"


def test_who_shares_a_place_goes_in_order_of_the_ids() -> None:
    assert in_order([("b", 7), ("c", 3), ("a", 7)]) == [("c", 3), ("a", 7), ("b", 7)]


STATE = LineState(
    serving=100, waiting=80, called_per_s=4.0, marks=(Mark(100, 0), Mark(START, 50), Mark(START + 1_000, 80))
)


@pytest.mark.parametrize(
    ("place", "ahead"),
    [(0, 0), (100, 0), (100 + (START - 100) // 2, 25), (START, 50), (START + 500, 65), (START + 9_999, 80)],
)
def test_how_many_are_ahead_is_read_off_the_marks(place: int, ahead: int) -> None:
    assert STATE.ahead(place) == ahead


def test_a_place_behind_so_many_people_has_so_many_ahead() -> None:
    for people in (0, 1, 25, 50, 65, 79):
        assert abs(STATE.ahead(STATE.place_behind(people)) - people) <= 1
    assert STATE.place_behind(1_000) == START + 1_000
    assert LineState().place_behind(5) == 0


def test_the_time_to_wait_follows_from_the_pace_of_calls() -> None:
    assert STATE.wait_s(START) == 12.5
    assert STATE.wait_s(50) == 0.0
    assert LineState(serving=NEVER, marks=STATE.marks).wait_s(START) is None
