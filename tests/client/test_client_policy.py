"""The policy machine, with clock and chance in the test's hands."""

import json
import random
from collections.abc import Iterator
from itertools import count, pairwise, repeat
from typing import Any

import msgspec
import pytest

from redrush.client.policy import RETRIED_STATUSES, Asking, Gates, Showing, Step, waiting_text
from redrush.core.load.client_policy import ClientPolicy
from redrush.core.rush.outcomes import Outcome
from tests.client.policy_cases import TABLE, run

POLICY = ClientPolicy()
UNTHROTTLED = msgspec.structs.replace(POLICY, throttle_k=100.0, throttle_window_ms=1)
"""Forgets at once: for tests of everything but the throttle."""


def asking(policy: ClientPolicy, *draws: float) -> Asking:
    """A machine whose chance is these numbers, the last one for ever. The first says how full the bucket begins."""
    numbers: Iterator[float] = iter([*draws[:-1]])
    last = repeat(draws[-1])
    return Asking(policy, lambda: next(numbers, None) or next(last))


def pause_of(step: Step) -> float:
    assert step.pause_s is not None
    return step.pause_s


def test_the_first_request_is_spread_over_the_start_window() -> None:
    seed = 1
    draw = random.Random(seed).random
    starts = [pause_of(Asking(POLICY, draw).begin(opens_in_s=30.0)) for _ in range(500)]
    assert 30.0 <= min(starts) < 30.05, f"seed {seed}"
    assert 30.95 < max(starts) < 31.0
    assert sorted(starts)[250] == pytest.approx(30.5, abs=0.1)


def test_who_comes_after_the_opening_asks_at_once() -> None:
    assert asking(POLICY, 0.5).begin(opens_in_s=-3.0) == Step(0.0, Showing.ASKING)


@pytest.mark.parametrize("outcome", [Outcome.GRANTED, Outcome.EMPTY, Outcome.CLOSED, Outcome.NOT_ELIGIBLE])
def test_a_final_outcome_ends_the_asking(outcome: Outcome) -> None:
    machine = asking(POLICY, 0.5)
    assert machine.sending(0.0) is None
    assert machine.answered(outcome) == Step(None, Showing.DECIDED)


def test_who_missed_asks_again_no_sooner_than_the_interval_that_was_advised() -> None:
    for draw in (0.01, 0.5, 0.99):
        machine = asking(POLICY, draw)
        assert 1.0 <= pause_of(machine.answered(Outcome.MISSED)) < 1.5
        assert 4.0 <= pause_of(machine.answered(Outcome.MISSED, interval_ms=4_000)) < 6.0
        assert pause_of(machine.answered(Outcome.MISSED, interval_ms=10)) >= 1.0  # the policy's own is the least


def test_who_was_early_starts_again_within_the_window_after_the_opening() -> None:
    step = asking(POLICY, 0.25).answered(Outcome.NOT_OPEN, opens_in_s=5.0)
    assert step == Step(5.25, Showing.BEFORE)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 431])
def test_a_refusal_that_asking_again_cannot_change_is_final(status: int) -> None:
    assert asking(POLICY, 0.99).refused(status) == Step(None, Showing.REFUSED)


@pytest.mark.parametrize("status", sorted(RETRIED_STATUSES))
def test_nothing_is_sent_before_retry_after_and_the_interval(status: int) -> None:
    for bucket in (0.95, 0.05):  # a retry, a come-back
        machine = asking(UNTHROTTLED, bucket, 0.001)
        machine.sending(0.0)
        assert pause_of(machine.refused(status, retry_after_s=7.0)) >= 7.0
        machine = asking(UNTHROTTLED, bucket, 0.001)
        machine.sending(0.0)
        assert pause_of(machine.refused(status, interval_ms=3_000)) >= 3.0


def test_a_tenth_of_a_crowd_that_asks_once_retries_soon_and_the_rest_come_back_later() -> None:
    seed, people = 20270206, 20_000
    source = random.Random(seed)
    pauses = []
    for _ in range(people):
        machine = Asking(UNTHROTTLED, source.random)
        assert machine.sending(0.0) is None
        pauses.append(pause_of(machine.failed()))
    soon = sum(pause < 1.0 + UNTHROTTLED.backoff_first_ms / 1e3 for pause in pauses)
    later = sum(6.0 <= pause < 16.0 for pause in pauses)
    assert soon / people == pytest.approx(0.1, abs=0.01), f"seed {seed}"
    assert soon + later == people


