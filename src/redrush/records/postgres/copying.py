"""Grants as COPY's text format, written by hand: an f-string a grant costs a quarter of `copy.write_row`."""

from typing import Final

from redrush.ports.records import GrantRun

_ESCAPES: Final = str.maketrans(
    {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
)


def grant_lines(run: GrantRun) -> str:
    """Return the columns (slot, round, user, amount_minor, at_us) of each grant of the run, a line each.

    Raises ValueError if there are not as many amounts as users.
    """
    users = run.users
    text = "".join(users)
    if "\\" in text or not text.isprintable():
        users = [user.translate(_ESCAPES) for user in users]
    round_ = run.round.translate(_ESCAPES)
    return "".join(
        [
            f"{slot}\t{round_}\t{user}\t{amount_minor}\t{run.at_us}\n"
            for slot, (user, amount_minor) in enumerate(zip(users, run.amounts_minor, strict=True), run.first_slot)
        ]
    )
