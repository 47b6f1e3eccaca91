"""Automatic rules over readings and instants: two thresholds, a time to prove itself, a minimum hold, and hands off."""

import msgspec
import pytest

from redrush.core.steering.rules import Move, Rule, RuleState

RULE = Rule(
    name="behind",
    playbook="calm",
    reading="records.behind",
    leaves_at=100,
    returns_at=20,
    after_s=2,
    hold_s=10,
)


class World:
    """A rule and a playbook that does what the rule wishes, a second at a time."""

    def __init__(self, rule: Rule = RULE) -> None:
        self.state = RuleState(rule)
        self.now_s = 0.0
        self.in_force = False
        self.enabled = True

    def second(self, value: float | None) -> Move:
        self.now_s += 1
        move = self.state.step(self.now_s, value, in_force=self.in_force, enabled=self.enabled)
        if move is not Move.NOTHING:
            self.in_force = move is Move.APPLY
            self.state.done(move, self.now_s)
        return move

    def seconds(self, *values: float | None) -> list[bool]:
        """Return whether the playbook was in force after each second."""
        found = []
        for value in values:
            self.second(value)
            found.append(self.in_force)
        return found


def test_a_rule_acts_when_its_reading_stays_beyond() -> None:
    assert World().seconds(0, 101, 101, 101, 101) == [False, False, False, True, True]


def test_a_peak_is_not_enough() -> None:
    assert not any(World().seconds(*[500, 500, 99] * 20))


def test_it_comes_back_by_itself_after_its_hold_and_when_the_reading_stays_back() -> None:
    world = World()
    assert world.seconds(500, 500, 500)[-1]
    assert all(world.seconds(*[0] * 9)), "back at once, but it holds ten seconds"
    assert not world.seconds(0)[-1]


def test_between_the_thresholds_it_stays_as_it_is() -> None:
    world = World()
    assert not any(world.seconds(*[99] * 30))
    world.seconds(500, 500, 500)
    assert all(world.seconds(*[21] * 30))
    assert world.seconds(20, 20, 20)[-1] is False


def test_a_rule_may_watch_for_too_little() -> None:
    world = World(msgspec.structs.replace(RULE, leaves_at=10, returns_at=50))
    assert world.seconds(9, 9, 9)[-1]
    assert not world.seconds(*[50] * 11)[-1]


@pytest.mark.parametrize("gap", [None, 50.0])
def test_without_a_reading_nothing_happens_and_no_time_counts(gap: float | None) -> None:
    world = World()
    assert not any(world.seconds(500, gap, 500, gap, 500, gap))
    world.seconds(500, 500, 500)
    assert all(world.seconds(*[None] * 30))


def test_what_a_person_undid_is_not_applied_again_before_the_reading_was_back() -> None:
    world = World()
    world.seconds(500, 500, 500)
    world.in_force = False  # a person has undone it
    assert not any(world.seconds(*[500] * 30))
    assert not any(world.seconds(*[50] * 5, *[500] * 5)), "between the thresholds is not back"
    world.seconds(0)
    assert world.seconds(500, 500, 500)[-1]


def test_a_rule_that_is_switched_off_undoes_its_own_and_may_begin_anew_when_switched_on() -> None:
    world = World()
    world.seconds(500, 500, 500)
    world.enabled = False
    assert world.second(500) is Move.UNDO
    assert not any(world.seconds(*[500] * 5))
    world.enabled = True
    assert world.seconds(500, 500, 500)[-1]


def test_after_a_restart_a_rule_finds_its_playbook_applied_and_brings_it_back() -> None:
    world = World()
    world.in_force = True
    assert all(world.seconds(*[500] * 3, *[0] * 7))
    assert not world.seconds(0)[-1]


def test_a_wish_that_could_not_be_done_is_repeated() -> None:
    state = RuleState(RULE)
    moves = [state.step(second, 500, in_force=False, enabled=True) for second in range(5)]
    assert moves == [Move.NOTHING, Move.NOTHING, Move.APPLY, Move.APPLY, Move.APPLY]