def test_over_a_long_asking_retries_stay_within_the_budget() -> None:
    seed = 7
    machine = Asking(msgspec.structs.replace(UNTHROTTLED, attempts_max=20), random.Random(seed).random)
    retries, now_s = 0, 0.0
    for number in range(10_000):  # every second request fails
        now_s += 10
        assert machine.sending(now_s) is None
        if number % 2:
            machine.answered(Outcome.MISSED)
        else:
            retries += pause_of(machine.failed()) < 1.0 + UNTHROTTLED.backoff_first_ms / 1e3
    assert 800 <= retries <= 1_002, f"seed {seed}"


def test_the_pause_before_a_retry_is_a_random_part_of_a_span_that_doubles_up_to_a_maximum() -> None:
    policy = msgspec.structs.replace(UNTHROTTLED, retry_share=1.0, attempts_max=20)
    machine = asking(policy, 0.9999)
    spans = []
    for number in range(8):
        machine.sending(float(number))
        spans.append(pause_of(machine.failed()) - 1.0)
        machine._tokens = 1.0
        machine._retrying = False
    assert spans == pytest.approx([0.5, 1, 2, 4, 8, 8, 8, 8], rel=1e-3)


def test_come_backs_double_too_and_not_for_ever() -> None:
    policy = msgspec.structs.replace(UNTHROTTLED, retry_share=0.0, attempts_max=20)
    machine = asking(policy, 0.5)
    pauses = []
    for number in range(6):
        machine.sending(float(number))
        pauses.append(pause_of(machine.failed()) - 1.0)
    assert pauses == pytest.approx([10, 20, 40, 80, 80, 80])


def test_after_the_maximum_of_failures_the_client_gives_up_and_an_answer_in_between_starts_the_count_anew() -> None:
    machine = asking(UNTHROTTLED, 0.5)
    steps = [machine.failed() for _ in range(3)]
    assert all(step.showing is Showing.WAITING for step in steps)
    machine.answered(Outcome.MISSED)
    steps = [machine.failed() for _ in range(4)]
    assert [step.showing for step in steps] == [Showing.WAITING] * 3 + [Showing.GIVEN_UP]
    assert steps[-1].pause_s is None


def test_the_throttle_lets_through_what_its_formula_says_counted_before_sending() -> None:
    seed = 3
    source = random.Random(seed)
    through = [0] * 4
    people = 20_000
    for _ in range(people):
        machine = Asking(POLICY, source.random)
        for number in range(4):
            through[number] += machine.sending(0.1 * number) is None
    # p = requests / (requests + 1) without any accept: 0, 1/2, 2/3, 3/4
    expected = [people * share for share in (1, 1 / 2, 1 / 3, 1 / 4)]
    assert through == pytest.approx(expected, rel=0.05), f"seed {seed}"


def test_a_client_whose_requests_are_accepted_is_never_held_back() -> None:
    machine = asking(POLICY, 0.0001)
    for number in range(1_000):
        assert machine.sending(number * 0.001) is None
        machine.answered(Outcome.MISSED)


def test_what_the_throttle_counted_is_forgotten_after_its_window() -> None:
    machine = asking(POLICY, 0.0001)
    assert machine.sending(0.0) is None
    held_back = machine.sending(9.9)
    assert held_back is not None
    assert held_back.showing is Showing.WAITING
    assert pause_of(held_back) >= 1.0
    assert machine.sending(10.0) is None


def test_another_gate_is_asked_once_and_only_from_the_retry_budget() -> None:
    machine = asking(UNTHROTTLED, 0.95, 0.5)
    machine.sending(0.0)
    first = machine.refused(503, retry_after_s=60, elsewhere=True)
    assert first.elsewhere
    assert pause_of(first) < 0.5
    machine._tokens = 2.0
    second = machine.refused(503, retry_after_s=60, elsewhere=True)
    assert not second.elsewhere
    assert pause_of(second) >= 60
    poor = asking(UNTHROTTLED, 0.5)
    poor.sending(0.0)
    assert not poor.refused(503, elsewhere=True).elsewhere


