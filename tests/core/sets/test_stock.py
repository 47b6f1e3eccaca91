from collections.abc import Mapping

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.rush.campaign import Slots
from redrush.core.sets.stock import is_sold_out, slots_in_play


class Half(msgspec.Struct, frozen=True):
    pot: str
    slots: tuple[Slots, ...]


class Moves(msgspec.Struct, frozen=True):
    taken: Mapping[str, Half] = {}
    given: Mapping[str, Half] = {}


def test_a_move_within_the_round_does_not_change_what_is_in_play() -> None:
    first = Moves(taken={"within": Half("r1", (Slots(0, 7),)), "on its way": Half("r1", (Slots(7, 4),))})
    second = Moves(given={"within": Half("r1", (Slots(0, 7),))})
    assert slots_in_play(100, "r1", [first, second]) == 100


def test_what_joins_from_other_rounds_is_in_play_and_other_pots_are_not() -> None:
    leftover = Half("r1", (Slots(200, 3), Slots(300, 2)))
    moves = Moves(taken={"leftover": Half("r0", leftover.slots)}, given={"leftover": leftover})
    other = Moves(given={"elsewhere": Half("r2", (Slots(400, 9),))})
    assert slots_in_play(100, "r1", [moves, other]) == 105


class Round:
    """Two sets with a slot each, single slots, and what happens to them."""

    def __init__(self) -> None:
        self.free, self.held = [1, 1], [0, 0]
        self.claimed, self.returned = [0, 0], [0, 0]
        self.on_its_way = 0

    def do(self, what: str, number: int) -> None:
        if what == "claim" and self.free[number]:
            self.free[number] -= 1
            self.held[number] += 1
            self.claimed[number] += 1
        elif what == "release" and self.held[number]:
            self.held[number] -= 1
            self.free[number] += 1
            self.returned[number] += 1
        elif what == "take" and self.free[number]:
            self.free[number] -= 1
            self.on_its_way += 1
        elif what == "give" and self.on_its_way:
            self.on_its_way -= 1
            self.free[number] += 1


STEPS = st.lists(
    st.tuples(st.sampled_from(["claim", "claim", "release", "take", "give"]), st.integers(0, 1)), max_size=8
)


@given(st.tuples(STEPS, STEPS, STEPS, STEPS, STEPS))
def test_sold_out_is_said_only_of_a_round_of_which_every_slot_was_somebodys(
    between: tuple[list[tuple[str, int]], ...],
) -> None:
    """Whatever happens between the readings: claims of one set, of the other, what came back to one, to the other."""
    round_ = Round()
    read: list[int] = []
    all_held = []
    for place, steps in enumerate(between):
        for what, number in steps:
            round_.do(what, number)
            all_held.append(sum(round_.held) == 2)
        all_held.append(sum(round_.held) == 2)
        if place < 4:
            read.append(round_.claimed[place] if place < 2 else round_.returned[place - 2])
    sold_out = is_sold_out(read[0] + read[1], in_play=2, returned_ever=read[2] + read[3])
    assert not sold_out or any(all_held)


def test_holds_that_came_back_and_were_granted_again_do_not_hide_that_a_round_is_sold_out() -> None:
    assert is_sold_out(7, in_play=6, returned_ever=1)
    assert not is_sold_out(6, in_play=6, returned_ever=1)
