"""How a set is, as its warden tells it to probes, metrics and people."""

import msgspec

from redrush.core.sets.failover import Seen, Sight


class ReplicaState(msgspec.Struct, frozen=True):
    """A server that is not the primary: whether it answers, and gets what the primary writes; and the epoch of the copy
    it holds, 0 for none."""

    address: str
    answers: bool
    in_step: bool
    epoch: int


class SetState(msgspec.Struct, frozen=True):
    """A set as its warden sees it, for probes, metrics and `stack status`.

    `durability` is what an acknowledged grant rests on: `replica`, the disk of the primary and at least one replica;
    `disk`, that of the primary alone; `none`, nothing is acknowledged. `since_us` is when that began, µs since the
    epoch, or when the warden began to watch. `why` says what is missing, if anything.
    """

    set: str
    primary: str | None
    replicas: tuple[ReplicaState, ...]
    epoch: int
    durability: str
    since_us: int
    why: str | None
    withheld: bool = False
    """Whether its servers lack what is known of it: nothing is granted until an operator has given an order."""


def replica_state(name: str, seen: Seen | None, *, in_step: bool) -> ReplicaState:
    """Return the state of a server by what it said last, None if it does not answer."""
    epoch = 0 if seen is None or seen.terms is None else seen.terms.epoch
    return ReplicaState(name, seen is not None, in_step, epoch)


def is_bare(sight: Sight) -> bool:
    """Return whether every server answers and none holds the set."""
    return len(sight.seen) == len(sight.addresses) and not any(seen.terms for seen in sight.seen.values())
