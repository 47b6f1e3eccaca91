"""The ways in which a server dies here, and the plan that its process gets for it.

A *point* is a place in the write path; a plan says at which of them the process kills itself, on which pass. Passes are
counted only once the process does what the point is about (`SERVING` points from the first claim on), so that the
n-th pass means the same thing on every start.
"""

from enum import StrEnum
from typing import Final

import msgspec

PLAN_VARIABLE: Final = "REDRUSH_CRASH_PLAN"
"""Environment variable that carries the plan to the server's process, as JSON."""


class Point(StrEnum):
    """Where a server can be killed, in the order of the write path."""

    SEALING = "between two steps of the first start: journal, amounts, seal, keys"
    RECOVERY = "in the checkpoint that ends the recovery at a start"
    BEFORE_WRITE = "before a write of a batch"
    TORN_WRITE = "in the middle of a write of a batch"
    BEFORE_SYNC = "after the write of a batch, before its fsync"
    AFTER_SYNC = "after the fsync, before anybody is told"
    BEFORE_ANSWERS = "after the claim returned, before the first answer"
    AMID_ANSWERS = "in the middle of writing the answers of a batch"
    CHECKPOINT_WRITE = "in the middle of a checkpoint's write under load"
    CHECKPOINT_SYNC = "before the fsync of a checkpoint under load"
    BEFORE_TAKE = "at a close, before the leftover is taken"
    TAKEN = "at a close, after the leftover was taken, before it is given"
    GIVEN = "at a close, after the leftover was given"
    RECORDER_CURSOR = "in the recorder, between the ledger and the cursor"
    RECORDER_COMMIT = "in the middle of the recorder's commit"


FIRST_START: Final = frozenset({Point.SEALING})
CLOSING: Final = frozenset({Point.BEFORE_TAKE, Point.TAKEN, Point.GIVEN})
RECORDING: Final = frozenset({Point.RECORDER_CURSOR, Point.RECORDER_COMMIT})
SERVING: Final = frozenset(
    {Point.BEFORE_WRITE, Point.TORN_WRITE, Point.BEFORE_SYNC, Point.AFTER_SYNC, Point.BEFORE_ANSWERS,
     Point.AMID_ANSWERS, Point.CHECKPOINT_WRITE, Point.CHECKPOINT_SYNC}
)  # fmt: skip

PASSES_MAX: Final = {
    Point.SEALING: 10,
    Point.RECOVERY: 2,
    Point.BEFORE_WRITE: 200,
    Point.TORN_WRITE: 200,
    Point.BEFORE_SYNC: 100,
    Point.AFTER_SYNC: 100,
    Point.BEFORE_ANSWERS: 100,
    Point.AMID_ANSWERS: 300,
    Point.CHECKPOINT_WRITE: 20,
    Point.CHECKPOINT_SYNC: 5,
    Point.BEFORE_TAKE: 1,
    Point.TAKEN: 1,
    Point.GIVEN: 1,
    Point.RECORDER_CURSOR: 2,
    Point.RECORDER_COMMIT: 20,
}
"""The pass is drawn from 1 to this, which a life of a second reaches on a slow machine too."""


class DiskFault(msgspec.Struct, frozen=True, kw_only=True):
    """A disk that misbehaves under `files` (names in the data directory); the rest as in `faulty_vfs.Faults`."""

    files: tuple[str, ...]
    seed: int = 0
    power_fails_at_event: int | None = None
    sync_fails_at: int | None = None
    write_full_at: int | None = None
    full_for_writes: int = 1
    sync_lies: bool = False
    from_first_claim: bool = True
    """False: what happens at the start counts too."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the launcher does to its process. `wal_pages_max`: small, so that checkpoints come under load."""

    point: Point | None = None
    on_pass: int = 1
    full_instead_of_dead: bool = False
    """At `Point.SEALING`: let the step fail for want of space instead of dying before it."""
    disk: DiskFault | None = None
    wal_pages_max: int = 24


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """One kill: the plan for the process, or a delay after which the harness kills it from outside."""

    name: str
    plan: Plan
    after_spawn_s: float | None = None
    after_ready_s: float | None = None
