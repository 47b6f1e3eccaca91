"""Every link between our documents leads somewhere."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(path for name in ("docs", "benchmarks", "deploy", "examples") for path in (ROOT / name).rglob("*.md")),
    ]
)

_LINK = re.compile(r"\]\(([^()\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _anchors(path: Path) -> set[str]:
    """Return what the headings of a document are linked to by, as GitHub makes it."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in _HEADING.findall(text)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    wrong = []
    for link in _LINK.findall(_FENCE.sub("", document.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (document.parent / path) if path else document
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            wrong.append(link)
    assert wrong == []


def test_there_are_documents() -> None:
    assert {"README.md", "README.zh.md", "ARCHITECTURE.md"} <= {path.name for path in DOCUMENTS}


@pytest.mark.parametrize("readme", ["README.md", "README.zh.md"])
def test_a_readme_names_every_document(readme: str) -> None:
    linked = {link.partition("#")[0] for link in _LINK.findall((ROOT / readme).read_text(encoding="utf-8"))}
    documents = {
        str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md") if not path.name.endswith(".zh.md")
    }
    assert {name for name in documents if not linked & {name, name.replace(".md", ".zh.md")}} == set()
