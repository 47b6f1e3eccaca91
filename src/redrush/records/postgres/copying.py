"""Grants as COPY's text format, written by hand: an f-string a grant costs a quarter of `copy.write_row`."""

from typing import Final

from redrush.ports.records import GrantRun

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
