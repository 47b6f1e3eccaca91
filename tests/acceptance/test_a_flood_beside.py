"""A flood of ten times what a campaign can grant, on one of two campaigns: claims on the other are as fast as without.

Each campaign has a crowd of its own, a process that sends at planned instants whatever is answered. The flood comes in
every second window, and the p99 of the other campaign's claims with it is held against that of the window before, as
drills do (`redrush.drill.beside`): the median of many pairs, for a machine is faster one minute and slower the next.
Whoever is served has one core and all crowds the other, the small one first: so the flood takes no time from what is
measured, but what the server gives it.

What a campaign has of its own is its place at the store, not the processor: on one core every request makes others
wait, whosever they are, and where a store answers in a millisecond that is most of what there is to see. So both stores
are slow, as a busier disk makes them: that of one server by its pace, that of a stack by a disk that takes `DISK_S` for
an fsync, asleep. Then what the campaigns take from each other there is many times what a shared core costs. Alone, a
claim waits for up to two fsyncs, the one under way and its own; a flood that has one under way at all times may make
that no more, and did make it five (`redrush.stores.valkey.turns`). For a quiet machine.

What the shared core costs all the same is told by a *control*: in every second pair the flood is a stranger's. It comes
to a campaign of its own servers and processes, which have nothing in common with the others but the two cores. So a
ratio beside the flood that is no larger than the one beside the stranger's is the machine's, not that of redrush.
"""

import asyncio
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pytest

from redrush.config import load_deployment_file, parse_campaign
from redrush.control.campaigns import directory_of
from redrush.control.data_dir import DataDir
from redrush.control.issuing import plan_tickets
from redrush.core.load.histogram import LAST, quantile_us
from redrush.drill.behaviour import ONCE
from redrush.drill.beside import Comparison, Windows, compare
from redrush.drill.cores import Cores, share_cores
from redrush.drill.crowd import CrowdPlan, CrowdResult, Target
from redrush.drill.crowd_process import CrowdProcess
from redrush.drill.observations import Observations
from redrush.drill.overload_figures import from_send_s, granted
from redrush.drill.rehearsal import HOST, REDRUSH, Rehearsal
from redrush.drill.schedules import Seconds, independent, plan
from redrush.drill.server_watch import Sample, ServerWatch
from redrush.operate.campaigns import add_campaign
from redrush.operate.switching import Holder
from redrush.processes.open_files import allow_files
from redrush.stack.server_users import ADMIN, ServerUsers
from redrush.stack.stack_dir import StackDir, running_state
from redrush.stores.valkey.link import Link, pack

SLOWER_MAX: Final = 1.1
FLOOD: Final = 10
"""Times what the flooded campaign can grant on one server. A stack's store takes more in a batch where an fsync takes
longer, so ten times of what it grants is more than one core sends, and than one core bears: there the flood is ten
times the other crowd, which gate and set still grant, with an fsync under way at all times."""
DISK_S: Final = 0.005
"""What an fsync of the stack's server takes besides its own time."""
STORE_PER_S: Final = 500
"""Claims that a campaign's store decides a second: small, for nobody can offer ten times what a core serves from one
other core (`redrush.drill.paced_server`)."""
QUIET_PER_S: Final = 150.0
WINDOWS: Final = Windows(pairs=32, window_s=3.0, skip_s=0.5, settle_s=3.0, leave_s=0.3)
OURS, STRANGERS = slice(0, None, 2), slice(1, None, 2)
"""Of the pairs: those in which the flood comes to a campaign of the same server, and to a stranger's."""
LEAD_S: Final = 15.0
"""Until all crowds are there."""
STACK_READY_S: Final = 120.0
TAIL_S: Final = 60.0
QUIET_CONNECTIONS: Final = 64
FLOOD_CONNECTIONS: Final = 1_024
FILES: Final = 4_096
FIRST: Final = -10
"""The priority of the crowd that is measured, where this account may give one."""
GRABS: Final = re.compile(r'redrush_answer_seconds_bucket{interface="grab",le="([^"]+)"}')
TEXT: Final = """
[campaign]
id = "{id}"
name = "{id}"
currency = "CNY"
[[round]]
id = "of-{id}"
opens = "now"
lasts = "1h"
kind = "equal"
total = "{packets}.00"
packets = {packets}
[limits]
connections_per_address_max = "off"
"""


Serve = Callable[[Rehearsal, Path, Cores], tuple[int, str]]
"""Serves a campaign file on these cores; returns the process that has its gate, and where that tells its figures."""


