"""The drill `retry-storm`: nothing is decided for five seconds while people keep coming, and then they come again.

What is broken: the server process, with gate and store in it, is stopped (SIGSTOP) and let go on (SIGCONT). No claim is
made durable and nobody is answered, while the kernel goes on accepting connections and requests: for clients the worst
kind of outage, since nothing tells them to stay away. A store that refuses at once is milder, because a gate's 503
carries Retry-After. It needs no hook in the server, no privileges, and the process that recovers is the one that
suffered. Rejected: kill and start again (then a restart is part of it, and that is to be done without), a slow disk by
FUSE or cgroup (needs root, and only stalls the commits).

Twice, with other users each: first a polite crowd, whose clients keep to the policy that the gate serves, then a rude
one, whose clients drop a request after half a second and send it again at once. The clients of the polite wait only for
two seconds, where the default is eight and would have everybody's first request answered: so that the policy is tried
at all. An *intended claim* is a person who wants a packet, at a time fixed before; there are packets for all.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

from redrush.drill import recovery
from redrush.drill.audit import Verdict
from redrush.drill.behaviour import Behaviour, Manners
from redrush.drill.crowd import CrowdPlan, CrowdResult, Target
from redrush.drill.drill_report import DrillReport, Figure
from redrush.drill.event_figures import conditions
from redrush.drill.figures import Mask
from redrush.drill.observations import Ending, Observations
from redrush.drill.rehearsal import HOST, Rehearsal, RehearsalFailed
from redrush.drill.schedules import Seconds, constant_rate, plan
from redrush.drill.stage import SEED, plain_event, play_crowd, served_policy, starting_us, user_names
from redrush.drill.time_plot import TimePlot
from redrush.processes.server import ServerProcess

REQUESTS_PER_CLAIM_MAX = 1.1
RECOVERED_WITHIN_S = 1.0
"""Of the end of the outage, for people who come then: the polite crowd."""
RUDE_RECOVERED_WITHIN_S = 10.0
STORM_MIN = 2.0
"""Requests per claim during the outage from which on a rude crowd is a storm at all."""
SERVED_MIN = 0.999

USUAL_DELAY_S = 0.25
"""From wanting a packet to having it, when all is well; some hundred times the median."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Both crowds, on time axes of their own. `client` is the `[client]` table of the campaign file."""

    rate_per_s: int = 300
    outage_s: float = 5.0
    polite_before_s: float = 15.0
    polite_lasts_s: float = 60.0
    rude_before_s: float = 5.0
    rude_lasts_s: float = 20.0
    rude_patience_s: float = 0.5
    connections: int = 2_048
    usual_delay_s: float = USUAL_DELAY_S
    client: str = 'answer_deadline = "2s"\n'

    @property
    def polite(self) -> int:
        """People of the polite crowd."""
        return round(self.rate_per_s * self.polite_lasts_s)

    @property
    def rude(self) -> int:
        """People of the rude crowd."""
        return round(self.rate_per_s * self.rude_lasts_s)


SHORT = Shape(
    rate_per_s=200,
    outage_s=0.8,
    polite_before_s=1.0,
    polite_lasts_s=6.0,
    rude_before_s=0.5,
    rude_lasts_s=2.0,
    rude_patience_s=0.1,
    connections=512,
    usual_delay_s=0.5,  # tests share their machine: only what makes a client come again counts
    client=(
        'answer_deadline = "500ms"\ninterval = "200ms"\nbackoff_first = "100ms"\nbackoff_max = "400ms"\n'
        'come_back = "1200ms"\nthrottle_window = "1s"\n'
    ),
)
"""The same in small: a sixth of the times."""


class Phase(msgspec.Struct, frozen=True):
    """A crowd that has played, and when the outage was on its time axis."""

    result: CrowdResult
    planned_s: Seconds
    """When each person wanted a packet; person k is user `first_user` + k."""
    first_user: int
    broken_s: tuple[float, float]
    usual_delay_s: float = USUAL_DELAY_S


