"""Load by wrk: one thread, many kept connections, the requests of `load.lua`.

wrk is a closed loop: it measures how much a server can do, not how long people wait (see `open_loop`). One C thread
with LuaJIT sends more than any server here can answer; that it did is checked by the CPU share of both sides.
"""

import signal
from collections.abc import Iterable
from contextlib import ExitStack
from enum import StrEnum
from importlib.resources import as_file, files
from pathlib import Path
from typing import Protocol

import msgspec

from redrush.drill.bench.browser import Heads, grab_heads, grab_path
from redrush.processes.failure import ProcessFailed
from redrush.processes.pinned import Child

GRACE_S = 15
"""How much longer than its duration a run of wrk may take."""


class Mode(StrEnum):
    """How tickets are taken from the file; see load.lua."""

    ONCE = "once"
    CYCLE = "cycle"
    SAME = "same"


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One run: how many connections for how many whole seconds, with which tickets and request heads."""

    port: int
    connections: int
    seconds: int
    mode: Mode
    tickets: Path
    heads: Path


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What wrk itself counted, as load.lua prints it. Latencies are those of a closed loop; `cpu_us` is wrk's own CPU
    time, without what it took to build the requests before the run."""

    requests: int
    duration_us: int
    connect_errors: int
    read_errors: int
    write_errors: int
    status_errors: int
    timeouts: int
    cpu_us: int
    p50_us: int
    p99_us: int
    p999_us: int
    max_us: int
    exhausted: bool = False

    @property
    def rate_per_s(self) -> float:
        """Answers per second."""
        return self.requests / (self.duration_us / 1e6)

    @property
    def errors(self) -> int:
        """Requests that failed in any way, and answers with status 400 or above."""
        return self.connect_errors + self.read_errors + self.write_errors + self.status_errors + self.timeouts


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run against one server. CPU shares are of one core, over the run; `server_cpu_us` is per answer."""

    rate_per_s: float
    server_cpu_share: float
    load_cpu_share: float
    server_cpu_us: float
    summary: Summary


def write_tickets(path: Path, tickets: Iterable[str]) -> Path:
    """Write tickets as wrk's script reads them, one a line."""
    with path.open("w", encoding="ascii") as out:
        out.writelines(f"{ticket}\n" for ticket in tickets)
    return path


def write_heads(path: Path, port: int, round_ids: tuple[str, ...] = ("rush",), heads: Heads = Heads.OWN) -> Path:
    """Write grabs of these rounds as wrk's script reads requests, parted by form feeds."""
    return write_heads_to(path, port, tuple(map(grab_path, round_ids)), heads)


def write_heads_to(path: Path, port: int, paths: tuple[str, ...], heads: Heads = Heads.OWN) -> Path:
    """Write requests with these paths as wrk's script reads them."""
    path.write_text("\f".join(grab_heads(port, paths, heads)), encoding="ascii", newline="")
    return path


def parse_summary(printed: str) -> Summary:
    """Return the summary in wrk's output. Raises ProcessFailed if there is none."""
    for line in printed.splitlines():
        if line.startswith('{"requests":'):
            summary = msgspec.json.decode(line, type=Summary)
            return msgspec.structs.replace(summary, exhausted="exhausted" in printed.splitlines())
    raise ProcessFailed(f"wrk printed no summary but: {printed.strip()[-200:]}")


class Watched(Protocol):
    """A server under load, of one process or several."""

    def cpu_ns(self) -> int:
        """Return the CPU time used so far, in nanoseconds."""

    def check_alive(self) -> None:
        """Raise ProcessFailed if it has ended."""


def run_wrk(wrk: str, load: Load, *, core: int, server: Watched, log: Path) -> Run:
    """Run wrk on its core against the server; return what was measured.

    A run whose tickets are exhausted ends early, with `summary.exhausted` set: what was under way then is not counted.
    Raises ProcessFailed if wrk fails or the server ends.
    """
    with ExitStack() as stack:
        script = stack.enter_context(as_file(files(__package__) / "load.lua"))
        argv = [wrk, "-t", "1", "-c", str(load.connections), "-d", f"{load.seconds}s", "--timeout", "10s"]
        argv += ["-s", str(script), f"http://127.0.0.1:{load.port}/", "--"]
        argv += [str(load.tickets), str(load.heads), load.mode]
        before_ns = server.cpu_ns()
        child = stack.enter_context(Child(argv, core, log=log))
        printed = _follow(child, load.seconds)
        server_us = (server.cpu_ns() - before_ns) / 1e3
        server.check_alive()
    if child.process.returncode != 0:
        raise child.failure(f"ended with {child.process.returncode}")
    summary = parse_summary(printed)
    if summary.requests == 0:
        raise ProcessFailed("wrk got no answer at all")
    return Run(
        rate_per_s=summary.rate_per_s,
        server_cpu_share=server_us / summary.duration_us,
        load_cpu_share=summary.cpu_us / summary.duration_us,
        server_cpu_us=server_us / summary.requests,
        summary=summary,
    )


def _follow(child: Child, seconds: int) -> str:
    """Return what wrk printed; interrupts its sleep when the tickets are exhausted."""
    assert child.process.stdout is not None
    printed = []
    with child.killed_after(seconds + GRACE_S):
        for line in child.process.stdout:
            printed.append(line)
            if line.strip() == "exhausted":
                child.process.send_signal(signal.SIGINT)
        child.process.wait()
    return "".join(printed)
