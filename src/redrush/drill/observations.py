"""What the crowd saw: one row per request, in preallocated columns.

A Python object per answer would cost more memory and collector time than the whole request. The columns are numpy
arrays written through memoryviews: one element costs some 40 ns, and pages are only touched when rows reach them.
"""

from enum import IntEnum
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray


class Ending(IntEnum):
    """How one request ended, as seen by the one who sent it. The first six are the outcomes of the contract."""

    GRANTED = 0
    MISSED = 1
    EMPTY = 2
    NOT_OPEN = 3
    CLOSED = 4
    NOT_ELIGIBLE = 5
    REFUSED = 6
    """An answer with another status than 200."""
    LOST = 7
    """The connection broke while the request was under way."""
    TIMEOUT = 8
    """No complete answer within the time a person waits."""
    MALFORMED = 9
    """Bytes that are not an answer of the contract."""
    NOT_SENT = 10
    """No connection was free and the queue for one was full: the generator could not keep its schedule."""

    @property
    def answered(self) -> bool:
        """Whether a complete answer of the contract came back."""
        return self <= Ending.REFUSED

    @property
    def label(self) -> str:
        """The name used in reports."""
        return self.name.lower()


class Acknowledged(msgspec.Struct, frozen=True, gc=False):
    """A grant as it was answered to a user: what the organiser can be held to."""

    round: str
    user: str
    grant: str
    slot: int
    amount: str
    currency: str
    granted_at: str
    receipt: str


class Observations(msgspec.Struct, frozen=True):
    """One row per request, in order of their ends. `times` are seconds on the schedule's axis."""

    intended_s: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    """From the intended send time to the complete answer; for other endings, to the moment it ended so."""
    late_s: NDArray[np.float64]
    """From the intended to the real send time: what the generator itself (or the lack of a connection) added."""
    status: NDArray[np.uint16]
    ending: NDArray[np.uint8]
    round: NDArray[np.uint8]
    repeat: NDArray[np.bool_]
    user: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.intended_s)

    @property
    def ended_s(self) -> NDArray[np.float64]:
        """When each request ended."""
        return self.intended_s + self.latency_s

    def where(self, rows: slice | NDArray[np.bool_]) -> "Observations":
        """Return the chosen rows."""
        return Observations(*(getattr(self, name)[rows] for name in self.__struct_fields__))


class ObservationColumns:
    """Room for `capacity` rows, filled one by one with `add`; `finish` gives the filled part."""

    __slots__ = (
        "_columns",
        "_ending",
        "_intended",
        "_late",
        "_latency",
        "_repeat",
        "_round",
        "_status",
        "_user",
        "rows",
    )

    def __init__(self, capacity: int) -> None:
        self._columns = Observations(
            intended_s=np.zeros(capacity),
            latency_s=np.zeros(capacity),
            late_s=np.zeros(capacity),
            status=np.zeros(capacity, np.uint16),
            ending=np.zeros(capacity, np.uint8),
            round=np.zeros(capacity, np.uint8),
            repeat=np.zeros(capacity, np.bool_),
            user=np.zeros(capacity, np.int32),
        )
        self._intended, self._latency, self._late = (
            cast("memoryview[float]", column.data)
            for column in (self._columns.intended_s, self._columns.latency_s, self._columns.late_s)
        )
        self._status, self._ending, self._round, self._user = (
            column.data
            for column in (self._columns.status, self._columns.ending, self._columns.round, self._columns.user)
        )
        self._repeat = cast("memoryview[bool]", self._columns.repeat.data)
        self.rows = 0

    def add(  # noqa: PLR0913, PLR0917 - one argument per column; a tuple per row would be an allocation per request
        self,
        intended_s: float,
        latency_s: float,
        late_s: float,
        status: int,
        ending: int,
        round_index: int,
        repeat: bool,
        user: int,
    ) -> None:
        """Append a row. Raises IndexError beyond the capacity, which the caller's bounds must make impossible."""
        row = self.rows
        self._intended[row] = intended_s
        self._latency[row] = latency_s
        self._late[row] = late_s
        self._status[row] = status
        self._ending[row] = ending
        self._round[row] = round_index
        self._repeat[row] = repeat
        self._user[row] = user
        self.rows = row + 1

    def finish(self) -> Observations:
        """Return the filled rows."""
        return self._columns.where(slice(self.rows))
