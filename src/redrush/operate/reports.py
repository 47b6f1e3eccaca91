"""What is made of the whole log of an event, wherever that is: in its directory, or in the sets of its deployment."""

from collections.abc import Callable
from typing import TypeVar

from redrush.operate import data_dir_reports
from redrush.operate.event_log import EventLog
from redrush.operate.paying import Books

_Result = TypeVar("_Result")


def made_of_log(books: Books, work: Callable[[EventLog], _Result]) -> _Result:
    """Return what `work` makes of the log; a server may be running. RedrushError if some of it cannot be read: what
    was granted last may be missing then."""
    if books.deployment is None:
        return data_dir_reports.made_of_log(books.data_dir, work)
    from redrush.operate import deployment_reports  # noqa: PLC0415 - needs the clients

    return deployment_reports.made_of_log(books.deployment, work)
