"""Why a set cannot grant now: one of these, whoever says it (readiness, status, log, metric, a gate's refusal)."""

from enum import StrEnum


class Absence(StrEnum):
    """The reason, as it stands in metrics and in `stack status --json`."""

    AWAY = "away"
    """No server of it answers, or the connection was lost."""
    NO_PRIMARY = "no_primary"
    """Servers of it answer, and none of them is its primary."""
    LOADING = "loading"
    """The server still reads its file, or is busy with a script."""
    READ_ONLY = "read_only"
    """The server that was the primary has become a replica."""
    NO_REPLICA = "no_replica"
    """Fewer replicas than its terms need have what was written."""
    MEMORY = "memory"
    """It has reached its `maxmemory`: it takes no new grants."""
    DISK = "disk"
    """It cannot write, or does not fsync, its append-only file."""
    SETTINGS = "settings"
    """A setting on which durability rests is not what it must be."""
    DENIED = "denied"
    """The server refuses our user, password or command."""
    FUNCTIONS = "functions"
    """The server does not know the functions of this release, and we may not load them."""
    NOT_FOUNDED = "not_founded"
    """The servers hold no such set."""
    NOT_OPEN = "not_open"
    """The pot of a round that is due is not open yet."""
    BROKEN = "broken"
    """It has failed for good, or holds what contradicts itself."""
