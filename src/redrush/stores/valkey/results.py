"""What replies of the library's `claim` and `claim_any` say of each claim."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Final

import msgspec

from redrush.ports.store import EMPTY, HELD_OUT, LIMIT, Claimed, ClaimResult, Held, Refusal
from redrush.stores.valkey.entries import grant_of, known_grant_of

KNOWN_MAX: Final = 500_000
"""Grants remembered per pot, about 100 MB; a repeat of one beyond them costs a call."""


def results_of(
    users: Sequence[str],
    at_us: int,
    runs: list[int],
    repeats: list[int | bytes],
    grants: dict[str, Claimed],
    nothing: Refusal = EMPTY,
) -> list[ClaimResult]:
    """Return what the library's reply says of each user, and remember it in `grants`; `nothing` is what it means to be
    in neither."""
    if not repeats and len(runs) == 2 and runs[1] == len(users):
        slots = range(runs[0], runs[0] + runs[1])
        _remember(grants, zip(users, map(Claimed, slots, repeat(at_us), repeat(True)), strict=True), len(users))
        return list(map(Claimed, slots, repeat(at_us), repeat(False)))
    given = chain.from_iterable(range(first, first + count) for first, count in zip(runs[::2], runs[1::2], strict=True))
    repeated = dict(zip(repeats[::2], repeats[1::2], strict=True))
    results: list[ClaimResult] = []
    for index, user in enumerate(users):
        value = repeated.get(index)
        slot = None if value is not None else next(given, None)
        if isinstance(value, bytes):
            known = Claimed(*grant_of(value), repeat=True)
            results.append(known)
        elif slot is not None:
            known = Claimed(slot, at_us, repeat=True)
            results.append(Claimed(slot, at_us, repeat=False))
        else:
            results.append(nothing)
            continue
        _remember(grants, ((user, known),), 1)
    return results


def _remember(grants: dict[str, Claimed], new: Iterable[tuple[str, Claimed]], count: int) -> None:
    if len(grants) + count <= KNOWN_MAX:
        grants.update(new)


_REFUSED: Final = {-1: EMPTY, -2: HELD_OUT, -3: LIMIT}

_decode_told: Final = msgspec.json.Decoder(list[int | bool | None]).decode


def results_of_each(told: bytes, values: Iterable[bytes], at_us: int) -> list[ClaimResult | None]:
    """Return what the library's `claim_any` says of each claim; None: it was too early, or too late. `values` are those
    of the grants that were there already and of new holds, in order."""
    following = iter(values)
    return [
        Claimed(number, at_us, False) if type(number) is int and number >= 0 else _result_of(number, following, at_us)
        for number in _decode_told(told)
    ]


def _result_of(number: int | bool | None, values: Iterator[bytes], at_us: int) -> ClaimResult | None:
    if number is None:
        return known_grant_of(next(values))
    if number is True:
        known = known_grant_of(next(values))
        assert isinstance(known, Held)
        return Held(known.slot, at_us, False, known.until_us, known.number)
    return _REFUSED.get(number)


def remember(grants: dict[str, Claimed], user: str, claimed: Claimed) -> None:
    """Remember a grant, as a repeat."""
    if len(grants) < KNOWN_MAX:
        grants[user] = Claimed(claimed.slot, claimed.at_us, True)
