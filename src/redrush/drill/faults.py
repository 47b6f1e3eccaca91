"""The drill `faults`: processes of a running deployment die or hang, one after the other, while people keep coming.

The deployment is a small stack on this machine, real servers and the same role commands as anywhere: two sets with a
replica each, two gates. A gate and a set's primary are killed (SIGKILL), a recorder and the database are stopped for a
while (SIGSTOP); the stack and its control role mend what is to be mended, nobody helps. People come at a constant rate,
each once, with clients that keep to the served policy, and there are packets for all. For each fault it is told after
what time people who come then are served as usual; at the end everything that was answered is audited.

Torn networks, lost packets and faults at random, many of them at once, are for the chaos tests (`make soak`).
"""

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from redrush.drill.audit import Verdict
from redrush.drill.behaviour import Behaviour
from redrush.drill.beside import PLOT_BUCKETS, quantile_over_time
from redrush.drill.crowd import CrowdPlan, CrowdResult, Target
from redrush.drill.drill_report import DrillReport, Figure
from redrush.drill.event_figures import conditions
from redrush.drill.observations import Ending
from redrush.drill.overload_figures import endings_of, kinds, late_ms_of, quantile_ms
from redrush.drill.recovery import delays_s, recovered_after_s
from redrush.drill.rehearsal import HOST, Rehearsal, RehearsalFailed
from redrush.drill.schedules import Seconds, constant_rate, plan
from redrush.drill.stage import NOT_JUDGED, SEED, plain_event, play_crowd, served_policy, starting_us, user_names
from redrush.drill.time_plot import TimePlot
from redrush.processes.names import ProcessName
from redrush.stack.stack_dir import StackDir, running_state

SERVED_MIN: Final = 0.999
RECORDED_WITHIN_S: Final = 30.0
"""How long the records may take, after everything, to have what is in the logs."""
POLL_S: Final = 0.2


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to one process of a role, and within what time people must be served as usual again."""

    name: str
    role: str
    stopped_s: float | None
    """How long it hangs; None: it is killed."""
    normal_within_s: float


FAULTS: Final = (
    # Connections of its people break; their clients come again to the gates that are left, or to its successor.
    Fault(name="gate killed", role="gate", stopped_s=None, normal_within_s=5.0),
    # Found dead, its replica promoted, the gates told: the set's people wait, nobody else does.
    Fault(name="primary killed", role="store", stopped_s=None, normal_within_s=10.0),
    # Neither is asked by a claim: nobody may notice, but for the machine that the rest of the stack shares with them.
    Fault(name="recorder stopped", role="recorder", stopped_s=5.0, normal_within_s=1.0),
    Fault(name="database stopped", role="postgres", stopped_s=5.0, normal_within_s=1.0),
)


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How many people, and how much time each fault has."""

    rate_per_s: int = 150
    before_s: float = 8.0
    each_s: float = 15.0
    usual_delay_s: float = 0.5
    """From wanting a packet to having it, when all is well, on a machine that is shared by fifteen processes."""
    connections: int = 512
    times_judged: bool = True
    """Whether the times until all is normal are judged, or only shown."""

    @property
    def people(self) -> int:
        """Everybody who comes."""
        return round(self.rate_per_s * (self.before_s + len(FAULTS) * self.each_s))


SHORT: Final = Shape(rate_per_s=60, before_s=2.0, each_s=7.0, connections=128, times_judged=False)
"""The same in small, with the same faults."""


class Done(msgspec.Struct, frozen=True):
    """A fault that was done, and from when to when, in seconds of the crowd's axis. `until_s` of a kill is the same."""

    fault: Fault
    victim: str
    from_s: float
    until_s: float


class Seen(msgspec.Struct, frozen=True):
    """The crowd, and what was done meanwhile."""

    result: CrowdResult
    planned_s: Seconds
    done: tuple[Done, ...]

    @property
    def delays_s(self) -> Seconds:
        """Per person, from wanting a packet to having it."""
        return delays_s(self.result.observations, self.planned_s, 0)


