"""The figures of gate, recorder and running reconciliation, in whichever form they run: for metrics and for rules."""

from collections.abc import Iterator

import msgspec

from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.gate.gate import Gate
from redrush.gate.readings import figures_now
from redrush.settle.reconcile.watch import Watch
from redrush.settle.recorder import Recorder
from redrush.wiring.dependencies import breaker_figures, bulkhead_figures


def gate_figures(gate: Gate) -> Iterator[Value]:
    """Yield the gate's figures: answers by round and outcome, claims parked, connections, refusals."""
    yield from figures_now(gate)
    for interface, times in gate.answer_times().items():
        yield figures.ANSWER_SECONDS.of(times, interface)
    yield from rounds_figures(gate)
    yield from _packet_figures(gate)
    yield from _set_figures(gate)
    for bulkhead in gate.queries.sets.values():
        yield from bulkhead_figures(bulkhead)
    if gate.exchange is not None:
        for verdict, count in gate.exchange.counts.items():
            yield figures.EXCHANGES(count, verdict)
    site = gate.site
    yield figures.CONNECTIONS_MAX(site.connections_max)
    for reason, count in site.counts.items():
        yield figures.REFUSALS(count, reason)
    yield figures.FORWARDED_UNREADABLE(site.asking.clients.unreadable)
    for limit in (site.asking.users, site.asking.addresses):
        yield figures.REFUSALS(limit.refused, f"{limit.name}_limit")
        yield figures.SLOWED(limit.slowed, limit.name)


def rounds_figures(gate: Gate) -> Iterator[Value]:
    """Yield what became of claims, by round, and by campaign where the gate has several."""
    for campaign, served in gate.campaigns.items():
        for rush in served.rounds:
            for one in _round_figures(rush.round.id, msgspec.structs.asdict(rush.counts)):
                yield one.of_campaign(campaign) if len(gate.campaigns) > 1 else one


def _round_figures(round_id: str, counts: dict[str, int]) -> Iterator[Value]:
    """Yield what became of the claims of a round."""
    for outcome, count in counts.items():
        if outcome == "batches":
            yield figures.BATCHES(count, round_id)
        else:
            yield figures.CLAIMS(count, round_id, outcome)


def _packet_figures(gate: Gate) -> Iterator[Value]:
    """Yield how many packets between people there were, and what became of grabs, all campaigns together."""
    groups = [served.group for served in gate.campaigns.values() if served.group is not None]
    if not groups:
        return
    counters = [group.counter for group in groups if group.counter is not None]
    if counters:
        yield figures.PACKETS(sum(counter.created for counter in counters), "created")
        yield figures.PACKETS(sum(counter.paid for counter in counters), "paid")
    for outcome in ("granted", "repeat", "empty", "closed", "not_eligible"):
        yield figures.PACKET_GRABS(sum(getattr(group.packets.counts, outcome) for group in groups), outcome)
    yield figures.PACKET_GRABS(sum(group.packets.wrong_words for group in groups), "wrong_word")
    yield figures.PACKET_GRABS(sum(group.packets.limited for group in groups), "limit")


def _set_figures(gate: Gate) -> Iterator[Value]:
    """Yield what each set does for this gate, all rounds together."""
    for name, lane in gate.lanes.items():
        yield figures.SET_BATCHES(lane.batches, name)
        yield figures.SET_FAILURES(lane.failures, name)
        yield figures.SET_AWAY(lane.away, name)
        yield figures.SET_PARKED(lane.parked, name)
    yield figures.INTERVAL((gate.admission.advised_ms or 0) / 1e3)
    for name, valve in gate.admission.valves.items():
        for reason, count in msgspec.structs.asdict(valve.counts).items():
            yield figures.CLAIMS_REFUSED(count, name, reason)


def settlement_figures(recorder: Recorder, watch: Watch, *of_set: str) -> Iterator[Value]:
    """Yield how far recording is, and what the running reconciliation found. `of_set` is the set, where there are
    several."""
    yield figures.RECORDS_BEHIND(recorder.lag, *of_set)
    yield figures.RECORDS_BEHIND_SECONDS(recorder.behind_s(), *of_set)
    yield from breaker_figures("records", recorder.records_breaker, recorder.records_away_s())
    yield figures.RECONCILE_PROBLEMS(watch.problems, *of_set)
    yield figures.RECONCILE_BEHIND(watch.behind, *of_set)
    yield figures.RECONCILE_COMPARED(watch.compared, *of_set)
    yield figures.RECONCILE_UNSWEPT(watch.unswept_s(), *of_set)
    yield figures.RECONCILE_SWEEP(watch.sweep_took_s, *of_set)
