"""What a draw will do that may not be meant, in sentences; and what it cannot do, which is refused."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from redrush.config import CampaignFile, RoundSpec
from redrush.config.code_list import read_codes
from redrush.core.money.currency import format_amount, parse_amount
from redrush.core.rush.draw import DrawTerms, Prize, days_of, plays_in_all, window_at
from redrush.core.rush.draw_chances import runs_out
from redrush.errors import ConfigError

RUNS_OUT_TOLD: Final = 0.001
"""A chance below it is not told."""

CN_PRIZE_MAX: Final = "50000.00"
"""Yuan: the most that a prize which is drawn may be worth in China (Provisions on Regulating Sales Promotion, SAMR
order 32 of 2020, article 17)."""


def draw_doubts(file: CampaignFile, eligible: int | None) -> Iterator[str]:
    """Yield a sentence for each doubt about the draws of a campaign; `eligible`: how many may play, None: nobody knows.

    ConfigError for a floor that the stock cannot carry.
    """
    for spec in file.rounds:
        if spec.draw is not None:
            yield from _of_draw(file, spec, spec.draw, eligible)
    for path in file.codes.values():
        yield from read_codes(path).doubts


def _of_draw(file: CampaignFile, spec: RoundSpec, draw: DrawTerms, eligible: int | None) -> Iterator[str]:
    opens_us = spec.opens_us or 0
    closes_us = opens_us + spec.lasts_us
    plays = plays_in_all(draw, opens_us, closes_us)
    yield from _days(spec, draw, opens_us, closes_us)
    yield from _floor(spec, draw, plays, eligible)
    for prize in draw.prizes:
        yield from _stock(spec, prize, plays, eligible)
        yield from _legal(file, spec, prize)


def _days(spec: RoundSpec, draw: DrawTerms, opens_us: int, closes_us: int) -> Iterator[str]:
    if draw.per_day is None or draw.per_user is None:
        return
    days = days_of(draw, opens_us, closes_us)
    if not window_at(draw, opens_us, closes_us, closes_us - 1).count:
        last = -(-draw.per_user // draw.per_day)
        yield (
            f"round {spec.id}: {draw.per_day} plays a day and {draw.per_user} in all are used up on day {last} of "
            f"{days}: nobody has plays after it, for those of a day lapse at its end"
        )


def _floor(spec: RoundSpec, draw: DrawTerms, plays: int, eligible: int | None) -> Iterator[str]:
    if draw.floor is None:
        return
    prize = draw.prize(draw.floor.prize)
    assert prize is not None
    floors = plays // draw.floor.within
    each = floors if prize.odds is None else max(floors, prize.limit_per_user)
    if eligible is None:
        yield (
            f"round {spec.id}: everybody with a ticket may play, so the floor is kept for the first "
            f"{prize.count // each:,} people: there are {prize.count:,} of {prize.id}, and one needs up to {each}"
        )
    elif each * eligible > prize.count:
        raise ConfigError(
            f"round {spec.id}: the floor promises {each} of {prize.id} to each of {eligible:,} people, which are "
            f"{each * eligible:,}, and there are {prize.count:,}: raise its count, or floor.within"
        )


def _stock(spec: RoundSpec, prize: Prize, plays: int, eligible: int | None) -> Iterator[str]:
    if prize.odds is None:
        return
    odds = Fraction(*prize.odds)
    last = "" if prize.otherwise is None else f"; after that its hits get {prize.otherwise}"
    if eligible is None:
        yield (
            f"round {spec.id}: {prize.count:,} of {prize.id} at odds of {odds} are gone after about "
            f"{round(prize.count / odds):,} plays, of {plays} that each person has{last}"
        )
        return
    chance = runs_out(plays * eligible, odds, prize.count)
    if chance >= RUNS_OUT_TOLD:
        yield (
            f"round {spec.id}: if all {eligible:,} people make their {plays} plays, {prize.id} runs out before the end "
            f"with a chance of {_percent(chance)}: about {round(plays * eligible * odds):,} plays hit it, and there "
            f"are {prize.count:,}{last}"
        )


def _percent(chance: float) -> str:
    return "99.9% or more" if chance > 0.999 else f"{chance:.1%}"


def _legal(file: CampaignFile, spec: RoundSpec, prize: Prize) -> Iterator[str]:
    if file.jurisdiction != "CN" or file.currency != "CNY":
        return
    worth_minor = prize.each_minor or prize.worth_minor
    if worth_minor is None:
        yield (
            f'round {spec.id}: what one {prize.id} is worth is not said (worth = "…"); in China a prize that is drawn '
            f"may be worth at most {CN_PRIZE_MAX} yuan"
        )
    elif worth_minor > parse_amount(CN_PRIZE_MAX, file.currency):
        yield (
            f"round {spec.id}: one {prize.id} is worth {format_amount(worth_minor, file.currency)} yuan; in China a "
            f"prize that is drawn may be worth at most {CN_PRIZE_MAX} (SAMR order 32 of 2020, article 17)"
        )
