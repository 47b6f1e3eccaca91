"""The plots of the event report as SVG text that takes its colours and fonts from the page around it.

matplotlib draws with placeholder colours, one for each role; they are replaced by CSS variables afterwards, so one
drawing serves the light and the dark theme, and text stays text in the reader's own fonts. Rejected: bitmaps (blurred
when zoomed, one theme), plotly and friends (megabytes of script, or a network).

Each function draws on its own Figure without pyplot, so nothing global is touched and nothing needs a display.
"""

import io
import re
import warnings
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from redrush.core.money.currency import exponent_of
from redrush.drill.event_report import Histogram, RoundFigures
from redrush.drill.report_texts import Translate
from redrush.drill.time_plot import TimePlot

NARROW_IN = 4.6
"""Width of a plot for a telephone: at 390 px its text is as large as that of the page."""

ROUNDS_DRAWN_MAX = 6
"""More small plots side by side cannot be read; the table still has every round."""

ROLES = {
    "ink": "#000001", "muted": "#000002", "line": "#000003", "page": "#000004",
    "granted": "#000011", "repeat": "#000012", "missed": "#000013", "empty": "#000014",
    "not_open": "#000015", "fault": "#000016",
}  # fmt: skip
"""Placeholder colour of each role; in the page it is the CSS variable `--chart-ROLE`."""

_STACK = ("granted", "repeat", "missed", "not_open", "empty")
_LABELS = {
    "granted": "granted", "repeat": "repeat", "missed": "missed", "not_open": "not open yet",
    "empty": "empty, closed", "fault": "refused, errors",
}  # fmt: skip
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "font.size": 10.0, "axes.edgecolor": ROLES["line"], "axes.labelcolor": ROLES["muted"],
    "text.color": ROLES["ink"], "xtick.color": ROLES["line"], "ytick.color": ROLES["line"],
    "xtick.labelcolor": ROLES["muted"], "ytick.labelcolor": ROLES["muted"], "axes.spines.top": False,
    "axes.spines.right": False, "axes.spines.left": False, "ytick.major.size": 0, "axes.grid": True,
    "axes.grid.axis": "y", "grid.color": ROLES["line"], "grid.linewidth": 0.6, "axes.axisbelow": True,
    "axes.facecolor": "none", "figure.facecolor": "none", "legend.frameon": False,
}  # fmt: skip


def rush_chart(rounds: Sequence[RoundFigures], translate: Translate = str, *, narrow: bool = False) -> str:
    """Return per round: answers per second by outcome, stacked, and under it the packets left; a shared time axis.

    Rounds stand side by side, or, `narrow`, one below the other, to be read on a telephone.
    """
    shown = rounds[:ROUNDS_DRAWN_MAX]
    with matplotlib.rc_context(_STYLE):
        if narrow:
            figure = Figure(figsize=(NARROW_IN, 3.9 * len(shown) + 0.8), layout="constrained")
            stacked = figure.subplots(
                2 * len(shown), 1, squeeze=False, gridspec_kw={"height_ratios": [2, 1] * len(shown)}
            )
            pairs = [(stacked[2 * row][0], stacked[2 * row + 1][0]) for row in range(len(shown))]
            for answers, left in pairs:
                answers.sharex(left)
        else:
            figure = Figure(figsize=(11.2, 5.4), layout="constrained")
            grid = figure.subplots(
                2, len(shown), sharex="col", sharey="row", squeeze=False, gridspec_kw={"height_ratios": [2, 1]}
            )
            pairs = list(zip(*grid, strict=True))
        for (answers, left), round_ in zip(pairs, shown, strict=True):
            _answers(answers, round_, translate)
            _left(left, round_, translate)
            answers.set_title(round_.id, loc="left", fontweight="bold", color=ROLES["ink"])
            answers.tick_params(labelbottom=False)
        for axes in (axes for pair in pairs for axes in pair):
            axes.set_ylim(bottom=0)  # once all are drawn: it fixes the top too, of every round beside it
        for answers, left in pairs if narrow else pairs[:1]:
            answers.set_ylabel(translate("answers per second"))
            left.set_ylabel(translate("packets left"))
        handles = {label: handle for axes, _ in pairs for handle, label in zip(*_legend(axes), strict=True)}
        columns = min(2, len(handles)) if narrow else len(handles)
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=max(1, columns))
        return _svg(figure, "rush-narrow" if narrow else "rush")


