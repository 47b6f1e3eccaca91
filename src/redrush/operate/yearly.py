"""The yearly list of what people won and were paid, from the journal and the bill book."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal, TextIO

from redrush.control.event import load_event
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.zones import parse_zone
from redrush.errors import ConfigError
from redrush.operate.paying import Books, book_of, payouts
from redrush.operate.reports import made_of_log
from redrush.ports.bill_book import BillState
from redrush.settle.yearly import Year, write_years, years_of

YEARS: Final = range(2000, 2200)


def export_year(books: Books, year: int, language: Literal["en", "zh"], out: TextIO) -> int:
    """Write it; return for how many people. ConfigError for a year that is none, RedrushError if something cannot be
    read: half a list would be a wrong one."""
    if year not in YEARS:
        raise ConfigError(f"{year} is no year: write it like 2027")
    campaign = load_event(books.data_dir).sealed.campaign
    years = made_of_log(books, lambda log: years_of(log.grants(), campaign, year))
    if books.there_are:
        with book_of(books) as book:
            _add_paid(years, campaign, year, ((bill.campaign, bill.user, bill.amount_minor, bill.done_us)
                      for bill in payouts(book, [BillState.DONE, BillState.PAID_LATE], None)))  # fmt: skip
    write_years(years, campaign, year, language, out)
    return len(years)


def _add_paid(
    years: dict[str, Year], campaign: Campaign, year: int, paid: Iterable[tuple[str, str, int, int | None]]
) -> None:
    zone = parse_zone(campaign.timezone)
    for of, user, amount_minor, done_us in paid:
        if of == campaign.id and done_us is not None and datetime.fromtimestamp(done_us / 1e6, zone).year == year:
            years.setdefault(user, Year()).paid_minor += amount_minor
