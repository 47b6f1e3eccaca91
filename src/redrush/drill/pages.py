"""The reports of an event and of a drill as one HTML page each: styles and plots are inside, there is no script.

What draws (jinja2, matplotlib) is the extra `report`; nothing that serves an event imports this module.
"""

from collections.abc import Callable, Mapping
from importlib import resources

import jinja2
from markupsafe import Markup

from redrush.drill.charts import amounts_chart, latency_chart, rush_chart, time_chart
from redrush.drill.drill_report import DrillReport, written
from redrush.drill.event_report import EventReport
from redrush.drill.report import amount, count, headline, milliseconds, money, subline


def event_page(report: EventReport) -> str:
    """Return the report of an event."""
    filters = {
        "count": count,
        "latency": milliseconds,
        "amount": lambda minor: amount(minor, report.currency),
        "money": lambda minor: money(minor, report.currency),
    }
    return _page(
        "report.html",
        filters,
        report=report,
        headline=headline(report),
        subline=subline(report),
        rush_chart=Markup(rush_chart(report.rounds)),  # noqa: S704 - SVG that matplotlib made and escaped
        latency_chart=Markup(latency_chart(report.grab_latencies, report.reject_latencies)),  # noqa: S704 - as above
        amounts_chart=Markup(amounts_chart(report.rounds, report.currency)),  # noqa: S704 - as above
    )


def drill_page(report: DrillReport) -> str:
    """Return the report of a drill."""
    plots = [(plot, Markup(time_chart(plot, f"plot{index}"))) for index, plot in enumerate(report.plots)]  # noqa: S704 - SVG that matplotlib made and escaped
    filters = {"figure": written, "latency": milliseconds, "words": lambda name: name.replace("_", " ")}
    return _page("drill_report.html", filters, report=report, plots=plots)


def _page(template: str, filters: Mapping[str, Callable[..., str]], **values: object) -> str:
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