def retry_storm(directory: Path, redrush: Sequence[str], short: bool, tell: Callable[[str], None]) -> DrillReport:
    """Play the drill; see the module."""
    shape, begun_s = SHORT if short else Shape(), time.monotonic()
    people = shape.polite + shape.rude
    conditions_ = conditions(directory, people, shape.connections)
    with Rehearsal(directory, redrush) as event:
        tell(f"registering {people:,} people and starting the server")
        tickets = event.tickets(user_names(0, people))
        event.serve(
            "serve", str(event.campaign_path(plain_event("retry storm", people, tables=f"[client]\n{shape.client}")))
        )
        pid = event.server.pid
        policy = served_policy(event)
        tell(f"polite crowd: {shape.polite:,} claims in {shape.polite_lasts_s:g} s, stopped for {shape.outage_s:g} s")
        polite_people = Behaviour(policy=policy, repeat_share=0.0, insist_share=0.0)
        polite = _play(
            event, shape, tickets, polite_people,
            (0, shape.polite), shape.polite_before_s, policy.answer_deadline_ms / 1e3,
        )  # fmt: skip
        tell(f"rude crowd: {shape.rude:,} claims in {shape.rude_lasts_s:g} s, stopped for {shape.outage_s:g} s")
        rude_people = msgspec.structs.replace(polite_people, manners=Manners.IMMEDIATE)
        rude = _play(
            event, shape, tickets, rude_people, (shape.polite, people), shape.rude_before_s, shape.rude_patience_s
        )
        event.server.check()
        same_process = event.server.pid == pid
        tell("stopping the server, auditing")
        event.stop_server()
        ledger = event.reconcile()
        broken_promises = Counter(polite.result.breaches) + Counter(rude.result.breaches)
        audit, _ = event.audit([*polite.result.acknowledged, *rude.result.acknowledged], broken_promises)
    return DrillReport(
        drill="retry-storm",
        title="An outage of seconds, and the crowd that comes again",
        method=(
            f"The server process was stopped for {shape.outage_s:g} s (SIGSTOP) while {shape.rate_per_s} people a "
            f"second kept coming: once with clients that keep to the served policy and wait "
            f"{policy.answer_deadline_ms} ms for an answer, once with clients that drop a request after "
            f"{shape.rude_patience_s:g} s and send it again at once."
        ),
        verdicts=(*_verdicts(polite, rude, same_process), *audit.verdicts, ledger),
        figures=_figures("polite", polite) | _figures("rude", rude),
        plots=(_plot("The polite crowd", polite), _plot("The rude crowd", rude)),
        conditions=conditions_,
        took_s=time.monotonic() - begun_s,
    )


def _play(
    event: Rehearsal,
    shape: Shape,
    tickets: Sequence[tuple[str, str]],
    behaviour: Behaviour,
    users: tuple[int, int],
    before_s: float,
    patience_s: float,
) -> Phase:
    """Let people `users` (first, end) come at the shape's rate, and stop the server after `before_s`."""
    first, end = users
    planned_s = constant_rate(shape.rate_per_s, (end - first) / shape.rate_per_s)
    crowd_plan = CrowdPlan(
        target=Target(HOST, event.port, ("r1",)),
        tickets=tickets,
        schedule=plan([(0, planned_s, np.arange(first, end, dtype=np.int32))]),
        starts_us=starting_us(end - first),
        behaviour=behaviour,
        connections=shape.connections,
        answer_deadline_s=patience_s,
        seed=SEED,
    )
    with _Outage(event.server, before_s, shape.outage_s) as outage:
        result = play_crowd(event, crowd_plan, None, outage.look)
        return Phase(result, planned_s, first, outage.broken_s, shape.usual_delay_s)


class _Outage:
    """Stops the server for a while as a crowd plays. A context: the server runs again after it, whatever happened."""

    def __init__(self, server: ServerProcess, begins_s: float, lasts_s: float) -> None:
        self._server = server
        self._begins_s = begins_s
        self._lasts_s = lasts_s
        self._stopped_s: float | None = None
        self._resumed_s: float | None = None

    @property
    def broken_s(self) -> tuple[float, float]:
        """From when to when that was, on the crowd's axis. RehearsalFailed if the crowd was done before it was over."""
        if self._stopped_s is None or self._resumed_s is None:
            raise RehearsalFailed("the crowd was done before the outage was over")
        return self._stopped_s, self._resumed_s

    def look(self, now_s: float) -> None:
        """Stop the server, or let it go on, when it is time; `now_s` is on the crowd's axis."""
        if self._stopped_s is None:
            if now_s >= self._begins_s:
                self._server.pause()
                self._stopped_s = now_s
        elif self._resumed_s is None and now_s - self._stopped_s >= self._lasts_s:
            self._server.resume()
            self._resumed_s = now_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stopped_s is not None and self._resumed_s is None:
            self._server.resume()


# From observations to figures


def requests_per_claim(phase: Phase) -> float:
    """Return requests sent per intended claim, over the whole run."""
    return float(_sent(phase.result.observations).sum() / len(phase.planned_s))


def requests_per_claim_broken(phase: Phase) -> float:
    """Return requests sent during the outage per claim intended during it."""
    from_s, to_s = phase.broken_s
    observed = phase.result.observations
    sent_s = observed.intended_s + observed.late_s
    sent = (_sent(observed) & (sent_s >= from_s) & (sent_s < to_s)).sum()
    intended = ((phase.planned_s >= from_s) & (phase.planned_s < to_s)).sum()
    return float(sent / max(1, intended))


