"""The result of a benchmark: a table to read, and JSON to keep beside the code."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from redrush.drill.bench.conditions import Conditions
from redrush.drill.bench.figures import Better, Figure, Result, Unit, Verdict
from redrush.drill.bench.wrk import Run
from redrush.drill.terminal import Cell, Column, Line, line, table

VERSION = 2

_PLACES = {Unit.RATIO: 2, Unit.KB: 2, Unit.SECONDS: 2, Unit.MILLISECONDS: 1, Unit.PERCENT: 1, Unit.PER_SECOND: 0}
_COLOURS = {Verdict.AIM: "green", Verdict.BAR: "yellow", Verdict.MISSED: "red", Verdict.NOT_MEASURED: "red"}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a benchmark found. `runs` are the raw runs behind the ratios, in order of time, by contender;
    `details` are other samples that explain a figure."""

    conditions: Conditions
    runs_each: int
    seconds_each: int
    results: tuple[Result, ...]
    remarks: tuple[str, ...]
    runs: Mapping[str, tuple[Run, ...]]
    details: Mapping[str, tuple[float, ...]]

    @property
    def passed(self) -> bool:
        """Whether every figure was measured and reached its bar."""
        return all(result.verdict.passed for result in self.results)


def render(report: Report, width: int) -> list[Line]:
    """Return the report for a terminal of this width."""
    columns = (
        Column(heading="figure", breaks=True),
        *(Column(heading=heading, to_the_right=True) for heading in ("measured", "ours", "bar, aim")),
        Column(heading="verdict"),
    )
    said = [(_conditions_text(report), "dim")]
    said += [(f"{what}: {median(samples):,.2f}", "dim") for what, samples in report.details.items()]
    said += [(f"note: {remark}", "yellow") for remark in report.remarks]
    reasons = dict.fromkeys(result.reason for result in report.results if result.reason is not None)
    said += [(f"not measured: {reason}", "red") for reason in reasons]
    shown = [line((part, style)) for text, style in said for part in text.splitlines()]
    return [(), *table(columns, [_row(result) for result in report.results], width), (), *shown]


def to_json(report: Report) -> dict[str, Any]:
    """Return the report as plain values for JSON, each figure with its value, verdict and samples."""
    plain: dict[str, Any] = {"version": VERSION, "passed": report.passed}
    plain |= msgspec.to_builtins(report)
    plain["results"] = [_plain_result(result) for result in report.results]
    return plain


def save(report: Report, directory: Path) -> Path:
    """Write the report into the directory, named by time and commit, and return the path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / file_name(report.conditions)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(to_json(report)), indent=1) + b"\n")
    return path


def file_name(conditions: Conditions) -> str:
    """Return the name of a report: what was measured and when, never where."""
    began = datetime.fromisoformat(conditions.measured_at)
    return f"{began:%Y-%m-%d-%H%M%S}-{conditions.commit}.json"


def format_value(figure: Figure, value: float | None) -> str:
    """Return a value with the figure's unit: "0.83 ×"; a dash if there is none."""
    return "–" if value is None else f"{value:,.{_PLACES[figure.unit]}f} {figure.unit}"


def _row(result: Result) -> tuple[str | Cell, ...]:
    figure, verdict = result.figure, result.verdict
    sign = "≥" if figure.better is Better.HIGHER else "≤"
    ends = [format_value(figure, end) for end in (min(result.samples), max(result.samples))] if result.samples else []
    marks = [line(f"{sign} {format_value(figure, mark)}") for mark in (figure.bar, figure.aim) if mark is not None]
    cost = None if result.cpu_us is None else (f"{result.cpu_us:.1f} µs CPU", f"{result.rate_per_s or 0:,.0f}/s")
    return (
        figure.title,
        [line((format_value(figure, result.value), "bold")), line(" – ".join(ends))],
        [line(text) for text in cost or ("–",)],
        marks,
        [line((str(verdict), _COLOURS[verdict]))],
    )


def _plain_result(result: Result) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(result.figure)
    return plain | {
        "value": result.value,
        "verdict": result.verdict,
        "samples": list(result.samples),
        "reason": result.reason,
        "cpu_us": result.cpu_us,
        "rate_per_s": result.rate_per_s,
    }


def _conditions_text(report: Report) -> str:
    seen = report.conditions
    versions = ", ".join(f"{name} {number}" for name, number in (seen.libraries | seen.tools).items())
    modified = " with changes" if seen.modified else ""
    return (
        f"redrush {seen.redrush} ({seen.commit}{modified}), {seen.measured_at}. Medians of {report.runs_each} run(s), "
        f"{report.seconds_each} s each, contenders in turns, ratios pair by pair, µs of CPU for an answer of ours.\n"
        f"{seen.cpu}, {seen.cores} cores: server on {seen.cores_used.server}, wrk and databases on "
        f"{seen.cores_used.load}. Linux {seen.kernel}, {seen.memory_mib} MiB, {seen.filesystem}, an fsync takes "
        f"{seen.fsync_us:.0f} µs.\n"
        f"Python {seen.python} ({seen.python_build}), SQLite {seen.sqlite}, {versions}."
    )
