"""When people ask: pure, seeded functions from a description of a crowd to a row of intended send times.

Nothing here sends anything. A schedule is fixed before the first byte leaves, which is what makes the load *open*:
a slow answer cannot postpone the requests of other people, so it cannot hide itself (coordinated omission, as named
by Gil Tene). Rejected: closed loops such as wrk's, where each of n connections waits for its answer first - a stall
of one second then shows up as n slow requests instead of a second's worth of them.

Times are seconds as float64, relative to whatever the caller calls zero; equal arguments give equal schedules.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

SKEW_SPREADS_MAX = 3.0
"""A clock or a thumb is at most this many standard deviations early: nobody arrives minutes before the opening."""


class Schedule(msgspec.Struct, frozen=True):
    """Planned requests in order of time. Three columns of one length; `users` and `rounds` are indices."""

    times_s: Seconds
    users: NDArray[np.int32]
    rounds: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.times_s)


def constant_rate(rate_per_s: float, lasts_s: float) -> Seconds:
    """Return evenly spaced times in [0, lasts_s), `rate_per_s` of them per second."""
    if rate_per_s <= 0 or lasts_s <= 0:
        raise ValueError(f"a constant rate needs a positive rate and length, not {rate_per_s}/s for {lasts_s} s")
    return np.arange(round(rate_per_s * lasts_s), dtype=np.float64) / rate_per_s


def independent(rate_per_s: float, lasts_s: float, *, seed: int) -> Seconds:
    """Return times in [0, lasts_s) of people who know nothing of each other: a Poisson process, in order of time.

    Evenly spaced requests never meet, so a server at half its strength would show no queue at all.
    """
    if rate_per_s <= 0 or lasts_s <= 0:
        raise ValueError(f"arrivals need a positive rate and length, not {rate_per_s}/s for {lasts_s} s")
    random = np.random.default_rng(seed)
    times_s: Seconds = np.sort(random.random(random.poisson(rate_per_s * lasts_s)) * lasts_s)
    return times_s


def hammering(users: int, rate_per_s: float, lasts_s: float) -> tuple[Seconds, NDArray[np.int32]]:
    """Return times and user indices of `users` bots that send `rate_per_s` requests a second each, in [0, lasts_s)."""
    times_s = constant_rate(rate_per_s, lasts_s)
    return np.repeat(times_s, users), np.tile(np.arange(users, dtype=np.int32), len(times_s))


def rush(people: int, *, decay_s: float, skew_s: float, lasts_s: float, seed: int) -> Seconds:
    """Return when each of `people` who know the opening second first asks, relative to the opening; unsorted.

    Each arrives after an exponential delay (mean `decay_s`, cut off at `lasts_s`), seen through a clock and a thumb
    that are off by a normal error of standard deviation `skew_s`. The sum is the exponentially modified Gaussian
    known from reaction times: a steep edge around the opening, a few early birds before it, then decay. About
    0.4 * skew_s / decay_s of the people are early, and the steepest rate is about people / decay_s per second.
    """
    if people < 0 or decay_s <= 0 or skew_s < 0 or lasts_s <= 0:
        raise ValueError("a rush needs people >= 0, decay_s > 0, skew_s >= 0 and lasts_s > 0")
    random = np.random.default_rng(seed)
    reach = 1.0 - np.exp(-lasts_s / decay_s)
    delay_s = -decay_s * np.log1p(-random.random(people) * reach)
    skew = np.clip(random.standard_normal(people), -SKEW_SPREADS_MAX, SKEW_SPREADS_MAX) * skew_s
    times_s: Seconds = np.minimum(delay_s + skew, lasts_s)
    return times_s


def think_times(count: int, *, median_s: float, seed: int) -> Seconds:
    """Return `count` pauses of a person between two shakes: log-normal around `median_s`, within a factor of four."""
    random = np.random.default_rng(seed)
    factor = np.clip(np.exp(0.5 * random.standard_normal(count)), 0.25, 4.0)
    pauses_s: Seconds = median_s * factor
    return pauses_s


def pick_people(registered: int, people: int, *, seed: int) -> NDArray[np.int32]:
    """Return the indices of `people` different ones of `registered` users, in random order."""
    if not 0 <= people <= registered:
        raise ValueError(f"cannot pick {people} of {registered} registered users")
    return np.random.default_rng(seed).permutation(registered)[:people].astype(np.int32)


def plan(parts: list[tuple[int, Seconds, NDArray[np.int32]]]) -> Schedule:
    """Merge (round index, times, users) parts into one schedule in order of time."""
    if not parts:
        raise ValueError("a schedule needs at least one part")
    times_s = np.concatenate([times for _, times, _ in parts])
    users = np.concatenate([users for _, _, users in parts])
    rounds = np.concatenate([np.full(len(times), index, dtype=np.uint8) for index, times, _ in parts])
    if not len(times_s) == len(users):
        raise ValueError("each part needs one user per time")
    order = np.argsort(times_s, kind="stable")
    return Schedule(times_s[order], users[order].astype(np.int32), rounds[order])
