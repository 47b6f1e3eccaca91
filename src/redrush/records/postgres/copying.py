"""Grants as COPY's text format, written by hand: an f-string a grant costs a quarter of `copy.write_row`."""

from collections.abc import Mapping
from typing import Final

from redrush.ports.records import GrantRun, ScatteredGrants

_ESCAPES: Final = str.maketrans(
    {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
)


def grant_lines(run: GrantRun, pot: int) -> str:
    """Return the columns (pot, slot, user, amount_minor, at_us) of each grant of the run, a line each; `pot` is the
    number of the run's pot.

    Raises ValueError if there are not as many amounts as users.
    """
    users = run.users
    text = "".join(users)
    if "\\" in text or not text.isprintable():
        users = [user.translate(_ESCAPES) for user in users]
    return "".join(
        [
            f"{pot}\t{slot}\t{user}\t{amount_minor}\t{run.at_us}\n"
            for slot, (user, amount_minor) in enumerate(zip(users, run.amounts_minor, strict=True), run.first_slot)
        ]
    )


def lines_with_holds(run: GrantRun, pot: int) -> str:
    """Return the columns of `scattered_lines` for a run of which `holds` is told."""
    return "".join(
        [
            f"{pot}\t{slot}\t{user.translate(_ESCAPES)}\t{amount_minor}\t{run.at_us}\t\t0\t\\N\t{_or_null(holds)}\t\n"
            for slot, (user, amount_minor, holds) in enumerate(
                zip(run.users, run.amounts_minor, run.holds or (), strict=True), run.first_slot
            )
        ]
    )


def _or_null(value: int | str | None) -> str:
    return "\\N" if value is None else str(value).translate(_ESCAPES)


def scattered_lines(change: ScatteredGrants, pots: Mapping[str, int], log: str) -> str:
    """Return the columns (pot, slot, user, amount_minor, at_us, request, number, until_us, holds, log) of each grant, a
    line each.

    `pots` has the numbers of the pots; only a hold is of a log. Raises ValueError if there are not as many amounts as
    grants.
    """
    at_us, grants = change.record.at_us, change.record.grants
    return "".join(
        [
            f"{pots[grant.pot]}\t{grant.slot}\t{grant.user.translate(_ESCAPES)}\t{amount_minor}\t{at_us}\t"
            f"{grant.request.translate(_ESCAPES)}\t{grant.number}\t{_or_null(grant.until_us)}\t{_or_null(holds)}\t"
            f"{log if grant.number else ''}\n"
            for grant, amount_minor, holds in zip(
                grants, change.amounts_minor, change.holds or [None] * len(grants), strict=True
            )
        ]
    )
