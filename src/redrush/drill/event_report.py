"""The report of an event as typed values: what the terminal, the HTML page and the JSON file show is all in here.

Amounts are minor units, times are seconds or milliseconds as the names say. The values are plain, so that
`msgspec.json` reads and writes the whole.
"""

import msgspec

from redrush.drill.audit import Verdict


class LatencyFigures(msgspec.Struct, frozen=True):
    """Quantiles from the intended send time to the complete answer; each is a latency that was measured."""

    count: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


class RateFigures(msgspec.Struct, frozen=True):
    """Answers of one sort: how many, the most in any 100 ms as a rate, and the mean from the first to the last."""

    count: int
    peak_per_s: float
    mean_per_s: float


class TrafficFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Requests and what became of them: planned = sent + not_sent, sent = answered + errors.

    A *grab* is an answer that gave a packet for the first time; a *reject* is every answer that gave none. Repeats of
    a known grant are neither.
    """

    sent: int
    not_sent: int
    answered: int
    errors: int
    endings: dict[str, int]
    statuses: dict[str, int]
    repeats: int
    grabs: RateFigures
    rejects: RateFigures
    grab_latency: LatencyFigures | None
    reject_latency: LatencyFigures | None
    late: LatencyFigures | None
    """The part of the latency that the generator caused: from the intended to the real send time."""

    @property
    def refused(self) -> int:
        """Answers with another status than 200."""
        return self.endings.get("refused", 0)


class TimeLine(msgspec.Struct, frozen=True):
    """Answers per bucket. Bucket k is from `first_s` + k·`bucket_s`, relative to the round's opening."""

    first_s: float
    bucket_s: float
    answers: dict[str, list[int]]
    left: list[int]
    """Packets left at the end of each bucket, as users saw it."""


class Histogram(msgspec.Struct, frozen=True):
    """`counts[k]` values lie in `edges[k]` ≤ value < `edges[k+1]`; the last bin includes its end."""

    edges: list[float]
    counts: list[int]


class RoundFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One round."""

    id: str
    opens_us: int
    lasts_s: float
    kind: str
    release_per_s: float | None
    packets: int
    carried_in: int
    granted: int
    total_minor: int
    granted_minor: int
    grants: RateFigures
    """As users saw them where a crowd was simulated, else as they are written down."""
    people: int | None
    """Different users who asked; None where that was not observed."""
    sold_out_after_s: float | None
    """From the opening to the answer that gave the last packet; None if packets were left."""
    traffic: TrafficFigures | None
    time_line: TimeLine
    amounts: Histogram

    @property
    def left(self) -> int:
        """Packets that nobody got in this round."""
        return self.packets + self.carried_in - self.granted


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What the figures were measured on."""

    cpu: str
    cores: int
    system: str
    python: str
    connections: int
    registered_users: int
    fsync_ms: float
    """Median of appending 4 KB and fsync on the data directory's disk."""
    note: str


class CrowdFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulated crowd observed, over all rounds."""

    took_s: float
    traffic: TrafficFigures
    grab_latencies: Histogram
    reject_latencies: Histogram
    settled_after_s: float
    """From the end of the crowd to the last record: graceful stop and catching up."""
    unheard: int
    """Grants written down whose answer never reached the user."""
    reconnects: int
    conditions: Conditions


class PayoutFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the winners' money; refused is what went back to their balances. `difference_minor` is the
    provider's bill less ours."""

    paid: int
    paid_minor: int
    waiting: int
    waiting_minor: int
    refused: int
    refused_minor: int
    difference_minor: int


class SharedFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The packets between people: how many were opened, with how many shares, of which so many were granted. What is
    neither granted nor returned to those who paid may still be granted."""

    count: int
    shares: int
    grants: int
    total_minor: int
    granted_minor: int
    returned_minor: int


class EventReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole event. What only a simulated crowd can tell is None in the report of a real one."""

    version: int = 2
    campaign: str
    name: str
    currency: str
    timezone: str
    """In which the report's instants are shown (see `redrush.core.rush.zones`)."""
    made_us: int
    """When it was made, µs since the Unix epoch."""
    rounds: tuple[RoundFigures, ...]
    grants: RateFigures
    verdicts: tuple[Verdict, ...]
    crowd: CrowdFigures | None = None
    payouts: PayoutFigures | None = None
    """None: nobody was paid by this event."""
    shared: SharedFigures | None = None
    """None: nobody opened a packet for others. The figures above are of the rounds alone."""

    @property
    def traffic(self) -> TrafficFigures | None:
        """What the crowd did, where one was observed."""
        return None if self.crowd is None else self.crowd.traffic

    @property
    def holds(self) -> bool:
        """Whether every verdict holds."""
        return all(verdict.holds for verdict in self.verdicts)

    @property
    def packets(self) -> int:
        """Packets of all rounds."""
        return sum(round_.packets for round_ in self.rounds)

    @property
    def granted(self) -> int:
        """Packets given."""
        return sum(round_.granted for round_ in self.rounds)

    @property
    def total_minor(self) -> int:
        """The budget."""
        return sum(round_.total_minor for round_ in self.rounds)

    @property
    def granted_minor(self) -> int:
        """Money given."""
        return sum(round_.granted_minor for round_ in self.rounds)

    @property
    def left_minor(self) -> int:
        """Money not given."""
        return self.total_minor - self.granted_minor
