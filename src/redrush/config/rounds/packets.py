"""A round of red packets: a total, and how it is split."""

from pathlib import Path
from typing import ClassVar

from redrush.config.rounds.round_table import RoundSpec, RoundTable
from redrush.config.rounds.share import ShareTable
from redrush.config.toml_file import Wrong, wrong_at
from redrush.core.money.currency import format_amount, parse_amount
from redrush.core.money.feasibility import check_feasible
from redrush.core.rush.campaign import Kind, Leftover

PACKETS_MAX = 10_000_000
"""Packets of one round: the amounts of all rounds are held in memory, eight bytes each."""


class PacketsTable(RoundTable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A round of packets, of whatever kind."""

    kind: ClassVar[Kind]

    total: str
    packets: int
    min: str | None = None
    max: str | None = None
    leftover: Leftover = Leftover.RETURN
    release_per_second: float | None = None
    share: ShareTable | None = None

    def spec(self, at: str, currency: str, directory: Path) -> RoundSpec:
        """See `RoundTable.spec`. The total must be possible within the bounds."""
        self.check_id(at)
        lasts_us = self.lasts_us(at)
        if not 1 <= self.packets <= PACKETS_MAX:
            raise Wrong(f"{at}.packets", f"must be from 1 to {PACKETS_MAX:,}")
        with wrong_at(f"{at}.total"):
            total_minor = parse_amount(self.total, currency)
        min_minor, max_minor = self._bounds(at, total_minor, currency)
        with wrong_at(f"{at}.total"):
            check_feasible(
                total_minor,
                self.packets,
                min_minor,
                max_minor,
                lambda minor: format_amount(minor, currency),
            )
        release_per_s = self.release_per_second
        if release_per_s is not None and not 0 < release_per_s <= 1e9:
            raise Wrong(f"{at}.release_per_second", "must be above 0 packets per second; leave it out for no limit")
        return RoundSpec(
            id=self.id,
            opens_us=self.opens_us(at),
            lasts_us=lasts_us,
            kind=self.kind,
            total_minor=total_minor,
            packets=self.packets,
            min_minor=min_minor,
            max_minor=max_minor,
            leftover=self.leftover,
            release_per_s=release_per_s,
            opens_text=self.opens_text,
            share=None if self.share is None else self.share.terms(f"{at}.share", currency),
        )

    def _bounds(self, at: str, total_minor: int, currency: str) -> tuple[int, int]:
        """Return the least and the most that a packet holds, as written."""
        if self.min is None or self.max is None:
            raise Wrong(at, f'a round of kind "{self.kind}" needs min and max, like min = "0.50" and max = "200.00"')
        with wrong_at(f"{at}.min"):
            min_minor = parse_amount(self.min, currency)
        with wrong_at(f"{at}.max"):
            max_minor = parse_amount(self.max, currency)
        if min_minor < 1:
            raise Wrong(f"{at}.min", f'"{self.min}" is nothing: a packet holds at least {format_amount(1, currency)}')
        if min_minor > max_minor:
            raise Wrong(f"{at}.min", f'the smallest packet, "{self.min}", is above the largest, max = "{self.max}"')
        return min_minor, max_minor


class EqualTable(PacketsTable, frozen=True, kw_only=True, tag_field="kind", tag="equal"):
    """All packets hold the same, or a minor unit more."""

    kind = Kind.EQUAL

    def _bounds(self, at: str, total_minor: int, currency: str) -> tuple[int, int]:
        for key in ("min", "max"):
            if getattr(self, key) is not None:
                raise Wrong(f"{at}.{key}", 'a round of kind "equal" has no bounds; leave it out')
        if total_minor < self.packets:
            least = format_amount(1, currency)
            sentence = (
                f"{self.packets:,} are too many for a total of {self.total} {currency}: each holds at least {least}, "
                f"so at most {total_minor:,} are possible"
            )
            raise Wrong(f"{at}.packets", sentence)
        return total_minor // self.packets, -(-total_minor // self.packets)


class LuckyTable(PacketsTable, frozen=True, kw_only=True, tag_field="kind", tag="lucky"):
    """Packets of chance: every split within the bounds is as likely."""

    kind = Kind.LUCKY


class DoubleMeanTable(PacketsTable, frozen=True, kw_only=True, tag_field="kind", tag="lucky_double_mean"):
    """Packets of chance, each up to twice the mean of what is left."""

    kind = Kind.LUCKY_DOUBLE_MEAN
