"""A flash sale: units that are alike, or listed items, each held for its buyer until it is paid."""

from pathlib import Path
from typing import Final

from redrush.config.rounds.items import read_items
from redrush.config.rounds.round_table import RoundSpec, RoundTable
from redrush.config.toml_file import Wrong, check_id, file_at, wrong_at
from redrush.core.money.currency import format_amount, parse_amount
from redrush.core.rush.campaign import Kind, Leftover
from redrush.core.rush.durations import parse_duration_us
from redrush.core.rush.sale import HOLD_GRACE_US, LIMIT_PER_USER_MAX, SaleTerms

UNITS_MAX: Final = 10_000_000
ADMIT_MAX: Final = 10_000_000
HOLD_US_MIN: Final = 1_000_000
RETURN_US_MIN: Final = 100_000
"""Ten times a second; what is offered more often would be a queue of those who ask most often."""


class SaleTable(RoundTable, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="sale"):
    """`kind = "sale"`."""

    price: str
    units: int | None = None
    items: str | None = None
    hold: str = "10m"
    return_every: str = "30s"
    limit_per_user: int = 1
    admit_first: int | None = None
    secret_url: bool = False
    pay: str | None = None
    shop: str | None = None

    def spec(self, at: str, currency: str, directory: Path) -> RoundSpec:
        """See `RoundTable.spec`."""
        self.check_id(at)
        lasts_us = self.lasts_us(at)
        items = self._items(at, directory)
        units = self._units(at, items)
        return RoundSpec(
            id=self.id,
            opens_us=self.opens_us(at),
            lasts_us=lasts_us,
            kind=Kind.SALE,
            total_minor=0,
            packets=units,
            min_minor=0,
            max_minor=0,
            leftover=Leftover.RETURN,
            release_per_s=None,
            opens_text=self.opens_text,
            sale=self._terms(at, currency, lasts_us, units, items),
        )

    def _items(self, at: str, directory: Path) -> tuple[str, ...]:
        if self.items is None:
            return ()
        with wrong_at(f"{at}.items"):
            return read_items(file_at(f"{at}.items", directory, self.items))

    def _units(self, at: str, items: tuple[str, ...]) -> int:
        if (self.units is None) is (self.items is None):
            raise Wrong(at, 'a sale needs either units = 500, all alike, or items = "seats.csv", a list of them')
        units = len(items) if self.units is None else self.units
        if not 1 <= units <= UNITS_MAX:
            raise Wrong(f"{at}.units", f"must be from 1 to {UNITS_MAX:,}")
        return units

    def _terms(self, at: str, currency: str, lasts_us: int, units: int, items: tuple[str, ...]) -> SaleTerms:
        with wrong_at(f"{at}.price"):
            price_minor = parse_amount(self.price, currency)
        if price_minor < 1:
            least = format_amount(1, currency)
            raise Wrong(f"{at}.price", f'"{self.price}" is nothing: a unit costs at least {least} {currency}')
        hold_us = self._duration_us(at, "hold", HOLD_US_MIN)
        if hold_us > lasts_us + HOLD_GRACE_US:
            raise Wrong(
                f"{at}.hold",
                f'"{self.hold}" is longer than the sale, "{self.lasts}", and {HOLD_GRACE_US // 60_000_000} minutes: '
                "what comes back so late can be sold to nobody; shorten the hold or let the sale last longer",
            )
        return_every_us = self._duration_us(at, "return_every", RETURN_US_MIN)
        if return_every_us > lasts_us:
            raise Wrong(
                f"{at}.return_every",
                f'"{self.return_every}" is longer than the sale, "{self.lasts}": nothing would be offered again',
            )
        if not 1 <= self.limit_per_user <= min(units, LIMIT_PER_USER_MAX):
            most = min(units, LIMIT_PER_USER_MAX)
            raise Wrong(f"{at}.limit_per_user", f"must be from 1 to {most}, for there are {units:,} units")
        if self.admit_first is not None and self.admit_first * self.limit_per_user < units:
            raise Wrong(
                f"{at}.admit_first",
                f"lets {self.admit_first:,} people through, who may have {self.limit_per_user} each, but there are "
                f"{units:,} units: some would be left; let more through, also for those who will not pay",
            )
        if self.admit_first is not None and self.admit_first > ADMIT_MAX:
            raise Wrong(f"{at}.admit_first", f"must be at most {ADMIT_MAX:,}: each gate remembers whom it let through")
        for key, name in (("pay", self.pay), ("shop", self.shop)):
            if name is not None:
                check_id(f"{at}.{key}", name)
        return SaleTerms(
            price_minor=price_minor,
            hold_us=hold_us,
            return_every_us=return_every_us,
            limit_per_user=self.limit_per_user,
            admit_first=self.admit_first,
            secret_url=self.secret_url,
            pay=self.pay,
            shop=self.shop,
            items=items,
        )

    def _duration_us(self, at: str, key: str, least_us: int) -> int:
        text: str = getattr(self, key)
        with wrong_at(f"{at}.{key}"):
            duration_us = parse_duration_us(text)
        if duration_us < least_us:
            raise Wrong(f"{at}.{key}", f'"{text}" is too short: at least {least_us // 1_000} ms')
        return duration_us
