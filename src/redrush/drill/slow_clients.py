"""The drill `slow-clients`: thousands hold connections and hardly use them, while others come as usual.

The slow ones are a process of their own (see `redrush.drill.slow_crowd`): a third never ends its headers, a third never
its body, a third never reads its answers. They are there in every second window; the good ones come all the time, each
once, at a moderate rate, and their p99 with the slow ones is held against that without (see `redrush.drill.beside`).
The server is an unchanged `redrush serve` with its default deadlines.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
import numpy as np

from redrush.drill.audit import Verdict
from redrush.drill.behaviour import ONCE
from redrush.drill.beside import PLOT_BUCKETS, Comparison, Windows, compare, latency_plot
from redrush.drill.cores import Cores, share_cores
from redrush.drill.crowd import CrowdPlan, Target
from redrush.drill.drill_report import DrillReport, Figure
from redrush.drill.event_figures import conditions
from redrush.drill.observations import Observations
from redrush.drill.overload_figures import endings_of, from_send_s, granted, kinds, late_ms_of
from redrush.drill.rehearsal import HOST, Rehearsal
from redrush.drill.schedules import Seconds, independent, plan
from redrush.drill.server_watch import ServerWatch
from redrush.drill.slow_crowd import NICENESS, SlowCrowd, SlowNews, SlowPlan
from redrush.drill.stage import FILES_KEPT, NOT_JUDGED, SEED, plain_event, play_crowd, starting_us, user_names
from redrush.drill.time_plot import TimePlot
from redrush.processes.open_files import allow_files

SLOWER_MAX: Final = 2.0
SERVED_MIN: Final = 0.999
THERE_MIN: Final = 0.9
"""Of the slow ones, how many must be connected at once for the drill to count as played: who is cut off stays away for
a second of the ten or so that they last."""
BYTES_PER_CLIENT_MAX: Final = 65_536
"""What the gate may hold for a connection that it reads no further, see `redrush.http.connection.UNREAD_BYTES_MAX`."""
BYTES_PER_GRANT: Final = 600
"""What a server grows by with each winner, ledger and caches included (100,000 grants without a slow one): that comes
of the grants, not of the slow ones."""
GROWTH_MAX: Final = 1.1
"""Of the memory in the last window with them over that in the first: it is bounded, so it does not go on growing."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How many, and how long."""

    slow: int = 4_000
    rate_per_s: float = 300.0
    windows: Windows = Windows(pairs=4, window_s=14.0, skip_s=4.0, settle_s=3.0, leave_s=1.0)
    connections: int = 256
    times_judged: bool = True
    """Whether latencies are judged, or only shown."""


SHORT: Final = Shape(
    slow=400,
    rate_per_s=150.0,
    windows=Windows(pairs=1, window_s=2.0, skip_s=0.8, settle_s=0.5),
    connections=64,
    times_judged=False,
)
"""The same in small. Tests share their machine, so milliseconds say nothing there."""


class Seen(msgspec.Struct, frozen=True):
    """What came of it: the good ones, the slow ones over time, and the server."""

    good: Observations
    people: int
    slow: tuple[tuple[float, SlowNews], ...]
    watch: ServerWatch

    def connected_max(self) -> int:
        """Return the most slow ones that were there at once."""
        return max((news.connected for _, news in self.slow), default=0)


def slow_clients(directory: Path, redrush: Sequence[str], short: bool, tell: Callable[[str], None]) -> DrillReport:
    """Play the drill; see the module."""
    shape, begun_s, cores = SHORT if short else Shape(), time.monotonic(), share_cores()
    allow_files(shape.slow + shape.connections + FILES_KEPT)
    planned_s = independent(shape.rate_per_s, shape.windows.lasts_s, seed=SEED)
    conditions_ = conditions(directory, len(planned_s), shape.connections, cores.note)
    with Rehearsal(directory, redrush) as event:
        event.serve("serve", str(event.campaign_path(plain_event("slow clients", len(planned_s)))), core=cores.server)
        tell(
            f"{shape.rate_per_s:g} people a second for {shape.windows.lasts_s:g} s; in every second window "
            f"{shape.slow:,} slow clients beside them"
        )
        seen, result_verdicts = _play(event, shape, cores, planned_s)
    sent_s, waits_s = _good_times(seen.good)
    comparison = compare(shape.windows, sent_s, waits_s)
    return DrillReport(
        drill="slow-clients",
        title=f"{shape.slow:,} clients that hold connections and hardly use them",
        method=(
            f"{shape.slow:,} slow clients, a third each with headers, bodies and reading that never end, came back "
            f"whenever they were cut off, in {shape.windows.pairs} of {2 * shape.windows.pairs} windows of "
            f"{shape.windows.window_s:g} s, beside {shape.rate_per_s:g} good requests a second. The first "
            f"{shape.windows.skip_s:g} s of each window and the last {shape.windows.leave_s:g} s, in which the slow "
            "ones come and go, are only shown. "
            f"{'' if shape.times_judged else NOT_JUDGED}"
        ),
        verdicts=(*_verdicts(shape, seen, comparison), *result_verdicts),
        figures=_figures(shape, seen, comparison),
        plots=(latency_plot("The good ones", shape.windows, sent_s, waits_s), _slow_plot(shape, seen)),
        conditions=conditions_,
        took_s=time.monotonic() - begun_s,
    )


