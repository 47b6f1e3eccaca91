"""Shows an `EventReport`: in the terminal, as JSON, and as HTML pages, which `redrush.drill.pages` draws.

All say the same figures; nothing is computed here but how they are written.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from redrush.core.money.currency import exponent_of, format_amount
from redrush.drill.audit import Verdict
from redrush.drill.event_report import Conditions, EventReport, LatencyFigures, RoundFigures
from redrush.drill.report_texts import Language, Translate, translator
from redrush.drill.terminal import Column, Line, Terminal, framed, line, padded, table, width_of
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


def print_report(report: EventReport, terminal: Terminal, language: Language = "en") -> None:
    """Print the report, as wide as the terminal; names of rounds are never cut, columns that find no room are left out.

    Figures are headed in English in every language; headline and verdicts are translated.
    """
    translate = translator(language)
    style = "green" if report.holds else "bold red"
    mark = "✓" if report.holds else "✗"
    headed = line((f"{mark} {headline(report, translate)}", f"bold {style}"))
    title = [headed, line((subline(report, translate), "dim"))]
    lines = [(), *framed(title, report.name, style, terminal.width), *_main_figures(report, terminal.width), ()]
    lines += [*_rounds_table(report, terminal.width), (), *verdict_lines(report.verdicts, translate)]
    if report.crowd is not None:
        lines += [(), line((_conditions(report.crowd.conditions), "dim"))]
    terminal.show(lines)


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


def _main_figures(report: EventReport, width: int) -> list[Line]:
    columns = (Column(style="dim"), Column(style="bold", to_the_right=True), Column(style="dim", breaks=True))
    return table(columns, _rows_of_main_figures(report), width, gap=3)


def _rows_of_main_figures(report: EventReport) -> list[tuple[str, str, str]]:
    left = money(report.left_minor, report.currency)
    rows = [
        ("packets out", count(report.granted), f"of {count(report.packets)}"),
        ("money out", money(report.granted_minor, report.currency), f"{left} left"),
        ("grabs/s", count(report.grants.peak_per_s), "peak of any 100 ms, each durable first"),
    ]
    if (paid := report.payouts) is not None:
        others = f"{count(paid.waiting)} waiting, {count(paid.refused)} refused, "
        difference = f"difference to the provider's bill {amount(paid.difference_minor, report.currency)}"
        said = f"to {count(paid.paid)}; {others}{difference}"
        rows.append(("paid out", money(paid.paid_minor, report.currency), said))
    if (shared := report.shared) is not None:
        total, back = money(shared.total_minor, report.currency), money(shared.returned_minor, report.currency)
        granted = f"{count(shared.grants)} of {count(shared.shares)} shares"
        said = f"of {total} in {count(shared.count)} packets; {granted} granted, {back} went back"
        rows.append(("between people", money(shared.granted_minor, report.currency), said))
    traffic = report.traffic
    if traffic is None:
        return rows
    rows.append(("rejects/s", count(traffic.rejects.peak_per_s), f"peak; {count(traffic.rejects.count)} rejects"))
    for name, latency in (("grab latency", traffic.grab_latency), ("reject latency", traffic.reject_latency)):
        rows.append((name, milliseconds(latency.p50_ms if latency else None), _quantiles(latency)))
    errors = f"{count(traffic.refused)} refused, {count(traffic.errors)} errors, {count(traffic.not_sent)} not sent"
    rows.append(("requests", count(traffic.sent), f"{errors}, {count(traffic.repeats)} repeats"))
    return rows


def _quantiles(latency: LatencyFigures | None) -> str:
    if latency is None:
        return "nothing to measure"
    return f"p50; p99 {milliseconds(latency.p99_ms)}, p99.9 {milliseconds(latency.p999_ms)}"


_COLUMNS: Final = ("granted", "money out", "sold out", "grabs/s", "rejects/s", "grab p99", "reject p99")
_GAP: Final = 2


def _rounds_table(report: EventReport, width: int) -> list[Line]:
    rows = [_round_row(round_, report.currency) for round_ in report.rounds]
    figures = [[heading, *(row[index + 1] for row in rows)] for index, heading in enumerate(_COLUMNS)]
    room = width - min(width // 2, max(width_of(row[0]) for row in rows))
    columns = [Column(style="bold", breaks=True)]
    for figure in figures:
        room -= max(map(width_of, figure)) + _GAP
        if room < 0 or not any(text != DASH for text in figure[1:]):
            break
        columns.append(Column(heading=figure[0], to_the_right=True))
    return table(columns, [row[: len(columns)] for row in rows], width, _GAP)


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


def verdict_lines(verdicts: Sequence[Verdict], translate: Translate = str) -> list[Line]:
    """Return each verdict as a line with its mark."""
    return [
        line(
            ("✓ ", "green") if verdict.holds else ("✗ ", "bold red"),
            (padded(translate(verdict.name), max(18, len(verdict.name) + 1)), "bold"),
            (verdict.detail_in(translate), "dim" if verdict.holds else "red"),
        )
        for verdict in verdicts
    ]


def _conditions(at: Conditions) -> str:
    return (
        f"{at.cpu}, {at.cores} cores, {at.system}, Python {at.python}; {count(at.registered_users)} users, "
        f"{count(at.connections)} connections; fsync {milliseconds(at.fsync_ms)}. {at.note}"
    )
