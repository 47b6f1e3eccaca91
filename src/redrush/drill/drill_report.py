"""What a drill ends with: verdicts, figures and plots, shown in the terminal, as JSON and as one HTML page.

The demo's report shows an event; this one shows whether something held while things were broken. Every drill gives one.
"""

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from redrush.drill.audit import Verdict
from redrush.drill.event_report import Conditions
from redrush.drill.report import verdict_lines, write_page
from redrush.drill.terminal import Column, Terminal, framed, line, table
from redrush.drill.time_plot import TimePlot

Figure = bool | float | int | str | None


class DrillReport(msgspec.Struct, frozen=True, kw_only=True):
    """A drill that was played. Units of the figures are in their names."""

    drill: str
    title: str
    """What was asked of the service, in one sentence."""
    method: str
    """What was broken, and how it was measured."""
    verdicts: tuple[Verdict, ...]
    figures: dict[str, Figure]
    plots: tuple[TimePlot, ...]
    conditions: Conditions
    took_s: float
    made_at: str = msgspec.field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))

    @property
    def passed(self) -> bool:
        """Whether every verdict holds."""
        return all(verdict.holds for verdict in self.verdicts)

    @property
    def headline(self) -> str:
        """The result in one sentence."""
        failed = [verdict.name for verdict in self.verdicts if not verdict.holds]
        if failed:
            return f"{len(failed)} of {len(self.verdicts)} checks failed: {', '.join(failed)}"
        return f"all {len(self.verdicts)} checks hold"


def to_json(report: DrillReport) -> bytes:
    """Return `{"drill", "passed", "figures", …}` without the plots' data, indented."""
    fields = {
        "drill": report.drill,
        "passed": report.passed,
        "figures": report.figures,
        "verdicts": report.verdicts,
        "conditions": report.conditions,
        "method": report.method,
        "made_at": report.made_at,
        "took_s": report.took_s,
    }
    return msgspec.json.format(msgspec.json.encode(fields), indent=1) + b"\n"


def write_drill_report(report: DrillReport, directory: Path) -> str:
    """Write `report.json` and, if what draws it is installed, `report.html` into the directory; return the sentence
    that says where it is. Raises OSError."""
    (directory / "report.json").write_bytes(to_json(report))

    def draw() -> str:
        from redrush.drill.pages import drill_page  # noqa: PLC0415 - what draws is an extra

        return drill_page(report)

    return write_page(directory / "report.html", draw)


def print_drill_report(report: DrillReport, terminal: Terminal) -> None:
    """Print the report, as wide as the terminal."""
    style = "green" if report.passed else "bold red"
    mark = "✓" if report.passed else "✗"
    title = [line((f"{mark} {report.headline}", f"bold {style}")), line((report.title, "dim"))]
    lines = framed(title, f"drill {report.drill}", style, terminal.width)
    figures = [(name.replace("_", " "), written(figure)) for name, figure in report.figures.items()]
    columns = (Column(style="dim"), Column(style="bold", to_the_right=True, breaks=True))
    lines += [*table(columns, figures, terminal.width, gap=3), (), *verdict_lines(report.verdicts)]
    terminal.show([*lines, (), line((report.method, "dim"))])


def written(figure: Figure) -> str:
    """Return a figure as people read it."""
    if figure is None:
        return "—"
    if isinstance(figure, bool):
        return "yes" if figure else "no"
    if isinstance(figure, float):
        return f"{figure:,.0f}" if abs(figure) >= 1_000 else f"{figure:.4g}"
    return f"{figure:,}" if isinstance(figure, int) else figure
