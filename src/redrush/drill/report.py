"""Shows an `EventReport`: in the terminal, as JSON, and as HTML pages, which `redrush.drill.pages` draws.

All say the same figures; nothing is computed here but how they are written.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from redrush.core.money.currency import exponent_of, format_amount
from redrush.drill.audit import Verdict
from redrush.drill.event_report import Conditions, EventReport, LatencyFigures, RoundFigures
from redrush.drill.report_texts import Language, Translate, translator
from redrush.extras import ExtraMissing, require

FILES: Final[dict[Language, str]] = {"en": "report.html", "zh": "report.zh.html"}
"""The page of each language; they lead to each other."""

DASH: Final = "—"
"""Stands for a figure that is not known."""


def write_report(report: EventReport, directory: Path) -> str:
    """Write `report.json` and, if what draws them is installed, a page for each language into the directory; return
    the sentence that says where it is. Raises OSError."""
    (directory / "report.json").write_bytes(to_json(report))

    def draw(language: Language) -> str:
        from redrush.drill.pages import event_page  # noqa: PLC0415 - what draws is an extra

        return event_page(report, language)

    said = {language: write_page(directory / name, partial(draw, language)) for language, name in FILES.items()}
    return said["en"]


def write_page(path: Path, draw: Callable[[], str]) -> str:
    """Write the page if what draws it is installed, and return the sentence that says where it is, or why there is
    none. Raises OSError."""
    try:
        require("report", "the page")
    except ExtraMissing as missing:
        return f"report: {path.with_name('report.json')}; {missing}"
    path.write_text(draw(), encoding="utf-8")
    return f"report: {path}"


def to_json(report: EventReport) -> bytes:
    """Return the report as indented JSON; `msgspec.json.decode(…, type=EventReport)` reads it back."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def print_report(report: EventReport, console: Console, language: Language = "en") -> None:
    """Print the report, as wide as the console; names of rounds are never cut, columns that find no room are left out.

    Figures are headed in English in every language; headline and verdicts are translated.
    """
    translate = translator(language)
    style = "green" if report.holds else "bold red"
    mark = "✓" if report.holds else "✗"
    title = Text.assemble(
        (f"{mark} {headline(report, translate)}", f"bold {style}"), "\n", (subline(report, translate), "dim")
    )
    console.print()
    console.print(Panel(title, title=f"[bold]{report.name}[/bold]", border_style=style, padding=(1, 2)))
    console.print(_main_figures(report))
    console.print()
    console.print(_rounds_table(report, console.width))
    console.print()
    console.print(Group(*verdict_lines(report.verdicts, translate)))
    if report.crowd is not None:
        console.print()
        console.print(Text(_conditions(report.crowd.conditions), style="dim"))


def headline(report: EventReport, translate: Translate = str) -> str:
    """Return the event in one sentence."""
    if report.holds:
        granted, paid = count(report.granted), money(report.granted_minor, report.currency)
        return translate("{packets} packets, {money}, exact to the cent").format(packets=granted, money=paid)
    failed = [translate(verdict.name) for verdict in report.verdicts if not verdict.holds]
    sentence = translate("{failed} of {checks} checks failed: {names}")
    return sentence.format(failed=len(failed), checks=len(report.verdicts), names=", ".join(failed))


def subline(report: EventReport, translate: Translate = str) -> str:
    """Return what stands under the headline."""
    if not report.holds:
        return translate("The details are under “What was checked”; keep the data directory.")
    if report.crowd is None:
        return translate("Oversold 0, no user twice, every amount as sealed, ledger balanced.")
    return translate("Oversold 0, lost 0, no user twice, every amount as sealed, ledger balanced.")


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
        return DASH
    if value_ms >= 1000:
        return f"{value_ms / 1000:.2f} s"
    return f"{value_ms:.0f} ms" if value_ms >= 100 else f"{value_ms:.3g} ms"