class Form(msgspec.Struct, frozen=True):
    """What serves both campaigns, and how large the flood is there."""

    serve: Serve
    flood_per_s: float


def _tickets(data_dir: DataDir, users: int) -> list[tuple[str, str]]:
    lines = plan_tickets(data_dir, [f"u{number}" for number in range(users)], None, "2h", int(time.time())).lines()
    return [(user, ticket) for user, _, ticket in (line.partition("\t") for line in lines)]


@contextmanager
def _first() -> Iterator[None]:
    """Within this, processes that are started go first on their core, as far as this account may say so."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


class Crowd:
    """Who claims of a campaign: each once, at a planned instant."""

    def __init__(self, times_s: Seconds, connections: int) -> None:
        self.people = len(times_s)
        self._schedule = plan([(0, times_s, np.arange(self.people, dtype=np.int32))])
        self._connections = connections

    def to(self, event: Rehearsal, campaign: str, own: DataDir) -> Callable[[float], CrowdPlan]:
        """Return what they do from an instant on; `own` is the directory of the campaign, which the event serves."""
        tickets = _tickets(own, self.people)

        def from_(zero_s: float) -> CrowdPlan:
            return CrowdPlan(
                target=Target(HOST, event.port, (f"of-{campaign}",)), tickets=tickets, schedule=self._schedule,
                starts_us=int(zero_s * 1e6), behaviour=ONCE, connections=self._connections,
            )  # fmt: skip

        return from_


def _flood(per_s: float, pairs: slice) -> Crowd:
    """Return a crowd that is there in the second window of these pairs."""
    numbered = list(enumerate(WINDOWS.beside))[pairs]
    times_s = [from_s + independent(per_s, to_s - from_s, seed=number) for number, (from_s, to_s) in numbered]
    return Crowd(np.concatenate(times_s), FLOOD_CONNECTIONS)


def _play(
    floods: Mapping[str, Callable[[float], CrowdPlan]],
    quiet: Callable[[float], CrowdPlan],
    cores: Cores,
    served: tuple[int, str],
) -> tuple[Observations, Mapping[str, Observations], list[Sample]]:
    """Return what the quiet crowd saw, and each flood, and the samples of the quiet one's server."""
    zero_s = time.time() + LEAD_S
    watch, seen = ServerWatch(*served, zero_s), dict[str, Observations]()
    with ExitStack() as running:
        crowds = {
            name: running.enter_context(CrowdProcess(flood(zero_s), cores.crowd)) for name, flood in floods.items()
        }
        running.enter_context(_first())
        crowds["quiet"] = running.enter_context(CrowdProcess(quiet(zero_s), cores.crowd))
        while len(seen) < len(crowds):
            assert time.time() < zero_s + WINDOWS.lasts_s + TAIL_S, "the crowds are not done"
            watch.look()
            for name, crowd in crowds.items():
                if name not in seen and isinstance(news := crowd.next_report(0.02), CrowdResult):
                    seen[name] = news.observations
    return seen.pop("quiet"), seen, watch.samples


def _server_p99_ms(samples: Sequence[Sample], windows: Sequence[tuple[float, float]]) -> float:
    """Return the p99 of the first campaign's claims in these windows by the server's own histogram: exact to a factor
    of two at worst, so it is told beside what the crowd saw."""
    counts = [0] * (LAST + 1)
    for from_s, to_s in windows:
        inside = [one for one in samples if from_s + WINDOWS.skip_s <= one.at_s < to_s and one.metrics]
        for sign, sample in ((-1, inside[0]), (1, inside[-1])):
            ever = sorted(
                (float(found[1]), count) for name, count in sample.metrics.items() if (found := GRABS.match(name))
            )
            for (bound_s, count), below in zip(ever, [0.0, *(count for _, count in ever)], strict=False):
                bucket = LAST if math.isinf(bound_s) else round(math.log2(bound_s * 1e6))
                counts[bucket] += sign * int(count - below)
    return quantile_us(counts, 0.99) / 1e3


def _compared(quiet: Observations) -> tuple[Comparison, Comparison]:
    """Return what the flood and the stranger's flood cost."""
    got = quiet.where(granted(quiet))
    assert len(got) == len(quiet), "somebody was refused, or not answered"
    both = compare(WINDOWS, got.intended_s + got.late_s, from_send_s(got))
    ours, strangers = (Comparison(both.without_ms[part], both.beside_ms[part]) for part in (OURS, STRANGERS))
    return ours, strangers


