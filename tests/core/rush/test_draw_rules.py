"""What a play comes to: odds that are right, instants that are spread, days that end at midnight, and a floor."""

import math
import random
from datetime import UTC, datetime
from fractions import Fraction

import pytest

from redrush.core.rush.campaign import Kind, Leftover, Round, Slots
from redrush.core.rush.draw import (
    LOTS,
    DrawTerms,
    Floor,
    Lots,
    Prize,
    PrizeKind,
    Window,
    commitment,
    days_of,
    draw_key,
    plays_in_all,
    window_at,
)
from redrush.core.rush.draw_chances import runs_out
from redrush.core.rush.instants import to_us

KEY = draw_key(bytes(range(32)))
PLAYS = 100_000
HOUR_US = 3_600_000_000


def prize(name: str, count: int = 10, odds: tuple[int, int] | None = None, *, spread: bool = False) -> Prize:
    return Prize(id=name, name=name, holds=PrizeKind.GOODS, count=count, odds=odds, spread=spread)


TERMS = DrawTerms(prizes=(prize("a", odds=(1, 2)), prize("b", odds=(1, 20)), prize("c", spread=True)), per_user=10)


def deviations(hits: int, plays: int, odds: Fraction) -> float:
    """Return how many standard deviations the hits are off."""
    p = float(odds)
    return abs(hits - plays * p) / math.sqrt(plays * p * (1 - p))


def hits_of(lots: Lots, plays: int) -> list[int]:
    """Return how often each prize was hit in so many plays, misses last."""
    counts = [0] * (len(lots.terms.prizes) + 1)
    for number in range(plays):
        hit = lots.hit(f"u{number // 10}", number % 10 + 1)
        counts[-1 if hit is None else hit] += 1
    return counts


def test_prizes_are_hit_as_often_as_their_odds_say_and_a_bias_of_two_percent_is_found() -> None:
    a, b, released, misses = hits_of(Lots(TERMS, KEY), PLAYS)
    assert (a + b + misses, released) == (PLAYS, 0)
    assert deviations(a, PLAYS, Fraction(1, 2)) < 3
    assert deviations(b, PLAYS, Fraction(1, 20)) < 3
    biased = DrawTerms(prizes=(prize("a", odds=(51, 100)), *TERMS.prizes[1:]), per_user=10)
    assert deviations(hits_of(Lots(biased, KEY), PLAYS)[0], PLAYS, Fraction(1, 2)) > 4


def kolmogorov_smirnov(values: list[float]) -> float:
    """Return how far the values, in [0, 1), are from uniform: the statistic times the root of how many there are."""
    values = sorted(values)
    n = len(values)
    return max(max((at + 1) / n - value, value - at / n) for at, value in enumerate(values)) * math.sqrt(n)


def test_lots_are_uniform_over_users_and_over_the_plays_of_one() -> None:
    lots = Lots(TERMS, KEY)
    assert kolmogorov_smirnov([lots.lot(f"user-{n}", 1) / LOTS for n in range(10_000)]) < 1.63
    assert kolmogorov_smirnov([lots.lot("alice", n) / LOTS for n in range(10_000)]) < 1.63
    assert kolmogorov_smirnov([(lots.lot("alice", n) / LOTS) ** 1.08 for n in range(10_000)]) > 1.63, "it would be seen"


def test_a_play_comes_to_the_same_however_often_and_to_something_else_under_another_key() -> None:
    lots, again, other = Lots(TERMS, KEY), Lots(TERMS, KEY), Lots(TERMS, draw_key(b"x" * 32))
    plays = [(f"u{n}", k) for n in range(100) for k in range(1, 11)]
    assert [lots.result(*play) for play in plays] == [again.result(*play) for play in reversed(plays)][::-1]
    assert [lots.result(*play) for play in plays] != [other.result(*play) for play in plays]
    assert commitment(KEY) != commitment(draw_key(b"x" * 32))
    assert KEY.hex() not in commitment(KEY)


