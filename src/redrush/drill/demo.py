"""The demo: a whole event on this machine, over real HTTP, from the campaign file to the audited report.

Everything real runs as it would for others: the server is a child process started by `redrush serve`, tickets, export
and reconciliation come from the same commands an operator uses, and the crowd is a third process that knows nothing
but addresses and tickets. What this module adds is the order of things, and that no child outlives it.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from redrush.core.money.currency import exponent_of
from redrush.drill.audit import Audit, Verdict, read_sealed
from redrush.drill.behaviour import Behaviour
from redrush.drill.crowd import CrowdPlan, CrowdResult, Target
from redrush.drill.crowd_process import CrowdProcess
from redrush.drill.demo_payments import PAYOUT_TABLE, DemoPayments, sum_of_grants
from redrush.drill.demo_screen import Screen, screen_for
from redrush.drill.event_figures import EventFacts, conditions, event_report, read_campaign
from redrush.drill.event_report import EventReport, PayoutFigures
from redrush.drill.rehearsal import HOST, REDRUSH, Rehearsal, RehearsalFailed, ending_by_sigterm, rehearsal_directory
from redrush.drill.report import print_report, to_json, write_report
from redrush.drill.report_texts import Language
from redrush.drill.sample_event import EventShape, SampleEvent, sample_event, sample_schedule, scaled
from redrush.drill.terminal import Terminal, line
from redrush.errors import INTERRUPTED

USERS = 150_000
CONNECTIONS = 512
SEED = 20270206

LEAD_S = 7.0
"""From writing the campaign to the first opening: server and crowd start meanwhile, and people see a countdown."""
SETTLE_DEADLINE_S = 30.0
CROWD_DEADLINE_S = 180.0
"""Far beyond the last retry of the last user: a crowd that is not done by then never will be."""
AFTER_LAST_CLOSE_S = 1.0
"""For the leftover of the last round to go back, before the server is told to stop."""


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
    pays: bool = True
    """Whether winners are paid at a sandbox; not yet on a stack."""
    language: Language = "en"
    """Of the report in the terminal; its pages are written in every language."""


def for_people(options: DemoOptions, users: int | None) -> DemoOptions:
    """Return the options for this many registered users, with as many packets as make them run out."""
    usual = STACK_USERS if options.stack else USERS
    if users is None:
        return msgspec.structs.replace(options, users=usual)
    return msgspec.structs.replace(options, users=users, shape=scaled(options.shape, users / usual))


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
    terminal = Terminal(sys.stderr if options.as_json else sys.stdout)
    demo: _Demo | None = None
    try:
        with ending_by_sigterm():
            with screen_for(terminal) as screen:
                demo = _Demo(options, screen)
                report = demo.play()
            _show(report, options, terminal)
            terminal.say([(), line(demo.report_at)])
            demo.stay(terminal)
    except KeyboardInterrupt:
        terminal.say("interrupted; the server and the crowd were ended")
        return INTERRUPTED
    finally:
        if demo is not None:
            demo.end_server()
    return 0 if report.holds else 1


def _show(report: EventReport, options: DemoOptions, terminal: Terminal) -> None:
    if options.as_json:
        sys.stdout.write(to_json(report).decode())
    else:
        print_report(report, terminal, options.language)


class _Demo:
    def __init__(self, options: DemoOptions, screen: Screen) -> None:
        self._options = options
        self._screen = screen
        self._begun_s = time.monotonic()
        self.report_at = ""
        """The sentence that says where the report is, once it is written."""
        self.data_dir = rehearsal_directory(options.data_dir, "demo")
        self._event = Rehearsal(self.data_dir, options.redrush, options.port, options.control_port)
        pays = options.pays and options.stack is None
        self._payments = DemoPayments(self.data_dir, options.redrush) if pays else None

    def play(self) -> EventReport:
        """Run everything up to the written report. The server is stopped unless it is to stay."""
        try:
            conditions_ = conditions(self.data_dir, self._options.users, self._options.connections)
            tickets = self._tickets()
            event = self._serve()
            result = self._rush(event, tickets)
            payouts = None if self._payments is None else self._pay(event, self._payments)
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
                payouts=payouts,
                took_s=time.monotonic() - self._begun_s,
                settled_after_s=settled_after_s,
                conditions=conditions_,
            )
            report = event_report(result, facts)
            self.report_at = write_report(report, self.data_dir)
            if not self._options.stay:
                self._event.stop_server()
        except OSError as fault:
            raise RehearsalFailed(f"{self.data_dir}: {fault.strerror or fault}") from fault
        return report

    def stay(self, terminal: Terminal) -> None:
        """If asked to, keep the server up until Ctrl-C and tell where it is."""
        if not self._options.stay:
            return
        base, control = f"http://{HOST}:{self._event.port}", f"http://{HOST}:{self._event.control_port}"
        terminal.say(f"rounds:  {base}/v1/rounds/r1\nmetrics: {control}/metrics\nready:   {control}/readyz")
        terminal.say(f"tickets: redrush ticket --data {self.data_dir} --user NAME")
        terminal.say("Ctrl-C ends it.")
        try:
            while True:
                self._event.server.check()
                time.sleep(0.5)
        except KeyboardInterrupt:
            self._event.stop_server()

    # The steps

    def _tickets(self) -> list[tuple[str, str]]:
        self._screen.step(f"registering {self._options.users:,} users and signing their tickets")
        return self._event.tickets([f"u{number:07}" for number in range(self._options.users)])

    def _serve(self) -> SampleEvent:
        event = sample_event(self._options.shape, int((time.time() + self._options.lead_s) * 1e6))
        path = self._event.campaign_path(event.toml + ("" if self._payments is None else PAYOUT_TABLE))
        server: tuple[object, ...] = ("serve", path)
        if self._payments is not None:
            self._payments.start()
            server = (*server, "--payments", self._payments.file)
        if (stack := self._options.stack) is not None:
            server = ("stack", "up", path, "--sets", stack.sets, "--replicas", stack.replicas, "--gates", stack.gates)
        arguments = tuple(map(str, server))
        self._screen.step(f"starting the server: redrush {' '.join(arguments)} --port {self._event.port}")
        self._event.serve(*arguments)
        return event

    def _rush(self, event: SampleEvent, tickets: list[tuple[str, str]]) -> CrowdResult:
        schedule = sample_schedule(self._options.shape, event, len(tickets), SEED)
        self._screen.step(
            f"{len(schedule):,} people will come to {len(event.rounds)} rounds of {event.packets[0]:,} packets"
        )
        plan = CrowdPlan(
            target=Target(HOST, self._event.port, event.rounds),
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
                self._event.server.check()
                if isinstance(news, CrowdResult):
                    return news
                if news is not None:
                    self._screen.progress(event, news)
            raise RehearsalFailed(f"the crowd was not done after {CROWD_DEADLINE_S:g} s")

    def _pay(self, event: SampleEvent, payments: DemoPayments) -> tuple[PayoutFigures, Verdict]:
        """Let the last round close, and every winner be paid at the sandbox."""
        self._sleep_until_over(event)
        self._screen.step("paying every winner at the sandbox, a payment provider of our own over HTTP")
        granted = self._event.redrush("export", "grants")
        payments.wait(sum_of_grants(granted), self._screen.paid)
        return payments.figures()

    def _sleep_until_over(self, event: SampleEvent) -> None:
        ends_s = event.opens_us / 1e6 + event.closes_s[-1] + self._options.after_last_close_s
        time.sleep(max(0.0, ends_s - time.time()))

    def _settle(self, event: SampleEvent) -> tuple[float, Verdict]:
        """Let the last round close, stop the server gracefully (or let its records catch up), and reconcile.

        A stack goes on until the end: it would have to be started again to be asked.
        """
        self._sleep_until_over(event)
        self._screen.step("settling: every grant into the ledger, then everything derived again from the journal")
        begun_s = time.monotonic()
        if not self._options.stay and self._options.stack is None:
            self._event.stop_server()
            took_s = time.monotonic() - begun_s
            return took_s, self._event.reconcile()
        while True:
            ledger = self._event.reconcile()
            took_s = time.monotonic() - begun_s
            if ledger.holds or took_s > SETTLE_DEADLINE_S:
                return took_s, ledger
            time.sleep(0.2)

    def _audit(self, result: CrowdResult) -> tuple[Audit, list[dict[str, Any]]]:
        self._screen.step(f"auditing {len(result.acknowledged):,} acknowledged grants against the export")
        return self._event.audit(result.acknowledged, result.breaches)

    def end_server(self) -> None:
        """End the server and the sandbox if they still run, at once."""
        self._event.end_server()
        if self._payments is not None:
            self._payments.end()
