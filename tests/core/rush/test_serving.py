"""The line moves: at the pace that was set whatever part of the people comes, in order, never too early."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from redrush.core.rush.line import NEVER, START, Order, drawn_place
from redrush.core.rush.serving import HASTE_MAX, MOVES_PER_S, SILENT_US, Serving, Told
from redrush.core.rush.turnout import SHARE_MIN
from tests.core.rush.simulated_line import KEY, OPENS_US, SECOND_US, STEP_US, Room, terms

LEARNT_S = 40
"""By then the line knows how many come."""


@pytest.mark.parametrize(
    ("share", "delay_s", "gates"), [(0.5, 0.0, 1), (0.5, 4.0, 1), (0.5, 4.0, 4), (1.0, 2.0, 1), (0.25, 2.0, 1)]
)
def test_the_pace_holds_within_two_percent_whoever_comes(share: float, delay_s: float, gates: int) -> None:
    room = Room(terms(pace_per_s=200.0), gates=gates)
    room.share, room.delay_s = share, delay_s
    room.join_early(int(200 * 110 / share))
    room.run(0, 100)
    assert room.rate(LEARNT_S, 100) == pytest.approx(200, rel=0.02)
    assert all(room.rate(second, second + 5) < 200 * 1.2 for second in range(95)), "never far beyond it"


def test_late_comers_go_in_at_the_pace_too_and_in_order_of_coming() -> None:
    room = Room(terms(pace_per_s=100.0, order=Order.FIFO))
    room.share, room.delay_s = 0.5, 0.0
    room.run(-30, 100, late_per_s=300)
    assert room.rate(LEARNT_S, 100) == pytest.approx(100, rel=0.02)
    places = [place for _, place in room.entered]
    assert places == sorted(places)


def test_a_line_that_is_shorter_than_the_pace_lets_everybody_in_within_two_seconds() -> None:
    room = Room(terms(pace_per_s=100.0))
    room.share = 1.0
    room.join_early(20)
    room.run(0, 30, late_per_s=20)
    assert len(room.waiting) <= 20 * 2
    assert room.state.waiting <= 20 * 2


def test_early_ones_go_in_before_late_ones_in_the_order_that_anybody_can_compute() -> None:
    room = Room(terms(pace_per_s=100.0))
    room.share = 1.0
    room.join_early(1_000)
    room.run(0, 20, late_per_s=50)
    places = [place for _, place in room.entered]
    assert places[:1_000] == sorted(drawn_place(KEY, f"u{number}") for number in range(1, 1_001))
    assert all(place >= START for place in places[1_000:])
    assert len(places) > 1_100


def test_nobody_is_called_before_the_round_opens_nor_while_the_line_stands() -> None:
    room = Room(terms())
    room.join_early(1_000)
    room.run(-5, 0)
    assert room.state.serving == NEVER
    room.run(0, 2)
    served = room.state.serving
    room.paused = True
    room.run(2, 10)
    assert room.state.serving == served
    assert room.state.wait_s(START) is None
    room.paused = False
    room.run(10, 11)
    assert room.state.serving > served
    assert room.rate(10, 11) <= 2 * 100, "a pause is not caught up"


def test_the_pace_may_be_changed() -> None:
    room = Room(terms(pace_per_s=200.0))
    room.share = 1.0
    room.join_early(20_000)
    room.run(0, 20)
    room.pace = 50.0
    room.run(20, 60)
    assert room.rate(22, 60) == pytest.approx(50, rel=0.02)


def test_room_behind_the_line_slows_it() -> None:
    serving = Serving(terms(pace_per_s=100.0), OPENS_US, OPENS_US + 600 * SECOND_US)
    serving.hear("g", Told(whole=True, early=100_000), OPENS_US)
    for step in range(20 * MOVES_PER_S):
        serving.move(OPENS_US + step * STEP_US, 100.0, room=0.25)
        called = 100_000 * serving.serving / START
        now_us = OPENS_US + step * STEP_US
        serving.hear("g", Told(early=100_000, came=(int(called),)), now_us)  # everybody comes at once
    assert called == pytest.approx(25 * 20, rel=0.02)
    before = serving.serving
    serving.move(OPENS_US + 20 * SECOND_US, 100.0, room=0.0)
    assert serving.serving == before


def test_whose_time_is_over_is_told_after_the_grace() -> None:
    room = Room(terms(grace_us=10 * SECOND_US))
    room.join_early(10_000)
    room.run(0, 3)
    called, lapsed = room.state.serving, room.state.lapsed
    assert lapsed == NEVER
    room.run(3, 14)
    assert room.state.lapsed >= called
    assert room.state.lapsed < room.state.serving


def test_a_restart_goes_on_where_the_line_stood() -> None:
    room = Room(terms())
    room.share = 1.0
    room.join_early(5_000)
    room.run(0, 10)
    kept, served = room.serving.kept(), room.state.serving
    room.serving = Serving(room.terms, OPENS_US, OPENS_US + 7_200 * SECOND_US)
    room.serving.restore(kept, OPENS_US + 10 * SECOND_US)
    for gate in room.gates:
        told = gate.told(OPENS_US + 10 * SECOND_US)
        part = msgspec.structs.replace(told, whole=False)
        assert not room.serving.hear("g0", part, told.until_us), "the whole is wanted of a gate that is new"
    room.run(10, 12)
    assert room.state.serving > served
    assert room.state.joined == 5_000
    assert room.rate(10, 12) <= 2 * 100


def test_the_line_does_not_pass_what_a_gate_has_yet_to_tell_unless_it_is_silent_for_long() -> None:
    serving = Serving(terms(order=Order.FIFO), OPENS_US, OPENS_US + 600 * SECOND_US)
    silent_from_us = OPENS_US + SECOND_US
    for step in range(30):
        now_us = OPENS_US + step * STEP_US
        serving.hear("a", Told(whole=True, until_us=now_us), now_us)
        if now_us <= silent_from_us:
            serving.hear("b", Told(whole=True, until_us=now_us), now_us)
        serving.move(now_us, 100.0)
        if now_us - silent_from_us <= SILENT_US:
            assert serving.serving < silent_from_us
    assert serving.serving > silent_from_us + SILENT_US


def test_when_suddenly_nobody_comes_the_calls_are_bounded() -> None:
    serving = Serving(terms(pace_per_s=100.0), OPENS_US, OPENS_US + 600 * SECOND_US)
    serving.hear("g", Told(whole=True, early=1_000_000), OPENS_US)
    before = 0
    for step in range(60 * MOVES_PER_S):
        serving.hear("g", Told(early=1_000_000), OPENS_US + step * STEP_US)
        serving.move(OPENS_US + step * STEP_US, 100.0)
        assert serving.serving - before <= 1.01 * HASTE_MAX * 100 / MOVES_PER_S / SHARE_MIN * START / 1_000_000
        before = serving.serving


def test_a_restart_that_has_heard_of_nobody_calls_nobody() -> None:
    serving = Serving(terms(), OPENS_US, OPENS_US + 600 * SECOND_US)
    serving.move(OPENS_US, 100.0)
    assert serving.serving <= 0


def test_a_report_that_was_lost_is_made_up_for_and_one_told_twice_counts_once() -> None:
    serving = Serving(terms(), OPENS_US, OPENS_US + 600 * SECOND_US)
    assert serving.hear("g", Told(whole=True, early=10, joined_late=3, late={9_000_000_007: 3}, came=(2, 0)), OPENS_US)
    for _ in range(2):
        assert serving.hear(
            "g", Told(early=15, joined_late=5, late={9_000_000_007: 4, 9_000_000_008: 1}, came=(2, 4)), OPENS_US
        )
    assert (serving.joined, serving.entered) == (20, 4)
    serving.forget("g")
    assert serving.joined == 20


def test_the_line_is_closed_at_the_number_that_was_set() -> None:
    serving = Serving(terms(places_max=12), OPENS_US, OPENS_US + 600 * SECOND_US)
    serving.hear("g", Told(whole=True, early=11), OPENS_US)
    assert not serving.state().closed
    serving.hear("g", Told(early=12), OPENS_US)
    assert serving.state().closed


class LineMachine(RuleBasedStateMachine):
    """Everything that may happen to a line, in any order."""

    @initialize(
        order=st.sampled_from(Order),
        pace=st.sampled_from([1.0, 30.0, 500.0]),
        share=st.sampled_from([0.0, 0.3, 1.0]),
        early=st.integers(0, 300),
    )
    def begin(self, order: Order, pace: float, share: float, early: int) -> None:
        self.room = Room(terms(order=order, pace_per_s=pace, grace_us=5 * SECOND_US), gates=3)
        self.room.share = share
        if order is Order.RANDOM:
            self.room.join_early(early)
        self.step = -10
        self.served, self.lapsed = NEVER, NEVER

    @property
    def now_us(self) -> int:
        return OPENS_US + self.step * STEP_US

    @rule(people=st.integers(1, 40))
    def join(self, people: int) -> None:
        if self.step > 0 or self.room.terms.order is Order.FIFO:
            for _ in range(people):
                self.room.join_late(self.now_us)
        else:
            self.room.join_early(people)

    @rule(steps=st.integers(1, 15))
    def move(self, steps: int) -> None:
        for _ in range(steps):
            self.room.step(self.now_us)
            self.step += 1

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.room.paused = paused

    @rule(pace=st.sampled_from([0.0, 5.0, 100.0]))
    def switch_pace(self, pace: float) -> None:
        self.room.pace = pace

    @rule()
    def restart(self) -> None:
        before = self.room.serving
        self.room.serving = Serving(before.terms, before.opens_us, before.closes_us)
        self.room.serving.restore(before.kept(), self.now_us)

    @invariant()
    def the_line_goes_forward_only(self) -> None:
        if not hasattr(self, "room"):
            return
        state = self.room.state
        assert state.serving >= self.served
        assert state.lapsed <= state.serving
        self.served = state.serving

    @invariant()
    def nobody_is_called_before_the_opening_or_before_they_came(self) -> None:
        if not hasattr(self, "room"):
            return
        for place, at_us in self.room.called_at.items():
            assert at_us >= OPENS_US
            if place >= START:
                assert place <= at_us

    @invariant()
    def nobody_waits_whose_turn_it_is_and_everybody_waits_whose_turn_it_is_not(self) -> None:
        if not hasattr(self, "room"):
            return
        assert all(place > self.room.state.serving for place in self.room.waiting)
        assert all(place <= self.room.state.serving for _, place in self.room.entered)

    @invariant()
    def marks_are_in_order(self) -> None:
        if hasattr(self, "room"):
            marks = self.room.state.marks
            assert all(one.place < other.place and one.ahead <= other.ahead for one, other in pairwise(marks))


LineMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestLineMachine = LineMachine.TestCase
