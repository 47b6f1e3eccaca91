"""What a drill ends with: verdicts, figures and plots, shown in the terminal, as JSON and as one HTML page.

The demo's report shows an event; this one shows whether something held while things were broken. Every drill gives one.
"""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console, Group
from rich.panel import Panel as Frame
from rich.table import Table
from rich.text import Text

from redrush.drill.audit import Verdict
from redrush.drill.event_report import Conditions
from redrush.drill.report import verdict_lines, write_page
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


def print_drill_report(report: DrillReport, console: Console) -> None:
    """Print the report, as wide as the console."""
    style = "green" if report.passed else "bold red"
    mark = "✓" if report.passed else "✗"
    title = Text.assemble((f"{mark} {report.headline}", f"bold {style}"), "\n", (report.title, "dim"))
    console.print(Frame(title, title=f"[bold]drill {report.drill}[/bold]", border_style=style, padding=(1, 2)))
    table = Table(box=None, show_header=False, padding=(0, 3, 0, 0))
    table.add_column(style="dim")
    table.add_column(justify="right", style="bold")
    for name, figure in report.figures.items():
        table.add_row(name.replace("_", " "), written(figure))
    console.print(table)
    console.print()
    console.print(Group(*verdict_lines(report.verdicts)))
    console.print(Text(f"\n{report.method}", style="dim"))


def written(figure: Figure) -> str:
    """Return a figure as people read it."""
    if figure is None:
        return "—"
    if isinstance(figure, bool):
        return "yes" if figure else "no"
    if isinstance(figure, float):
        return f"{figure:,.0f}" if abs(figure) >= 1_000 else f"{figure:.4g}"
    return f"{figure:,}" if isinstance(figure, int) else figure
