"""The drill `overload`: ten times as many people a second as the service can give packets to, for a minute.

First the peak is measured: somewhat more people than the service can serve, for some seconds. Then ten times that many
a second, and then no more than usual again. Everybody comes once, at an instant planned before, whether or not others
were answered (open loop), and there are packets for all, so whoever gets none was turned away. On one small machine
nobody can offer ten times what a gate with a core of its own serves, so something is made small:

- *store*: a store of a fixed service rate behind an otherwise unchanged `redrush serve` (see `redrush.drill.
  paced_server`). The queue is in the gate, and every bar is judged.
- *cpu*: the unchanged server with a small share of a core, by a cgroup, where this account may make one. The queue is
  in the sockets, where nobody answers; a refusal costs the same core as a packet, so no service can give out packets at
  full speed while it turns away as many others as it has time for in all. Only twice the peak comes, goodput and
  latencies are shown, and judged is that nobody hears anything ill-formed, the memory, and when it is itself again.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from redrush.drill.audit import Verdict
from redrush.drill.behaviour import ONCE
from redrush.drill.cores import Cores, share_cores
from redrush.drill.cpu_share import CpuShare, Groups, find_groups
from redrush.drill.crowd import CrowdPlan, Target
from redrush.drill.drill_report import DrillReport, Figure
from redrush.drill.event_figures import conditions
from redrush.drill.observations import Ending
from redrush.drill.overload_figures import (
    Leg,
    Span,
    accepted_ms,
    endings,
    goodput_per_s,
    kinds,
    late_ms,
    normal_again_after_s,
    offered_per_s,
    plots_of,
    rejected_ms,
)
from redrush.drill.rehearsal import HOST, Rehearsal
from redrush.drill.schedules import independent, plan
from redrush.drill.server_watch import ServerWatch
from redrush.drill.stage import FILES_KEPT, NOT_JUDGED, SEED, plain_event, play_crowd, starting_us, user_names
from redrush.processes.open_files import allow_files

GOODPUT_MIN: Final = 0.90
SLOWER_MAX: Final = 3.0
ACCEPTED_MS_MAX: Final = 50.0
REJECTED_MS_MAX: Final = 50.0
NORMAL_AGAIN_S_MAX: Final = 1.0
MEMORY_MAX: Final = 1.3
OFFERED_MIN: Final = 0.95
"""Of what was planned for the wave, how much the generator must have sent for the drill to count as played."""

PEAK_FACTOR: Final = 1.3
"""Of what the store serves: enough to saturate it."""
PEAK_SKIP_S: Final = 0.3
"""Of the span in which the peak is measured: until it is one."""
USUAL_SHARE: Final = 0.5
"""Of what the store serves, how many people come when nothing happens."""
LEVEL: Final = 'redrush_level{set="embedded"}'

STORE: Final = "store"
CPU_BOUND: Final = "cpu"
SETTLE, USUAL, PEAK, CALM, WAVE, AFTER = "settle", "usual", "peak", "calm", "wave", "after"


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How much, and how long. `store_per_s` is the service rate of the store."""

    store_per_s: float = 500.0
    wave_factor: float = 10.0
    settle_s: float = 4.0
    usual_s: float = 20.0
    peak_s: float = 10.0
    calm_s: float = 5.0
    wave_s: float = 60.0
    after_s: float = 15.0
    connections: int = 4_096
    speed_judged: bool = True
    """Whether rates, latencies and the time back to normal are judged, or only shown."""


SHORT: Final = Shape(
    store_per_s=150.0, settle_s=0.3, usual_s=1.0, peak_s=1.2, calm_s=0.3, wave_s=1.2, after_s=1.0, connections=2_048,
    speed_judged=False,
)  # fmt: skip
"""The same in small. Tests share their machine, so what happens within a second of it says nothing."""


CPU: Final = Shape(wave_factor=2.0, usual_s=8.0, peak_s=6.0, wave_s=15.0, after_s=10.0)
CPU_SHARE: Final = 0.1
"""Of a core: then what the server serves, and twice that, is little work for the generator."""
RAMP: Final = tuple(Span(f"ramp {per_s}", float(per_s), 1.5) for per_s in (500, 1_000, 2_000, 4_000, 8_000))
"""Where what a share of a core serves is looked for; the most of any of them is near it."""


