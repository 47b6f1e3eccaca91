"""The demo: a whole event on this machine, over real HTTP, from the campaign file to the audited report.

Everything real runs as it would for others: the server is a child process started by `redrush serve`, tickets, export
and reconciliation come from the same commands an operator uses, and the crowd is a third process that knows nothing
but addresses and tickets. What this module adds is the order of things, and that no child outlives it.
"""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
from rich.console import Console

from redrush.core.money import exponent_of
from redrush.drill.audit import Audit, Verdict, audit, read_sealed
from redrush.drill.behaviour import Behaviour
from redrush.drill.crowd import CrowdPlan, CrowdResult, Target
from redrush.drill.crowd_process import CrowdProcess
from redrush.drill.demo_screen import Screen, screen_for
from redrush.drill.event_figures import EventFacts, conditions, event_report, read_campaign
from redrush.drill.event_report import EventReport
from redrush.drill.report import print_report, to_json, write_report
from redrush.drill.sample_event import EventShape, SampleEvent, sample_event, sample_schedule
from redrush.drill.server_process import ServerProcess, free_port
from redrush.errors import ConfigError, RedrushError

HOST = "127.0.0.1"
USERS = 150_000
CONNECTIONS = 512
SEED = 20270206
REDRUSH = (sys.executable, "-m", "redrush")

LEAD_S = 7.0
"""From writing the campaign to the first opening: server and crowd start meanwhile, and people see a countdown."""
READY_DEADLINE_S = 30.0
STOP_DEADLINE_S = 30.0
SETTLE_DEADLINE_S = 30.0
COMMAND_DEADLINE_S = 120.0
CROWD_DEADLINE_S = 180.0
"""Far beyond the last retry of the last user: a crowd that is not done by then never will be."""
AFTER_LAST_CLOSE_S = 1.0
"""For the leftover of the last round to go back, before the server is told to stop."""
FREE_DISK_BYTES_MIN = 256_000_000
"""The demo writes some 40 MB; the rest is room for the write-ahead logs."""


class DemoFailed(RedrushError):
    """A step of the demo did not work."""


class StackShape(msgspec.Struct, frozen=True, kw_only=True):
    """How large a stack is. What two cores can carry beside the crowd that comes to it."""

    sets: int = 2
    replicas: int = 0
    gates: int = 2


STACK_EVENT = EventShape(packets=5_000, totals=(15_000, 15_000, 20_000), release_per_s=(None, 900, None))
STACK_USERS = 50_000
STACK_LEAD_S = 25.0
"""A database and the servers of the sets are made first."""
STACK_AFTER_LAST_CLOSE_S = 4.0
"""Settlement leaves claims that were accepted before the close two seconds to become durable."""


class DemoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What can be chosen. `data_dir` None makes a new directory under the system's temporary one, and keeps it."""

    data_dir: Path | None = None
    users: int = USERS
    stay: bool = False
    as_json: bool = False
    port: int | None = None
    """None takes free ports."""
    control_port: int | None = None
    connections: int = CONNECTIONS
    redrush: Sequence[str] = REDRUSH
    """The command that is redrush."""
    shape: EventShape = EventShape()
    lead_s: float = LEAD_S
    after_last_close_s: float = AFTER_LAST_CLOSE_S
    stack: StackShape | None = None
    """None: the embedded form."""


def on_a_stack(options: DemoOptions) -> DemoOptions:
    """Return the options for the same event on a stack: smaller, for it shares the machine with many more processes."""
    return msgspec.structs.replace(
        options,
        stack=StackShape(),
        shape=STACK_EVENT,
        lead_s=STACK_LEAD_S,
        after_last_close_s=STACK_AFTER_LAST_CLOSE_S,
    )


def run_demo(options: DemoOptions) -> int:
    """Play the event and show its report; returns 0 if every verdict holds, 1 if not, 130 after Ctrl-C.

    Raises RedrushError when it cannot be played: no room on the disk, a busy port, a server that dies (with its own
    last words). No process that was started is left behind, whatever happens.
    """
    console = Console(stderr=options.as_json)
    demo: _Demo | None = None
    try:
        with _ending_by_sigterm():
            with screen_for(console) as screen:
                demo = _Demo(options, screen)
                report = demo.play()
            _show(report, options, console)
            console.print(f"\nreport: {demo.data_dir / 'report.html'}", highlight=False, soft_wrap=True)
            demo.stay(console)
    except KeyboardInterrupt:
        console.print("interrupted; the server and the crowd were ended")
        return 130
    finally:
        if demo is not None:
            demo.end_server()
    return 0 if report.holds else 1


