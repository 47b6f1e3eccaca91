"""Whether every campaign that has a part on the servers of a set may agree to a step that one of them is about to take.

A part is a set of its own: terms, log and notes are one campaign's, and what is decided of them alone (`Fence`) takes
nothing from another. But a server is a replica, or is none, as a whole. Whoever makes it follow drops what it holds of
every campaign, and whoever detaches it ends what every campaign's terms may rest on. So

- a server is promoted only if, by the rules of each campaign by itself, it is whole for that one, and for each the one
  that has most; then it is promoted for all of them;
- a server is made to follow another one only if no campaign has anything there that the other one lacks.

Terms stay each campaign's own: under whatever terms, nothing is lost by a step to which all agree.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from redrush.core.sets.failover import (
    Follow,
    Promote,
    Prove,
    Sight,
    Step,
    Terms,
    Wait,
    next_epoch,
    next_step,
    primary_of,
    replacement,
)


class Stake(msgspec.Struct, frozen=True):
    """What a campaign has on the servers of a set, as its warden sees it."""

    part: str
    """Its part of the set."""
    sight: Sight
    logs: Mapping[str, int] = {}
    """How many records of its log each server has, of those that are seen."""
    bare: Collection[str] = ()
    """The servers that held nothing of it when they were seen last."""


class Move(msgspec.Struct, frozen=True):
    """How a part goes to another primary: the servers that are detached for it, of which one has most; the terms that
    each of them must still hold; and the epoch that the part goes on under."""

    candidates: tuple[str, ...]
    expected: Mapping[str, Terms | None]
    epoch: int
    is_forced: bool = False
    """Whether it goes whatever it lacks: an operator's decision."""


class Joint(msgspec.Struct, frozen=True):
    """A promotion for all: one of `candidates` becomes the primary of every part. `moves` are those of the parts that
    are not there yet, by part."""

    candidates: tuple[str, ...]
    moves: Mapping[str, Move]


def wanted(stake: Stake) -> Step:
    """Return the next step by the rules of the part alone. A primary whose log is shorter than that of another server
    under the same terms is not proven: that one takes its place."""
    sight = stake.sight
    step = next_step(sight)
    if not isinstance(step, Prove):
        return step
    most = _with_most(stake, step.address)
    return step if step.address in most else _promote(most[:1], sight)


def gathering(mine: Stake, others: Iterable[Stake]) -> Promote | None:
    """Return the step to where another part has its primary, if mine has it elsewhere and loses nothing by it.

    So it is if a promotion for all was cut off half-way, and the old primary came back: it acknowledges nothing any
    more, for its replica has left it. None: nothing is to be done, or cannot be."""
    primary = primary_of(mine.sight)
    if primary is None or not mine.sight.seen[primary].is_proven:
        return None
    step = replacement(mine.sight, primary)
    if not isinstance(step, Promote):
        return None
    return step if any(_is_at(other, name) for other in others for name in step.candidates) else None


def objection(step: Step, other: Stake) -> str | None:
    """Return why this other part cannot agree to the step, None if it can."""
    match step:
        case Follow():
            return _to_follow(step, other)
        case Prove():
            better = wanted(other)
            is_its_primary = primary_of(other.sight) == step.address
            if is_its_primary and isinstance(better, Promote) and step.address not in better.candidates:
                return f"{' or '.join(better.candidates)} has more of the log of {other.part}"
            return None
        case _:
            return None


def joint(step: Promote, mine: Stake, others: Sequence[Stake]) -> Joint | Wait:
    """Return how the promotion is done for all parts, or why it cannot be."""
    candidates = step.candidates
    moves = {mine.part: _move(step, mine.sight)}
    for other in others:
        fit = _fit(other)
        if isinstance(fit, Wait):
            return Wait(f"{_to_be(step.candidates)} for {mine.part}, but not for {other.part}: {fit.why}")
        if not (left := tuple(name for name in candidates if name in fit)):
            where = " or ".join(fit)
            return Wait(
                f"{_to_be(step.candidates)} for {mine.part}, and {where} for {other.part}; "
                f"`redrush set promote SET {fit[0]}` takes that for all"
            )
        candidates = left
        if not _has_nothing(other) and not any(_is_at(other, name) for name in fit):
            own = wanted(other)
            moves[other.part] = _move(own if isinstance(own, Promote) else _promote(left, other.sight), other.sight)
    return Joint(candidates, moves)


