"""The glossary is whole: every word is told in both languages, and words that programs meet are in it."""

import re
from pathlib import Path

import pytest

from redrush.core.rush.campaign import Kind
from redrush.core.rush.outcomes import Outcome

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "glossary.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| word |")
]


def test_every_word_is_told_in_both_languages() -> None:
    assert len(ROWS) > 100
    assert [row for row in ROWS if len(row) != 4 or not all(row)] == []
    chinese = re.compile(r"[\u4e00-\u9fff]")
    assert [row[0] for row in ROWS if not chinese.search(row[1]) or not chinese.search(row[3])] == []
    assert [row[0] for row in ROWS if chinese.search(row[0]) or chinese.search(row[2])] == []


def test_no_word_is_told_twice() -> None:
    words = [word.removesuffix("◇").strip() for row in ROWS for word in row[0].split(",")]
    assert sorted({word for word in words if words.count(word) > 1}) == []


@pytest.mark.parametrize("word", [*Outcome, *Kind, "gate", "recorder", "settle", "control", "query", "payments"])
def test_what_a_program_meets_is_explained(word: str) -> None:
    assert re.search(rf"\b{word.replace('_', '[_ ]')}\b", TEXT)


@pytest.mark.parametrize("document", sorted(path.relative_to(DOCS) for path in DOCS.rglob("*.md")), ids=str)
def test_every_document_is_in_the_index(document: Path) -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert document.name == "README.md" or f"({document})" in index
