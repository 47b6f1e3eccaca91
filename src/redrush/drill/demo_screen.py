"""What the demo shows while it runs: a live table on a terminal, one plain line a second anywhere else."""

import time
from types import TracebackType
from typing import Final, Protocol

from redrush.drill.crowd import CrowdProgress
from redrush.drill.observations import Ending
from redrush.drill.report import count, milliseconds
from redrush.drill.sample_event import SampleEvent
from redrush.drill.terminal import Column, Line, Terminal, line, table

PLAIN_EVERY_S = 1.0
DRAWS_PER_S = 8
BAR_WIDTH = 30


class Screen(Protocol):
    """Shows steps and progress."""

    def step(self, text: str) -> None:
        """Say what is being done now."""

    def progress(self, event: SampleEvent, progress: CrowdProgress) -> None:
        """Show how the rush goes."""

    def paid(self, winners: int) -> None:
        """Show how many winners were paid."""

    def __enter__(self) -> "Screen": ...

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def screen_for(terminal: Terminal) -> Screen:
    """Return a live screen for a terminal, plain lines for everything else."""
    return LiveScreen(terminal) if terminal.is_live else PlainScreen(terminal)


class _Pace:
    """Requests per second, from the counts of two progresses at least a fifth of a second apart."""

    def __init__(self) -> None:
        self._at_s = self._sent = 0.0
        self.per_s = 0.0

    def update(self, progress: CrowdProgress) -> None:
        passed_s = progress.now_s - self._at_s
        if not self._at_s or passed_s >= 0.2:
            if self._at_s:
                self.per_s = (progress.sent - self._sent) / passed_s
            self._at_s, self._sent = progress.now_s, progress.sent


class PlainScreen:
    """One line a step, one line a second during the rush, no control codes."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._pace = _Pace()
        self._next_s = 0.0

    def __enter__(self) -> "PlainScreen":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def step(self, text: str) -> None:
        self._terminal.say(f"· {text}")

    def progress(self, event: SampleEvent, progress: CrowdProgress) -> None:
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + PLAIN_EVERY_S
        self._pace.update(progress)
        granted = sum(progress.grabs)
        line = (
            f"  {clock(event, progress.now_s):<18} {count(self._pace.per_s):>7} requests/s  "
            f"{count(granted):>7} packets out  p50 {milliseconds(progress.p50_ms)}  p99 {milliseconds(progress.p99_ms)}"
        )
        self._terminal.say(line)

    def paid(self, winners: int) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + PLAIN_EVERY_S
            self._terminal.say(f"  {count(winners)} winners paid")


class LiveScreen:
    """Steps as lines, and below them the rush as a table that renews itself."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._pace = _Pace()
        self._next_s = 0.0

    def __enter__(self) -> "LiveScreen":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._terminal.renew(())

    def step(self, text: str) -> None:
        self._terminal.show([line(("● ", "red"), text)])

    def progress(self, event: SampleEvent, progress: CrowdProgress) -> None:
        self._pace.update(progress)
        self._renew([(), self._headline(event, progress), (), *_rounds(event, progress, self._terminal.width)])

    def paid(self, winners: int) -> None:
        self._renew([line((f"{count(winners):>8}", "bold"), (" winners paid", "dim"))])

    def _renew(self, lines: list[Line]) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + 1 / DRAWS_PER_S
            self._terminal.renew(lines)

    def _headline(self, event: SampleEvent, progress: CrowdProgress) -> Line:
        return line(
            (f"{clock(event, progress.now_s):<18}", "bold red"),
            (f"{count(self._pace.per_s):>8}", "bold"), (" requests/s   ", "dim"),
            ("p50 ", "dim"), (f"{milliseconds(progress.p50_ms):>8}", "bold"),
            ("   p99 ", "dim"), (f"{milliseconds(progress.p99_ms):>8}", "bold"),
            (f"   {count(progress.connections)} connections, {count(progress.waiting)} waiting", "dim"),
        )  # fmt: skip


_ROUNDS: Final = (
    Column(heading="round", style="bold"),
    Column(heading="packets gone"),
    *(Column(heading=heading, to_the_right=True) for heading in ("granted", "missed", "empty", "early", "errors")),
)


def _rounds(event: SampleEvent, progress: CrowdProgress, width: int) -> list[Line]:
    rows: list[list[str | list[Line]]] = []
    for index, name in enumerate(event.rounds):
        ends = progress.endings[index]
        gone = BAR_WIDTH * min(event.packets[index], progress.grabs[index]) // event.packets[index]
        errors = sum(ends[ending] for ending in Ending if ending >= Ending.REFUSED)
        empty = ends[Ending.EMPTY] + ends[Ending.CLOSED]
        figures = (progress.grabs[index], ends[Ending.MISSED], empty, ends[Ending.NOT_OPEN], errors)
        bar = [line(("━" * gone, "red"), ("━" * (BAR_WIDTH - gone), "dim"))]
        rows.append([name, bar, *map(count, figures)])
    return table(_ROUNDS, rows, width)


def clock(event: SampleEvent, now_s: float) -> str:
    """Return what is going on at `now_s` after the first opening: a countdown, or the round that is open."""
    for name, opens_s, closes_s in zip(event.rounds, event.opens_s, event.closes_s, strict=True):
        if now_s < opens_s:
            return f"{name} opens in {opens_s - now_s:.1f} s"
        if now_s < closes_s:
            return f"{name} is open"
    return "the last is closed"
