"""A round that comes again: `every`, from its opening `until` another instant, is as many rounds as that is openings.

They are written out here, before anything else looks at the file; so each has a seal, a pot, switches and a path of its
own, and nothing but this module knows that they were written as one. `r` that opens at 20:00 becomes `r-2000`,
`r-2100`, …; over several days `r-0206-2000`, …, in the offset in which the opening is written.
"""

from datetime import datetime, timedelta
from typing import Final, TypeVar

import msgspec

from redrush.config.rounds.round_table import RoundTable
from redrush.config.toml_file import Wrong, wrong_at
from redrush.core.rush.durations import parse_duration_us

_DAY: Final = timedelta(days=1)

_Table = TypeVar("_Table", bound=RoundTable)


def written_out(at: str, table: _Table, rounds_max: int) -> list[_Table]:
    """Return the rounds that a table stands for, in order; the table itself if it is one round. `at` is where it is.

    Raises Wrong for a schedule that cannot be.
    """
    if table.every is None:
        if table.until is not None:
            raise Wrong(
                f"{at}.until", 'is the last opening of a round that comes again: add every = "1h", or leave it out'
            )
        return [table]
    opens_us, until_us = table.opens_us(at), table.instant_us(f"{at}.until", table.until)
    if opens_us is None or until_us is None:
        key = "opens" if opens_us is None else "until"
        raise Wrong(
            f"{at}.{key}", "a round that comes again needs both: an instant in opens, and the last one in until"
        )
    with wrong_at(f"{at}.every"):
        every_us = parse_duration_us(table.every)
    if every_us < table.lasts_us(at):
        raise Wrong(f"{at}.every", f'"{table.every}" is shorter than a round lasts, "{table.lasts}"')
    if until_us < opens_us:
        raise Wrong(f"{at}.until", "is before the first opening")
    if (what := table.only_once) is not None:
        raise Wrong(f"{at}.every", f"{what} cannot come again: each of them is given once. Write the rounds one by one")
    count = (until_us - opens_us) // every_us + 1
    if count > rounds_max:
        raise Wrong(f"{at}.every", f"makes {count:,} rounds; at most {rounds_max:,} are possible")
    openings = [table.opens + timedelta(microseconds=every_us * number) for number in range(count)]
    form = _form(openings)
    return [
        msgspec.structs.replace(table, id=f"{table.id}-{opens.strftime(form)}", opens=opens, every=None, until=None)
        for opens in openings
    ]


def _form(openings: list[datetime]) -> str:
    """Return how openings are told apart in ids: as briefly as they can be."""
    time = "%H%M%S" if any(opens.second for opens in openings) else "%H%M"
    one_day = openings[0].date() == openings[-1].date()
    return time if one_day else f"%m%d-{time}" if openings[-1] - openings[0] < 365 * _DAY else f"%Y%m%d-{time}"
