"""The table of figures, and what is scraped, as sets of names to compare."""

from prometheus_client.parser import text_string_to_metric_families

from redrush.core.steering.figure import Kind
from redrush.core.steering.figures import FIGURES


def scraped(text: str) -> set[str]:
    """Return the figures that an exposition has values of."""
    return {family.name for family in text_string_to_metric_families(text) if family.samples}


def with_circumstances(role: str) -> set[str]:
    """Return what the role may export."""
    return {row.name for row in FIGURES if role in row.roles and row.kind is not Kind.WINDOW}


def without_circumstances(role: str) -> set[str]:
    """Return what the role exports, whatever happens."""
    return {row.name for row in FIGURES if role in row.roles and row.kind is not Kind.WINDOW and not row.when}