def _main_figures(report: EventReport) -> RenderableType:
    table = Table(box=None, show_header=False, padding=(0, 3, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column(style="dim")
    left = money(report.left_minor, report.currency)
    table.add_row("packets out", count(report.granted), f"of {count(report.packets)}")
    table.add_row("money out", money(report.granted_minor, report.currency), f"{left} left")
    table.add_row("grabs/s", count(report.grants.peak_per_s), "peak of any 100 ms, each durable first")
    if (paid := report.payouts) is not None:
        others = f"{count(paid.waiting)} waiting, {count(paid.refused)} refused, "
        difference = f"difference to the provider's bill {amount(paid.difference_minor, report.currency)}"
        table.add_row(
            "paid out", money(paid.paid_minor, report.currency), f"to {count(paid.paid)}; {others}{difference}"
        )
    traffic = report.traffic
    if traffic is None:
        return table
    table.add_row("rejects/s", count(traffic.rejects.peak_per_s), f"peak; {count(traffic.rejects.count)} rejects")
    for name, latency in (("grab latency", traffic.grab_latency), ("reject latency", traffic.reject_latency)):
        table.add_row(name, milliseconds(latency.p50_ms if latency else None), _quantiles(latency))
    errors = f"{count(traffic.refused)} refused, {count(traffic.errors)} errors, {count(traffic.not_sent)} not sent"
    table.add_row("requests", count(traffic.sent), f"{errors}, {count(traffic.repeats)} repeats")
    return table


def _quantiles(latency: LatencyFigures | None) -> str:
    if latency is None:
        return "nothing to measure"
    return f"p50; p99 {milliseconds(latency.p99_ms)}, p99.9 {milliseconds(latency.p999_ms)}"


_COLUMNS: Final = ("granted", "money out", "sold out", "grabs/s", "rejects/s", "grab p99", "reject p99")
_GAP: Final = 2


def _rounds_table(report: EventReport, width: int) -> RenderableType:
    rows = [_round_row(round_, report.currency) for round_ in report.rounds]
    columns = [[heading, *(row[index + 1] for row in rows)] for index, heading in enumerate(_COLUMNS)]
    table = Table(box=None, header_style="dim", padding=(0, _GAP, 0, 0))
    names_width = min(width // 2, max(cell_len(row[0]) for row in rows))
    table.add_column("", style="bold", overflow="fold", min_width=names_width)
    room = width - names_width - _GAP
    shown = 0
    for column in columns:
        room -= max(map(cell_len, column)) + _GAP
        if room < -_GAP or not any(text != DASH for text in column[1:]):  # the last needs no gap behind it
            break
        table.add_column(column[0], justify="right", no_wrap=True)
        shown += 1
    for row in rows:
        table.add_row(*row[: shown + 1])
    return table


def _round_row(round_: RoundFigures, currency: str) -> tuple[str, ...]:
    traffic = round_.traffic
    latencies = (traffic.grab_latency, traffic.reject_latency) if traffic else (None, None)
    return (
        round_.id,
        count(round_.granted),
        amount(round_.granted_minor, currency),
        f"{count(round_.left)} left" if round_.sold_out_after_s is None else f"{round_.sold_out_after_s:.2f} s",
        count(round_.grants.peak_per_s),
        DASH if traffic is None else count(traffic.rejects.peak_per_s),
        *(milliseconds(latency.p99_ms if latency else None) for latency in latencies),
    )


def verdict_lines(verdicts: Sequence[Verdict], translate: Translate = str) -> list[Text]:
    """Return each verdict as a line with its mark."""
    return [
        Text.assemble(
            ("✓ ", "green") if verdict.holds else ("✗ ", "bold red"),
            (set_cell_size(translate(verdict.name), max(18, len(verdict.name) + 1)), "bold"),
            (verdict.detail_in(translate), "dim" if verdict.holds else "red"),
        )
        for verdict in verdicts
    ]


def _conditions(at: Conditions) -> str:
    return (
        f"{at.cpu}, {at.cores} cores, {at.system}, Python {at.python}; {count(at.registered_users)} users, "
        f"{count(at.connections)} connections; fsync {milliseconds(at.fsync_ms)}. {at.note}"
    )