def latency_chart(grabs: Histogram, rejects: Histogram, translate: Translate = str) -> str:
    """Return both latency distributions on a logarithmic axis, each as a share of its own sort."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.5, 3.3), layout="constrained")
        axes = figure.subplots()
        for histogram, role, label in ((rejects, "empty", "rejects"), (grabs, "granted", "grabs")):
            total = max(1, sum(histogram.counts))
            shares = np.asarray(histogram.counts) / total * 100.0
            axes.stairs(shares, histogram.edges, fill=True, color=ROLES[role], alpha=0.28, linewidth=0)
            axes.stairs(shares, histogram.edges, color=ROLES[role], linewidth=1.6, label=translate(label))
        axes.set_xscale("log")
        axes.set_xlim(*_occupied(grabs, rejects))
        axes.xaxis.set_major_formatter(FuncFormatter(_milliseconds))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}%"))
        axes.set_xlabel(translate("from the intended send time to the complete answer"))
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
        return _svg(figure, "latency")


def amounts_chart(rounds: Sequence[RoundFigures], currency: str, translate: Translate = str) -> str:
    """Return how the granted amounts of each round are spread."""
    shown, scale = rounds[:ROUNDS_DRAWN_MAX], 10 ** exponent_of(currency)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.5, 3.3), layout="constrained")
        column = figure.subplots(len(shown), 1, sharex=True, squeeze=False)
        for round_, axes in zip(shown, column[:, 0], strict=True):
            edges = np.asarray(round_.amounts.edges) / scale
            axes.stairs(round_.amounts.counts, edges, fill=True, color=ROLES["granted"], alpha=0.75, linewidth=0)
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
            axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
            axes.text(0.99, 0.8, round_.id, transform=axes.transAxes, ha="right", fontweight="bold")
        column[-1, 0].set_xlabel(translate("amount of a packet, {currency}").format(currency=currency))
        figure.supylabel(translate("packets"), fontsize=10, color=ROLES["muted"])
        return _svg(figure, "amounts")


_SERIES_ROLES = ("granted", "empty", "missed", "not_open", "fault")


def time_chart(plot: TimePlot, name: str, *, narrow: bool = False) -> str:
    """Return the series as steps over time, with the broken spans shaded. `name` must be unique in its page.

    A `narrow` one is to be read on a telephone.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(NARROW_IN if narrow else 11.2, 3.3), layout="constrained")
        axes = figure.subplots()
        for (label, per_s), role in zip(plot.series.items(), cycle(_SERIES_ROLES), strict=False):
            edges = np.arange(len(per_s) + 1) * plot.bucket_s
            axes.stairs(per_s, edges, fill=True, color=ROLES[role], alpha=0.2, linewidth=0)
            axes.stairs(per_s, edges, color=ROLES[role], linewidth=1.5, label=label)
        for from_s, to_s in plot.broken:
            axes.axvspan(from_s, to_s, color=ROLES["muted"], alpha=0.16, linewidth=0)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(plot.unit)
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
        columns = min(2, len(plot.series)) if narrow else len(plot.series)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns)
        return _svg(figure, name)


def _answers(axes: Axes, round_: RoundFigures, translate: Translate) -> None:
    line = round_.time_line
    series = {name: np.asarray(counts) / line.bucket_s for name, counts in line.answers.items()}
    empty = [series.pop(name) for name in ("empty", "closed", "not_eligible") if name in series]
    stack = {name: series.pop(name) for name in _STACK if name in series}
    if empty:
        stack["empty"] = np.sum(empty, axis=0)
    if series:
        stack["fault"] = np.sum(list(series.values()), axis=0)
    base = np.zeros(len(line.left))
    edges = _edges(round_)
    for name, per_s in stack.items():
        label = translate(_LABELS[name])
        axes.stairs(base + per_s, edges, baseline=base, fill=True, color=ROLES[name], linewidth=0, label=label)
        base = base + per_s
    axes.axvline(0.0, color=ROLES["ink"], linewidth=0.9, linestyle=(0, (2, 2)))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.set_xlim(edges[0], edges[-1])


def _left(axes: Axes, round_: RoundFigures, translate: Translate) -> None:
    room = round_.packets + round_.carried_in
    left = np.concatenate(([room], round_.time_line.left))
    axes.fill_between(_edges(round_), left, color=ROLES["granted"], alpha=0.16, linewidth=0)
    axes.plot(_edges(round_), left, color=ROLES["granted"], linewidth=1.8)
    axes.axvline(0.0, color=ROLES["ink"], linewidth=0.9, linestyle=(0, (2, 2)))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    opens = translate("opens")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g} s" if value else opens))


def _edges(round_: RoundFigures) -> NDArray[np.float64]:
    line = round_.time_line
    return np.asarray(line.first_s + np.arange(len(line.left) + 1) * line.bucket_s)


def _legend(axes: Axes) -> tuple[list[Artist], list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    return list(handles), list(labels)


def _occupied(*histograms: Histogram) -> tuple[float, float]:
    edges = [
        edge
        for histogram in histograms
        for count, low, high in zip(histogram.counts, histogram.edges, histogram.edges[1:], strict=False)
        for edge in (low, high)
        if count
    ]
    return (min(edges) / 1.3, max(edges) * 1.3) if edges else (0.1, 1000.0)


def _thousands(value: float, _: int) -> str:
    return f"{value:,.0f}"


def _plain(value: float, _: int) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def _milliseconds(value: float, _: int) -> str:
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"


def _svg(figure: Figure, name: str) -> str:
    """Return the figure as an inline SVG element: scalable, themed by CSS, with ids that are its own."""
    target = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # Text stays text: the reader's fonts have the glyphs, whichever this machine has.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    text = target.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<style type="text/css">.*?</style>', "", text, flags=re.DOTALL)
    text = re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1" role="img">', text, count=1)
    text = re.sub(r"\bfont: (bold )?([\d.]+)px [^;\"]+", lambda m: f"font-size: {m[2]}px{_weight(m[1])}", text)
    text = re.sub(r'(?<= )id="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    for role, placeholder in ROLES.items():
        text = text.replace(placeholder, f"var(--chart-{role.replace('_', '-')})")
    return text


def _weight(bold: str | None) -> str:
    return "; font-weight: 700" if bold else ""