def faults(directory: Path, redrush: Sequence[str], short: bool, tell: Callable[[str], None]) -> DrillReport:
    """Play the drill; see the module."""
    shape, begun_s = SHORT if short else Shape(), time.monotonic()
    conditions_ = conditions(directory, shape.people, shape.connections)
    with Rehearsal(directory, redrush) as event:
        # A set whose slots are gone would wait for others to be moved there: not what is asked here.
        campaign = event.campaign_path(plain_event("faults", 2 * shape.people))
        tickets = event.tickets(user_names(0, shape.people))
        tell("starting a stack: 2 sets with a replica each, 2 gates")
        event.serve("stack", "up", str(campaign), "--sets", "2", "--replicas", "1", "--gates", "2")
        seen = _play(event, shape, tickets, tell)
        tell("waiting for the records, auditing")
        ledger = _reconciled(event)
        audit, _ = event.audit(seen.result.acknowledged, seen.result.breaches)
        tell("ending the stack")
        event.stop_server()
    return DrillReport(
        drill="faults",
        title="Processes die and hang, one after the other, and people keep coming",
        method=(
            f"A stack of 2 sets with a replica each and 2 gates; {shape.rate_per_s} people a second, each once, with "
            f"clients that keep to the served policy. One fault every {shape.each_s:g} s, which nobody mended but the "
            f"stack itself. Normal is when {shape.usual_delay_s:g} s after wanting a packet people have it. "
            f"{'' if shape.times_judged else NOT_JUDGED}"
        ),
        verdicts=(*_verdicts(shape, seen), *audit.verdicts, ledger),
        figures=_figures(shape, seen),
        plots=_plots(seen),
        conditions=conditions_,
        took_s=time.monotonic() - begun_s,
    )


def _play(
    event: Rehearsal, shape: Shape, tickets: Sequence[tuple[str, str]], tell: Callable[[str], None]
) -> Seen:  # fmt: skip
    planned_s = constant_rate(shape.rate_per_s, shape.people / shape.rate_per_s)
    policy = served_policy(event)
    crowd_plan = CrowdPlan(
        target=Target(HOST, event.port, ("r1",)),
        tickets=tickets,
        schedule=plan([(0, planned_s, np.arange(shape.people, dtype=np.int32))]),
        starts_us=starting_us(shape.people),
        behaviour=Behaviour(policy=policy, repeat_share=0.0, insist_share=0.0),
        connections=shape.connections,
        answer_deadline_s=policy.answer_deadline_ms / 1e3,
        seed=SEED,
    )
    breaker = Breaker(StackDir(event.directory), shape, tell)
    try:
        result = play_crowd(event, crowd_plan, None, breaker.look)
    finally:
        breaker.heal()
    return Seen(result, planned_s, tuple(breaker.done))


class Breaker:
    """Does one fault after the other, as the crowd's time goes on."""

    def __init__(self, stack: StackDir, shape: Shape, tell: Callable[[str], None]) -> None:
        self.done: list[Done] = []
        self._stack = stack
        self._shape = shape
        self._tell = tell
        self._left = list(FAULTS)
        self._stopped: tuple[ProcessName, float] | None = None

    def look(self, now_s: float) -> None:
        """Do what is due. Call some times a second, with the time on the crowd's axis."""
        if self._stopped is not None and now_s >= self._stopped[1]:
            self.heal()
            self.done[-1] = msgspec.structs.replace(self.done[-1], until_s=now_s)
        due_s = self._shape.before_s + len(self.done) * self._shape.each_s
        if self._left and now_s >= due_s:
            self._break(self._left.pop(0), now_s)

    def heal(self) -> None:
        """Let whoever is stopped go on."""
        if self._stopped is not None:
            self._stopped[0].send(signal.SIGCONT)
            self._stopped = None

    def _break(self, fault: Fault, now_s: float) -> None:
        victims = [one for one in running_state(self._stack).processes if one.role == fault.role and one.process]
        if not victims:
            raise RehearsalFailed(f"no process of the stack is a {fault.role} now")
        victim = victims[0]
        assert victim.process is not None
        self._tell(f"{fault.name}: {victim.name}")
        if fault.stopped_s is None:
            victim.process.send(signal.SIGKILL)
            self.done.append(Done(fault, victim.name, now_s, now_s))
        else:
            self._stopped = (victim.process, now_s + fault.stopped_s)
            victim.process.send(signal.SIGSTOP)
            self.done.append(Done(fault, victim.name, now_s, now_s + fault.stopped_s))


