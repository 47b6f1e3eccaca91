"""The queue of a lane: places, batches and pieces, who is late and who has no place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.load.queue import BATCH_CLAIMS_MAX, PIECE_CLAIMS_MIN, Queue

PLACES = 5_000
FINE_US = 20_000.0


def waiting(claims: int, *, places: int = PLACES, batches_max: int = 1) -> Queue[int]:
    """Return a queue in which so many wait, one having come each microsecond."""
    queue = Queue[int](places, batches_max)
    for number in range(claims):
        assert queue.join(number, number)
    return queue


def test_a_claim_that_finds_no_place_does_not_wait_and_a_place_is_free_when_its_claim_was_decided() -> None:
    queue = waiting(2, places=2)
    assert not queue.join(3, 10)
    assert queue.claims == [0, 1]
    batch = queue.next_batch(20)
    assert not queue.join(3, 30), "who is under way has a place too"
    queue.decided(batch, 40, FINE_US, calm=True)
    assert queue.join(3, 50)
    assert queue.parked == 1


def test_a_batch_is_of_everybody_who_waits_up_to_its_greatest_size_in_the_order_of_their_coming() -> None:
    queue = waiting(BATCH_CLAIMS_MAX + 3)
    first, second = queue.next_batch(5_000), queue.next_batch(5_000)
    assert first.claims == list(range(BATCH_CLAIMS_MAX))
    assert second.claims == [BATCH_CLAIMS_MAX, BATCH_CLAIMS_MAX + 1, BATCH_CLAIMS_MAX + 2]
    assert queue.under_way == [first, second]
    assert second.waited_us == sum(5_000 - came_us for came_us in second.claims)


@pytest.mark.parametrize(
    ("claims", "taken"),
    [(10, 10), (PIECE_CLAIMS_MIN, PIECE_CLAIMS_MIN), (PIECE_CLAIMS_MIN + 1, PIECE_CLAIMS_MIN), (1_000, 500)],
)
def test_where_several_batches_may_be_under_way_one_is_half_of_who_waits(claims: int, taken: int) -> None:
    batch = waiting(claims, batches_max=2).next_batch(2_000)
    assert (len(batch.claims), batch.backlog) == (taken, claims)


def test_who_has_waited_too_long_is_taken_out_and_the_others_stay() -> None:
    queue = waiting(10)
    assert queue.longest_us(100) == 100
    assert queue.take_late(100, 95) == ([0, 1, 2, 3, 4], 100 + 99 + 98 + 97 + 96)
    assert (queue.claims, queue.parked) == ([5, 6, 7, 8, 9], 5)
    assert queue.take_gone(lambda claim: claim != 7) == 1
    assert (queue.claims, queue.parked) == ([5, 6, 8, 9], 4)
    assert queue.next_batch(200).since_us == [5, 6, 8, 9]
    assert queue.longest_us(300) == 0


def test_claims_that_are_put_back_wait_before_all_others_and_keep_their_places() -> None:
    queue = waiting(6)
    batch = queue.next_batch(100)
    queue.join(6, 110)
    queue.put_back(batch, 2)
    assert (batch.claims, batch.backlog) == ([0, 1], 2)
    assert (queue.claims, queue.parked) == ([2, 3, 4, 5, 6], 7)
    assert queue.next_batch(120).since_us == [2, 3, 4, 5, 110]


def _slow(queue: Queue[int]) -> None:
    """Have a batch decided in five times what is fine."""
    queue.decided(queue.next_batch(0), int(5 * FINE_US), FINE_US, calm=True)


def test_where_the_store_is_short_of_time_who_came_last_loses_the_place_and_nobody_takes_it() -> None:
    queue = waiting(3 * BATCH_CLAIMS_MAX)
    _slow(queue)
    assert queue.take_excess() == [], "one slow batch may be a hiccup"
    batch = queue.next_batch(200_000)
    most = len(batch.claims)
    assert most < BATCH_CLAIMS_MAX
    queue.decided(batch, 200_000 + int(2 * FINE_US), FINE_US, calm=True)
    excess = queue.take_excess()
    assert excess == list(range(3 * BATCH_CLAIMS_MAX - len(excess), 3 * BATCH_CLAIMS_MAX))
    assert queue.parked == queue.parked_max == len(queue.claims) < most
    assert not queue.join(9_999, 10)


def test_a_batch_of_which_nobody_knows_what_became_frees_its_places_and_stays_under_way() -> None:
    queue = waiting(4, places=4)
    batch = queue.next_batch(10)
    queue.abandon(batch)
    assert (queue.parked, queue.under_way) == (0, [batch])
    assert queue.join(5, 20)


@given(
    st.lists(
        st.sampled_from(["join", "join", "join", "batch", "cut", "decide", "slow", "drop", "late", "gone", "excess"]),
        max_size=200,
    ),
    st.integers(1, 2),
)
def test_every_claim_waits_or_is_under_way_or_was_told_and_none_twice(acts: list[str], batches_max: int) -> None:
    queue = Queue[int](20, batches_max)
    now_us, told = 0, []
    joined = 0
    for act in acts:
        now_us += 1_000
        if act == "join":
            joined += queue.join(joined, now_us)
        elif act == "batch" and queue.claims and len(queue.under_way) < batches_max:
            queue.next_batch(now_us)
        elif act == "cut" and queue.claims and len(queue.under_way) < batches_max:
            batch = queue.next_batch(now_us)
            queue.put_back(batch, 1)
        elif act in {"decide", "slow"} and queue.under_way:
            batch = queue.under_way[0]
            queue.decided(batch, now_us + (50_000 if act == "slow" else 0), FINE_US, calm=True)
            told += batch.claims
        elif act == "drop" and queue.under_way:
            batch = queue.under_way[-1]
            queue.drop(batch)
            told += batch.claims
        elif act == "late":
            told += queue.take_late(now_us, 10_000)[0]
        elif act == "gone" and queue.claims:
            first = queue.claims[0]
            queue.take_gone(first.__ne__)
            told.append(first)
        elif act == "excess":
            told += queue.take_excess()
        under_way = [claim for batch in queue.under_way for claim in batch.claims]
        assert sorted(told + under_way + queue.claims) == list(range(joined))
        assert queue.parked == len(under_way) + len(queue.claims) <= 20
        assert queue.claims == sorted(queue.claims)
