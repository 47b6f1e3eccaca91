"""What a server's error reply says about why its set cannot grant."""

from collections.abc import Mapping
from typing import Final

from redrush.core.sets.absence import Absence
from redrush.ports.store import StoreUnavailable
from redrush.stores.valkey.link import ReplyFault

BY_CODE: Final[Mapping[str, Absence]] = {
    "LOADING": Absence.LOADING,
    "BUSY": Absence.LOADING,
    "READONLY": Absence.READ_ONLY,
    "MASTERDOWN": Absence.READ_ONLY,
    "NOREPLICAS": Absence.NO_REPLICA,
    "OOM": Absence.MEMORY,
    "MISCONF": Absence.DISK,
    "NOAUTH": Absence.DENIED,
    "NOPERM": Absence.DENIED,
    "WRONGPASS": Absence.DENIED,
    "NOSET": Absence.NOT_FOUNDED,
    "UNPROVEN": Absence.UNPROVEN,
}
"""By the first word of an error reply."""

WORDS: Final[Mapping[Absence, str]] = {
    Absence.MEMORY: "its memory is full (maxmemory), it takes no grants: raise it with CONFIG SET maxmemory",
    Absence.DISK: "it cannot write its append-only file, it takes no grants: see its log, and its disk",
}
"""What happened and what helps, where the server's own words do not say it."""


def absence_of(fault: ReplyFault) -> Absence:
    """Return the reason that the reply tells."""
    if "not found" in fault.detail and "unction" in fault.detail:
        return Absence.FUNCTIONS
    if "ACL failure" in fault.detail or "no permissions" in fault.detail:
        return Absence.DENIED
    return BY_CODE.get(fault.code, Absence.AWAY)


def refused(where: object, fault: ReplyFault) -> StoreUnavailable:
    """Return the error of a call that the server at `where` refused."""
    reason = absence_of(fault)
    words = f"{WORDS[reason]} ({fault})" if reason in WORDS else str(fault)
    return StoreUnavailable(f"{where}: {words}", reason)
