"""The drill `hot-user`: one user sends a hundred requests a second, and nobody else should feel it.

Ten thousand normal users ask once in each of some rounds, all the time; the hot one is there in every second window,
and the p99 of the others with them is held against that without (see `redrush.drill.beside`). The server is an
unchanged `redrush serve`.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from redrush.drill.audit import Verdict
from redrush.drill.behaviour import ONCE
from redrush.drill.beside import Comparison, Windows, compare, latency_plot
from redrush.drill.cores import Cores, share_cores
from redrush.drill.crowd import CrowdPlan, CrowdResult, Target
from redrush.drill.drill_report import DrillReport, Figure
from redrush.drill.event_figures import conditions
from redrush.drill.observations import Observations
from redrush.drill.overload_figures import endings_of, from_send_s, granted, kinds, late_ms_of
from redrush.drill.rehearsal import HOST, Rehearsal
from redrush.drill.schedules import Schedule, Seconds, constant_rate, independent, plan
from redrush.drill.stage import FILES_KEPT, NOT_JUDGED, SEED, plain_event, play_crowd, starting_us, user_names
from redrush.processes.open_files import allow_files

SLOWER_MAX: Final = 1.1
SERVED_MIN: Final = 0.999
HOT: Final = "hot"


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How many, and how long."""

    users: int = 10_000
    rate_per_s: float = 600.0
    hot_per_s: float = 100.0
    windows: Windows = Windows(pairs=50, window_s=1.0, skip_s=0.2, settle_s=3.0)
    connections: int = 256
    times_judged: bool = True
    """Whether latencies are judged, or only shown."""

    @property
    def rounds(self) -> tuple[str, ...]:
        """As many rounds as it takes for everybody to come once in each, and some to spare."""
        return tuple(f"r{k + 1}" for k in range(int(self.rate_per_s * self.windows.lasts_s * 1.1 / self.users) + 1))


SHORT: Final = Shape(
    users=1_000,
    rate_per_s=150.0,
    windows=Windows(pairs=1, window_s=2.0, skip_s=0.3, settle_s=0.5),
    connections=64,
    times_judged=False,
)
"""The same in small. Tests share their machine, so milliseconds say nothing there."""


def hot_user(directory: Path, redrush: Sequence[str], short: bool, tell: Callable[[str], None]) -> DrillReport:
    """Play the drill; see the module."""
    shape, begun_s, cores = SHORT if short else Shape(), time.monotonic(), share_cores()
    allow_files(shape.connections + FILES_KEPT)
    schedule = schedule_of(shape)
    conditions_ = conditions(directory, shape.users + 1, shape.connections, cores.note)
    with Rehearsal(directory, redrush) as event:
        campaign = plain_event("hot user", shape.users + 1, shape.rounds)
        event.serve("serve", str(event.campaign_path(campaign)), core=cores.server)
        tell(
            f"{shape.users:,} users, {shape.rate_per_s:g} requests a second for {shape.windows.lasts_s:g} s; in every "
            f"second window one more user with {shape.hot_per_s:g}"
        )
        result = _play(event, shape, cores, schedule)
        event.stop_server()
        ledger = event.reconcile()
        audit, _ = event.audit(result.acknowledged, result.breaches)
    others, hot = split(result, shape.users)
    sent_s, waits_s = _times(others)
    comparison = compare(shape.windows, sent_s, waits_s)
    return DrillReport(
        drill="hot-user",
        title=f"One user with {shape.hot_per_s:g} requests a second among {shape.users:,} others",
        method=(
            f"{shape.users:,} users asked once in each of {len(shape.rounds)} rounds, {shape.rate_per_s:g} a second; "
            f"one more asked {shape.hot_per_s:g} times a second in {shape.windows.pairs} of {2 * shape.windows.pairs} "
            f"windows of {shape.windows.window_s:g} s. Compared are the others' p99 of neighbouring windows. "
            f"{'' if shape.times_judged else NOT_JUDGED}"
        ),
        verdicts=(*_verdicts(shape, others, hot, comparison), *audit.verdicts, ledger),
        figures=_figures(others, hot, comparison),
        plots=(latency_plot("The others", shape.windows, sent_s, waits_s),),
        conditions=conditions_,
        took_s=time.monotonic() - begun_s,
    )


def schedule_of(shape: Shape) -> Schedule:
    """Return who asks when: the normal users in turn, the hot one (the last index) in the windows with it."""
    times_s = independent(shape.rate_per_s, shape.windows.lasts_s, seed=SEED)
    numbers = np.arange(len(times_s))
    users, rounds = (numbers % shape.users).astype(np.int32), numbers // shape.users
    parts: list[tuple[int, Seconds, NDArray[np.int32]]] = [
        (int(index), times_s[rounds == index], users[rounds == index]) for index in np.unique(rounds)
    ]
    for from_s, to_s in shape.windows.beside:
        hot_s = from_s + constant_rate(shape.hot_per_s, to_s - from_s)
        parts.append((0, hot_s, np.full(len(hot_s), shape.users, dtype=np.int32)))
    return plan(parts)


def _play(event: Rehearsal, shape: Shape, cores: Cores, schedule: Schedule) -> CrowdResult:
    crowd_plan = CrowdPlan(
        target=Target(HOST, event.port, shape.rounds),
        tickets=event.tickets([*user_names(0, shape.users), HOT]),
        schedule=schedule,
        starts_us=starting_us(shape.users),
        behaviour=ONCE,
        connections=shape.connections,
        seed=SEED,
    )
    return play_crowd(event, crowd_plan, cores.crowd, lambda _now_s: None)


def split(result: CrowdResult, hot: int) -> tuple[Observations, Observations]:
    """Return the rows of the others, and those of the hot user."""
    observed = result.observations
    return observed.where(observed.user != hot), observed.where(observed.user == hot)


def _times(others: Observations) -> tuple[Seconds, Seconds]:
    got = others.where(granted(others))
    return got.intended_s + got.late_s, from_send_s(got)


def _verdicts(shape: Shape, others: Observations, hot: Observations, comparison: Comparison) -> tuple[Verdict, ...]:
    served = float(granted(others).mean())
    first = int((granted(hot) & ~hot.repeat).sum())
    found = (
        Verdict("others", served >= SERVED_MIN, f"{served:.2%} got their packets, at least {SERVED_MIN:.1%}"),
        Verdict("hot user", first <= 1, f"{first} packets for {len(hot):,} requests, at most one"),
    )
    if not shape.times_judged:
        return found
    return (
        *found,
        Verdict(
            "others: p99",
            comparison.ratio <= SLOWER_MAX,
            f"{comparison.ratio:.3f} times as long with the hot user, at most {SLOWER_MAX:g} times; without it windows "
            f"differ among themselves by {comparison.spread:.2f} times",
        ),
    )


def _figures(others: Observations, hot: Observations, comparison: Comparison) -> dict[str, Figure]:
    return {
        "others_requests": len(others),
        "others_served_share": round(float(granted(others).mean()), 5),
        **{f"others_{name}": figure for name, figure in comparison.figures().items()},
        "others_generator_late_p99_ms": late_ms_of(others),
        "hot_requests": len(hot),
        "hot_endings": kinds(endings_of(hot)),
        "hot_refused": int((hot.status == 429).sum()),
    }
