"""What is allowed in a campaign and may yet not be meant, in sentences: for `check`, and when an event starts."""

from pathlib import Path

import msgspec

from redrush.config import CampaignFile, LimitsSpec
from redrush.control.draw_doubts import draw_doubts
from redrush.control.user_list import Survey, read_users
from redrush.core.rush.instants import how_far, rfc3339_s
from redrush.core.steering.switches import OFF


class Listed(msgspec.Struct, frozen=True):
    """The list of who may win: where it is, and what it holds; None while the file is not there."""

    path: Path
    survey: Survey | None


def look_at_audience(file: CampaignFile) -> Listed | None:
    """Return what the audience's list holds; None if everybody with a ticket may win.

    ConfigError if the list cannot be read, unless it is only not there yet.
    """
    if file.audience is None:
        return None
    return Listed(file.audience, read_users(file.audience, with_lines=True).survey if file.audience.exists() else None)


def doubts_about(file: CampaignFile, listed: Listed | None, now_us: int, *, is_new: bool = True) -> list[str]:
    """Return a sentence for each doubt about a campaign at `now_us` (µs since the epoch).

    Of one that is not new (it is sealed) rounds may well have begun. ConfigError for what cannot be kept to.
    """
    past = past_openings(file, now_us) if is_new else []
    eligible = None if listed is None or listed.survey is None else listed.survey.users
    return [*past, *audience_doubts(file, listed), *draw_doubts(file, eligible), *limit_doubts(file.limits)]


def past_openings(file: CampaignFile, now_us: int) -> list[str]:
    """Return a sentence for each round that has begun already."""
    told = []
    for round_ in file.rounds:
        if round_.opens_us is None or round_.opens_us >= now_us:
            continue
        closes_us = round_.opens_us + round_.lasts_us
        over = "it is open" if closes_us > now_us else "it is over, nobody can win in it"
        told.append(f"round {round_.id} opened {how_far(round_.opens_us, now_us)}, {opening(file, round_.id)}: {over}")
    return told


def opening(file: CampaignFile, round_id: str) -> str:
    """Return the opening of a round as it is written, and in UTC."""
    round_ = next(round_ for round_ in file.rounds if round_.id == round_id)
    if round_.opens_us is None:
        return "now"
    utc = rfc3339_s(round_.opens_us // 1_000_000)
    return round_.opens_text if round_.opens_text.endswith("+00:00") else f"{round_.opens_text} ({utc})"


def people(count: int) -> str:
    """Return `count` people in words."""
    return "1 person" if count == 1 else f"{count:,} people"


def audience_doubts(file: CampaignFile, listed: Listed | None) -> list[str]:
    """Return a sentence for each doubt about who may win."""
    if listed is None:
        return []
    if (survey := listed.survey) is None:
        return [f"{listed.path}: the audience is not there; without it the event does not start"]
    told = []
    if survey.users == 0:
        told.append(f"{listed.path}: nobody is on the list, so nobody can win")
    else:
        told += [
            f"round {round_.id} has {round_.packets:,} packets, but only {people(survey.users)} may win, one packet "
            f"each: at least {round_.packets - survey.users:,} are left over"
            for round_ in file.rounds
            if round_.draw is None and round_.sale is None and round_.packets > survey.users
        ]
        told += [
            f"round {round_.id} has {round_.packets:,} units, but only {people(survey.users)} may buy, up to "
            f"{round_.sale.limit_per_user:,} each: at least {left:,} are left over"
            for round_ in file.rounds
            if round_.sale is not None and (left := round_.packets - survey.users * round_.sale.limit_per_user) > 0
        ]
    return told + [f"{listed.path}: {doubt}" for doubt in survey.warnings()]


def limit_doubts(limits: LimitsSpec) -> list[str]:
    """Return a sentence for each limit that hits others than it should."""
    if limits.trusted_proxies:
        return []
    set_keys = [
        key
        for key, value in (
            ("address_per_second", limits.address_per_second),
            ("connections_per_address_max", limits.connections_per_address_max),
        )
        if value is not None and value != OFF
    ]
    return [
        f"limits.{key} counts addresses, and no trusted_proxies are named: behind a balancer or proxy everybody comes "
        "from its address, and is counted as one"
        for key in set_keys
    ]