def parts_hit(instants: list[int], span_us: int) -> int:
    """Return how many of as many equal parts of the round have an instant."""
    return len({instant * len(instants) // span_us for instant in instants})


def test_release_instants_are_one_in_each_part_of_the_round_which_uniform_ones_are_not() -> None:
    spread = prize("phone", count=2_000, spread=True)
    lots = Lots(DrawTerms(prizes=(spread,), per_user=1), KEY)
    instants = lots.instants(spread, 0, HOUR_US)
    assert instants == sorted(instants)
    assert instants[0] >= 0
    assert instants[-1] < HOUR_US
    assert parts_hit(instants, HOUR_US) == 2_000
    within = [instant * 2_000 / HOUR_US % 1 for instant in instants]
    assert kolmogorov_smirnov(within) < 1.63, "nobody can tell when in its part"
    rng = random.Random(1)
    assert parts_hit([rng.randrange(HOUR_US) for _ in range(2_000)], HOUR_US) < 1_400


def test_release_instants_move_with_the_round_and_do_not_depend_on_how_many_other_prizes_there_are() -> None:
    spread = prize("phone", count=3, spread=True)
    alone, among = (
        Lots(DrawTerms(prizes=prizes, per_user=1), KEY) for prizes in ((spread,), (prize("a", odds=(1, 2)), spread))
    )
    assert alone.instants(spread, 0, HOUR_US) == among.instants(spread, 0, HOUR_US)
    assert alone.instants(spread, 5, HOUR_US + 5) == [at + 5 for at in alone.instants(spread, 0, HOUR_US)]


def test_the_floor_pays_in_each_block_of_plays_that_hit_nothing_and_only_there() -> None:
    terms = DrawTerms(prizes=(prize("a", odds=(1, 7)), prize("last")), per_user=30, floor=Floor(10, "last"))
    lots = Lots(terms, KEY)
    fallen = 0
    for number in range(300):
        user = f"u{number}"
        for block in (1, 11, 21):
            results = [lots.result(user, play) for play in range(block, block + 10)]
            hit_nothing = all(lots.hit(user, play) is None for play in range(block, block + 10))
            assert any(result is not None for result in results), "at the latest in the tenth play"
            assert (results[-1] == 1) is hit_nothing
            assert 1 not in results[:-1]
            fallen += hit_nothing
    assert fallen > 100


def us(text: str) -> int:
    return to_us(datetime.fromisoformat(text))


def test_each_day_of_the_round_has_play_numbers_of_its_own_that_lapse_at_midnight_in_the_zone() -> None:
    terms = DrawTerms(prizes=TERMS.prizes, per_user=7, per_day=3, zone="Asia/Shanghai")
    opens_us, closes_us = us("2027-02-06T20:00:00+08:00"), us("2027-02-09T20:00:00+08:00")
    midnight_us = us("2027-02-07T00:00:00+08:00")
    assert window_at(terms, opens_us, closes_us, opens_us) == Window(1, 3, midnight_us)
    assert window_at(terms, opens_us, closes_us, midnight_us - 1) == Window(1, 3, midnight_us)
    assert window_at(terms, opens_us, closes_us, midnight_us).first == 4
    third = window_at(terms, opens_us, closes_us, us("2027-02-08T12:00:00+08:00"))
    assert (third.first, third.last, third.count) == (7, 7, 1)
    fourth = window_at(terms, opens_us, closes_us, us("2027-02-09T12:00:00+08:00"))
    assert (fourth.count, fourth.until_us) == (0, closes_us)
    assert (days_of(terms, opens_us, closes_us), plays_in_all(terms, opens_us, closes_us)) == (4, 7)
    assert days_of(terms, opens_us, us("2027-02-07T00:00:00+08:00")) == 1, "a round that ends at midnight has no more"


def test_a_day_of_25_hours_is_one_day() -> None:
    terms = DrawTerms(prizes=TERMS.prizes, per_day=1, zone="Europe/Berlin")
    opens_us = us("2027-10-30T12:00:00+02:00")
    closes_us = opens_us + 72 * HOUR_US
    autumn = window_at(terms, opens_us, closes_us, us("2027-10-31T12:00:00+01:00"))
    assert autumn == Window(2, 2, us("2027-11-01T00:00:00+01:00"))
    assert window_at(terms, opens_us, closes_us, autumn.until_us - 1) == autumn


def test_without_days_every_number_counts_until_the_close() -> None:
    assert window_at(TERMS, 0, HOUR_US, 5) == Window(1, 10, HOUR_US)
    assert plays_in_all(TERMS, 0, HOUR_US) == 10


def test_the_pots_of_a_draw_are_one_for_each_prize_and_take_all_its_slots() -> None:
    round_ = Round(
        id="d", opens_us=0, closes_us=1, kind=Kind.DRAW, total_minor=0, min_minor=0, max_minor=0,
        slots=Slots(5, 30), leftover=Leftover.RETURN, draw=TERMS,
    )  # fmt: skip
    assert [(pot.id, pot.slots, pot.prize) for pot in round_.pots] == [
        ("d.a", Slots(5, 10), "a"),
        ("d.b", Slots(15, 10), "b"),
        ("d.c", Slots(25, 10), "c"),
    ]


@pytest.mark.parametrize(
    ("plays", "odds", "count", "chance"),
    [
        (10, Fraction(1, 2), 4, 638 / 1024),
        (10, Fraction(1, 2), 10, 0.0),
        (3, Fraction(1), 2, 1.0),
        (1_000_000, Fraction(1, 20), 50_500, 0.0109),
        (1_000_000, Fraction(1, 20), 49_500, 0.9890),
    ],
)
def test_the_chance_to_run_out_is_the_tail_of_the_binomial_law(
    plays: int, odds: Fraction, count: int, chance: float
) -> None:
    assert runs_out(plays, odds, count) == pytest.approx(chance, abs=0.001)


def test_the_tail_for_many_prizes_agrees_with_the_exact_one() -> None:
    exact = runs_out(398_000, Fraction(1, 20), 19_999)
    beyond = runs_out(398_000, Fraction(1, 20), 20_000)
    assert 0 < exact - beyond < 0.004


def test_instants_of_today_are_read_in_utc_by_default() -> None:
    assert window_at(DrawTerms(prizes=TERMS.prizes, per_day=1), 0, 3 * 24 * HOUR_US, 24 * HOUR_US).until_us == to_us(
        datetime(1970, 1, 3, tzinfo=UTC)
    )
