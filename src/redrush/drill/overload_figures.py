"""From what a crowd saw of an overload to figures: pure numpy.

Latencies count from the real send time. The open loop plans a request for an instant whatever the server does, and a
generator that is late is late because its own core is: at ten times the peak that is its limit, not the server's. How
late it was stands beside every latency, and a drill whose generator did not offer what was planned has not been played.
"""

import msgspec
import numpy as np

from redrush.drill.beside import PLOT_BUCKETS, quantile_over_time
from redrush.drill.crowd import CrowdResult
from redrush.drill.drill_report import Figure
from redrush.drill.figures import Mask, rejects_of
from redrush.drill.observations import Ending, Observations
from redrush.drill.recovery import BUCKET_S, recovered_after_s
from redrush.drill.schedules import Seconds
from redrush.drill.server_watch import ServerWatch
from redrush.drill.time_plot import TimePlot


class Span(msgspec.Struct, frozen=True):
    """A part of a schedule in which people come at one rate."""

    name: str
    rate_per_s: float
    lasts_s: float


class Leg(msgspec.Struct, frozen=True):
    """A crowd that has played its spans one after the other; person k was planned for `planned_s`[k]."""

    spans: tuple[Span, ...]
    planned_s: Seconds
    result: CrowdResult
    watch: ServerWatch

    def when(self, name: str) -> tuple[float, float]:
        """Return from when to when the span of that name was."""
        from_s = 0.0
        for span in self.spans:
            if span.name == name:
                return from_s, from_s + span.lasts_s
            from_s += span.lasts_s
        raise KeyError(name)

    def seen(self, name: str) -> Observations:
        """Return the rows of the people who were planned for a span."""
        from_s, to_s = self.when(name)
        intended_s = self.result.observations.intended_s
        return self.result.observations.where((intended_s >= from_s) & (intended_s < to_s))


def granted(observed: Observations) -> Mask:
    """Return which rows are packets."""
    mask: Mask = observed.ending == Ending.GRANTED
    return mask


def from_send_s(observed: Observations) -> Seconds:
    """Return the latency of each row from its real send time."""
    latency: Seconds = observed.latency_s - observed.late_s
    return latency


def goodput_per_s(leg: Leg, name: str, skip_s: float = 0.0) -> float:
    """Return packets that reached people per second of a span, without its first `skip_s`."""
    from_s, to_s = leg.when(name)
    ended_s = leg.result.observations.ended_s[granted(leg.result.observations)]
    return float(((ended_s >= from_s + skip_s) & (ended_s < to_s)).sum() / (to_s - from_s - skip_s))


def offered_per_s(leg: Leg, name: str) -> float:
    """Return requests that were really sent per second of a span."""
    from_s, to_s = leg.when(name)
    observed = leg.result.observations
    sent_s = (observed.intended_s + observed.late_s)[observed.ending != Ending.NOT_SENT]
    return float(((sent_s >= from_s) & (sent_s < to_s)).sum() / (to_s - from_s))


def quantile_ms(seconds: Seconds, quantile: float) -> float | None:
    """Return a quantile that was measured, in ms; None where there is nothing."""
    return round(float(np.quantile(seconds, quantile, method="higher")) * 1e3, 2) if len(seconds) else None


def accepted_ms(leg: Leg, name: str, quantile: float) -> float | None:
    """Return a quantile of the latencies of the packets of a span."""
    seen = leg.seen(name)
    return quantile_ms(from_send_s(seen)[granted(seen)], quantile)


def rejected_ms(leg: Leg, name: str, quantile: float) -> float | None:
    """Return a quantile of the latencies of the answers of a span that gave no packet."""
    seen = leg.seen(name)
    return quantile_ms(from_send_s(seen)[rejects_of(seen)], quantile)


def late_ms(leg: Leg, name: str, quantile: float = 0.99) -> float | None:
    """Return how late the generator itself was in a span."""
    return late_ms_of(leg.seen(name), quantile)


def late_ms_of(observed: Observations, quantile: float = 0.99) -> float | None:
    """Return how late the generator itself was with these requests."""
    return quantile_ms(observed.late_s[observed.ending != Ending.NOT_SENT], quantile)


def normal_again_after_s(leg: Leg, name: str, usual_s: float) -> float:
    """Return how long after the end of a span people got their packets within `usual_s`, and from then on always."""
    observed = leg.result.observations
    delays = np.full(len(leg.planned_s), np.inf)
    got = granted(observed)
    delays[observed.user[got]] = from_send_s(observed)[got]
    return recovered_after_s(leg.planned_s, delays, leg.when(name)[1], usual_s)


def endings(*legs: Leg) -> dict[str, int]:
    """Return how many requests ended how, over whole legs."""
    parts = [endings_of(leg.result.observations) for leg in legs]
    return {label: sum(part[label] for part in parts) for label in parts[0]}


def endings_of(observed: Observations) -> dict[str, int]:
    """Return how many requests ended how."""
    return {ending.label: int((observed.ending == ending).sum()) for ending in Ending}


def kinds(counts: dict[str, int]) -> Figure:
    """Return how requests ended, in words."""
    return ", ".join(f"{count:,} {label}" for label, count in counts.items() if count)


def plots_of(leg: Leg, title: str, name: str, peak_per_s: float, level: str) -> tuple[TimePlot, ...]:
    """Return the plots of a leg with the span `name` shaded; `level` is the metric of the admission level."""
    observed = leg.result.observations
    lasts_s = sum(span.lasts_s for span in leg.spans)
    buckets = min(PLOT_BUCKETS, round(lasts_s / BUCKET_S))
    bucket_s = lasts_s / buckets
    edges = np.linspace(0.0, lasts_s, buckets + 1)
    got, not_got = granted(observed), rejects_of(observed)

    def plot(part: str, note: str, unit: str, series: dict[str, list[float]]) -> TimePlot:
        return TimePlot(
            title=f"{title}: {part}", note=note, bucket_s=bucket_s, unit=unit, series=series, broken=(leg.when(name),)
        )

    def rate(mask: Mask) -> list[float]:
        counts: list[float] = (np.histogram(observed.ended_s[mask], edges)[0] / bucket_s).tolist()
        return counts

    waits_ms = from_send_s(observed) * 1e3
    return (
        plot(
            "packets", f"What people got. Shaded: the wave. The measured peak is {peak_per_s:,.0f} a second.",
            "per second", {"packets": rate(got), "measured peak": [peak_per_s] * buckets},
        ),
        plot(
            "answers", "Everything that was answered.", "per second", {"packets": rate(got), "rejects": rate(not_got)}
        ),
        plot(
            "latency", "p99 from the send to the complete answer.", "milliseconds",
            {
                "packets": quantile_over_time(observed.ended_s[got], waits_ms[got], edges, 0.99),
                "rejects": quantile_over_time(observed.ended_s[not_got], waits_ms[not_got], edges, 0.99),
            },
        ),
        plot(
            "waiting", "Claims that wait in the gate for their store, as the server tells it.", "claims",
            {"waiting": leg.watch.series("redrush_parked", edges)},
        ),
        plot(
            "level", "The share of users whose claims are refused, as the server tells it.", "level",
            {"level": leg.watch.series(level, edges)},
        ),
    )  # fmt: skip