class Part(msgspec.Struct, frozen=True):
    """One bottleneck, before and during its wave."""

    name: str
    before: Leg
    rush: Leg
    shape: Shape
    audit: tuple[Verdict, ...]

    @property
    def peak_per_s(self) -> float:
        """The most packets a second that the service could give out."""
        return goodput_per_s(self.before, PEAK, PEAK_SKIP_S)


def overload(directory: Path, redrush: Sequence[str], short: bool, tell: Callable[[str], None]) -> DrillReport:
    """Play the drill; see the module."""
    shape, begun_s, cores = SHORT if short else Shape(), time.monotonic(), share_cores()
    allow_files(shape.connections + FILES_KEPT)
    people = round(shape.store_per_s * (shape.wave_s * shape.wave_factor + shape.usual_s + shape.peak_s))
    conditions_ = conditions(directory, people, shape.connections, cores.note)
    part = play_store_bound(directory, redrush, shape, cores, tell)
    parts, remark = [part], NOT_JUDGED
    if not short:
        groups = find_groups()
        remark = f"The second part, with {CPU_SHARE:.0%} of a core, was not played: no control group can be made here."
        if groups is not None:
            (directory / "cpu").mkdir()
            parts.append(play_cpu_bound(directory / "cpu", redrush, CPU, cores, groups, tell))
            remark = (
                f"Then a gate with {CPU_SHARE:.0%} of a core (control groups v{groups.version}) and "
                f"{CPU.wave_factor:g} times its peak."
            )
    return DrillReport(
        drill="overload",
        title=f"{shape.wave_factor:g} times as many people as the service can give packets to",
        method=(
            f"A store that decides {shape.store_per_s:g} claims a second, with its usual fsyncs, behind an otherwise "
            f"unchanged server. Its peak was measured with {PEAK_FACTOR:g} times as many people; then "
            f"{shape.wave_factor:g} times the peak came for {shape.wave_s:g} s, each once and independently of any "
            f"answer. Latencies count from the real send; the generator was late by "
            f"{late_ms(part.rush, WAVE) or 0:.1f} ms at p99. {remark}"
        ),
        verdicts=tuple(verdict for one in parts for verdict in (*verdicts(one), *named(one.name, one.audit))),
        figures={name: figure for one in parts for name, figure in figures(one).items()},
        plots=tuple(
            plot for one in parts for plot in plots_of(one.rush, one.name.capitalize(), WAVE, one.peak_per_s, LEVEL)
        ),
        conditions=conditions_,
        took_s=time.monotonic() - begun_s,
    )


def play_store_bound(
    directory: Path, redrush: Sequence[str], shape: Shape, cores: Cores, tell: Callable[[str], None]
) -> Part:
    """Play the part whose bottleneck is the store."""
    program = (sys.executable, "-m", "redrush.drill.paced_server", "--claims-per-s", f"{shape.store_per_s:g}")
    with Rehearsal(directory, redrush) as event:
        campaign = event.campaign_path(plain_event("overload", _packets(shape, shape.store_per_s)))
        event.serve(str(campaign), program=program, core=cores.server)
        return _play_part(STORE, event, shape, cores, shape.store_per_s, tell)


def play_cpu_bound(
    directory: Path, redrush: Sequence[str], shape: Shape, cores: Cores, groups: Groups, tell: Callable[[str], None]
) -> Part:
    """Play the part whose bottleneck is the gate's share of a core. Raises OSError if it cannot be given one."""
    with CpuShare(groups, CPU_SHARE) as share, Rehearsal(directory, redrush) as event:
        campaign = event.campaign_path(plain_event("overload", _packets(shape, RAMP[-1].rate_per_s)))
        event.serve("serve", str(campaign), core=cores.server)
        share.take(event.server.pid)
        tell(f"the server has {CPU_SHARE:.0%} of a core: looking for what it serves")
        ramp = _play(event, shape, cores, 0, RAMP)
        serves_per_s = max(goodput_per_s(ramp, span.name) for span in RAMP)
        return _play_part(CPU_BOUND, event, shape, cores, serves_per_s, tell, ramp)


def _packets(shape: Shape, per_s: float) -> int:
    lasts_s = shape.settle_s + shape.usual_s + shape.peak_s + shape.calm_s + shape.wave_s + shape.after_s
    return round(1.2 * per_s * lasts_s) + 20_000


