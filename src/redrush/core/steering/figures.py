"""The table of figures: what is measured, once, for metrics, for automatic rules, and for whoever shows it to people.

A row says what a figure is; whoever has the number calls the row with it, in one place, and everything else is made of
that: the text at `/metrics`, what rules read (`redrush.core.steering.rules.READINGS`), docs/metrics.md. What is in no
row is told to nobody.

Long, because it is one table: a row has some lines.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from redrush.core.steering.figure import EMBEDDED, Figure, Kind

GATE: Final = "gate"
RECORDER: Final = "recorder"
SETTLE: Final = "settle"
CONTROL: Final = "control"
QUERY: Final = "query"
PAYMENTS: Final = "payments"

GATES: Final = (EMBEDDED, GATE)
RECORDERS: Final = (EMBEDDED, RECORDER)
CLOCKED: Final = (EMBEDDED, GATE, SETTLE, CONTROL)
EVERYBODY: Final = (EMBEDDED, GATE, RECORDER, SETTLE, CONTROL, QUERY, PAYMENTS)


class Interface(StrEnum):
    """What answers are timed by."""

    GRAB = "grab"
    """Claims, of whatever outcome."""
    GRANTS = "grants"
    """`GET /v1/grants`, answered by the stores."""
    STATE = "state"
    """The public state of rounds."""
    QUERY = "query"
    """What is asked of the records."""
    PAYMENTS = "payments"
    """Balances and payouts, where a role of their own serves them."""
    CONTROL = "control"
    """Orders and lists of the control port, and its metrics; not those who wait there for a change."""


SERVES: Final[Mapping[Interface, tuple[str, ...]]] = {
    Interface.GRAB: GATES,
    Interface.GRANTS: GATES,
    Interface.STATE: GATES,
    Interface.QUERY: (QUERY,),
    Interface.PAYMENTS: (PAYMENTS,),
    Interface.CONTROL: EVERYBODY,
}
"""Who has which interface."""

QUANTILES: Final[Mapping[str, float]] = {"p50": 0.5, "p99": 0.99}

_rows: list[Figure] = []


def _row(  # noqa: PLR0913 - the columns of the table
    kind: Kind,
    name: str,
    help_: str,
    roles: tuple[str, ...],
    *,
    unit: str = "",
    labels: tuple[str, ...] = (),
    reading: str | None = None,
    per_unit: float = 1.0,
    when: str = "",
) -> Figure:
    read = name if kind is Kind.WINDOW else reading
    row = Figure(
        name=name, kind=kind, help=help_, unit=unit, labels=labels, roles=roles, reading=read, per_unit=per_unit,
        when=when,
    )  # fmt: skip
    _rows.append(row)
    return row


CLAIMS: Final = _row(
    Kind.COUNTER, "redrush_claims", "Answers to claims by round and outcome", GATES, labels=("round", "outcome")
)
BATCHES: Final = _row(Kind.COUNTER, "redrush_batches", "Batches of claims made durable", GATES, labels=("round",))
SET_BATCHES: Final = _row(
    Kind.COUNTER, "redrush_set_batches", "Batches of claims that the set made durable", GATES, labels=("set",)
)
SET_FAILURES: Final = _row(
    Kind.COUNTER, "redrush_set_failures", "Batches of claims of unknown fate", GATES, labels=("set",)
)
SET_AWAY: Final = _row(
    Kind.COUNTER, "redrush_set_away", "Claims told to come back as the set was away", GATES, labels=("set",)
)
SET_PARKED: Final = _row(Kind.GAUGE, "redrush_set_parked", "Claims waiting for the set", GATES, labels=("set",))
PARKED: Final = _row(
    Kind.GAUGE, "redrush_parked", "Claims waiting for the store, in one gate", GATES, reading="store.claims_waiting"
)
CONNECTIONS: Final = _row(
    Kind.GAUGE,
    "redrush_connections",
    "Open connections of participants",
    (*GATES, QUERY, PAYMENTS),
    reading="gate.connections",
)
CONNECTIONS_MAX: Final = _row(
    Kind.GAUGE, "redrush_connections_max", "Connections that there may be, as files allow", GATES
)
EXCHANGES: Final = _row(
    Kind.COUNTER,
    "redrush_exchanges",
    "Tickets brought for exchange, by verdict",
    GATES,
    labels=("verdict",),
    when="an event with proof of work",
)
PACKETS: Final = _row(
    Kind.COUNTER,
    "redrush_packets",
    "Packets between people that were created, and paid",
    (EMBEDDED, PAYMENTS),
    labels=("step",),
    when="a campaign with packets between people",
)
PACKET_GRABS: Final = _row(
    Kind.COUNTER,
    "redrush_packet_grabs",
    "Answers to grabs of packets between people by outcome",
    GATES,
    labels=("outcome",),
    when="a campaign with packets between people",
)
REFUSALS: Final = _row(Kind.COUNTER, "redrush_refusals", "Refusals before any claim", GATES, labels=("reason",))
SLOWED: Final = _row(
    Kind.COUNTER, "redrush_slowed", "Requests that came so often that a pause was advised", GATES, labels=("limit",)
)
FORWARDED_UNREADABLE: Final = _row(
    Kind.COUNTER,
    "redrush_forwarded_unreadable",
    "Lists of trusted proxies (X-Forwarded-For) that could not be read: the proxy's address was counted",
    GATES,
)
ANSWER_SECONDS: Final = _row(
    Kind.HISTOGRAM,
    "redrush_answer_seconds",
    "From a request's arrival to its answer, by interface",
    EVERYBODY,
    unit="seconds",
    labels=("interface",),
)
LOOP_LATE: Final = _row(
    Kind.GAUGE,
    "redrush_loop_late_seconds",
    "How late the loop is for its timers, mean of 0.1 s: short of processor",
    GATES,
    unit="seconds",
    reading="gate.loop_late_ms",
    per_unit=1e3,
)
INTERVAL: Final = _row(
    Kind.GAUGE, "redrush_interval_seconds", "Interval advised under overload, 0: none", GATES, unit="seconds"
)
LEVEL: Final = _row(
    Kind.GAUGE,
    "redrush_level",
    "Share of users whose claims are refused, 0 to 1",
    GATES,
    unit="share",
    labels=("set",),
    reading="gate.level",
)
QUEUEING: Final = _row(
    Kind.GAUGE,
    "redrush_queueing_seconds",
    "Wait of claims in the gate for the store, mean of 0.1 s",
    GATES,
    unit="seconds",
    labels=("set",),
    reading="gate.queueing_ms",
    per_unit=1e3,
)
CLAIMS_REFUSED: Final = _row(
    Kind.COUNTER, "redrush_claims_refused", "Claims refused by admission", GATES, labels=("set", "reason")
)
CLAIMS_PER_SECOND: Final = _row(
    Kind.WINDOW, "gate.claims_per_second", "Claims answered by one gate, of whatever outcome", GATES
)
REJECTS_PER_SECOND: Final = _row(
    Kind.WINDOW, "gate.rejects_per_second", "Claims that one gate refuses with 503, for whatever reason", GATES
)
BUSY_SHARE: Final = _row(
    Kind.WINDOW,
    "gate.busy_share",
    "Share of a gate's answers to claims that were 503 because too many waited, 0 to 1",
    GATES,
    unit="share",
)
AWAY_SHARE: Final = _row(
    Kind.WINDOW,
    "gate.away_share",
    "Share of a gate's answers to claims that were 503 because their set did not answer, 0 to 1",
    GATES,
    unit="share",
)
RELEASE_GATES: Final = _row(
    Kind.GAUGE, "redrush_release_gates", "Gates that share the release pace, as this one knows", (GATE,)
)
CAMPAIGNS: Final = _row(Kind.GAUGE, "redrush_campaigns", "Campaigns besides the first", EVERYBODY, labels=("state",))
RECORDS_BEHIND: Final = _row(
    Kind.GAUGE,
    "redrush_records_behind",
    "Log records not yet in the records",
    RECORDERS,
    labels=("set",),
    reading="records.behind",
)
RECORDS_BEHIND_SECONDS: Final = _row(
    Kind.GAUGE,
    "redrush_records_behind_seconds",
    "For how long the records have not had everything; 0: they have",
    RECORDERS,
    unit="seconds",
    labels=("set",),
    reading="records.behind_seconds",
)
RECONCILE_PROBLEMS: Final = _row(
    Kind.GAUGE,
    "redrush_reconcile_problems",
    "What disagrees in the records now, by the running reconciliation; 0: all agrees",
    RECORDERS,
    labels=("set",),
    reading="reconcile.problems",
)
RECONCILE_BEHIND: Final = _row(
    Kind.GAUGE,
    "redrush_reconcile_behind",
    "Log records that are recorded and not reconciled yet",
    RECORDERS,
    labels=("set",),
    reading="reconcile.behind",
)
RECONCILE_COMPARED: Final = _row(
    Kind.COUNTER, "redrush_reconcile_compared", "Grants reconciled, again and again", RECORDERS, labels=("set",)
)
RECONCILE_UNSWEPT: Final = _row(
    Kind.GAUGE,
    "redrush_reconcile_unswept_seconds",
    "Time since everything was reconciled",
    RECORDERS,
    unit="seconds",
    labels=("set",),
    reading="reconcile.unswept_seconds",
)
RECONCILE_SWEEP: Final = _row(
    Kind.GAUGE,
    "redrush_reconcile_sweep_seconds",
    "What the last reconciliation of everything took",
    RECORDERS,
    unit="seconds",
    labels=("set",),
)
DEPENDENCY_AWAY: Final = _row(
    Kind.GAUGE,
    "redrush_dependency_away_seconds",
    "How long it has answered nobody; 0: is up",
    (*RECORDERS, QUERY),
    unit="seconds",
    labels=("dependency",),
    reading="records.away_seconds",
)
DEPENDENCY_FAILURES: Final = _row(
    Kind.COUNTER,
    "redrush_dependency_failures",
    "Calls that failed or were late",
    (*RECORDERS, QUERY),
    labels=("dependency",),
)
DEPENDENCY_REFUSED: Final = _row(
    Kind.COUNTER,
    "redrush_dependency_refused",
    "Calls that were not made, or late",
    (*RECORDERS, GATE, QUERY),
    labels=("dependency", "why"),
    when="of a gate: queries of sets",
)
DEPENDENCY_UNDER_WAY: Final = _row(
    Kind.GAUGE,
    "redrush_dependency_under_way",
    "Calls under way",
    (*GATES, QUERY),
    labels=("dependency",),
    when="of a gate: once a set was queried",
)
DEPENDENCY_WAITING: Final = _row(
    Kind.GAUGE,
    "redrush_dependency_waiting",
    "Calls that wait for a place",
    (*GATES, QUERY),
    labels=("dependency",),
    when="of a gate: once a set was queried",
)
REPORTS: Final = _row(
    Kind.COUNTER,
    "redrush_reports",
    "Readings for the control role",
    (GATE, RECORDER, QUERY, PAYMENTS),
    labels=("fate",),
)
ROUNDS_UNSETTLED: Final = _row(
    Kind.GAUGE, "redrush_rounds_unsettled", "Rounds whose leftover may still move", (SETTLE,)
)
SET_READY: Final = _row(Kind.GAUGE, "redrush_set_ready", "Whether the set can grant", (CONTROL,), labels=("set",))
SET_ABSENCE: Final = _row(
    Kind.GAUGE,
    "redrush_set_absence",
    "Why the set cannot grant, if 1",
    (CONTROL,),
    labels=("set", "reason"),
    when="a set that cannot grant",
)
SET_EPOCH: Final = _row(
    Kind.GAUGE,
    "redrush_set_epoch",
    "Grows with every change of terms",
    (CONTROL,),
    labels=("set",),
    when="sets that wardens watch, not a cluster",
)
SET_DURABILITY: Final = _row(
    Kind.GAUGE,
    "redrush_set_durability",
    "What a grant rests on, if 1",
    (CONTROL,),
    labels=("set", "durability"),
    when="sets that wardens watch, not a cluster",
)
CLOCK_AHEAD: Final = _row(
    Kind.GAUGE,
    "redrush_clock_ahead_seconds",
    "How far a clock is ahead of this process's",
    CLOCKED,
    unit="seconds",
    labels=("clock",),
)
CLOCK_ERROR: Final = _row(
    Kind.GAUGE,
    "redrush_clock_error_seconds",
    "By how much that may be wrong",
    CLOCKED,
    unit="seconds",
    labels=("clock",),
)
CLOCK_IN_DOUBT: Final = _row(Kind.GAUGE, "redrush_clock_in_doubt", "Whether this process doubts its own clock", CLOCKED)
CONTROL_CONNECTIONS: Final = _row(
    Kind.GAUGE, "redrush_control_connections", "Connections of the control port", EVERYBODY, labels=("who",)
)
CONTROL_GUESTS_ENDED: Final = _row(
    Kind.COUNTER,
    "redrush_control_guests_ended",
    "Connections without a token that took too long or made room for others",
    EVERYBODY,
)
BILLS: Final = _row(
    Kind.COUNTER,
    "redrush_bills",
    "What the tellers have done: bills started, and asked about, unclear answers, bills done, ended otherwise, and "
    "dropped since they were taken too long ago",
    (EMBEDDED, PAYMENTS),
    labels=("provider", "what"),
    when="with a payments file",
)
PAYOUTS_BEHIND: Final = _row(
    Kind.GAUGE,
    "redrush_payouts_behind_seconds",
    "How long the oldest payout or refund is under way that waits for no person; 0: none is",
    (EMBEDDED, PAYMENTS),
    unit="seconds",
    reading="payments.behind_seconds",
    when="with a payments file",
)
PROVIDER_AWAY: Final = _row(
    Kind.GAUGE,
    "redrush_provider_away_seconds",
    "How long a provider has given no clear answer; 0: it does",
    (EMBEDDED, PAYMENTS),
    unit="seconds",
    labels=("provider",),
    reading="payments.provider_away_seconds",
    when="with a payments file",
)
NOTICES_REFUSED: Final = _row(
    Kind.COUNTER,
    "redrush_notices_refused",
    "Providers' notices that were not believed: not genuine, or of something else than our bill",
    (EMBEDDED, PAYMENTS),
    labels=("why",),
    when="with a payments file",
)
BUILD: Final = _row(
    Kind.GAUGE,
    "redrush_build_info",
    "Always 1: the release and the Python that this process runs",
    EVERYBODY,
    labels=("version", "python"),
)
FAULTS: Final = _row(
    Kind.COUNTER, "redrush_faults", "Faults that were outlived", EVERYBODY, labels=("part",), when="after the first"
)

QUANTILE_OF: Final[Mapping[tuple[Interface, str], Figure]] = {
    (interface, quantile): _row(
        Kind.WINDOW,
        f"{interface}.{quantile}_ms",
        f"{quantile} of the answers of the interface `{interface}` in the last second, to a factor of √2; 0: none",
        (EMBEDDED, CONTROL) if interface is Interface.CONTROL else SERVES[interface],
        unit="ms",
    )
    for interface in Interface
    for quantile in QUANTILES
}
"""How long answers took lately, by interface and name of the quantile."""

FIGURES: Final = tuple(_rows)
"""All rows, in their order."""
