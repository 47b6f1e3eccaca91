"""Runs the benchmark: chooses the measurements, prepares the ground, measures, judges."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import msgspec

from redrush.drill.bench import conditions
from redrush.drill.bench.figures import Figure, Result
from redrush.drill.bench.grabs import GRABS
from redrush.drill.bench.losers import LOSERS
from redrush.drill.bench.measuring import Measured, Measurement, Setup
from redrush.drill.bench.memory import MEMORY
from redrush.drill.bench.open_loop import OPEN_LOOP
from redrush.drill.bench.own_http import OWN_HTTP
from redrush.drill.bench.packets import PACKETS
from redrush.drill.bench.planner import PLANNER
from redrush.drill.bench.registered import REGISTERED
from redrush.drill.bench.report import Report
from redrush.drill.bench.restart import RESTART
from redrush.drill.bench.scaling import SCALING
from redrush.drill.bench.small_pots import SMALL_POTS
from redrush.drill.bench.splitting import SPLITTING
from redrush.drill.bench.tools import find_tools
from redrush.drill.bench.valkey_grabs import VALKEY_GRABS
from redrush.errors import ConfigError, RedrushError
from redrush.processes.pinned import choose_cores

MEASUREMENTS = (
    LOSERS,
    GRABS,
    OWN_HTTP,
    MEMORY,
    RESTART,
    SPLITTING,
    SMALL_POTS,
    PACKETS,
    REGISTERED,
    OPEN_LOOP,
    VALKEY_GRABS,
    SCALING,
    PLANNER,
)
RUNS = 5
"""Fewer runs have no median worth the name; a smaller number is for trying out."""
SECONDS = 3
RUNS_MAX = 101
SECONDS_MAX = 60

SCRATCH_PARENT = Path("/var/tmp")  # noqa: S108 - mkdtemp makes a private directory in it
"""By custom on a disk, where /tmp may be memory and an fsync free."""
_MEMORY_FILESYSTEMS = frozenset({"tmpfs", "ramfs"})


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure and how long. `only` names measurements; none means all. `directory` is where scratch
    directories are made: on the disk whose durability is to be measured."""

    only: tuple[str, ...] = ()
    runs: int = RUNS
    seconds: int = SECONDS
    directory: Path = SCRATCH_PARENT


def run_bench(options: Options, tell: Callable[[str], None]) -> Report:
    """Measure and return the report; `tell` gets a line of progress now and then.

    Raises ConfigError for options that make no sense here, MissingTools with the command that installs them. A
    measurement that fails is in the report, with its reason.
    """
    chosen = choose(options)
    cores = choose_cores()
    found = find_tools()
    found.require(frozenset(tool for measurement in chosen for tool in measurement.tools))
    with _scratch(options.directory) as name:
        scratch = Path(name)
        setup = Setup(found=found, cores=cores, scratch=scratch, runs=options.runs, seconds=options.seconds, tell=tell)
        seen = conditions.observe(found, cores, scratch)
        outcomes = [(measurement, _measure(measurement, setup)) for measurement in chosen]
    measured = [outcome for _, outcome in outcomes if isinstance(outcome, Measured)]
    return Report(
        conditions=seen,
        runs_each=options.runs,
        seconds_each=options.seconds,
        results=tuple(result for pair in outcomes for result in results_of(*pair)),
        remarks=tuple(remark for one in measured for remark in one.remarks),
        runs={name: runs for one in measured for name, runs in one.runs.items()},
        details={what: samples for one in measured for what, samples in one.details.items()},
    )


def choose(options: Options) -> tuple[Measurement, ...]:
    """Return the measurements that the options ask for. ConfigError for unknown names and impossible numbers."""
    if not 1 <= options.runs <= RUNS_MAX or not 1 <= options.seconds <= SECONDS_MAX:
        raise ConfigError(f"bench takes 1 to {RUNS_MAX} runs of 1 to {SECONDS_MAX} seconds")
    known = {measurement.name: measurement for measurement in MEASUREMENTS}
    unknown = [name for name in options.only if name not in known]
    if unknown:
        raise ConfigError(f"bench knows no measurement {', '.join(unknown)}; known are {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(options.only)) or MEASUREMENTS


def results_of(measurement: Measurement, outcome: Measured | RedrushError) -> Sequence[Result]:
    """Return a result for every figure that the measurement promises, measured or not."""
    if isinstance(outcome, RedrushError):
        return [Result(figure=figure, reason=str(outcome)) for figure in measurement.figures]
    return [_result(figure, outcome) for figure in measurement.figures]


def _result(figure: Figure, measured: Measured) -> Result:
    runs = measured.ours.get(figure.name, ())
    samples = measured.samples.get(figure.name, ())
    return Result(
        figure=figure,
        samples=samples,
        reason=None if samples else measured.refused.get(figure.name, "the measurement gave no sample"),
        cpu_us=median(run.server_cpu_us for run in runs) if runs else None,
        rate_per_s=median(run.rate_per_s for run in runs) if runs else None,
    )


def _measure(measurement: Measurement, setup: Setup) -> Measured | RedrushError:
    setup.tell(f"{measurement.name} …")
    try:
        return measurement.measure(setup.within(measurement.name))
    except RedrushError as fault:
        setup.tell(f"{measurement.name}: {fault}")
        return fault


def _scratch(parent: Path) -> tempfile.TemporaryDirectory[str]:
    if not parent.is_dir():
        raise ConfigError(f"{parent}: is not a directory")
    if conditions.filesystem_of(parent) in _MEMORY_FILESYSTEMS:
        raise ConfigError(f"{parent}: is in memory, where nothing is durable; name a directory on a disk")
    return tempfile.TemporaryDirectory(prefix="redrush-bench-", dir=parent)
