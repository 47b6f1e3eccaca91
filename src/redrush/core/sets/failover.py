"""What is to be done about the servers of a set, one step at a time: who is primary, who follows, under which terms.

A set is under *terms*: an epoch, and how many replicas must hold a grant before it is answered. They are data of the
set like any other, so a replica has them as of what it has received. The rules rest on three facts:

- Under terms that need n replicas, n ≥ 1, everything acknowledged is on at least n of them. A server that was left by
  so many followers that fewer than n remain can acknowledge nothing any more, whatever it believes.
- A replica that holds terms has received everything that came before them.
- A server process that was started anew may hold less than it acknowledged. It changes nothing until its log was
  compared with what others know; so nobody is made to follow it, and to drop what it has, before that.
- Terms are in force at one server only. They name it, so that a replica which is restarted as nobody's does not take
  its copy for its own; and it is *noted*, with the epoch, before it is told. So a replica whose epoch is below the
  noted one may lack acknowledged grants, and is never promoted.

A set whose primary is gone therefore waits, unavailable, unless a replica surely has everything: one that holds the
noted epoch, where that needs n replicas, and at most n − 1 other servers could know more than those that are asked. An
operator who knows better can force a promotion.

The steps are idempotent; each is decided anew from what is seen, so a warden may die between any two of them.
"""

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

LAG_BYTES_MAX: Final = 1_000_000
"""A replica is in step with its primary if it lacks at most this much, and both were not asked at the same instant."""

RAISE_AFTER_US: Final = 1_000_000
"""How long a replica must have been in step before acknowledgements wait for it again."""


class Terms(msgspec.Struct, frozen=True):
    """What a set's acknowledgements rest on: how many replicas must have them, beside the primary's own disk."""

    epoch: int
    replicas_needed: int


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself. `terms` is None for one that does not hold the set."""

    is_primary: bool
    """Whether it follows nobody, and its terms are not named as those of another server."""
    terms: Terms | None
    offset: int
    """Bytes of the stream of changes that it has; comparable between a primary and its followers."""
    is_named: bool = False
    """Whether its terms say whose they are."""
    is_proven: bool = True
    """Whether its log was compared with what others know of it since its process was started."""
    is_detached: bool = False
    """Whether it was detached under these terms for a promotion, and what it had then was kept in mind."""
    follows: str | None = None
    is_linked: bool = False
    """Whether it follows a primary, and gets what that writes; False also while it copies everything."""


class Noted(msgspec.Struct, frozen=True):
    """What was noted last: no terms beyond `epoch` were told to anybody, and those of `epoch` only to `primary`."""

    epoch: int = 0
    primary: str | None = None


class Policy(msgspec.Struct, frozen=True):
    """What the set is to be like when nothing is broken, and what may be done without asking."""

    replicas_needed: int
    lower_after_us: int | None
    """Go on without a replica that was away for so long, on the primary's own disk; None: only an operator may."""


class Fence(msgspec.Struct, frozen=True):
    """Put the primary `address` under these terms."""

    address: str
    terms: Terms


class Follow(msgspec.Struct, frozen=True):
    """Make `address` a replica of `primary`."""

    address: str
    primary: str


class Prove(msgspec.Struct, frozen=True):
    """Compare the log of the primary `address` with what others know of it; until then it is not to be used."""

    address: str


class Promote(msgspec.Struct, frozen=True):
    """Detach all of these from their primary, and make the one that has most the primary under this epoch."""

    candidates: tuple[str, ...]
    epoch: int


class Wait(msgspec.Struct, frozen=True):
    """Nothing can be done, for this reason; None: nothing needs to be done."""

    why: str | None = None


Step = Fence | Follow | Promote | Prove | Wait


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """All that a decision rests on. A server that is neither seen nor dead has been silent for a moment only."""

    addresses: tuple[str, ...]
    seen: Mapping[str, Seen]
    dead: Collection[str]
    noted: Noted
    policy: Policy
    short_us: int = 0
    """For how long there have been fewer replicas in step than the terms need."""
    ample_us: int = 0
    """For how long there have been more."""


def primary_of(sight: Sight) -> str | None:
    """Return the server that is the set's primary, if it answers.

    Among several that think so it is the noted one, if nobody has a higher epoch than it: its noted terms may not have
    reached it. Another one is the primary only where its epoch is higher than the noted one; or where nothing was noted
    yet, and every server of the set answers.
    """
    epochs = {
        address: seen.terms.epoch for address, seen in sight.seen.items() if seen.is_primary and seen.terms is not None
    }
    highest = highest_epoch(sight)
    noted = sight.noted
    if noted.primary is not None and epochs.get(noted.primary) == highest:
        return noted.primary
    if noted.epoch >= highest or (noted.primary is None and len(sight.seen) < len(sight.addresses)):
        return None
    primaries = [address for address in sight.addresses if epochs.get(address) == highest]
    return primaries[0] if len(primaries) == 1 else None


def highest_epoch(sight: Sight) -> int:
    """Return the highest epoch that a server of the set holds, 0 where none holds any."""
    return max((seen.terms.epoch for seen in sight.seen.values() if seen.terms is not None), default=0)


def next_epoch(sight: Sight) -> int:
    """Return the lowest epoch that nobody has had, as far as is noted or seen."""
    return max(sight.noted.epoch, highest_epoch(sight)) + 1


def in_step(sight: Sight, primary: str) -> list[str]:
    """Return the replicas that get what the primary writes and lack next to nothing of it."""
    reached = sight.seen[primary].offset
    return [
        address
        for address, seen in sight.seen.items()
        if seen.follows == primary and seen.is_linked and reached - seen.offset <= LAG_BYTES_MAX
    ]


