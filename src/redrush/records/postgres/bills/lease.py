"""The lease of the teller: which process is given bills to see to, one at a time, by the clock of the database alone.

Tellers look for bills several times a second and mostly find none. Such a look only reads: whoever has the lease
is seen without a lock, and asked for again, with one, when there are bills to take.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from redrush.records.postgres.link import Cursor

LEASE_S: Final = 5.0
"""How long a teller that says nothing keeps others away. One that is killed is back sooner, under its name."""

RENEWED_S: Final = 2.5
"""A lease that lapses within this is renewed, so most of the looks for bills write nothing."""


class Holder(StrEnum):
    """Who has the lease, as one transaction knows it."""

    US = "us"
    """To the end of the transaction."""
    US_SO_FAR = "us so far"
    """As was read without a lock: another process may have taken over since."""
    OTHERS = "others"


class Lease:
    """See the module. Nothing is remembered between transactions."""

    def __init__(self, teller: str | None, sql: Mapping[str, bytes]) -> None:
        """`teller` names this process; None: whoever asks for bills gets them."""
        self._teller = teller
        self._sql = sql

    def look(self, at: Cursor) -> Holder:
        """Return who has the lease, once it was taken, or made longer, if there was need."""
        if self._teller is None:
            return Holder.US
        row = at.execute(self._sql["see_teller"], {"teller": self._teller, "spare_s": RENEWED_S}).fetchone()
        if row is not None and row[0] is not None:
            return Holder(row[0])
        row = at.execute(self._sql["take_over"], {"teller": self._teller, "lease_s": LEASE_S}).fetchone()
        return Holder.OTHERS if row is None else Holder.US

    def hold(self, at: Cursor, holder: Holder) -> bool:
        """Whether what `look` has said is so to the end of the transaction."""
        if holder is not Holder.US_SO_FAR:
            return holder is Holder.US
        return at.execute(self._sql["hold_teller"], {"teller": self._teller}).fetchone() is not None