def _play(event: Rehearsal, shape: Shape, cores: Cores, planned_s: Seconds) -> tuple[Seen, tuple[Verdict, ...]]:
    tickets = event.tickets([*user_names(0, len(planned_s)), "slow"])
    slow_plan = SlowPlan(
        host=HOST,
        port=event.port,
        round="r1",
        ticket=tickets[-1][1],
        clients=shape.slow,
        # Where nothing is timed, they are to be there in time whatever else the machine does.
        niceness=NICENESS if shape.times_judged else 0,
    )
    news: list[tuple[float, SlowNews]] = []
    with SlowCrowd(slow_plan, cores.crowd) as slow:
        crowd_plan = CrowdPlan(
            target=Target(HOST, event.port, ("r1",)),
            tickets=tickets[:-1],
            schedule=plan([(0, planned_s, np.arange(len(planned_s), dtype=np.int32))]),
            starts_us=starting_us(len(planned_s)),
            behaviour=ONCE,
            connections=shape.connections,
            seed=SEED,
        )
        watch = ServerWatch(event.server.pid, f"http://{HOST}:{event.control_port}", crowd_plan.starts_us / 1e6)

        def look(now_s: float) -> None:
            slow.be(shape.windows.is_beside(now_s))
            news.append((now_s, slow.listen()))
            watch.look()

        result = play_crowd(event, crowd_plan, cores.crowd, look)
    event.stop_server()
    ledger = event.reconcile()
    audit, _ = event.audit(result.acknowledged, result.breaches)
    return Seen(result.observations, len(planned_s), tuple(news), watch), (*audit.verdicts, ledger)


def _good_times(good: Observations) -> tuple[Seconds, Seconds]:
    """Return, of those who got their packet, when they asked and how long it took from there."""
    got = good.where(granted(good))
    return got.intended_s + got.late_s, from_send_s(got)


def _memory(shape: Shape, seen: Seen) -> tuple[float, float]:
    """Return the bytes that a slow client cost, and the memory in the last window with them over that in the first,
    without what the good ones' grants in between are remembered with."""
    windows, watch = shape.windows, seen.watch
    before = watch.resident_max(-np.inf, windows.beside[0][0])
    first, last = (watch.resident_max(*windows.beside[index]) for index in (0, -1))
    from_s, to_s = windows.beside[0][0], windows.beside[-1][0]
    asked_s, _ = _good_times(seen.good)
    winners = BYTES_PER_GRANT * int(np.count_nonzero((from_s <= asked_s) & (asked_s < to_s)))
    return (max(first, last) - before) / shape.slow, (last - winners) / first if first else float("inf")


def _verdicts(shape: Shape, seen: Seen, comparison: Comparison) -> tuple[Verdict, ...]:
    served, there = float(granted(seen.good).sum() / seen.people), seen.connected_max() / shape.slow
    per_client, growth = _memory(shape, seen)
    found = (
        Verdict("slow ones", there >= THERE_MIN, f"{seen.connected_max():,} of {shape.slow:,} were there at once"),
        Verdict("good ones", served >= SERVED_MIN, f"{served:.2%} got their packet, at least {SERVED_MIN:.1%}"),
        Verdict(
            "memory",
            per_client <= BYTES_PER_CLIENT_MAX and growth <= GROWTH_MAX,
            f"{per_client / 1024:.1f} KiB for each slow client, at most {BYTES_PER_CLIENT_MAX / 1024:g}; {growth:.2f} "
            f"times as much in the last window as in the first, at most {GROWTH_MAX:g}",
        ),
    )
    if not shape.times_judged:
        return found
    return (
        *found,
        Verdict(
            "good ones: p99",
            comparison.ratio <= SLOWER_MAX,
            f"{comparison.ratio:.2f} times as long with the slow ones, at most {SLOWER_MAX:g} times",
        ),
    )


def _figures(shape: Shape, seen: Seen, comparison: Comparison) -> dict[str, Figure]:
    per_client, growth = _memory(shape, seen)
    last = seen.slow[-1][1] if seen.slow else SlowNews()
    return {
        "good_requests": len(seen.good),
        "good_served_share": round(float(granted(seen.good).sum() / seen.people), 5),
        **{f"good_{name}": figure for name, figure in comparison.figures().items()},
        "good_generator_late_p99_ms": late_ms_of(seen.good),
        "good_endings": kinds(endings_of(seen.good)),
        "slow_clients": shape.slow,
        "slow_connected_max": seen.connected_max(),
        "slow_connections": last.made,
        "slow_refused_with_an_answer": last.told,
        "slow_cut_off": last.cut,
        "slow_not_let_in": last.failed,
        "memory_mb_max": round(seen.watch.resident_max(-np.inf, np.inf) / 1e6, 1),
        "memory_kib_per_slow_client": round(per_client / 1024, 2),
        "memory_last_over_first_window": round(growth, 3),
    }


def _slow_plot(shape: Shape, seen: Seen) -> TimePlot:
    bucket_s = shape.windows.lasts_s / PLOT_BUCKETS
    connected = [float("nan")] * PLOT_BUCKETS
    for at_s, news in seen.slow:
        if 0 <= (bucket := int(at_s / bucket_s)) < PLOT_BUCKETS:
            connected[bucket] = float(news.connected)
    return TimePlot(
        title="The slow ones",
        note=f"Connected at once. The median while they were to be there: {_median_there(shape, seen):,.0f}.",
        bucket_s=bucket_s,
        unit="connections",
        series={"slow clients": connected},
        broken=tuple(shape.windows.beside),
    )


def _median_there(shape: Shape, seen: Seen) -> float:
    there = [news.connected for at_s, news in seen.slow if shape.windows.is_beside(at_s)]
    return float(median(there)) if there else 0.0
