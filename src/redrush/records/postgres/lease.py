"""The lease of the teller: which process is given bills and messages to see to, one at a time, by the clock of the
database alone.

Tellers look for work several times a second and mostly find none. Such a look only reads: whoever has the lease
is seen without a lock, and asked for again, with one, when there is something to take.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import psycopg

from redrush.records.postgres.greeting import PACKAGE
from redrush.records.postgres.link import Cursor
from redrush.sqlfiles import load_statements

LEASE_S: Final = 5.0
"""How long a teller that says nothing keeps others away. One that is killed is back sooner, under its name."""

Row = tuple[Any, ...]

RENEWED_S: Final = 2.5
"""A lease that lapses within this is renewed, so most of the looks for work write nothing."""


class Holder(StrEnum):
    """Who has the lease, as one transaction knows it."""

    US = "us"
    """To the end of the transaction."""
    US_SO_FAR = "us so far"
    """As was read without a lock: another process may have taken over since."""
    OTHERS = "others"


class Lease:
    """See the module. Nothing is remembered between transactions."""

    def __init__(self, teller: str | None) -> None:
        """`teller` names this process; None: whoever asks for something to do gets it."""
        self._teller = teller
        self._sql = {name: text.encode() for name, text in load_statements(PACKAGE, "lease.sql").items()}

    def look(self, at: Cursor) -> Holder:
        """Return who has the lease, once it was taken, or made longer, if there was need."""
        if self._teller is None:
            return Holder.US
        row = at.execute(self._sql["see_teller"], {"teller": self._teller, "spare_s": RENEWED_S}).fetchone()
        if row is not None and row[0] is not None:
            return Holder(row[0])
        row = at.execute(self._sql["take_over"], {"teller": self._teller, "lease_s": LEASE_S}).fetchone()
        return Holder.OTHERS if row is None else Holder.US

    def take(self, at: Cursor, rows: Callable[[], list[Row]]) -> list[Row] | None:
        """Return the rows that are taken, None while others have the lease. Raises psycopg.Rollback, which ends at the
        transaction, where they took over meanwhile: nothing was taken."""
        holder = self.look(at)
        if holder is Holder.OTHERS:
            return None
        taken = rows()
        if taken and holder is Holder.US_SO_FAR and not self.hold(at):
            raise psycopg.Rollback
        return taken

    def hold(self, at: Cursor) -> bool:
        """Whether it still is ours, and then to the end of the transaction."""
        return at.execute(self._sql["hold_teller"], {"teller": self._teller}).fetchone() is not None

    def turn(self, at: Cursor) -> int:
        """Return which turn of ours this is, after a `look`: another number when others had one in between. 0: it is
        not ours."""
        if self._teller is None:
            return 1
        row = at.execute(self._sql["turn"], {"teller": self._teller}).fetchone()
        return 0 if row is None else int(row[0])