def _play_part(
    name: str,
    event: Rehearsal,
    shape: Shape,
    cores: Cores,
    serves_per_s: float,
    tell: Callable[[str], None],
    *played: Leg,
) -> Part:
    """Measure the peak of a service of about `serves_per_s`, play the wave, end the server, and audit all legs."""
    usual_per_s, first_user = USUAL_SHARE * serves_per_s, sum(len(leg.planned_s) for leg in played)
    tell(f"{name}: measuring the peak with {PEAK_FACTOR * serves_per_s:,.0f} people a second")
    before = _play(event, shape, cores, first_user, (
        Span(SETTLE, usual_per_s, shape.settle_s),
        Span(USUAL, usual_per_s, shape.usual_s),
        Span(PEAK, PEAK_FACTOR * serves_per_s, shape.peak_s),
    ))  # fmt: skip
    peak_per_s = goodput_per_s(before, PEAK, PEAK_SKIP_S)
    wave_per_s = shape.wave_factor * peak_per_s
    tell(f"{name}: the peak is {peak_per_s:,.0f} packets a second; {wave_per_s:,.0f} people a second come now")
    rush = _play(event, shape, cores, first_user + len(before.planned_s), (
        Span(CALM, usual_per_s, shape.calm_s),
        Span(WAVE, wave_per_s, shape.wave_s),
        Span(AFTER, usual_per_s, shape.after_s),
    ))  # fmt: skip
    tell(f"{name}: stopping the server, auditing")
    event.stop_server()
    ledger = event.reconcile()
    legs = [*played, before, rush]
    acknowledged = [one for leg in legs for one in leg.result.acknowledged]
    breaches = sum((Counter(leg.result.breaches) for leg in legs), Counter[str]())
    audit, _ = event.audit(acknowledged, breaches)
    return Part(name, before, rush, shape, (*audit.verdicts, ledger))


def _play(event: Rehearsal, shape: Shape, cores: Cores, first_user: int, spans: tuple[Span, ...]) -> Leg:
    """Let new people come, at the rate of one span after the other."""
    starts_s = np.cumsum([0.0] + [span.lasts_s for span in spans[:-1]])
    planned_s = np.concatenate(
        [
            start_s + independent(span.rate_per_s, span.lasts_s, seed=SEED + first_user + index)
            for index, (start_s, span) in enumerate(zip(starts_s, spans, strict=True))
        ]
    )
    tickets = event.tickets(user_names(first_user, first_user + len(planned_s)))
    crowd_plan = CrowdPlan(
        target=Target(HOST, event.port, ("r1",)),
        tickets=tickets,
        schedule=plan([(0, planned_s, np.arange(len(planned_s), dtype=np.int32))]),
        starts_us=starting_us(len(planned_s)),
        behaviour=ONCE,
        connections=shape.connections,
        seed=SEED,
    )
    watch = ServerWatch(event.server.pid, f"http://{HOST}:{event.control_port}", crowd_plan.starts_us / 1e6)
    result = play_crowd(event, crowd_plan, cores.crowd, lambda _now_s: watch.look())
    return Leg(spans, planned_s, result, watch)


# From legs to verdicts and figures


def verdicts(part: Part) -> tuple[Verdict, ...]:
    """Return what must hold besides the audit."""
    shape, rush = part.shape, part.rush
    wave_per_s = rush.spans[1].rate_per_s
    offered, share = offered_per_s(rush, WAVE) / wave_per_s, goodput_per_s(rush, WAVE) / part.peak_per_s
    memory, ended, again_s = _memory(part), endings(part.before, rush), _normal_again_s(part)
    unheard = sum(ended[ending.label] for ending in (Ending.MALFORMED, Ending.TIMEOUT))
    found = [
        Verdict("well-formed", not unheard, f"{unheard:,} without a well-formed answer in time; {kinds(ended)}"),
        Verdict("memory", memory <= MEMORY_MAX, f"{memory:.2f} times that of before, at most {MEMORY_MAX:g}"),
    ]
    if shape.speed_judged:
        found += [
            Verdict("offered", offered >= OFFERED_MIN, f"{offered:.1%} of the planned {wave_per_s:,.0f} a second"),
        ]
    if shape.speed_judged and part.name == STORE:
        peak = part.peak_per_s / shape.store_per_s
        found += [
            Verdict(
                "normal again", again_s <= NORMAL_AGAIN_S_MAX, f"{again_s:.1f} s after, within {NORMAL_AGAIN_S_MAX:g}"
            ),
            # Else a gate that turns away too many could have a low peak, and then a tenfold of little.
            Verdict("peak", peak >= GOODPUT_MIN, f"{peak:.2f} of what the store serves, at least {GOODPUT_MIN:.2f}"),
            Verdict("goodput", share >= GOODPUT_MIN, f"{share:.2f} of the measured peak, at least {GOODPUT_MIN:.2f}"),
        ]
        found += _time_verdicts(part)
    return named(part.name, found)


