"""What rounds of every kind have in common in a campaign file: an id, and when they open and close."""

from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from redrush.config.rounds.line import LineTable
from redrush.config.toml_file import Wrong, check_id, wrong_at
from redrush.config.toml_hints import instant_meant
from redrush.core.rush.campaign import Kind, Leftover
from redrush.core.rush.draw import DrawTerms
from redrush.core.rush.durations import parse_duration_us
from redrush.core.rush.instants import to_us
from redrush.core.rush.line import LineTerms
from redrush.core.rush.sale import SaleTerms
from redrush.core.rush.share import ShareTerms

NOW: Literal["now"] = "now"

LASTS_US_MAX = 366 * 86_400_000_000
"""A rush lasts seconds, an offer weeks; what is longer than a year is a slip of the pen."""
OPENS_YEARS = range(2000, 9001)
"""Years a round may open in: so far from both ends of the calendar that no sum with an instant leaves it."""


def check_year(opens: datetime) -> None:
    """Raise ValueError, with why, for a year in which no round may open."""
    if opens.year not in OPENS_YEARS:
        raise ValueError(f"{opens.year} is not a year of {OPENS_YEARS.start} to {OPENS_YEARS.stop - 1}")


class RoundSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A round as written: `opens_us` is None for "now", which the start of the campaign turns into an instant.

    What only some kinds have is a part with a default: left out it is not in the hash of the file that a seal keeps, so
    files that were sealed before there was such a part stay good.
    """

    id: str
    opens_us: int | None
    lasts_us: int
    kind: Kind
    total_minor: int
    packets: int
    min_minor: int
    max_minor: int
    leftover: Leftover
    release_per_s: float | None
    opens_text: str
    """The opening as it stands in the file, or "now"; what it means is `opens_us`."""
    sale: SaleTerms | None = None
    """What is sold; None: it is no sale."""
    share: ShareTerms | None = None
    """What winners share with friends; None: nothing."""
    line: LineTerms | None = None
    """Where people wait before they may claim; None: they need not."""
    draw: DrawTerms | None = None
    """What a draw is about; None: it is none."""


class RoundTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of every round. A kind's table adds its own, with its name as the tag."""

    id: str
    opens: Any  # a TOML instant or "now": msgspec has no union of the two
    lasts: str
    line: LineTable | None = None
    every: str | None = None
    until: Any = None  # an instant, as `opens`

    @property
    def only_once(self) -> str | None:
        """What of the round is given once, and so by one round alone; None: nothing."""
        return None

    def spec(self, at: str, currency: str, directory: Path) -> RoundSpec:
        """Return the round that is written here. `at` is where, for errors; `directory` what paths are relative to.

        Raises Wrong for what cannot be.
        """
        raise NotImplementedError

    def with_line(self, at: str, spec: RoundSpec) -> RoundSpec:
        """Return the round with its waiting room, if it has one; the kinds know nothing of that."""
        if self.line is None:
            return spec
        return msgspec.structs.replace(spec, line=self.line.terms(f"{at}.line"))

    def in_zone(self, at: str, spec: RoundSpec, zone: str) -> RoundSpec:
        """Return the round, with what depends on the zone of its campaign. Raises Wrong for what cannot be there."""
        return spec

    def code_files(self, directory: Path) -> dict[str, Path]:
        """Return where the codes of the round's pots are, by pot."""
        return {}

    @property
    def opens_text(self) -> str:
        """The opening as it is written."""
        return self.opens.isoformat() if isinstance(self.opens, datetime) else NOW

    def check_id(self, at: str) -> None:
        """Raise Wrong unless the round's id is one."""
        check_id(f"{at}.id", self.id)

    def lasts_us(self, at: str) -> int:
        """Return how long the round is open. Raises Wrong for what is no duration, or more than a year."""
        with wrong_at(f"{at}.lasts"):
            lasts_us = parse_duration_us(self.lasts)
        if lasts_us > LASTS_US_MAX:
            raise Wrong(f"{at}.lasts", f'"{self.lasts}" is too long: a round lasts at most a year')
        return lasts_us

    def opens_us(self, at: str) -> int | None:
        """Return when the round opens, None for "now". Raises Wrong for what is no instant."""
        return None if self.opens == NOW else self.instant_us(f"{at}.opens", self.opens, or_now=True)

    def instant_us(self, at: str, written: object, *, or_now: bool = False) -> int | None:
        """Return the instant that is written at a key, None if there is none. Raises Wrong for what is no instant.

        `or_now`: the key may have "now" as well, which is for the error to say.
        """
        if written is None:
            return None
        if not isinstance(written, datetime):
            raise Wrong(at, _not_an_instant(written, or_now=or_now))
        if written.tzinfo is None:
            raise Wrong(at, f"{written.isoformat()} has no offset: write it like {written.isoformat()}+08:00")
        with wrong_at(at):
            check_year(written)
        return to_us(written)


def _not_an_instant(written: object, *, or_now: bool) -> str:
    if isinstance(written, date):
        return f"{written} is not an instant but a day: write {written}T20:00:00+08:00"
    return f'"{written}" is not an instant: write {instant_meant(str(written), or_now=or_now, quoted=True)}'