def _show(report: EventReport, options: DemoOptions, console: Console) -> None:
    if options.as_json:
        sys.stdout.write(to_json(report).decode())
    else:
        print_report(report, console)


class _Demo:
    def __init__(self, options: DemoOptions, screen: Screen) -> None:
        self._options = options
        self._screen = screen
        self._begun_s = time.monotonic()
        self.data_dir = _data_dir(options.data_dir)
        self._port = options.port or free_port(HOST)
        self._control_port = options.control_port or free_port(HOST)
        self._server: ServerProcess | None = None

    def play(self) -> EventReport:
        """Run everything up to the written report. The server is stopped unless it is to stay."""
        try:
            conditions_ = conditions(self.data_dir, self._options.users, self._options.connections)
            tickets = self._tickets()
            event = self._serve()
            result = self._rush(event, tickets)
            settled_after_s, ledger = self._settle(event)
            audit_, exported = self._audit(result)
            self._screen.step("writing the report")
            campaign = read_campaign(self.data_dir)
            facts = EventFacts(
                campaign=campaign,
                amounts=read_sealed(self.data_dir, exponent_of(campaign.currency)).amounts,
                exported=exported,
                audit=audit_,
                ledger=ledger,
                took_s=time.monotonic() - self._begun_s,
                settled_after_s=settled_after_s,
                conditions=conditions_,
            )
            report = event_report(result, facts)
            write_report(report, self.data_dir)
            if not self._options.stay:
                self._stop_server()
        except OSError as fault:
            raise DemoFailed(f"{self.data_dir}: {fault.strerror or fault}") from fault
        return report

    def stay(self, console: Console) -> None:
        """If asked to, keep the server up until Ctrl-C and tell where it is."""
        if self._server is None or not self._options.stay:
            return
        base, control = f"http://{HOST}:{self._port}", f"http://{HOST}:{self._control_port}"
        console.print(f"rounds:  {base}/v1/rounds/r1\nmetrics: {control}/metrics\nready:   {control}/readyz")
        console.print(f"tickets: redrush ticket --data {self.data_dir} --user NAME", soft_wrap=True)
        console.print("Ctrl-C ends it.")
        try:
            while True:
                self._server.check()
                time.sleep(0.5)
        except KeyboardInterrupt:
            self._stop_server()

    # The steps

    def _tickets(self) -> list[tuple[str, str]]:
        self._screen.step(f"registering {self._options.users:,} users and signing their tickets")
        users_path = self.data_dir / "users.txt"
        users_path.write_text("".join(f"u{number:07}\n" for number in range(self._options.users)), encoding="ascii")
        lines = self._redrush("ticket", "--users", str(users_path), "--ttl", "2h").splitlines()
        tickets = [(user, ticket) for user, _, ticket in (line.partition("\t") for line in lines)]
        if len(tickets) != self._options.users:
            raise DemoFailed(f"{len(tickets):,} tickets came for {self._options.users:,} users")
        return tickets

    def _serve(self) -> SampleEvent:
        event = sample_event(self._options.shape, int((time.time() + self._options.lead_s) * 1e6))
        path = self.data_dir / "campaign.toml"
        path.write_text(event.toml, encoding="utf-8")
        server: tuple[object, ...] = ("serve", path)
        if (stack := self._options.stack) is not None:
            server = ("stack", "up", path, "--sets", stack.sets, "--replicas", stack.replicas, "--gates", stack.gates)
        arguments = (*map(str, server), "--port", str(self._port))
        self._screen.step(f"starting the server: redrush {' '.join(arguments)}")
        command = (*self._options.redrush, *arguments, "--data", str(self.data_dir))
        command = (*command, "--control-port", str(self._control_port))
        self._server = ServerProcess(command, self.data_dir / "server.log")
        self._server.start(READY_DEADLINE_S)
        return event

    def _rush(self, event: SampleEvent, tickets: list[tuple[str, str]]) -> CrowdResult:
        schedule = sample_schedule(self._options.shape, event, len(tickets), SEED)
        self._screen.step(
            f"{len(schedule):,} people will come to {len(event.rounds)} rounds of {event.packets[0]:,} packets"
        )
        plan = CrowdPlan(
            target=Target(HOST, self._port, event.rounds),
            tickets=tickets,
            schedule=schedule,
            starts_us=event.opens_us,
            behaviour=Behaviour(think_s=self._options.shape.think_s),
            connections=self._options.connections,
            seed=SEED,
        )
        deadline_s = time.monotonic() + CROWD_DEADLINE_S
        with CrowdProcess(plan) as crowd:
            while time.monotonic() < deadline_s:
                news = crowd.next_report(0.25)
                self._running.check()
                if isinstance(news, CrowdResult):
                    return news
                if news is not None:
                    self._screen.progress(event, news)
            raise DemoFailed(f"the crowd was not done after {CROWD_DEADLINE_S:g} s")

    def _settle(self, event: SampleEvent) -> tuple[float, Verdict]:
        """Let the last round close, stop the server gracefully (or let its records catch up), and reconcile.

        A stack goes on until the end: it would have to be started again to be asked.
        """
        ends_s = event.opens_us / 1e6 + event.closes_s[-1] + self._options.after_last_close_s
        time.sleep(max(0.0, ends_s - time.time()))
        self._screen.step("settling: every grant into the ledger, then everything derived again from the journal")
        begun_s = time.monotonic()
        if not self._options.stay and self._options.stack is None:
            self._stop_server()
            took_s = time.monotonic() - begun_s
            return took_s, self._reconcile()
        while True:
            ledger = self._reconcile()
            took_s = time.monotonic() - begun_s
            if ledger.holds or took_s > SETTLE_DEADLINE_S:
                return took_s, ledger
            time.sleep(0.2)

    def _reconcile(self) -> Verdict:
        text = self._redrush("reconcile", "--json", may_fail=True)
        try:
            found = msgspec.json.decode(text)
        except msgspec.DecodeError:
            raise DemoFailed(f"reconcile did not answer in JSON: {text[:200]!r}") from None
        holds = found.get("ok") is True
        return Verdict("ledger", holds, "balanced, and equal to the journal" if holds else text.strip()[:500])

    def _audit(self, result: CrowdResult) -> tuple[Audit, list[dict[str, Any]]]:
        self._screen.step(f"auditing {len(result.acknowledged):,} acknowledged grants against the export")
        lines = self._redrush("export", "grants", "--format", "jsonl").splitlines()
        exported = [msgspec.json.decode(line) for line in lines]
        sealed = read_sealed(self.data_dir, exponent_of(read_campaign(self.data_dir).currency))
        return audit(result.acknowledged, exported, sealed, result.breaches), exported

    # Children

    @property
    def _running(self) -> ServerProcess:
        assert self._server is not None
        return self._server

    def _redrush(self, *arguments: str, may_fail: bool = False) -> str:
        """Run a redrush command on the data directory and return what it printed."""
        command = (*self._options.redrush, *arguments, "--data", str(self.data_dir))
        try:
            done = subprocess.run(  # noqa: S603 - our own command
                command, capture_output=True, text=True, timeout=COMMAND_DEADLINE_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"redrush {arguments[0]} took longer than {COMMAND_DEADLINE_S:g} s") from None
        if done.returncode != 0 and not (may_fail and done.stdout):
            raise DemoFailed(f"redrush {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _stop_server(self) -> None:
        """Let the server end in good order, if it still runs."""
        if self._server is not None:
            self._server.stop(STOP_DEADLINE_S)
            self._server = None

    def end_server(self) -> None:
        """End the server if it still runs, at once."""
        if self._server is not None:
            self._server.kill()
            self._server = None


def _data_dir(chosen: Path | None) -> Path:
    """Return an existing, empty-enough directory with room on its disk. Raises ConfigError."""
    try:
        if chosen is None:
            directory = Path(tempfile.mkdtemp(prefix="redrush-demo-"))
        else:
            directory = chosen
            directory.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(directory).free
    except OSError as fault:
        raise ConfigError(f"{chosen or tempfile.gettempdir()}: cannot be used: {fault.strerror}") from fault
    if (directory / "campaign.json").exists():
        raise ConfigError(f"{directory}: holds an event already; choose another directory for --data")
    if free_bytes < FREE_DISK_BYTES_MIN:
        raise ConfigError(
            f"{directory}: only {free_bytes / 1e6:,.0f} MB free, the demo needs {FREE_DISK_BYTES_MIN / 1e6:,.0f} MB; "
            "choose another disk with --data"
        )
    return directory


@contextmanager
def _ending_by_sigterm() -> Iterator[None]:
    """Within this, SIGTERM ends the demo as Ctrl-C does: in order, with its children."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before: Callable[[int, FrameType | None], Any] | int | None = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
