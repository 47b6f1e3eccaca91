"""From the crowd's observations to figures: pure numpy, no clock and no files."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from redrush.drill.event_report import Histogram, LatencyFigures, RateFigures, TimeLine, TrafficFigures
from redrush.drill.observations import Ending, Observations

BUCKET_S = 0.1
"""Short enough to see the edge of an opening, long enough to count."""
LATENCY_EDGES_MS = np.logspace(-1, 4, 101)
"""Twenty bins a decade from 0.1 ms to 10 s; what lies outside counts in the first and last."""
QUANTILES = (0.50, 0.99, 0.999, 1.0)

REPEAT = "repeat"
GRANTED = Ending.GRANTED.label

Mask = NDArray[np.bool_]
Minor = NDArray[np.int64]


def grabs_of(observed: Observations) -> Mask:
    """Return which rows are answers that gave a packet for the first time."""
    mask: Mask = (observed.ending == Ending.GRANTED) & ~observed.repeat
    return mask


def rejects_of(observed: Observations) -> Mask:
    """Return which rows are answers that gave no packet."""
    mask: Mask = (observed.ending > Ending.GRANTED) & (observed.ending <= Ending.REFUSED)
    return mask


def traffic(observed: Observations) -> TrafficFigures:
    """Return the figures of all rows."""
    grabs, rejects = grabs_of(observed), rejects_of(observed)
    endings = {ending.label: int((observed.ending == ending).sum()) for ending in Ending}
    statuses, counts = np.unique(observed.status[observed.status > 0], return_counts=True)
    not_sent = endings[Ending.NOT_SENT.label]
    answered = sum(endings[ending.label] for ending in Ending if ending.answered)
    return TrafficFigures(
        sent=len(observed) - not_sent,
        not_sent=not_sent,
        answered=answered,
        errors=len(observed) - not_sent - answered,
        endings={label: count for label, count in endings.items() if count},
        statuses={str(status): int(count) for status, count in zip(statuses, counts, strict=True)},
        repeats=int(observed.repeat.sum()),
        grabs=rate(observed.ended_s[grabs]),
        rejects=rate(observed.ended_s[rejects]),
        grab_latency=latency(observed.latency_s[grabs]),
        reject_latency=latency(observed.latency_s[rejects]),
        late=latency(observed.late_s[observed.ending != Ending.NOT_SENT]),
    )


def latency(latencies_s: NDArray[np.float64]) -> LatencyFigures | None:
    """Return quantiles, or None if there is nothing to measure. No value is interpolated."""
    if not len(latencies_s):
        return None
    quantiles = np.quantile(latencies_s * 1000.0, QUANTILES, method="higher")
    return LatencyFigures(len(latencies_s), *(round(float(value), 3) for value in quantiles))


def rate(ended_s: NDArray[np.float64]) -> RateFigures:
    """Return how many, the peak over any 100 ms bucket, and the mean from the first to the last."""
    count = len(ended_s)
    if not count:
        return RateFigures(0, 0.0, 0.0)
    buckets = np.floor(ended_s / BUCKET_S).astype(np.int64)
    peak = int(np.unique(buckets, return_counts=True)[1].max())
    span_s = max(float(np.ptp(ended_s)), BUCKET_S)
    return RateFigures(count, round(peak / BUCKET_S, 1), round(count / span_s, 1))


def time_line(observed: Observations, opens_s: float, ends_s: float, room: int) -> TimeLine:
    """Return answers per 100 ms around one round's opening at `opens_s`, until `ends_s`; `room` packets can be given.

    Buckets begin a whole number of buckets before the opening, so that the opening is an edge.
    """
    ended_s = observed.ended_s - opens_s
    sorts = {REPEAT: ended_s[observed.repeat]}
    for ending in Ending:
        sorts[ending.label] = ended_s[(observed.ending == ending) & ~observed.repeat]
    return line_of(sorts, float(ended_s.min(initial=0.0)), ends_s - opens_s, room)


def line_of(
    sorts: Mapping[str, NDArray[np.float64]], first_s: float, ends_s: float, room: int, bucket_s: float = BUCKET_S
) -> TimeLine:
    """Return the times of each sort of answer, in seconds from an opening, counted in buckets from `first_s`, which
    is no later than the opening, to `ends_s`; `room` packets can be given."""
    before = int(np.ceil(max(0.0, -first_s) / bucket_s))
    after = max(1, int(np.ceil(ends_s / bucket_s)))
    edges = np.arange(-before, after + 1) * bucket_s
    answers = {name: np.histogram(times_s, edges)[0] for name, times_s in sorts.items()}
    left = room - np.cumsum(answers[GRANTED])
    return TimeLine(
        first_s=round(-before * bucket_s, 3),
        bucket_s=bucket_s,
        answers={name: counts.tolist() for name, counts in answers.items() if counts.any()},
        left=left.tolist(),
    )


def latency_histogram(latencies_s: NDArray[np.float64]) -> Histogram:
    """Return how the latencies are spread over bins of equal ratio."""
    edges = LATENCY_EDGES_MS
    counts = np.histogram(np.clip(latencies_s * 1000.0, edges[0], edges[-1]), edges)[0]
    return Histogram([round(float(edge), 4) for edge in edges], counts.tolist())


def amount_histogram(amounts_minor: NDArray[np.int64], bins: int = 40) -> Histogram:
    """Return how the amounts are spread over at most `bins` equal bins of whole minor units."""
    if not len(amounts_minor):
        return Histogram([0.0, 1.0], [0])
    low, high = int(amounts_minor.min()), int(amounts_minor.max()) + 1
    width = max(1, -(-(high - low) // bins))
    edges = np.arange(low, high + width, width)
    return Histogram([float(edge) for edge in edges], np.histogram(amounts_minor, edges)[0].tolist())
