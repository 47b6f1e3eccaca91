"""What a reply of the library's `claim` says of each claim on a pot."""

from collections.abc import Iterable, Sequence
from itertools import chain, count, repeat
from typing import Any, Final

import msgspec

from redrush.ports.store import EMPTY, HELD_OUT, LIMIT, Claimed, ClaimResult, Held, Refusal
from redrush.stores.valkey.entries import known_grant_of

KNOWN_MAX: Final = 500_000
"""Grants remembered per pot, about 100 MB; a repeat of one beyond them costs a call."""


class Decided(msgspec.Struct, frozen=True, array_like=True):
    """The library's answer on one pot.

    `runs` are the new grants, first slot and count by turns; `repeats` the known ones, index and value by turns;
    `limits` the indices of those who have as many as they may. The others found the pot empty, or were too early or too
    late by the server's time `shut_us`. `is_held_out`: slots may come back. In a pot of holds the new grants are
    numbered from `number` on, and held for `hold_us`; 0 in others.
    """

    runs: list[int]
    repeats: list[Any]
    shut_us: int | None
    limits: list[int]
    is_held_out: int
    number: int
    hold_us: int


def results_of(
    users: Sequence[str],
    requests: Sequence[str] | None,
    at_us: int,
    decided: Decided,
    grants: dict[str, Claimed],
    shut: Refusal | None = None,
) -> list[ClaimResult]:
    """Return the result of each claim, and remember the grants that are permanent and unnamed in `grants`.

    `shut` is why nothing was given, None where that was not for the time.
    """
    runs, repeats = decided.runs, decided.repeats
    if not repeats and len(runs) == 2 and runs[1] == len(users) and not decided.number:
        slots = range(runs[0], runs[0] + runs[1])
        if requests is None:
            _remember(grants, zip(users, map(Claimed, slots, repeat(at_us), repeat(True)), strict=True), len(users))
        return list(map(Claimed, slots, repeat(at_us), repeat(False)))
    given = chain.from_iterable(range(first, first + many) for first, many in zip(runs[::2], runs[1::2], strict=True))
    numbers = count(decided.number)
    repeated = dict(zip(repeats[::2], repeats[1::2], strict=True))
    limits = frozenset(decided.limits)
    nothing = shut or (HELD_OUT if decided.is_held_out else EMPTY)
    results: list[ClaimResult] = []
    for index, user in enumerate(users):
        value = repeated.get(index)
        slot = None if value is not None or index in limits else next(given, None)
        known: Claimed
        if value is not None:
            known = known_grant_of(value)
            results.append(known)
        elif slot is not None and decided.number:
            results.append(Held(slot, at_us, False, at_us + decided.hold_us, next(numbers)))
            continue
        elif slot is not None:
            known = Claimed(slot, at_us, repeat=True)
            results.append(Claimed(slot, at_us, repeat=False))
        else:
            results.append(LIMIT if index in limits else nothing)
            continue
        if not isinstance(known, Held) and not (requests and requests[index]):
            _remember(grants, ((user, known),), 1)
    return results


def _remember(grants: dict[str, Claimed], new: Iterable[tuple[str, Claimed]], count: int) -> None:
    if len(grants) + count <= KNOWN_MAX:
        grants.update(new)
