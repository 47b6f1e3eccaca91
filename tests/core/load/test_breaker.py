"""The breaker as a machine: by properties over any course of calls, and by the courses that matter."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from redrush.core.load.breaker import Breaker, Rule, State

RULE = Rule(failures=3, window_s=10.0, pause_s=1.0, pause_max_s=8.0, trial_max_s=5.0)

COURSE = st.lists(
    st.tuples(st.floats(min_value=0, max_value=4), st.sampled_from(["ask", "answered", "failed"]), st.integers(0, 5)),
    max_size=120,
)
"""How much later, what happens, and to which of the calls under way."""


def away(at_s: float = 0.0) -> Breaker:
    breaker = Breaker(RULE)
    for _ in range(RULE.failures):
        breaker.failed(at_s, breaker.admit(at_s))
    assert breaker.state is State.AWAY
    return breaker


@given(COURSE)
def test_whatever_happens_one_call_at_most_tries_a_dependency_that_is_away(
    course: list[tuple[float, str, int]],
) -> None:
    breaker, now_s, calls = Breaker(RULE), 0.0, list[int]()
    tried_at_s: list[float] = []
    for later_s, what, which in course:
        now_s += later_s
        if what == "ask":
            up_before = breaker.state is State.UP
            permit = breaker.admit(now_s)
            if permit is not None:
                calls.append(permit)
                if not up_before:
                    tried_at_s.append(now_s)
            else:
                assert breaker.state is not State.UP, "a dependency that is up was refused"
        elif calls:
            permit = calls.pop(which % len(calls))
            if what == "answered":
                breaker.succeeded(permit)
            else:
                breaker.failed(now_s, permit)
        if breaker.state is State.UP:
            tried_at_s.clear()
            assert (breaker.away_s(now_s), breaker.retry_in_s(now_s)) == (0.0, 0.0)
        else:
            assert 0.0 <= breaker.retry_in_s(now_s) <= RULE.pause_max_s
            assert breaker.away_s(now_s) >= 0.0
    # Tries in a row without an answer are at least a pause apart, and each pause is at least the first.
    gaps = [later - earlier for earlier, later in itertools.pairwise(tried_at_s)]
    assert all(gap >= RULE.pause_s for gap in gaps)


@given(COURSE)
def test_from_any_state_a_dependency_that_answers_again_is_up_within_the_longest_pause(
    course: list[tuple[float, str, int]],
) -> None:
    breaker, now_s, calls = Breaker(RULE), 0.0, list[int]()
    for later_s, what, which in course:
        now_s += later_s
        if what == "ask" and (permit := breaker.admit(now_s)) is not None:
            calls.append(permit)
        elif calls and what == "answered":
            breaker.succeeded(calls.pop(which % len(calls)))
        elif calls and what == "failed":
            breaker.failed(now_s, calls.pop(which % len(calls)))
    until_s = now_s + RULE.trial_max_s + RULE.pause_max_s
    while breaker.state is not State.UP:
        now_s += max(breaker.retry_in_s(now_s), 1e-6)
        assert now_s <= until_s + 1e-3, "it is never tried again"
        if (permit := breaker.admit(now_s)) is not None:
            breaker.succeeded(permit)


def test_failures_with_an_answer_between_them_are_no_absence() -> None:
    breaker = Breaker(RULE)
    for _ in range(100):
        for _ in range(RULE.failures - 1):
            breaker.failed(0.0, breaker.admit(0.0))
        breaker.succeeded(breaker.admit(0.0))
    assert (breaker.state, breaker.failures) == (State.UP, 200)


def test_rare_failures_of_a_dependency_that_is_hardly_used_are_no_absence() -> None:
    breaker = Breaker(RULE)
    for number in range(20):
        breaker.failed(now_s := number * (RULE.window_s + 1), breaker.admit(now_s))
    assert breaker.state is State.UP


def test_pauses_double_up_to_a_maximum_and_begin_anew_after_an_answer() -> None:
    breaker, now_s = away(), 0.0
    pauses = []
    for _ in range(6):
        pauses.append(breaker.retry_in_s(now_s))
        now_s += pauses[-1]
        breaker.failed(now_s, breaker.admit(now_s))
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert breaker.away_s(now_s) == now_s
    now_s += breaker.retry_in_s(now_s)
    breaker.succeeded(breaker.admit(now_s))
    for _ in range(RULE.failures):
        breaker.failed(now_s, breaker.admit(now_s))
    assert breaker.retry_in_s(now_s) == RULE.pause_s


def test_a_try_that_nobody_reports_on_has_failed_and_its_late_report_counts_for_nothing() -> None:
    breaker = away()
    lost = breaker.admit(1.0)
    assert breaker.admit(1.0 + RULE.trial_max_s / 2) is None
    assert breaker.admit(1.0 + RULE.trial_max_s) is None, "it failed only now, and a pause follows"
    breaker.succeeded(lost)
    assert breaker.state is State.AWAY
    assert breaker.admit(1.0 + RULE.trial_max_s + 2 * RULE.pause_s) is not None


def test_calls_from_before_the_absence_neither_end_nor_prolong_it() -> None:
    breaker = Breaker(RULE)
    old = [breaker.admit(0.0) for _ in range(5)]
    for permit in old[:3]:
        breaker.failed(1.0, permit)
    breaker.succeeded(old[3])
    breaker.failed(1.9, old[4])
    assert (breaker.state, breaker.retry_in_s(1.9)) == (State.AWAY, 2.0 - 1.9)


def test_calls_that_hang_among_many_that_are_answered_are_no_absence() -> None:
    breaker = Breaker(RULE)
    hung = [breaker.admit(0.0) for _ in range(2 * RULE.failures)]
    breaker.succeeded(breaker.admit(0.1))
    for permit in hung:
        breaker.failed(5.0, permit, began_s=0.0)
    assert (breaker.state, breaker.failures) == (State.UP, len(hung))


def test_calls_that_hang_since_the_last_answer_are_an_absence() -> None:
    breaker = Breaker(RULE)
    before, last = breaker.admit(0.0), breaker.admit(0.0)
    breaker.succeeded(last)
    since = [breaker.admit(0.1) for _ in range(RULE.failures)]
    for permit in [before, *since]:
        assert breaker.state is State.UP
        breaker.failed(5.0, permit, began_s=0.1)
    assert breaker.state is State.AWAY


def test_it_counts_as_away_from_the_first_call_that_was_not_answered() -> None:
    breaker = Breaker(RULE)
    for now_s in (3.0, 4.0, 5.0):
        breaker.failed(now_s, breaker.admit(now_s), began_s=now_s - 2.0)
    assert breaker.away_s(5.0) == 4.0


def test_refused_calls_are_counted() -> None:
    breaker = away()
    assert [breaker.admit(0.5) for _ in range(4)] == [None] * 4
    assert breaker.refused == 4