def named(part: str, found: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return verdicts that say which part they are about."""
    return tuple(Verdict(f"{part}: {verdict.name}", verdict.holds, verdict.detail) for verdict in found)


def _time_verdicts(part: Part) -> tuple[Verdict, ...]:
    usual_ms, wave_ms = accepted_ms(part.before, USUAL, 0.99), accepted_ms(part.rush, WAVE, 0.99)
    rejects_ms = rejected_ms(part.rush, WAVE, 0.99)
    slower = wave_ms / usual_ms if wave_ms is not None and usual_ms else float("inf")
    return (
        Verdict(
            "accepted p99",
            slower <= SLOWER_MAX and wave_ms is not None and wave_ms <= ACCEPTED_MS_MAX,
            f"{wave_ms} ms, {slower:.1f} times the usual {usual_ms} ms; at most {SLOWER_MAX:g} times and "
            f"{ACCEPTED_MS_MAX:g} ms",
        ),
        Verdict(
            "rejects p99",
            rejects_ms is not None and rejects_ms <= REJECTED_MS_MAX,
            f"{rejects_ms} ms, at most {REJECTED_MS_MAX:g} ms",
        ),
    )


def _normal_again_s(part: Part) -> float:
    """Normal: served within what is let pass for those accepted during the wave."""
    return normal_again_after_s(part.rush, WAVE, ACCEPTED_MS_MAX / 1e3)


def _memory(part: Part) -> float:
    """Return the most memory during and after the wave, as a multiple of the most before it."""
    wave_from_s, _ = part.rush.when(WAVE)
    before = part.rush.watch.resident_max(-np.inf, wave_from_s)
    return part.rush.watch.resident_max(wave_from_s, np.inf) / before if before else float("inf")


def figures(part: Part) -> dict[str, Figure]:
    """Return the figures of a part, each with the name of its bottleneck before it."""
    before, rush = part.before, part.rush
    wave_from_s, _ = rush.when(WAVE)
    found: dict[str, Figure] = {
        "peak_per_s": round(part.peak_per_s, 1),
        "offered_per_s": round(offered_per_s(rush, WAVE), 1),
        "offered_over_peak": round(offered_per_s(rush, WAVE) / part.peak_per_s, 2),
        "goodput_per_s": round(goodput_per_s(rush, WAVE), 1),
        "goodput_over_peak": round(goodput_per_s(rush, WAVE) / part.peak_per_s, 4),
        "usual_accepted_p50_ms": accepted_ms(before, USUAL, 0.5),
        "usual_accepted_p99_ms": accepted_ms(before, USUAL, 0.99),
        "wave_accepted_p50_ms": accepted_ms(rush, WAVE, 0.5),
        "wave_accepted_p99_ms": accepted_ms(rush, WAVE, 0.99),
        "wave_rejected_p50_ms": rejected_ms(rush, WAVE, 0.5),
        "wave_rejected_p99_ms": rejected_ms(rush, WAVE, 0.99),
        "usual_generator_late_p99_ms": late_ms(before, USUAL),
        "wave_generator_late_p50_ms": late_ms(rush, WAVE, 0.5),
        "wave_generator_late_p99_ms": late_ms(rush, WAVE),
        "normal_again_after_s": _normal_again_s(part),
        "memory_before_mb": round(rush.watch.resident_max(-np.inf, wave_from_s) / 1e6, 1),
        "memory_during_mb": round(rush.watch.resident_max(wave_from_s, np.inf) / 1e6, 1),
        "memory_ratio": round(_memory(part), 3),
        "endings": kinds(endings(before, rush)),
    }
    return {f"{part.name}_{key}": value for key, value in found.items()}
