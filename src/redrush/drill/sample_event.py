"""The event that the demo plays: three rounds of red packets, and who comes to each.

Round 1 is a plain rush. Round 2 releases its packets at a pace, so people shake and miss; what is left at its end goes
to round 3, the last and largest.
"""

from datetime import UTC, datetime

import msgspec

from redrush.core.rush.instants import rfc3339
from redrush.core.rush.zones import zone_of_offset
from redrush.drill.schedules import Schedule, pick_people, plan, rush

PACKETS_MIN = 5
"""Of a round, however few people come."""


class EventShape(msgspec.Struct, frozen=True, kw_only=True):
    """How large the event is. With 150,000 users the defaults make some 25,000 requests/s at the peaks: what two cores
    can play on both sides."""

    packets: int = 10_000
    """Of each round."""
    totals: tuple[int, ...] = (30_000, 30_000, 40_000)
    """Of each round, whole units of the currency."""
    lasts_s: int = 5
    every_s: int = 6
    release_per_s: tuple[int | None, ...] = (None, 1_800, None)
    coming: tuple[float, ...] = (0.30, 0.20, 0.30)
    """Of the registered users, how many come to each round. The paced round has fewer: each of them shakes often."""
    decay_s: float = 1.8
    skew_s: float = 0.25
    think_s: float = 1.2


def scaled(shape: EventShape, share: float) -> EventShape:
    """Return the event for `share` as many people: as many packets fewer or more, of the same worth, so that they run
    out as they do in the whole."""
    packets = max(PACKETS_MIN, round(shape.packets * share))
    worths = (total / shape.packets for total in shape.totals)
    return msgspec.structs.replace(
        shape,
        packets=packets,
        totals=tuple(round(worth * packets) for worth in worths),
        release_per_s=tuple(
            None if pace is None else max(1, round(pace * packets / shape.packets)) for pace in shape.release_per_s
        ),
    )


class SampleEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign file as text, and what a crowd has to know about it. Rounds are named r1, r2, r3."""

    toml: str
    rounds: tuple[str, ...]
    opens_us: int
    """When the first round opens."""
    opens_s: tuple[float, ...]
    """When each round opens, relative to the first."""
    closes_s: tuple[float, ...]
    packets: tuple[int, ...]


def sample_event(shape: EventShape, opens_us: int) -> SampleEvent:
    """Return the event whose first round opens at `opens_us`, µs since the Unix epoch."""
    day = datetime.fromtimestamp(opens_us / 1e6, UTC)
    opens_s = tuple(float(index * shape.every_s) for index in range(len(shape.totals)))
    head = (
        f'[campaign]\nid = "demo{day:%Y%m%d}"\nname = "Spring Festival red packets · 春节红包"\ncurrency = "CNY"\n'
        f'timezone = "{zone_of_offset(day.astimezone())}"\n'  # of this machine: who plays it looks at its clock
    )
    rounds = [_round(shape, index, opens_us + int(opens * 1e6)) for index, opens in enumerate(opens_s)]
    return SampleEvent(
        toml=head + "".join(rounds),
        rounds=tuple(f"r{index + 1}" for index in range(len(rounds))),
        opens_us=opens_us,
        opens_s=opens_s,
        closes_s=tuple(opens + shape.lasts_s for opens in opens_s),
        packets=(shape.packets,) * len(rounds),
    )


def sample_schedule(shape: EventShape, event: SampleEvent, registered: int, seed: int) -> Schedule:
    """Return when whom asks first: for each round other people out of the `registered`, who know its opening."""
    parts = []
    for index, (opens_s, share) in enumerate(zip(event.opens_s, shape.coming, strict=True)):
        people = pick_people(registered, int(registered * share), seed=seed + index)
        lasts_s = 0.9 * shape.lasts_s
        times_s = rush(len(people), decay_s=shape.decay_s, skew_s=shape.skew_s, lasts_s=lasts_s, seed=seed + index)
        parts.append((index, times_s + opens_s, people))
    return plan(parts)


def _round(shape: EventShape, index: int, opens_us: int) -> str:
    mean = shape.totals[index] / shape.packets
    release = shape.release_per_s[index]
    return (
        f'\n[[round]]\nid = "r{index + 1}"\nopens = {rfc3339(opens_us)}\nlasts = "{shape.lasts_s}s"\nkind = "lucky"\n'
        f'total = "{shape.totals[index]}.00"\npackets = {shape.packets}\n'
        f'min = "0.50"\nmax = "{mean * 20:.2f}"\nleftover = "next"\n'
        + (f"release_per_second = {release}\n" if release is not None else "")
    )
