"""docs/metrics.md lists the table of figures: row for row, and nothing else.

`python -m tests.docs.test_metrics_page` writes the lists anew.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from redrush.core.steering.figure import Figure, Kind
from redrush.core.steering.figures import FIGURES

ROOT = Path(__file__).parents[2]
COOKIE = "redrush_ticket"
"""Of the participants' page: no metric."""
PAGE = ROOT / "docs" / "metrics.md"
LISTS = {"metrics": "| metric | kind | of | says |", "readings": "| reading | of | says |"}


def _list(name: str) -> str:
    """Return one of the two lists as the page has it."""
    rows = list(_metrics() if name == "metrics" else _readings())
    head = LISTS[name]
    return "\n".join([head, re.sub(r"[^|]+", "---", head), *rows])


def _metrics() -> Iterator[str]:
    for row in FIGURES:
        if row.kind is not Kind.WINDOW:
            labels = "{" + ",".join(row.labels) + "}" if row.labels else ""
            when = f" ({row.when})" if row.when else ""
            yield f"| `{row.sample}{labels}` | {row.kind} | {', '.join(row.roles)} | {row.help}{when} |"


def _readings() -> Iterator[str]:
    for row in FIGURES:
        if row.reading is not None:
            yield f"| `{row.reading}` | {', '.join(row.roles)} | {_says(row)} |"


def _says(row: Figure) -> str:
    return row.help if row.kind is Kind.WINDOW else f"the greatest `{row.name}`"


def _filled(page: str) -> str:
    """Return the page with both lists as the table has them."""
    for name in LISTS:
        begins, ends = f"<!-- {name} -->\n\n", f"\n\n<!-- end of {name} -->"
        before, _, rest = page.partition(begins)
        _, _, after = rest.partition(ends)
        page = f"{before}{begins}{_list(name)}{ends}{after}"
    return page


def test_the_page_lists_the_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert _filled(page) == page, "write it anew: python -m tests.docs.test_metrics_page"


def test_every_metric_that_a_document_names_is_in_the_table() -> None:
    known = {name for row in FIGURES for name in (row.name, row.sample)}
    known |= {
        f"{row.name}_{part}" for row in FIGURES if row.kind is Kind.HISTOGRAM for part in ("bucket", "sum", "count")
    }
    for document in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        named = set(re.findall(r"(?<![$\w])redrush_[a-z_]*[a-z]\b", document.read_text(encoding="utf-8")))
        assert named - known - {COOKIE} == set(), document


if __name__ == "__main__":
    PAGE.write_text(_filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