def test_people_are_told_what_is_true_in_their_language() -> None:
    waiting = Step(4.2, Showing.WAITING)
    assert "in about 5 s" in waiting_text(POLICY, waiting, "en")
    assert "约 5 秒" in waiting_text(POLICY, waiting, "zh")
    assert waiting_text(POLICY, waiting, "zh-TW") == waiting_text(POLICY, waiting, "zh")
    assert waiting_text(POLICY, waiting, "fr") == waiting_text(POLICY, waiting, "en")
    assert waiting_text(POLICY, Step(None, Showing.DECIDED), "en") == ""
    assert waiting_text(POLICY, Step(None, Showing.GIVEN_UP), "en") == POLICY.texts["en"].given_up


def test_every_policy_within_the_bounds_ends_and_never_asks_twice_within_the_interval() -> None:
    """A server that fails for good: whatever chance does, a client stops after attempts_max requests."""
    for seed in range(300):
        machine = Asking(POLICY, random.Random(seed).random)
        now_s, sent_s = 0.0, []
        for _ in count():
            held_back = machine.sending(now_s)
            step = held_back
            if held_back is None:
                sent_s.append(now_s)
                step = machine.failed()
            assert step is not None
            if step.pause_s is None:
                break
            now_s += step.pause_s
        assert len(sent_s) == POLICY.attempts_max, f"seed {seed}"
        assert all(later - earlier >= 1.0 for earlier, later in pairwise(sent_s)), f"seed {seed}"


def test_a_gate_that_failed_is_avoided_for_longer_each_time_until_it_answers() -> None:
    gates = Gates(2, lambda: 0.5)
    assert gates.at == 0
    gates.failed(0.0)
    assert gates.at == 1
    assert not gates.another(29.9)
    assert gates.another(30.0)
    gates.failed(30.0)
    gates.failed(40.0)  # the first fails the second time
    assert gates.at == 1
    gates.answered()
    gates.failed(99.9)
    assert gates.at == 0, "the only other one, whenever it failed"
    gates.failed(129.8)
    assert not gates.another(129.8)


def test_among_gates_that_have_not_failed_people_choose_by_chance() -> None:
    seed = 5
    draw = random.Random(seed).random
    chosen = []
    for _ in range(300):
        gates = Gates(4, draw)
        gates.failed(0.0)
        chosen.append(gates.at)
    assert all(80 < chosen.count(gate) < 120 for gate in (1, 2, 3)), f"seed {seed}"


def test_where_all_have_failed_one_that_refuses_is_kept_and_one_that_is_silent_is_not() -> None:
    gates = Gates(2, lambda: 0.5)
    gates.failed(0.0)
    gates.failed(1.0, spoke=True)
    assert gates.at == 1
    gates.failed(2.0)
    assert gates.at == 0


def test_a_move_from_a_gate_that_was_not_reached_is_free_and_one_from_a_gate_that_hangs_is_once() -> None:
    machine = asking(POLICY, 0.05, 0.5)
    for number in range(5):
        assert machine.sending(float(number)) is None
        step = machine.failed(reached=False, another=True)
        assert (step.elsewhere, pause_of(step)) == (True, 0.25)
    assert machine.sending(5.0) is None
    assert machine.failed(another=True).elsewhere
    assert machine.sending(5.5) is None
    waits = machine.failed(another=True)
    assert not waits.elsewhere
    assert pause_of(waits) >= 1.0
    machine.served()
    assert machine.failed(another=True).elsewhere


def test_without_a_token_who_is_sent_elsewhere_comes_back_there_within_half_the_span() -> None:
    for draw in (0.0, 0.5, 0.999):
        machine = asking(UNTHROTTLED, 0.05, draw)
        machine.sending(0.0)
        step = machine.refused(503, retry_after_s=60.0, elsewhere=True, another=True)
        assert 1.0 <= pause_of(step) < 6.0
    machine = asking(UNTHROTTLED, 0.05, 0.5)
    machine.sending(0.0)
    assert pause_of(machine.refused(503, retry_after_s=60.0, another=True)) >= 60.0


@pytest.mark.parametrize("case", json.loads(TABLE.read_text()))
def test_the_machine_decides_as_the_table_says_that_the_page_keeps_to_too(case: dict[str, Any]) -> None:
    assert run(case) == case["says"]
