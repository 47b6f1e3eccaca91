"""What metrics, and rules, read of a gate and of a recorder, in whichever form they run."""

from collections.abc import Iterator

import msgspec

from redrush.gate.admission import Admission
from redrush.gate.gate import Gate
from redrush.settle.reconcile.watch import Watch
from redrush.settle.recorder import Recorder
from redrush.watch.metrics import Reading
from redrush.wiring.dependencies import bulkhead_readings


def gate_readings(gate: Gate) -> Iterator[Reading]:
    """Yield the gate's figures: answers by round and outcome, claims parked, connections, refusals."""
    for round_id, rush in gate.rounds.items():
        for outcome, count in msgspec.structs.asdict(rush.counts).items():
            if outcome == "batches":
                labels: tuple[tuple[str, str], ...] = (("round", round_id),)
                yield Reading("redrush_batches", "Batches of claims made durable", "counter", labels, count)
            else:
                labels = (("round", round_id), ("outcome", outcome))
                yield Reading("redrush_claims", "Answers to claims by round and outcome", "counter", labels, count)
    yield from _set_readings(gate)
    for bulkhead in gate.queries.sets.values():
        yield from bulkhead_readings(bulkhead)
    if gate.exchange is not None:
        for verdict, count in gate.exchange.counts.items():
            labels = (("verdict", verdict),)
            yield Reading("redrush_exchanges", "Tickets brought for exchange, by verdict", "counter", labels, count)
    yield from _admission_readings(gate.admission)
    yield Reading("redrush_parked", "Claims waiting for the store", "gauge", (), gate.gauge.parked)
    yield Reading("redrush_connections", "Open connections", "gauge", (), len(gate.site.connections))
    yield Reading(
        "redrush_connections_max",
        "Connections that there may be, as files allow",
        "gauge",
        (),
        gate.site.connections_max,
    )
    for reason, count in gate.site.counts.items():
        yield Reading("redrush_refusals", "Refusals before any claim", "counter", (("reason", reason),), count)
    yield Reading(
        "redrush_forwarded_unreadable",
        "Lists of trusted proxies (X-Forwarded-For) that could not be read: the proxy's address was counted",
        "counter",
        (),
        gate.site.asking.clients.unreadable,
    )
    for limit in (gate.site.asking.users, gate.site.asking.addresses):
        labels = (("reason", f"{limit.name}_limit"),)
        yield Reading("redrush_refusals", "Refusals before any claim", "counter", labels, limit.refused)
        labels = (("limit", limit.name),)
        yield Reading(
            "redrush_slowed", "Requests that came so often that a pause was advised", "counter", labels, limit.slowed
        )


def _set_readings(gate: Gate) -> Iterator[Reading]:
    """Yield what each set does for this gate, all rounds together."""
    for name, lane in gate.lanes.items():
        labels = (("set", name),)
        yield Reading(
            "redrush_set_batches", "Batches of claims that the set made durable", "counter", labels, lane.batches
        )
        yield Reading("redrush_set_failures", "Batches of claims of unknown fate", "counter", labels, lane.failures)
        yield Reading("redrush_set_away", "Claims told to come back as the set was away", "counter", labels, lane.away)
        yield Reading("redrush_set_parked", "Claims waiting for the set", "gauge", labels, lane.parked)


def _admission_readings(admission: Admission) -> Iterator[Reading]:
    """Yield the levels, what they follow from, and who was refused why."""
    late_s = admission.late_ms / 1e3
    yield Reading(
        "redrush_loop_late_seconds", "How late the loop was for its timers, mean of 0.1 s", "gauge", (), late_s
    )
    advised_s = (admission.advised_ms or 0) / 1e3
    yield Reading("redrush_interval_seconds", "Interval advised under overload, 0: none", "gauge", (), advised_s)
    for name, valve in admission.valves.items():
        labels = (("set", name),)
        yield Reading("redrush_level", "Share of users whose claims are refused", "gauge", labels, valve.levels.level)
        waited_s = valve.queueing_ms / 1e3
        yield Reading(
            "redrush_queueing_seconds", "Wait of claims in the gate, mean of 0.1 s", "gauge", labels, waited_s
        )
        for reason, count in msgspec.structs.asdict(valve.counts).items():
            labels_of_reason = (*labels, ("reason", reason))
            yield Reading("redrush_claims_refused", "Claims refused by admission", "counter", labels_of_reason, count)


def recorder_readings(recorder: Recorder) -> dict[str, float]:
    """Return what automatic rules can read of a recorder."""
    return {"records.behind": float(recorder.lag), "records.away_seconds": recorder.records_away_s()}


def rules_of_reconciling(watch: Watch) -> dict[str, float]:
    """Return what automatic rules can read of the running reconciliation."""
    return {
        "reconcile.problems": float(watch.problems),
        "reconcile.behind": float(watch.behind),
        "reconcile.unswept_seconds": watch.unswept_s(),
    }


def reconcile_readings(watch: Watch, labels: tuple[tuple[str, str], ...] = ()) -> Iterator[Reading]:
    """Yield what the running reconciliation found, and how far it is."""
    disagree = "What disagrees in the records now, 0: all agrees"
    yield Reading("redrush_reconcile_problems", disagree, "gauge", labels, watch.problems)
    behind = "Log records that are recorded and not reconciled yet"
    yield Reading("redrush_reconcile_behind", behind, "gauge", labels, watch.behind)
    yield Reading("redrush_reconcile_compared", "Grants reconciled, again and again", "counter", labels, watch.compared)
    unswept = "Time since everything was reconciled"
    yield Reading("redrush_reconcile_unswept_seconds", unswept, "gauge", labels, watch.unswept_s())
    took = "What the last reconciliation of everything took"
    yield Reading("redrush_reconcile_sweep_seconds", took, "gauge", labels, watch.sweep_took_s)