def _reconciled(event: Rehearsal) -> Verdict:
    """Return what reconciliation says once the records have everything, or their time is up."""
    deadline_s = time.monotonic() + RECORDED_WITHIN_S
    while not (ledger := event.reconcile()).holds and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    return ledger


# From observations to figures


def normal_after_s(shape: Shape, seen: Seen, index: int) -> float:
    """Return how long after fault `index` began people were served as usual, and so until the next one."""
    from_s = seen.done[index].from_s
    to_s = seen.done[index + 1].from_s if index + 1 < len(seen.done) else np.inf
    its_own = seen.planned_s < to_s
    return recovered_after_s(seen.planned_s[its_own], seen.delays_s[its_own], from_s, shape.usual_delay_s)


def _verdicts(shape: Shape, seen: Seen) -> tuple[Verdict, ...]:
    served = float(np.isfinite(seen.delays_s).mean())
    malformed = int((seen.result.observations.ending == Ending.MALFORMED).sum())
    found = [
        Verdict("played", len(seen.done) == len(FAULTS), f"{len(seen.done)} of {len(FAULTS)} faults were done"),
        Verdict("served", served >= SERVED_MIN, f"{served:.2%} got their packet, at least {SERVED_MIN:.1%}"),
        Verdict("well-formed", not malformed, f"{malformed:,} answers that are none of the contract"),
    ]
    if shape.times_judged:
        for index, done in enumerate(seen.done):
            after_s, most_s = normal_after_s(shape, seen, index), done.fault.normal_within_s
            found.append(
                Verdict(done.fault.name, after_s <= most_s, f"normal after {after_s:.1f} s, within {most_s:g} s")
            )
    return tuple(found)


def _figures(shape: Shape, seen: Seen) -> dict[str, Figure]:
    observed, delays = seen.result.observations, seen.delays_s
    calm = delays[seen.planned_s < shape.before_s]
    found: dict[str, Figure] = {
        "people": len(seen.planned_s),
        "requests": len(observed),
        "served_share": round(float(np.isfinite(delays).mean()), 5),
        "p99_delay_before_ms": quantile_ms(calm, 0.99),
        "longest_delay_s": round(float(delays[np.isfinite(delays)].max(initial=0.0)), 2),
        "endings": kinds(endings_of(observed)),
        "held_back_by_throttle": seen.result.held_back,
        "reconnects": seen.result.reconnects,
        "generator_late_p99_ms": late_ms_of(observed),
    }
    for index, done in enumerate(seen.done):
        found[f"{done.fault.name.replace(' ', '_')}_normal_after_s"] = normal_after_s(shape, seen, index)
    return found


def _plots(seen: Seen) -> tuple[TimePlot, ...]:
    observed = seen.result.observations
    ends_s = float(observed.ended_s.max())
    bucket_s = ends_s / PLOT_BUCKETS
    edges = np.linspace(0.0, ends_s, PLOT_BUCKETS + 1)
    broken = tuple((done.from_s, max(done.until_s, done.from_s + bucket_s)) for done in seen.done)
    what = "; ".join(f"at {done.from_s:.0f} s {done.fault.name} ({done.victim})" for done in seen.done)
    got, sent = observed.ending == Ending.GRANTED, observed.ending != Ending.NOT_SENT

    def rate(times_s: Seconds) -> list[float]:
        counts: list[float] = (np.histogram(times_s, edges)[0] / bucket_s).tolist()
        return counts

    heard = np.isfinite(seen.delays_s)
    return (
        TimePlot(
            title="Packets and requests",
            note=f"Shaded: {what}.",
            bucket_s=bucket_s,
            series={
                "packets": rate(observed.ended_s[got]),
                "requests": rate((observed.intended_s + observed.late_s)[sent]),
            },
            broken=broken,
        ),
        TimePlot(
            title="How long people waited for their packet",
            note="p99 of those who wanted one at that moment, all their tries together.",
            bucket_s=bucket_s,
            unit="seconds",
            series={"p99": quantile_over_time(seen.planned_s[heard], seen.delays_s[heard], edges, 0.99)},
            broken=broken,
        ),
    )
