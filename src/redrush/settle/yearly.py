"""What each person has won in a year, as a table for whoever declares it: prizes may be taxed where winners live.

A year is that of the campaign's zone, and a win counts in the year in which it was granted; what was paid out counts in
the year in which the provider moved it. Redrush knows no tax law and withholds nothing: it lists what there is.

What was bought in a sale is no prize. Money from packets between people stands in a column of its own: some of it was
given by people, and some by the sponsor.
"""

import csv
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, Literal, TextIO

import msgspec

from redrush.core.money.currency import format_amount, parse_amount
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.holding import Holds
from redrush.core.rush.zones import parse_zone
from redrush.settle.export import UTF8_MARK, ExportedGrant, as_text

BOUGHT: Final = (str(Holds.UNIT), f"{Holds.ITEM}:")
"""How what was bought begins in a grant's `holds`."""

HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "en": (
        "user", "year", "campaign", "currency", "wins of money", "money won", "other prizes", "their stated worth",
        "prizes of no stated worth", "from packets between people", "won in all", "paid out in the year",
    ),
    "zh": (
        "用户", "年度", "活动", "币种", "现金中奖次数", "现金中奖金额", "其他奖品件数", "其标明价值",
        "未标明价值的奖品件数", "群红包所得", "中奖合计", "当年已付款",
    ),
}  # fmt: skip


class Year(msgspec.Struct):
    """What one person has won, and was paid, in a year; amounts in minor units."""

    wins: int = 0
    money_minor: int = 0
    prizes: int = 0
    worth_minor: int = 0
    worthless: int = 0
    """Prizes of which nobody has said what they are worth."""
    packets_minor: int = 0
    paid_minor: int = 0

    @property
    def total_minor(self) -> int:
        """What was won in all, as far as it was said what it is worth."""
        return self.money_minor + self.worth_minor + self.packets_minor


def years_of(grants: Iterable[ExportedGrant], campaign: Campaign, year: int) -> dict[str, Year]:
    """Return what each user has won in the year."""
    zone = parse_zone(campaign.timezone)
    rounds = {round_.id: round_ for round_ in campaign.rounds}
    won: dict[str, Year] = {}
    for grant in grants:
        if datetime.fromisoformat(grant.granted_at).astimezone(zone).year != year:
            continue
        if grant.holds is not None and grant.holds.startswith(BOUGHT):
            continue
        one = won.setdefault(grant.user, Year())
        amount_minor = parse_amount(grant.amount, campaign.currency)
        round_ = rounds.get(grant.round)
        if round_ is None:
            one.packets_minor += amount_minor
        elif grant.holds is None:
            one.wins += 1
            one.money_minor += amount_minor
        else:
            one.prizes += 1
            prize = None if round_.draw is None else round_.draw.prize(grant.prize or "")
            worth = None if prize is None else prize.worth_minor
            one.worth_minor += worth or 0
            one.worthless += worth is None
    return won


def write_years(
    years: Mapping[str, Year], campaign: Campaign, year: int, language: Literal["en", "zh"], out: TextIO
) -> None:
    """Write a line per person, in order of their ids, as CSV of which no spreadsheet makes something else."""
    out.write(UTF8_MARK)
    writer = csv.writer(out)
    writer.writerow(HEADERS[language])
    for user, one in sorted(years.items()):
        amounts = (one.money_minor, one.worth_minor, one.packets_minor, one.total_minor, one.paid_minor)
        money, worth, packets, total, paid = (format_amount(minor, campaign.currency) for minor in amounts)
        writer.writerow((
            as_text(user), year, as_text(campaign.id), campaign.currency, one.wins, money, one.prizes, worth,
            one.worthless, packets, total, paid,
        ))  # fmt: skip
