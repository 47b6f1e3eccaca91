import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.sets.rebalancing import DWELL_FIRST_US, DWELL_MAX_US, Balancer, Move, Stock, even_out

LOOK_US = 50_000

lefts = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 100_000)), min_size=1, max_size=12).map(
    lambda counts: {f"s{k}": count for k, count in enumerate(counts)}
)


def after(left: dict[str, int], moves: list[Move]) -> dict[str, int]:
    left = dict(left)
    for move in moves:
        assert 0 < move.count <= left[move.source]
        assert move.source != move.target
        left[move.source] -= move.count
        left[move.target] += move.count
    return left


def stocks_of(left: dict[str, int], claimed: dict[str, int] | None = None) -> dict[str, Stock]:
    return {name: Stock(count, (claimed or {}).get(name, 0)) for name, count in left.items()}


# --- halving


@given(lefts, st.lists(st.integers(0, 1000), min_size=12, max_size=12))
def test_moves_conserve_slots_and_reach_every_dry_set_while_any_has_two(left: dict[str, int], want: list[int]) -> None:
    wanted = dict(zip(left, want, strict=False))
    moves = even_out(left, wanted)
    moved = after(left, moves)
    assert sum(moved.values()) == sum(left.values())
    assert min(moved.values()) > 0 or max(moved.values()) < 2
    assert len({move.target for move in moves}) == len(moves)
    dry_before = {name for name, count in left.items() if not count}
    assert not {name for name, count in moved.items() if not count} - dry_before, "a move has emptied its source"


@given(lefts)
def test_without_claims_the_moves_end_at_once_and_none_goes_back(left: dict[str, int]) -> None:
    moved = after(left, even_out(left, {}))
    assert even_out(moved, {}) == []


@given(lefts, st.lists(st.integers(0, 100_000), min_size=12, max_size=12))
def test_steady_demand_ends_the_moves_too(left: dict[str, int], want: list[int]) -> None:
    """A move that anticipates demand never makes its source the next to receive from where it gave."""
    wanted = dict(zip(left, want, strict=False))
    for _ in range(50):
        moves = even_out(left, wanted)
        if not moves:
            return
        left = after(left, moves)
    raise AssertionError(f"slots go on moving, though nobody claims: {left}, {wanted}")


@pytest.mark.parametrize(
    ("left", "wanted", "moves"),
    [
        pytest.param({"a": 0, "b": 10}, {}, [Move("b", "a", 5)], id="a dry set gets half"),
        pytest.param({"a": 1, "b": 10}, {}, [], id="who has enough gets nothing"),
        pytest.param({"a": 1, "b": 10}, {"a": 3}, [Move("b", "a", 4)], id="who will soon be dry gets some before"),
        pytest.param({"a": 4, "b": 10}, {"a": 9}, [], id="but not from one that is hardly better off"),
        pytest.param({"a": 0, "b": 1}, {}, [], id="the last slot is not halved"),
        pytest.param({"a": 0, "b": 0}, {}, [], id="nothing from nothing"),
        pytest.param({"a": 0, "b": 9, "c": 0}, {}, [Move("b", "a", 4), Move("b", "c", 2)], id="two dry sets share"),
    ],
)
def test_what_moves(left: dict[str, int], wanted: dict[str, int], moves: list[Move]) -> None:
    assert even_out(left, wanted) == moves


# --- the last slots


@given(
    lefts,
    st.sets(st.integers(0, 11), min_size=1, max_size=3),
    st.integers(1, 300),
    st.integers(0, 2**32 - 1),
)
def test_every_slot_reaches_those_who_ask_wherever_that_is(
    left: dict[str, int], asking: set[int], looks_to_sell: int, seed: int
) -> None:
    """People ask at some sets only, and at the others nobody ever does; a look may miss some of the sets."""
    rng = random.Random(seed)
    names = [name for k, name in enumerate(left) if k in {place % len(left) for place in asking}]
    left, claimed = dict(left), dict.fromkeys(left, 0)
    total = sum(left.values())
    claims_per_look = 1 + total // looks_to_sell
    balancer = Balancer()
    now_us = 0
    # Ample: halving takes some looks per factor of two, a last slot at most one whole ring of the longest stays.
    looks_max = 200 * len(left) + 3 * looks_to_sell + 2 * (len(left) + 12) * DWELL_MAX_US // LOOK_US
    for _look in range(looks_max):
        if not any(left.values()):
            break
        now_us += LOOK_US
        seen = {name: count for name, count in left.items() if rng.random() > 0.1}
        left |= after(seen, balancer.plan(stocks_of(seen, claimed), now_us))
        for name in names:
            won = min(left[name], claims_per_look)
            left[name] -= won
            claimed[name] += won
    assert sum(claimed.values()) == total


def looks_until_it_walks(balancer: Balancer, left: dict[str, int], now_us: int) -> tuple[list[Move], int]:
    for _ in range(10 * DWELL_MAX_US // LOOK_US):
        now_us += LOOK_US
        moves = balancer.plan(stocks_of(left), now_us)
        if moves:
            return moves, now_us
    raise AssertionError("the last slot stays where it is")


def test_the_last_slot_walks_round_the_ring() -> None:
    left, now_us = {"a": 0, "b": 1, "c": 0}, 0
    balancer = Balancer()
    targets = []
    for _ in range(4):
        moves, now_us = looks_until_it_walks(balancer, left, now_us)
        left = after(left, moves)
        targets += [move.target for move in moves]
    assert targets == ["c", "a", "b", "c"]


def test_a_slot_that_nobody_wants_walks_ever_more_slowly_until_somebody_claims() -> None:
    left, now_us = {"a": 1, "b": 0}, 0
    balancer = Balancer()
    stays = []
    for _ in range(8):
        moves, then_us = looks_until_it_walks(balancer, left, now_us)
        stays.append(then_us - now_us)
        left, now_us = after(left, moves), then_us
    assert stays == sorted(stays)
    assert stays[0] <= DWELL_FIRST_US + LOOK_US
    assert DWELL_MAX_US <= stays[-1] <= DWELL_MAX_US + 2 * LOOK_US
    claimed = {"a": 0, "b": 5}
    balancer.plan(stocks_of(left, claimed), now_us + LOOK_US)
    balancer.plan(stocks_of(left, claimed | {"b": 6}), now_us + 2 * LOOK_US)
    later_us = now_us + 2 * LOOK_US + DWELL_FIRST_US + LOOK_US
    assert balancer.plan(stocks_of(left, claimed | {"b": 6}), later_us)


def test_a_slot_does_not_walk_while_it_is_being_claimed_there() -> None:
    balancer = Balancer()
    now_us = 0
    for claims in range(100):
        now_us += DWELL_FIRST_US // 2
        assert balancer.plan({"a": Stock(1, claims), "b": Stock(0, 7)}, now_us) == []


def test_one_set_or_none_has_nothing_to_move() -> None:
    balancer = Balancer()
    assert balancer.plan({}, 0) == []
    assert balancer.plan({"a": Stock(1, 0)}, 10 * DWELL_MAX_US) == []
    assert balancer.plan({"a": Stock(1, 0)}, 20 * DWELL_MAX_US) == []
