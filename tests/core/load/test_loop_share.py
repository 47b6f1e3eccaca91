"""Who sheds load for a loop that several share: those who ask for an equal part of its time or more."""

from redrush.core.load.loop_share import LoopShare

LOOKS = 30


def shedding(*answers_a_look: int, looks: int = LOOKS, share: LoopShare | None = None) -> list[bool]:
    """Return who sheds after so many looks, at each of which the parties had so many answers more."""
    share = share or LoopShare()
    for look in range(looks):
        share.begin()
        for who, answers in enumerate(answers_a_look):
            share.told(who, look * answers)
    return [share.has_its_part(who) for who in range(len(answers_a_look))]


def test_who_is_alone_sheds_however_little_is_asked() -> None:
    assert shedding(0) == shedding(1) == shedding(1_000) == [True]
    assert shedding(3, 0, 0)[0], "those whom nobody asks take no part"


def test_a_flood_on_one_sheds_none_of_the_others() -> None:
    assert shedding(3, 900) == [False, True]
    assert shedding(3, 400, 450, 5) == [False, True, True, False]


def test_those_who_ask_alike_shed_alike() -> None:
    assert shedding(100, 100) == [True, True]


def test_a_flood_that_is_over_is_forgotten_within_a_second() -> None:
    share = LoopShare()
    assert shedding(3, 900, share=share) == [False, True]
    for look in range(50):
        share.begin()
        share.told(0, (LOOKS + look) * 3)
        share.told(1, LOOKS * 900)
    assert share.has_its_part(0)


def test_who_has_left_takes_no_part_any_more() -> None:
    share = LoopShare()
    assert shedding(3, 900, share=share) == [False, True]
    for look in range(2):
        share.begin()
        share.told(0, (LOOKS + look) * 3)
    assert share.has_its_part(0)


def test_what_there_was_before_the_first_look_is_nobodys_part() -> None:
    share = LoopShare()
    for look in range(3):
        share.begin()
        share.told("a", 10 * look)
        share.told("b", 1_000_000 + look)
    assert share.has_its_part("a")
    assert not share.has_its_part("b")