def next_step(sight: Sight) -> Step:
    """Return what to do now."""
    primary = primary_of(sight)
    return _without_primary(sight) if primary is None else _with_primary(sight, primary)


def wanted_replicas(sight: Sight, primary: str) -> int:
    """Return how many replicas the terms should need, by what is there."""
    return min(sight.policy.replicas_needed, len(in_step(sight, primary)))


def _with_primary(sight: Sight, primary: str) -> Step:
    if not sight.seen[primary].is_proven:
        return Prove(primary)
    fence = _fence(sight, primary)
    if isinstance(fence, Fence):
        return fence
    for address in sight.addresses:
        if address != primary and address in sight.seen and sight.seen[address].follows != primary:
            return Follow(address, primary)
    return fence


def _fence(sight: Sight, primary: str) -> Fence | Wait:
    """Bring the terms in line with the replicas that are there."""
    terms = sight.seen[primary].terms
    assert terms is not None
    wanted = wanted_replicas(sight, primary)
    fence = Fence(primary, Terms(max(terms.epoch, sight.noted.epoch) + 1, wanted))
    if terms.epoch < sight.noted.epoch:  # the noted terms did not arrive
        return fence
    if not sight.seen[primary].is_named:  # a replica that is restarted as nobody's could take them for its own
        return fence
    if wanted > terms.replicas_needed and sight.ample_us >= RAISE_AFTER_US:
        return fence
    if wanted < terms.replicas_needed:
        lower_after_us = sight.policy.lower_after_us
        if lower_after_us is not None and sight.short_us >= lower_after_us:
            return fence
        return Wait(f"{primary} needs {terms.replicas_needed} replicas and has {wanted}")
    return Wait()


def _without_primary(sight: Sight) -> Step:
    lost = sight.noted.primary
    if lost is None:
        return Wait("no primary was noted yet, and not all servers are there to tell which it is")
    back = sight.seen.get(lost)
    if back is not None:
        return _back(sight, lost, back)
    if lost not in sight.dead:
        return Wait(f"{lost} has not answered for a moment")
    return replacement(sight, lost)


def _back(sight: Sight, lost: str, back: Seen) -> Step:
    """The noted primary answers, but not as a primary: it was restarted as a replica, or without its data."""
    if back.terms is None or back.terms.epoch < highest_epoch(sight):
        return replacement(sight, lost)
    if back.is_linked and back.follows is not None:
        # Somebody chose another one, and it has a copy of what that has: nothing more is to be had from it.
        chosen = sight.seen.get(back.follows)
        if chosen is not None and chosen.follows == lost:
            return _circle(sight, lost, back.follows)
        if chosen is None or chosen.follows is not None:
            return Wait(
                f"{lost} was the primary and follows {back.follows} now, which does not answer as one; `redrush set "
                f"promote SET {back.follows}` makes it one"
            )
        return Promote((back.follows,), sight.noted.epoch + 1)
    # Its file may have been cut while it was away. Then a replica of the same terms has more, and is not overwritten.
    alike = [address for address, seen in sight.seen.items() if address != lost and seen.terms == back.terms]
    return Promote((lost, *alike), sight.noted.epoch + 1)


def _circle(sight: Sight, lost: str, other: str) -> Step:
    """Somebody made the primary a replica of its own replica: the two follow each other, and nobody takes writes.

    It may have dropped what it had for what the other one has, so it counts as lost: who surely has all that was
    acknowledged is promoted. Where that rested on its own disk alone, an operator has to say.
    """
    step = replacement(sight, lost)
    if isinstance(step, Promote):
        return step
    return Wait(
        f"{lost} was the primary and follows its own replica {other}, which may lack grants; "
        f"`redrush set promote SET {other}` goes on with it"
    )


def replacement(sight: Sight, lost: str) -> Step:
    """Return how the primary is replaced, which is dead or given up: by who surely has everything that it acknowledged,
    if there is somebody."""
    others = [address for address in sight.addresses if address != lost]
    fit = {
        address: seen
        for address in others
        if (seen := sight.seen.get(address)) is not None
        and seen.terms is not None
        and seen.terms.epoch >= sight.noted.epoch
        and seen.terms.replicas_needed > 0
    }
    if not fit:
        return Wait(
            f"{lost} is away, and no replica surely has all that it acknowledged under epoch {sight.noted.epoch}"
        )
    needed = min(seen.terms.replicas_needed for seen in fit.values() if seen.terms is not None)
    unasked = len(others) - len(fit)
    if unasked >= needed:
        return Wait(f"{lost} is away, and {unasked} other servers may have acknowledged grants that the rest lack")
    if len(fit) > 1 and any(seen.follows is None and not seen.is_detached for seen in fit.values()):
        return Wait(f"{lost} is away, and several servers claim to be primary under one epoch: an operator must decide")
    return Promote(tuple(fit), sight.noted.epoch + 1)


def in_words(step: Step) -> str:
    """Return what is done, as a sentence for the log and for operators."""
    if isinstance(step, Fence):
        return f"{step.address} goes under epoch {step.terms.epoch}, which needs {step.terms.replicas_needed} replicas"
    if isinstance(step, Follow):
        return f"{step.address} becomes a replica of {step.primary}"
    if isinstance(step, Promote):
        return f"{' or '.join(step.candidates)} is to be the primary under epoch {step.epoch}"
    if isinstance(step, Prove):
        return f"{step.address} was started anew, and its log is compared with what is known of it"
    return step.why or ""
