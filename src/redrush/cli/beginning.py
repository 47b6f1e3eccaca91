"""`redrush init`: the first file of an event."""

import re
import sys
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

from redrush.cli.declaring import Argument, Group, Option
from redrush.errors import ConfigError

NOW: Final = "now"
NEXT_ROUND_AFTER: Final = timedelta(hours=1)
"""From the first round of the sample to the second."""
SAMPLE_OPENS: Final = ("2027-02-06T20:00:00+08:00", "2027-02-06T21:00:00+08:00")

SAMPLES: Final = {
    "packets": "sample.toml",
    "draw": "sample_draw.toml",
    "group": "sample_group.toml",
    "line": "sample_line.toml",
    "sale": "sample_sale.toml",
}
"""The sample of each kind of campaign."""

_IN = re.compile(r"in\s+(\d{1,6})\s*(s|seconds?|m|minutes?|h|hours?|d|days?)", re.IGNORECASE | re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def add_to(app: Group) -> None:
    """Add the command to the command line."""
    app.command()(init)


def init(
    file: Annotated[Path, Argument(metavar="FILE", help="The file to write.")],
    deployment: Annotated[bool, Option("--deployment", help="A deployment file instead, for many machines.")] = False,
    kind: Annotated[str, Option(metavar="KIND", help=f"What it is for: {', '.join(SAMPLES)}.")] = "packets",
    opens: Annotated[
        str | None,
        Option(metavar="WHEN", help='When the first round opens: "in 2 minutes", "now", or an instant.'),
    ] = None,
) -> None:
    """Write a commented campaign file (or deployment file) to start from."""
    if deployment and opens is not None:
        raise ConfigError("--opens is for campaign files: a deployment file says only where things run")
    if kind not in SAMPLES:
        raise ConfigError(f'--kind: "{kind}" is none of {", ".join(SAMPLES)}')
    sample = "sample_deployment.toml" if deployment else SAMPLES[kind]
    text = resources.files("redrush.cli").joinpath(sample).read_text(encoding="utf-8").replace("{id}", "cny2027")
    if opens is not None:
        text = opening_at(text, opens, datetime.now(UTC).astimezone())
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise ConfigError(f"{file}: exists already; choose another name") from None
    except OSError as fault:
        raise ConfigError(f"{file}: cannot be written: {fault.strerror}") from fault
    sys.stdout.write(f"wrote {file}; next: redrush check {file}\n")


def opening_at(sample: str, opens: str, now: datetime) -> str:
    """Return the sample with its first round opening then, and the second an hour later. ConfigError if `opens` cannot
    be read. `now` has the offset that the instants are written with."""
    first = NOW if opens.strip().lower() == NOW else _instant(opens.strip(), now)
    second = _hour_later(now.replace(microsecond=0) if isinstance(first, str) else first)
    for written, instant in zip(SAMPLE_OPENS, (first, second), strict=True):
        value = f'"{instant}"' if isinstance(instant, str) else instant.isoformat()
        assert sample.count(f"opens = {written}") == 1 or (written is not SAMPLE_OPENS[0] and written not in sample)
        sample = sample.replace(f"opens = {written}", f"opens = {value}")
    return sample


def _hour_later(first: datetime) -> datetime:
    """Return when the second round opens. ConfigError for a year in which no round may open."""
    from redrush.config import check_year

    try:
        check_year(first)
        second = first + NEXT_ROUND_AFTER
        check_year(second)
    except ValueError as wrong:
        raise ConfigError(f"--opens: {wrong}") from None
    return second


def _instant(opens: str, now: datetime) -> datetime:
    if (found := _IN.fullmatch(opens)) is not None:
        unit = _UNITS[found[2][0].lower()]
        # Up to the next whole second: never earlier than was asked for.
        at = now + timedelta(**{unit: int(found[1])})
        return at.replace(microsecond=0) + timedelta(seconds=1 if at.microsecond else 0)
    try:
        instant = datetime.fromisoformat(opens)
    except ValueError:
        instant = None
    offset = None if instant is None else instant.utcoffset()
    if instant is None or offset is None or offset % timedelta(minutes=1):  # TOML has no seconds in an offset
        raise ConfigError(
            f'--opens: "{opens}" cannot be read: write "in 2 minutes", "in 3 hours", "now", '
            f"or an instant with its offset, like {SAMPLE_OPENS[0]}"
        )
    return instant
