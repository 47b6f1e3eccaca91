"""What a measurement is: named, with the figures it promises, the tools it needs, and a function that measures.

Every promised figure comes back with samples, or the whole measurement is a fault with a reason: a figure is never
left out silently.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import msgspec

from redrush.drill.bench.figures import Figure, pairwise, turns
from redrush.drill.bench.tools import Found, Tool
from redrush.drill.bench.wrk import Load, Run, run_wrk
from redrush.processes.failure import ProcessFailed
from redrush.processes.pinned import Cores, Target

WARM_UP_SECONDS = 1
SATURATED_SHARE = 0.9
"""A server that uses less of its core than this was waiting for something."""
LOAD_SHARE_MAX = 0.95
"""A load generator that uses more of its core than this, while the server was waiting, was what it waited for."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What every measurement works with. `tell` shows progress; `scratch` is an empty directory on a real disk."""

    found: Found
    cores: Cores
    scratch: Path
    runs: int
    seconds: int
    tell: Callable[[str], None]

    def within(self, name: str) -> "Setup":
        """Return the same setup with a directory of its own below `scratch`."""
        directory = self.scratch / name
        directory.mkdir(parents=True)
        return msgspec.structs.replace(self, scratch=directory)

    def load(self, target: Target, load: Load, *, refused_share_max: float = 0.0) -> Run:
        """Run wrk against the target. Raises ProcessFailed if anything but good answers came back, beyond this share of
        refusals: these are not among the run's answers."""
        log = self.scratch / "wrk.log"
        run = run_wrk(self.found.path(Tool.WRK), load, core=self.cores.load, server=target, log=log)
        summary = run.summary
        refused, answered = summary.status_errors, summary.requests - summary.status_errors
        if summary.errors > refused or refused > refused_share_max * summary.requests:
            raise ProcessFailed(f"{summary.errors} of {summary.requests} requests failed: {summary}")
        return msgspec.structs.replace(
            run,
            rate_per_s=run.rate_per_s * answered / summary.requests,
            server_cpu_us=run.server_cpu_us * summary.requests / answered,
            summary=msgspec.structs.replace(summary, requests=answered),
        )


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Samples by figure name, the runs they came from by contender, other samples that explain them, by what they are,
    and what a reader must know. `ours`: the runs of ours behind a figure; `refused`: why there is none of a name."""

    samples: Mapping[str, tuple[float, ...]]
    ours: Mapping[str, tuple[Run, ...]] = {}
    refused: Mapping[str, str] = {}
    runs: Mapping[str, tuple[Run, ...]] = {}
    details: Mapping[str, tuple[float, ...]] = {}
    remarks: tuple[str, ...] = ()


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """A group of figures that are measured together."""

    name: str
    tools: frozenset[Tool]
    figures: tuple[Figure, ...]
    measure: Callable[[Setup], Measured]


def in_turns(setup: Setup, what: str, contenders: Mapping[str, Callable[[], Run]]) -> dict[str, tuple[Run, ...]]:
    """Let the contenders run in turns, `setup.runs` times each; return their runs in order of time."""
    seen: dict[str, list[Run]] = {name: [] for name in contenders}
    for name in turns(list(contenders), setup.runs):
        run = contenders[name]()
        seen[name].append(run)
        setup.tell(
            f"{what}: {name} {len(seen[name])}/{setup.runs}: {run.rate_per_s:,.0f}/s, "
            f"{run.server_cpu_us:.1f} µs CPU each, core {run.server_cpu_share:.0%}"
        )
    return {name: tuple(runs) for name, runs in seen.items()}


def rates(runs: Sequence[Run]) -> tuple[float, ...]:
    """Return the answers per second of each run."""
    return tuple(run.rate_per_s for run in runs)


def cpu_us(runs: Sequence[Run]) -> tuple[float, ...]:
    """Return the CPU time of an answer in each run, in µs."""
    return tuple(run.server_cpu_us for run in runs)


class Against(msgspec.Struct, frozen=True):
    """A figure that is the CPU time of an answer of a peer over that of ours, pair by pair."""

    figure: Figure
    ours: tuple[Run, ...]
    theirs: tuple[Run, ...]


def compare(pairs: Sequence[Against]) -> Measured:
    """Return the figures of these pairs, but none where the load generator was the limit: then neither side's batches
    and pauses are those of a server at its own limit, and the ratio would be about the generator."""
    samples, refused = {}, {}
    for pair in pairs:
        reason = limited_by_load(pair.ours) or limited_by_load(pair.theirs)
        if reason is None:
            samples[pair.figure.name] = pairwise(cpu_us(pair.theirs), cpu_us(pair.ours))
        else:
            refused[pair.figure.name] = reason
    return Measured(samples=samples, refused=refused, ours={pair.figure.name: pair.ours for pair in pairs})


def limited_by_load(runs: Sequence[Run]) -> str | None:
    """Return why these runs say nothing about the server, if the load generator was their limit."""
    load, server = median(run.load_cpu_share for run in runs), median(run.server_cpu_share for run in runs)
    if load < LOAD_SHARE_MAX or server >= SATURATED_SHARE:
        return None
    return f"the load generator was the limit: it used {load:.0%} of its core, the server {server:.0%} of its own"


def unsaturated(what: str, seen: Mapping[str, Sequence[Run]]) -> tuple[str, ...]:
    """Return a remark for each contender whose core was not full, so that its rate is not all that it can do."""
    remarks = []
    for name, runs in seen.items():
        share = median(run.server_cpu_share for run in runs)
        if share < SATURATED_SHARE:
            remarks.append(
                f"{what}: {name} used {share:.0%} of its core: not its own CPU was the limit, but the load, the disk "
                "or other work on this machine"
            )
    return tuple(remarks)
