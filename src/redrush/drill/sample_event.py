"""The event that the demo plays: three rounds of red packets, and who comes to each.

Round 1 is a plain rush. Round 2 releases its packets at a pace, so people shake and miss; what is left at its end goes
to round 3, the last and largest.
"""

from datetime import UTC, datetime

import msgspec

from redrush.core.instants import rfc3339
from redrush.drill.schedules import Schedule, pick_people, plan, rush

PACKETS_PER_ROUND = 10_000
TOTALS_YUAN = (30_000, 30_000, 40_000)
ROUND_S = 5
EVERY_S = 6
RELEASE_PER_S = 1_800
COMING_SHARES = (0.30, 0.20, 0.30)
"""Of the registered users, how many come to each round. The paced round has fewer: each of them shakes often."""
THINK_S = 1.2
DECAY_S = 1.8
SKEW_S = 0.25
"""With 150,000 users these make some 25,000 requests/s at the peaks: what two cores can play on both sides."""


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


def sample_event(opens_us: int) -> SampleEvent:
    """Return the event whose first round opens at `opens_us`, µs since the Unix epoch."""
    day = datetime.fromtimestamp(opens_us / 1e6, UTC)
    opens_s = tuple(float(index * EVERY_S) for index in range(len(TOTALS_YUAN)))
    head = f'[campaign]\nid = "demo{day:%Y%m%d}"\nname = "Spring Festival red packets · 春节红包"\ncurrency = "CNY"\n'
    rounds = [
        f'\n[[round]]\nid = "r{index + 1}"\n'
        f"opens = {rfc3339(opens_us + int(opens * 1e6))}\n"
        f'lasts = "{ROUND_S}s"\nkind = "lucky"\ntotal = "{total}.00"\npackets = {PACKETS_PER_ROUND}\n'
        f'min = "0.50"\nmax = "{20 * total // PACKETS_PER_ROUND}.00"\nleftover = "next"\n'
        + (f"release_per_second = {RELEASE_PER_S}\n" if index == 1 else "")
        for index, (opens, total) in enumerate(zip(opens_s, TOTALS_YUAN, strict=True))
    ]
    return SampleEvent(
        toml=head + "".join(rounds),
        rounds=tuple(f"r{index + 1}" for index in range(len(TOTALS_YUAN))),
        opens_us=opens_us,
        opens_s=opens_s,
        closes_s=tuple(opens + ROUND_S for opens in opens_s),
        packets=(PACKETS_PER_ROUND,) * len(TOTALS_YUAN),
    )


def sample_schedule(event: SampleEvent, registered: int, seed: int) -> Schedule:
    """Return when whom asks first: for each round other people out of the `registered`, who know its opening."""
    parts = []
    for index, (opens_s, share) in enumerate(zip(event.opens_s, COMING_SHARES, strict=True)):
        people = pick_people(registered, int(registered * share), seed=seed + index)
        times_s = rush(len(people), decay_s=DECAY_S, skew_s=SKEW_S, lasts_s=ROUND_S - 0.5, seed=seed + index)
        parts.append((index, times_s + opens_s, people))
    return plan(parts)
