"""Shows an `EventReport`: in the terminal, as one self-contained HTML file, and as JSON.

All three say the same figures; nothing is computed here but how they are written.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path

import jinja2
import msgspec
from markupsafe import Markup
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from redrush.core.money import exponent_of, format_amount
from redrush.drill.audit import Verdict
from redrush.drill.charts import amounts_chart, latency_chart, rush_chart
from redrush.drill.event_report import EventReport, LatencyFigures, RoundFigures


def write_report(report: EventReport, directory: Path) -> tuple[Path, Path]:
    """Write `report.html` and `report.json` into the directory and return their paths. Raises OSError."""
    html_path, json_path = directory / "report.html", directory / "report.json"
    html_path.write_text(to_html(report), encoding="utf-8")
    json_path.write_bytes(to_json(report))
    return html_path, json_path


def to_json(report: EventReport) -> bytes:
    """Return the report as indented JSON; `msgspec.json.decode(…, type=EventReport)` reads it back."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def to_html(report: EventReport) -> str:
    """Return the report as one HTML page that needs nothing else: styles and plots are inside, no script."""
    filters = {
        "count": count,
        "latency": milliseconds,
        "amount": lambda minor: amount(minor, report.currency),
        "money": lambda minor: money(minor, report.currency),
    }
    return page(
        "report.html",
        filters,
        report=report,
        headline=headline(report),
        subline=subline(report),
        rush_chart=Markup(rush_chart(report.rounds)),  # noqa: S704 - SVG that matplotlib made and escaped
        latency_chart=Markup(latency_chart(report.grab_latencies, report.reject_latencies)),  # noqa: S704 - as above
        amounts_chart=Markup(amounts_chart(report.rounds, report.currency)),  # noqa: S704 - as above
    )


def page(template: str, filters: Mapping[str, Callable[..., str]], **values: object) -> str:
    """Return a template of this package filled in: one page with everything inside."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        loader=jinja2.FunctionLoader(
            lambda name: resources.files("redrush.drill").joinpath(name).read_text(encoding="utf-8")
        ),
    )
    environment.filters |= filters
    return environment.get_template(template).render(**values)


def print_report(report: EventReport, console: Console) -> None:
    """Print the report, as wide as the console."""
    style = "green" if report.holds else "bold red"
    mark = "✓" if report.holds else "✗"
    title = Text.assemble((f"{mark} {headline(report)}", f"bold {style}"), "\n", (subline(report), "dim"))
    console.print()
    console.print(Panel(title, title=f"[bold]{report.name}[/bold]", border_style=style, padding=(1, 2)))
    console.print(_main_figures(report))
    console.print()
    console.print(_rounds_table(report))
    console.print()
    console.print(Group(*verdict_lines(report.verdicts)))
    console.print()
    console.print(Text(_conditions(report), style="dim"))


def headline(report: EventReport) -> str:
    """Return the event in one sentence."""
    if report.holds:
        return f"{count(report.granted)} packets, {money(report.granted_minor, report.currency)}, exact to the cent"
    failed = [verdict.name for verdict in report.verdicts if not verdict.holds]
    return f"{len(failed)} of {len(report.verdicts)} checks failed: {', '.join(failed)}"


def subline(report: EventReport) -> str:
    """Return what stands under the headline."""
    if not report.holds:
        return "The details are under “What was checked”; keep the data directory."
    return "Oversold 0, lost 0, no user twice, every amount as sealed, ledger balanced."


def count(number: float) -> str:
    """Return a whole number with thousands separators."""
    return f"{number:,.0f}"


def amount(minor: int, currency: str) -> str:
    """Return money with thousands separators, all places, no currency."""
    if exponent_of(currency) == 0:
        return f"{minor:,}"
    whole, _, places = format_amount(minor, currency).rpartition(".")
    return f"{int(whole):,}.{places}" if int(whole) else f"{whole}.{places}"


def money(minor: int, currency: str) -> str:
    """Return money with its currency."""
    return f"{amount(minor, currency)} {currency}"


def milliseconds(value_ms: float | None) -> str:
    """Return a latency in three digits with its unit, or a dash."""
    if value_ms is None:
        return "—"
    if value_ms >= 1000:
        return f"{value_ms / 1000:.2f} s"
    return f"{value_ms:.0f} ms" if value_ms >= 100 else f"{value_ms:.3g} ms"


def _main_figures(report: EventReport) -> RenderableType:
    table = Table(box=None, show_header=False, padding=(0, 3, 0, 0))
    table.add_column(style="dim")
    table.add_column(justify="right", style="bold")
    table.add_column(style="dim")
    traffic = report.traffic
    left = money(report.left_minor, report.currency)
    table.add_row("packets out", count(report.granted), f"of {count(report.packets)}")
    table.add_row("money out", money(report.granted_minor, report.currency), f"{left} left")
    table.add_row("grabs/s", count(traffic.grabs.peak_per_s), "peak of any 100 ms, each durable first")
    table.add_row("rejects/s", count(traffic.rejects.peak_per_s), f"peak; {count(traffic.rejects.count)} rejects")
    for name, latency in (("grab latency", traffic.grab_latency), ("reject latency", traffic.reject_latency)):
        table.add_row(name, milliseconds(latency.p50_ms if latency else None), _quantiles(latency))
    errors = f"{count(traffic.errors)} errors, {count(traffic.not_sent)} not sent, {count(traffic.repeats)} repeats"
    table.add_row("requests", count(traffic.sent), errors)
    return table


def _quantiles(latency: LatencyFigures | None) -> str:
    if latency is None:
        return "nothing to measure"
    return f"p50; p99 {milliseconds(latency.p99_ms)}, p99.9 {milliseconds(latency.p999_ms)}"


def _rounds_table(report: EventReport) -> RenderableType:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("", style="bold")
    for heading in ("granted", "money out", "sold out", "grabs/s", "rejects/s", "grab p99", "reject p99"):
        table.add_column(heading, justify="right", no_wrap=True)
    for round_ in report.rounds:
        table.add_row(*_round_row(round_, report.currency))
    return table


def _round_row(round_: RoundFigures, currency: str) -> tuple[str, ...]:
    traffic = round_.traffic
    latencies = (traffic.grab_latency, traffic.reject_latency)
    return (
        round_.id,
        count(round_.granted),
        amount(round_.granted_minor, currency),
        f"{count(round_.left)} left" if round_.sold_out_after_s is None else f"{round_.sold_out_after_s:.2f} s",
        count(traffic.grabs.peak_per_s),
        count(traffic.rejects.peak_per_s),
        *(milliseconds(latency.p99_ms if latency else None) for latency in latencies),
    )


def verdict_lines(verdicts: Sequence[Verdict]) -> list[Text]:
    """Return each verdict as a line with its mark."""
    return [
        Text.assemble(
            ("✓ ", "green") if verdict.holds else ("✗ ", "bold red"),
            (f"{verdict.name:<18}", "bold"),
            (verdict.detail, "dim" if verdict.holds else "red"),
        )
        for verdict in verdicts
    ]


def _conditions(report: EventReport) -> str:
    at = report.conditions
    return (
        f"{at.cpu}, {at.cores} cores, {at.system}, Python {at.python}; {count(at.registered_users)} users, "
        f"{count(at.connections)} connections; fsync {milliseconds(at.fsync_ms)}. {at.note}"
    )
