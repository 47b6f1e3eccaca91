"""The reports of an event and of a drill as one HTML page each: styles and plots are inside, there is no script.

What draws (jinja2, matplotlib) is the extra `report`; nothing that serves an event imports this module.
"""

from collections.abc import Callable, Mapping
from importlib import resources

import jinja2
from markupsafe import Markup

from redrush.core.rush.zones import local_text, parse_zone
from redrush.drill.charts import amounts_chart, latency_chart, rush_chart, time_chart
from redrush.drill.drill_report import DrillReport, written
from redrush.drill.event_report import EventReport
from redrush.drill.report import FILES, amount, count, headline, milliseconds, money, subline
from redrush.drill.report_texts import Language, translator


def event_page(report: EventReport, language: Language = "en") -> str:
    """Return the report of an event."""
    translate, zone = translator(language), parse_zone(report.timezone)
    filters = {
        "count": count,
        "latency": milliseconds,
        "amount": lambda minor: amount(minor, report.currency),
        "money": lambda minor: money(minor, report.currency),
        "instant": lambda instant_us: local_text(instant_us, zone),
        "said": lambda sentence, **values: translate(sentence).format(**values),
        "detail": lambda verdict: verdict.detail_in(translate),
    }
    crowd = report.crowd
    charts = {
        "rush": rush_chart(report.rounds, translate),
        "rush_narrow": rush_chart(report.rounds, translate, narrow=True),
        "amounts": amounts_chart(report.rounds, report.currency, translate),
        "latency": crowd and latency_chart(crowd.grab_latencies, crowd.reject_latencies, translate),
    }
    return _page(
        "report.html",
        filters,
        report=report,
        crowd=crowd,
        language=language,
        others={other: name for other, name in FILES.items() if other != language},
        headline=headline(report, translate),
        subline=subline(report, translate),
        charts={name: Markup(svg) for name, svg in charts.items() if svg},  # noqa: S704 - matplotlib escaped it
    )


def drill_page(report: DrillReport) -> str:
    """Return the report of a drill."""
    plots = [
        (plot, Markup(time_chart(plot, f"plot{index}")), Markup(time_chart(plot, f"narrow{index}", narrow=True)))  # noqa: S704 - SVG that matplotlib made and escaped
        for index, plot in enumerate(report.plots)
    ]
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
