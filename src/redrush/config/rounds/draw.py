"""A round that is a draw: prizes with odds or release, and how often one may play."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal

import msgspec

from redrush.config.code_list import BadCodes, CodeList, read_codes
from redrush.config.rounds.packets import PACKETS_MAX
from redrush.config.rounds.round_table import RoundSpec, RoundTable
from redrush.config.toml_file import Wrong, check_id, file_at, wrong_at
from redrush.core.money.currency import format_amount, parse_amount
from redrush.core.rush.campaign import Kind, Leftover, prize_pot
from redrush.core.rush.draw import (
    PLAYS_MAX,
    PRIZES_MAX,
    SPREAD_MAX,
    DrawTerms,
    Floor,
    Prize,
    PrizeKind,
    odds_in_all,
    plays_in_all,
)

ODDS_PLACES_MAX: Final = 18
"""Digits of a number in odds."""


class PlaysTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often a user may play: in the whole round, and on a day of it."""

    per_user: int | None = None
    per_day: int | None = None


class FloorTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At the latest in which play a user gets which prize."""

    within: int
    prize: str


class PaceTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release at a pace."""

    per_second: float


class PrizeTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One class of prizes."""

    id: str
    holds: PrizeKind
    name: str | None = None
    count: int | None = None
    amount: str | None = None
    codes: str | None = None
    worth: str | None = None
    odds: str | None = None
    release: Literal["spread"] | PaceTable | None = None
    per_user: int | None = None
    otherwise: str | None = None


class DrawTable(RoundTable, frozen=True, kw_only=True, tag_field="kind", tag="draw"):
    """See the module."""

    plays: PlaysTable
    prize: list[PrizeTable]
    floor: FloorTable | None = None

    @property
    def only_once(self) -> str | None:
        return "the codes of a list" if any(prize.codes is not None for prize in self.prize) else None

    def spec(self, at: str, currency: str, directory: Path) -> RoundSpec:
        """See `RoundTable.spec`. Lists of codes are read."""
        self.check_id(at)
        lasts_us = self.lasts_us(at)
        self._check_plays(f"{at}.plays")
        if not 1 <= len(self.prize) <= PRIZES_MAX:
            raise Wrong(f"{at}.prize", f"a draw has 1 to {PRIZES_MAX} prizes, this one {len(self.prize)}")
        prizes = tuple(
            self._prize(f"{at}.prize[{index}]", table, currency, directory) for index, table in enumerate(self.prize)
        )
        _check_together(at, prizes)
        floor = None if self.floor is None else Floor(self.floor.within, self.floor.prize)
        terms = DrawTerms(prizes=prizes, per_user=self.plays.per_user, per_day=self.plays.per_day, floor=floor)
        self._check_ways(at, terms)
        return RoundSpec(
            id=self.id,
            opens_us=self.opens_us(at),
            lasts_us=lasts_us,
            kind=Kind.DRAW,
            total_minor=sum(prize.count * prize.each_minor for prize in prizes),
            packets=sum(prize.count for prize in prizes),
            min_minor=0,
            max_minor=0,
            leftover=Leftover.RETURN,
            release_per_s=None,
            opens_text=self.opens_text,
            draw=terms,
        )

    def in_zone(self, at: str, spec: RoundSpec, zone: str) -> RoundSpec:
        """See `RoundTable.in_zone`: days end at midnight there; the floor's prize may be had once a floor."""
        assert spec.draw is not None
        terms = msgspec.structs.replace(spec.draw, zone=zone)
        # One that opens "now" may touch a day more than it lasts.
        opens_us = 86_399_000_000 if spec.opens_us is None else spec.opens_us
        plays = plays_in_all(terms, opens_us, opens_us + spec.lasts_us)
        floor = terms.floor
        if floor is not None:
            if not 1 <= floor.within <= plays:
                raise Wrong(
                    f"{at}.floor.within",
                    f"must be from 1 to {plays:,}, the plays that a user has; nobody would reach {floor.within:,}",
                )
            terms = msgspec.structs.replace(terms, prizes=self._with_floor(terms, floor, plays // floor.within))
        return msgspec.structs.replace(spec, draw=terms)

    def code_files(self, directory: Path) -> dict[str, Path]:
        """See `RoundTable.code_files`."""
        return {
            prize_pot(self.id, table.id): directory / table.codes for table in self.prize if table.codes is not None
        }

    def _with_floor(self, terms: DrawTerms, floor: Floor, floors: int) -> tuple[Prize, ...]:
        """Return the prizes; of the floor's a user may have as many as there are floors, unless the file says."""
        said = {table.id for table in self.prize if table.per_user is not None}
        return tuple(
            msgspec.structs.replace(prize, limit_per_user=floors)
            if prize.id == floor.prize and prize.id not in said
            else prize
            for prize in terms.prizes
        )

    def _check_plays(self, at: str) -> None:
        plays = self.plays
        if plays.per_user is None and plays.per_day is None:
            raise Wrong(at, "says nothing: write how often one may play, like plays = { per_user = 10, per_day = 3 }")
        for key in ("per_user", "per_day"):
            value = getattr(plays, key)
            if value is not None and not 1 <= value <= PLAYS_MAX:
                raise Wrong(f"{at}.{key}", f"must be from 1 to {PLAYS_MAX:,} plays")
        if plays.per_user is not None and plays.per_day is not None and plays.per_day > plays.per_user:
            raise Wrong(
                f"{at}.per_day", f"is more than the {plays.per_user} plays that a user has in all (plays.per_user)"
            )

    def _prize(self, at: str, table: PrizeTable, currency: str, directory: Path) -> Prize:
        check_id(f"{at}.id", table.id)
        name = table.id if table.name is None else table.name
        if not name or not name.isprintable():
            raise Wrong(f"{at}.name", "must be something that can be seen")
        listed = _codes(at, table, directory)
        count = _count(at, table, listed)
        if table.per_user is not None and not 1 <= table.per_user <= PLAYS_MAX:
            raise Wrong(f"{at}.per_user", f"must be from 1 to {PLAYS_MAX:,}")
        release = table.release
        if table.odds is not None and release is not None:
            raise Wrong(f"{at}.release", "a prize has odds or a release, not both: leave one out")
        if release == "spread" and count > SPREAD_MAX:
            raise Wrong(
                f"{at}.release",
                f"at most {SPREAD_MAX:,} can be spread; give so many a pace, like release = {{ per_second = 5 }}",
            )
        pace = release.per_second if isinstance(release, PaceTable) else None
        if pace is not None and not 0 < pace <= 1e9:
            raise Wrong(f"{at}.release.per_second", "must be above 0 prizes a second")
        return Prize(
            id=table.id,
            name=name,
            holds=table.holds,
            count=count,
            each_minor=_amount(at, table, currency),
            worth_minor=_worth(at, table, currency),
            codes_sha256=None if listed is None else listed.first(count).sha256,
            limit_per_user=table.per_user or 1,
            odds=None if table.odds is None else _odds(f"{at}.odds", table.odds),
            spread=release == "spread",
            per_second=pace,
            otherwise=table.otherwise,
        )

    def _check_ways(self, at: str, terms: DrawTerms) -> None:
        """Raise Wrong where the odds are too many, or a prize is never won, or leads nowhere."""
        if (sum_ := odds_in_all(terms)) > 1:
            raise Wrong(f"{at}.prize", f"the odds of all prizes add up to {sum_}, and cannot be more than 1")
        ids = [prize.id for prize in terms.prizes]
        if terms.floor is not None and terms.floor.prize not in ids:
            raise Wrong(f"{at}.floor.prize", f'"{terms.floor.prize}" is none of the prizes: {", ".join(ids)}')
        led_to = {prize.otherwise for prize in terms.prizes} | ({terms.floor.prize} if terms.floor else set())
        for index, prize in enumerate(terms.prizes):
            here = f"{at}.prize[{index}]"
            if prize.otherwise is not None:
                _check_chain(f"{here}.otherwise", prize, terms)
            if prize.odds is None and not prize.is_released and prize.id not in led_to:
                raise Wrong(
                    here, 'nobody can win it: give it odds = "1/20", release = "spread" or release = { per_second = 5 }'
                )


def _check_together(at: str, prizes: Sequence[Prize]) -> None:
    for index, prize in enumerate(prizes):
        if any(prize.id == other.id for other in prizes[:index]):
            raise Wrong(f"{at}.prize[{index}].id", f'the id "{prize.id}" is used twice')
    count = sum(prize.count for prize in prizes)
    if count > PACKETS_MAX:
        raise Wrong(f"{at}.prize", f"there are {count:,} prizes in all; at most {PACKETS_MAX:,} are possible")


def _check_chain(at: str, prize: Prize, terms: DrawTerms) -> None:
    seen = [prize.id]
    while prize.otherwise is not None:
        following = terms.prize(prize.otherwise)
        if following is None:
            raise Wrong(
                at, f'"{prize.otherwise}" is none of the prizes: {", ".join(other.id for other in terms.prizes)}'
            )
        if following.id in seen:
            raise Wrong(at, f"leads in a circle: {' -> '.join([*seen, following.id])}")
        seen.append(following.id)
        prize = following


def _codes(at: str, table: PrizeTable, directory: Path) -> CodeList | None:
    if table.holds is not PrizeKind.CODE:
        if table.codes is not None:
            raise Wrong(f"{at}.codes", f'a prize that holds "{table.holds}" has no codes: leave it out')
        return None
    if table.codes is None:
        raise Wrong(at, 'a prize of codes needs their list: codes = "coupons.csv", one a line')
    path = file_at(f"{at}.codes", directory, table.codes)
    try:
        return read_codes(path)
    except OSError as fault:
        raise Wrong(f"{at}.codes", f"{path} cannot be read: {fault.strerror}") from None
    except BadCodes as fault:
        raise Wrong(f"{at}.codes", str(fault)) from None


def _count(at: str, table: PrizeTable, listed: CodeList | None) -> int:
    count = table.count
    if count is None:
        if listed is None:
            raise Wrong(at, 'the key "count" is missing: how many there are')
        return len(listed.codes)
    if not 1 <= count <= PACKETS_MAX:
        raise Wrong(f"{at}.count", f"must be from 1 to {PACKETS_MAX:,}")
    if listed is not None and count > len(listed.codes):
        raise Wrong(f"{at}.count", f"{count:,} are more than the {len(listed.codes):,} codes of {table.codes}")
    return count


def _amount(at: str, table: PrizeTable, currency: str) -> int:
    if table.holds is not PrizeKind.MONEY:
        if table.amount is not None:
            raise Wrong(
                f"{at}.amount", f'a prize that holds "{table.holds}" pays no amount; what one is worth is said by worth'
            )
        return 0
    if table.amount is None:
        raise Wrong(at, 'a prize of money needs what each is worth: amount = "8.88"')
    with wrong_at(f"{at}.amount"):
        each_minor = parse_amount(table.amount, currency)
    if each_minor < 1:
        raise Wrong(f"{at}.amount", f'"{table.amount}" is nothing: at least {format_amount(1, currency)}')
    return each_minor


def _worth(at: str, table: PrizeTable, currency: str) -> int | None:
    if table.worth is None:
        return None
    if table.holds is PrizeKind.MONEY:
        raise Wrong(f"{at}.worth", "what a prize of money is worth is its amount: leave it out")
    with wrong_at(f"{at}.worth"):
        return parse_amount(table.worth, currency)


def _odds(at: str, text: str) -> tuple[int, int]:
    above, slash, below = (part.strip() for part in text.partition("/"))
    well = slash and all(part.isascii() and part.isdigit() and len(part) <= ODDS_PLACES_MAX for part in (above, below))
    if not well or int(below) == 0:
        raise Wrong(at, f'"{text}" are no odds: write how many of how many plays, like "1/20"')
    odds = Fraction(int(above), int(below))
    if odds > 1:
        raise Wrong(at, f'"{text}" is more than 1: no play can hit more often than always')
    if odds == 0:
        raise Wrong(at, f'"{text}" is never: leave the prize out')
    return odds.numerator, odds.denominator