def one_server(event: Rehearsal, path: Path, cores: Cores) -> tuple[int, str]:
    paced = (sys.executable, "-m", "redrush.drill.paced_server", "--claims-per-s", f"{STORE_PER_S:g}")
    event.serve(str(path), program=paced, core=cores.server)
    return event.server.pid, f"http://{HOST}:{event.control_port}"


async def _slow_down(stack: StackDir) -> None:
    """Let the disk of the only server be slow from now on."""
    (address,) = load_deployment_file(stack.deployment).sets[0].addresses
    link, _ = await Link.connect(address, ServerUsers.of(stack).access(ADMIN))
    assert await link.call(pack(("DEBUG", "AOF-FLUSH-SLEEP", round(DISK_S * 1e6)))) == [b"OK"]
    await link.close()


def a_stack(event: Rehearsal, path: Path, cores: Cores) -> tuple[int, str]:
    """Of one set and one gate. These two have the server's core; what records and steers has the crowds'."""
    command = ("stack", "up", str(path), "--sets", "1", "--gates", "1")
    program = (sys.executable, str(Path(__file__).with_name("slow_stack.py")))
    event.serve(*command, program=program, core=cores.crowd, deadline_s=STACK_READY_S)
    asyncio.run(_slow_down(StackDir(event.directory)))
    running = {one.name: one for one in running_state(StackDir(event.directory)).processes}
    for name in ("gate-1", "s1-a"):
        process = running[name].process
        assert process is not None
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            if cores.server is not None:
                os.sched_setaffinity(int(thread.name), {cores.server})
    gate = running["gate-1"].process
    assert gate is not None
    command_line = Path(f"/proc/{gate.pid}/cmdline").read_text(encoding="utf-8").split("\0")
    control_port = command_line[command_line.index("--control-port") + 1]
    return gate.pid, f"http://{HOST}:{control_port}"


FORMS: Final = {
    "one server": Form(one_server, FLOOD * STORE_PER_S),
    "a stack": Form(a_stack, FLOOD * QUIET_PER_S),
}


def _event(directory: Path) -> Rehearsal:
    directory.mkdir()
    return Rehearsal(directory, REDRUSH)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", FORMS)
def test_a_flood_on_one_campaign_makes_the_claims_on_another_no_slower(tmp_path: Path, name: str) -> None:
    form, cores = FORMS[name], share_cores()
    allow_files(FILES)
    quiet = Crowd(independent(QUIET_PER_S, WINDOWS.lasts_s, seed=20270206), QUIET_CONNECTIONS)
    flood, strangers = _flood(form.flood_per_s, OURS), _flood(form.flood_per_s, STRANGERS)
    with _event(tmp_path / "ours") as ours, _event(tmp_path / "strangers") as other:
        served = form.serve(ours, ours.campaign_path(TEXT.format(id="quiet", packets=quiet.people + 1)), cores)
        form.serve(other, other.campaign_path(TEXT.format(id="flooded", packets=strangers.people + 1)), cores)
        own = DataDir(ours.directory)
        text = TEXT.format(id="flooded", packets=flood.people + 1)
        add_campaign(parse_campaign(text, "flooded.toml"), own, Holder())
        floods = {
            "the flood": flood.to(ours, "flooded", directory_of(own, "flooded")),
            "the stranger's": strangers.to(other, "flooded", DataDir(other.directory)),
        }
        seen, flooded, samples = _play(floods, quiet.to(ours, "quiet", own), cores, served)
    comparison, control = _compared(seen)
    flooded_s = WINDOWS.pairs // 2 * WINDOWS.window_s
    windows = (WINDOWS.without, WINDOWS.beside[OURS], WINDOWS.beside[STRANGERS])
    server_ms = [round(_server_p99_ms(samples, part), 2) for part in windows]
    sizes = ", ".join(
        f"{which}: {len(one) / flooded_s:,.0f}/s sent, {granted(one).sum() / flooded_s:,.0f}/s granted"
        for which, one in flooded.items()
    )
    sys.stdout.write(
        f"{name}: {comparison.figures()}; the control, beside a stranger's flood: {control.figures()}; without, beside "
        f"the flood, and beside the stranger's, by the server's histogram: {server_ms} ms; {sizes}\n"
    )
    assert [len(one) for one in flooded.values()] == [flood.people, strangers.people], "the floods were sent whole"
    assert comparison.ratio <= SLOWER_MAX, (comparison.figures(), "beside a stranger's", control.figures())
