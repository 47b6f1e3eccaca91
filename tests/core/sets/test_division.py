"""Everybody must divide alike, for ever: shares, homes, and the sets of each round."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.rush.campaign import Campaign, Kind, Leftover, Round, Slots
from redrush.core.sets.division import Division, SetPlace, Share, divide, home


def campaign(*packets: int) -> Campaign:
    """Rounds r1, r2, … of so many packets."""
    rounds, first = [], 0
    for number, count in enumerate(packets, start=1):
        rounds.append(
            Round(
                id=f"r{number}",
                opens_us=number * 1_000_000,
                closes_us=number * 1_000_000 + 500_000,
                kind=Kind.EQUAL,
                total_minor=count,
                min_minor=1,
                max_minor=1,
                slots=Slots(first, count),
                leftover=Leftover.NEXT,
            )
        )
        first += count
    return Campaign(id="c", name="c", currency="CNY", rounds=tuple(rounds))


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 200))
def test_shares_cover_every_slot_once_in_order_and_are_as_equal_as_can_be(first: int, count: int, sets: int) -> None:
    shares = divide(Slots(first, count), sets)
    assert len(shares) == sets
    assert shares[0].first == first
    assert all(left.end == right.first for left, right in pairwise(shares))
    assert shares[-1].end == first + count
    sizes = [share.count for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=6), st.data())
def test_a_set_that_joins_later_changes_no_round_before(packets: list[int], data: st.DataObject) -> None:
    whole = campaign(*packets)
    joins = data.draw(st.integers(1, len(packets)))
    before = Division(whole, [SetPlace("s1"), SetPlace("s2")])
    after = Division(whole, [SetPlace("s1"), SetPlace("s2"), SetPlace("s3", f"r{joins}")])
    for number, round_ in enumerate(whole.rounds, start=1):
        if number < joins:
            assert after.shares(round_.id) == before.shares(round_.id)
        else:
            assert [share.set for share in after.shares(round_.id)] == ["s1", "s2", "s3"]
        assert sum(share.slots.count for share in after.shares(round_.id)) == round_.slots.count


def test_shares_name_their_sets_in_the_order_of_the_list() -> None:
    division = Division(campaign(5, 4), [SetPlace("b"), SetPlace("a", "r2"), SetPlace("c")])
    assert division.sets == ("b", "a", "c")
    assert division.shares("r1") == (Share("b", Slots(0, 3)), Share("c", Slots(3, 2)))
    assert division.shares("r2") == (Share("b", Slots(5, 2)), Share("a", Slots(7, 1)), Share("c", Slots(8, 1)))


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([SetPlace("s1"), SetPlace("s1")], '"s1" is named twice'),
        ([SetPlace("s1", "r9")], 'joins from round "r9", which does not exist'),
        ([SetPlace("s1", "r2")], 'the round "r1" has no set'),
        ([], 'the round "r1" has no set'),
    ],
)
def test_a_list_that_cannot_be_divided_over_is_refused(places: list[SetPlace], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Division(campaign(1, 1), places)


def test_homes_are_what_they_were_when_the_event_began() -> None:
    # Another result would send winners to a set that does not know them.
    assert [home(user, 50) for user in ("alice", "bob", "u1", "u2", "13800138000")] == [35, 4, 22, 14, 41]


@pytest.mark.parametrize("sets", [1, 2, 3, 50])
def test_homes_are_spread_evenly(sets: int) -> None:
    users = 20_000
    counts = [0] * sets
    for number in range(users):
        counts[home(f"user-{number:07}", sets)] += 1
    assert max(counts) < 1.25 * users / sets
    assert min(counts) > 0.75 * users / sets