def forced(address: str, mine: Stake, others: Iterable[Stake]) -> Joint | str:
    """Return what becomes of each part if an operator makes this server the primary, whatever it lacks; or why that
    cannot be. A part that is there already, or has no copy anywhere, stays as it is; one that has all there by its own
    rules loses nothing."""
    here = (address,)
    is_primary = _is_at(mine, address)  # it lacks nothing, its history goes on
    moves = {mine.part: _move(_promote(here, mine.sight), mine.sight, is_forced=not is_primary)}
    for other in others:
        sight = other.sight
        seen = sight.seen.get(address)
        if seen is None:
            return f"{address} does not answer for set {other.part} of another campaign, and cannot be promoted"
        if seen.terms is not None:
            if not _is_at(other, address):
                own = wanted(other)
                is_fit = isinstance(own, Promote) and own.candidates == here
                moves[other.part] = _move(_promote(here, sight), sight, is_forced=not is_fit)
        elif holder := next((name for name, one in sight.seen.items() if one.terms is not None), None):
            return (
                f"{address} holds no copy of set {other.part} of another campaign, and {holder}, which has one, would "
                "drop it"
            )
    return Joint(here, moves)


def chosen(candidates: Iterable[str], held: Mapping[str, Mapping[str, int]]) -> str | None:
    """Return the candidate that has most of every part; None if none has. `held` says by part and server how much that
    had when it was detached."""
    for name in candidates:
        if all(ranks.get(name, -1) == max(ranks.values()) for ranks in held.values()):
            return name
    return None


def _to_be(candidates: Collection[str]) -> str:
    return f"{' or '.join(candidates)} is to be the primary"


def _to_follow(step: Follow, other: Stake) -> str | None:
    sight = other.sight
    seen = sight.seen.get(step.address)
    if seen is None:
        return f"{step.address} has not answered for {other.part} for a moment"
    if seen.terms is None:
        return None
    primary = primary_of(sight)
    if primary == step.primary and (
        sight.seen[primary].is_proven or step.primary in _with_most(other, primary, [step.address])
    ):
        return None
    if primary is not None and primary != step.primary and sight.seen[primary].is_proven:
        return (
            f"{primary} is the primary of {other.part} of another campaign, and {step.primary} is not: "
            f"`redrush set promote SET {primary}` makes it that of both"
        )
    return f"{step.address} may have grants of {other.part}, of another campaign, that {step.primary} lacks"


def _fit(stake: Stake) -> tuple[str, ...] | Wait:
    """Return who may be the primary of the part by its own rules."""
    if _has_nothing(stake):
        return stake.sight.addresses
    primary = primary_of(stake.sight)
    if primary is not None:
        return (primary,) if stake.sight.seen[primary].is_proven else _with_most(stake, primary)
    step = next_step(stake.sight)
    return step.candidates if isinstance(step, Promote) else Wait(getattr(step, "why", None))


def _is_at(stake: Stake, address: str) -> bool:
    """Return whether the server is the primary of the part, and proven."""
    return primary_of(stake.sight) == address and stake.sight.seen[address].is_proven


def _has_nothing(stake: Stake) -> bool:
    return set(stake.sight.addresses) <= set(stake.bare)


def _with_most(stake: Stake, primary: str, among: Collection[str] | None = None) -> tuple[str, ...]:
    """Return who has most of the log under the terms of the primary, which stands first if it is one of them."""
    sight = stake.sight
    terms = sight.seen[primary].terms
    alike = [
        name
        for name, seen in sight.seen.items()
        if name == primary or (seen.terms == terms and name in stake.logs and (among is None or name in among))
    ]
    most = max(stake.logs.get(name, 0) for name in alike)
    return tuple(sorted((name for name in alike if stake.logs.get(name, 0) == most), key=lambda name: name != primary))


def _promote(candidates: tuple[str, ...], sight: Sight) -> Promote:
    return Promote(candidates, next_epoch(sight))


def _move(step: Promote, sight: Sight, *, is_forced: bool = False) -> Move:
    expected = {name: sight.seen[name].terms for name in step.candidates}
    return Move(step.candidates, expected, step.epoch, is_forced)
