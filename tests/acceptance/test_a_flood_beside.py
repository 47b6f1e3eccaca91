"""A flood of ten times what a campaign can grant, on one of two campaigns: claims on the other are as fast as without.

Each campaign has a crowd of its own, a process that sends at planned instants whatever is answered. The flood comes in
every second window, and the p99 of the other campaign's claims with it is held against that of the window before, as
drills do (`redrush.drill.beside`): the median of many pairs, for a machine is faster one minute and slower the next.
Whoever is served has one core and both crowds the other, the small one first: so the flood takes no time from what is
measured, but what the server gives it.

What a campaign has of its own is its place at the store, not the processor: on one core every request makes others
wait, whosever they are, and where a store answers in a millisecond that is most of what there is to see. So both stores
are slow, as a busier disk makes them: that of one server by its pace, that of a stack by a disk that takes `DISK_S` for
an fsync, asleep. Then what the campaigns take from each other there is many times what a shared core costs. Alone, a
claim waits for up to two fsyncs, the one under way and its own; a flood that has one under way at all times may make
that no more, and did make it five (`redrush.stores.valkey.turns`). For a quiet machine.
"""

import asyncio
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from redrush.drill.schedules import Schedule, independent, plan
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
WINDOWS: Final = Windows(pairs=16, window_s=3.0, skip_s=0.5, settle_s=3.0, leave_s=0.3)
LEAD_S: Final = 12.0
"""Until both crowds are there."""
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


class Crowds:
    """Both crowds, planned for one zero of time."""

    def __init__(self, event: Rehearsal, flood_per_s: float) -> None:
        parts, people = [], 0
        for number, (from_s, to_s) in enumerate(WINDOWS.beside):
            times_s = from_s + independent(flood_per_s, to_s - from_s, seed=number)
            parts.append((0, times_s, np.arange(people, people + len(times_s), dtype=np.int32)))
            people += len(times_s)
        quiet_s = independent(QUIET_PER_S, WINDOWS.lasts_s, seed=20270206)
        self.flooded_people, self.quiet_people = people, len(quiet_s)
        self._event = event
        self._flood = plan(parts)
        self._quiet = plan([(0, quiet_s, np.arange(len(quiet_s), dtype=np.int32))])

    def play(
        self, cores: Cores, own: DataDir, served: tuple[int, str]
    ) -> tuple[Observations, Observations, list[Sample]]:
        """Return what the crowds saw, the quiet one first, and the samples of the server's figures."""
        flood_tickets = _tickets(directory_of(own, "flooded"), self.flooded_people)
        quiet_tickets = _tickets(own, self.quiet_people)
        zero_s = time.time() + LEAD_S

        def plan_of(name: str, tickets: Sequence[tuple[str, str]], schedule: Schedule, connections: int) -> CrowdPlan:
            return CrowdPlan(
                target=Target(HOST, self._event.port, (f"of-{name}",)), tickets=tickets, schedule=schedule,
                starts_us=int(zero_s * 1e6), behaviour=ONCE, connections=connections,
            )  # fmt: skip

        flood = CrowdProcess(plan_of("flooded", flood_tickets, self._flood, FLOOD_CONNECTIONS), cores.crowd)
        quiet = CrowdProcess(plan_of("quiet", quiet_tickets, self._quiet, QUIET_CONNECTIONS), cores.crowd)
        watch, seen = ServerWatch(*served, zero_s), dict[str, Observations]()
        with flood, _first(), quiet:
            while len(seen) < 2:
                assert time.time() < zero_s + WINDOWS.lasts_s + TAIL_S, "the crowds are not done"
                watch.look()
                for name, crowd in (("quiet", quiet), ("flood", flood)):
                    if name not in seen and isinstance(news := crowd.next_report(0.02), CrowdResult):
                        seen[name] = news.observations
        return seen["quiet"], seen["flood"], watch.samples


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


def _compared(quiet: Observations) -> Comparison:
    got = quiet.where(granted(quiet))
    assert len(got) == len(quiet), "somebody was refused, or not answered"
    return compare(WINDOWS, got.intended_s + got.late_s, from_send_s(got))


def _add_flooded(own: DataDir, packets: int) -> None:
    text = TEXT.format(id="flooded", packets=packets)
    add_campaign(parse_campaign(text, "flooded.toml"), own, Holder())


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


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", FORMS)
def test_a_flood_on_one_campaign_makes_the_claims_on_another_no_slower(tmp_path: Path, name: str) -> None:
    form, cores = FORMS[name], share_cores()
    allow_files(FILES)
    with Rehearsal(tmp_path, REDRUSH) as event:
        crowds = Crowds(event, form.flood_per_s)
        path = event.campaign_path(TEXT.format(id="quiet", packets=crowds.quiet_people + 1))
        served = form.serve(event, path, cores)
        own = DataDir(event.directory)
        _add_flooded(own, crowds.flooded_people + 1)
        quiet, flood, samples = crowds.play(cores, own, served)
    comparison, flooded_s = _compared(quiet), WINDOWS.pairs * WINDOWS.window_s
    server_ms = [round(_server_p99_ms(samples, windows), 2) for windows in (WINDOWS.without, WINDOWS.beside)]
    sys.stdout.write(
        f"{name}: {comparison.figures()}; without and beside by the server's histogram: {server_ms} ms; the flood: "
        f"{len(flood) / flooded_s:,.0f}/s sent, {granted(flood).sum() / flooded_s:,.0f}/s granted\n"
    )
    assert len(flood) >= crowds.flooded_people, "the whole flood was sent"
    assert comparison.ratio <= SLOWER_MAX, comparison.figures()