def served_share(phase: Phase) -> float:
    """Return which part of the people got the packet that was there for them."""
    return float(np.isfinite(_delays_s(phase)).mean())


def recovered_after_s(phase: Phase) -> float:
    """Return how long after the outage people who came then were served as usual, and from then on always."""
    return recovery.recovered_after_s(phase.planned_s, _delays_s(phase), phase.broken_s[1], phase.usual_delay_s)


def _delays_s(phase: Phase) -> Seconds:
    return recovery.delays_s(phase.result.observations, phase.planned_s, phase.first_user)


def _sent(observed: Observations) -> Mask:
    mask: Mask = observed.ending != Ending.NOT_SENT
    return mask


def _verdicts(polite: Phase, rude: Phase, same_process: bool) -> tuple[Verdict, ...]:
    """What must hold besides the audit."""
    whole, broken = requests_per_claim(polite), requests_per_claim_broken(polite)
    served, back_s = served_share(polite), recovered_after_s(polite)
    storm, rude_back_s = requests_per_claim_broken(rude), recovered_after_s(rude)
    most = REQUESTS_PER_CLAIM_MAX
    return (
        Verdict("polite: all", whole <= most, f"{whole:.3f} requests per intended claim, at most {most}"),
        Verdict("polite: outage", broken <= most, f"{broken:.3f} during the outage, at most {most}"),
        Verdict("polite: served", served >= SERVED_MIN, f"{served:.2%} got their packet, at least {SERVED_MIN:.1%}"),
        Verdict(
            "polite: recovered", back_s <= RECOVERED_WITHIN_S, f"after {back_s:.1f} s, within {RECOVERED_WITHIN_S:g} s"
        ),
        Verdict("rude: a storm", storm >= STORM_MIN, f"{storm:.1f} requests per claim in the outage: it was one"),
        Verdict(
            "rude: recovered",
            same_process and rude_back_s <= RUDE_RECOVERED_WITHIN_S,
            f"after {rude_back_s:.1f} s, within {RUDE_RECOVERED_WITHIN_S:g} s, "
            + ("the same process" if same_process else "by another process"),
        ),
    )


def _figures(name: str, phase: Phase) -> dict[str, Figure]:
    observed, delays = phase.result.observations, _delays_s(phase)
    from_s, to_s = phase.broken_s
    late_s = observed.late_s[_sent(observed)]
    calm = delays[phase.planned_s < from_s - 1]
    per_s = _per_second((observed.intended_s + observed.late_s)[_sent(observed)], to_s, float(phase.planned_s[-1]))
    figures: dict[str, Figure] = {
        "intended_claims": len(phase.planned_s),
        "requests": int(_sent(observed).sum()),
        "requests_per_claim": round(requests_per_claim(phase), 4),
        "requests_per_claim_in_outage": round(requests_per_claim_broken(phase), 4),
        "most_requests_per_s_after_outage": max(per_s, default=0),
        "served_share": round(served_share(phase), 5),
        "recovered_after_s": recovered_after_s(phase),
        "outage_s": round(to_s - from_s, 3),
        "p99_delay_before_ms": round(float(np.quantile(calm, 0.99)) * 1e3, 2) if len(calm) else None,
        "longest_delay_s": round(float(delays[np.isfinite(delays)].max(initial=0.0)), 2),
        "held_back_by_throttle": phase.result.held_back,
        "reconnects": phase.result.reconnects,
        "generator_late_p99_ms": round(float(np.quantile(late_s, 0.99)) * 1e3, 2),
    }
    return {f"{name}_{key}": value for key, value in figures.items()}


def _per_second(times_s: Seconds, from_s: float, to_s: float) -> list[int]:
    counts: list[int] = np.histogram(times_s, np.arange(from_s, max(to_s, from_s + 1) + 0.001))[0].tolist()
    return counts


def _plot(title: str, phase: Phase) -> TimePlot:
    observed = phase.result.observations
    ends_s = float(observed.ended_s.max())
    bucket_s = ends_s / 200
    edges = np.arange(201) * bucket_s

    def rate(times_s: Seconds) -> list[float]:
        counts: list[float] = (np.histogram(times_s, edges)[0] / bucket_s).tolist()
        return counts

    sent = _sent(observed)
    return TimePlot(
        title=title,
        note="Requests sent, and people who got their packet. Shaded: the server was stopped.",
        bucket_s=bucket_s,
        series={
            "packets": rate(observed.ended_s[observed.ending == Ending.GRANTED]),
            "requests": rate((observed.intended_s + observed.late_s)[sent]),
        },
        broken=(phase.broken_s,),
    )
