"""Rules about the pages' sources: nothing inline, nothing evaluated, both languages, vendored files as taken."""

import hashlib
import re
from pathlib import Path
from typing import Final

import pytest

import redrush.console
from redrush.console.pages.rendering import grouped, templates
from redrush.console.wording import chinese
from redrush.core.steering.switches import registry_of

HERE: Final = Path(redrush.console.__file__).parent
TEMPLATES: Final = sorted((HERE / "templates").glob("*.html"))
OURS: Final = [HERE / "static" / "console.js", HERE / "static" / "live.js"]
BANNED: Final = {
    "an inline handler": re.compile(r"\son[a-z]+\s*=\s*[^=\s]", re.IGNORECASE),
    "hx-on": re.compile(r"hx-on", re.IGNORECASE),
    "a js: value": re.compile(r"\bjs:|javascript:", re.IGNORECASE),
    "an event filter": re.compile(r"hx-trigger\s*=\s*[\"'][^\"']*\[", re.IGNORECASE),
    "an inline style": re.compile(r"\sstyle\s*=|<style", re.IGNORECASE),
    "an inline script": re.compile(r"<script(?![^>]*\ssrc=)", re.IGNORECASE),
    "another site": re.compile(r"(?:src|href|action)\s*=\s*[\"'](?:https?:)?//", re.IGNORECASE),
    "markup that is not escaped": re.compile(r"\|\s*safe\b"),
}
SAID: Final = re.compile(r"""\bt\(\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")""")
LISTED: Final = re.compile(r"\('[^']*', '([^']+)'(?:, '[^']*', \d)?\)")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_nothing_inline(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [what for what, pattern in BANNED.items() if pattern.search(text)] == []
    assert templates().get_template(path.name)


def test_the_lint_finds_what_it_bans() -> None:
    bad = (
        '<a onclick="x">', '<a hx-on:click="x">', '<a hx-vals="js:{a:1}">', '<a hx-trigger="click[x]">',
        '<a style="x">', "<script>x</script>", '<img src="//cdn.example/x">', "{{ x|safe }}",
    )  # fmt: skip
    for text, pattern in zip(bad, BANNED.values(), strict=True):
        assert pattern.search(text), text


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_scripts_evaluate_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\beval\b|new Function|innerHTML|insertAdjacentHTML|document\.write", text)


def test_every_form_that_is_answered_in_place_says_what_it_asks_for() -> None:
    """By that console.js knows an answer from an error, or a login, which it shows in the same place."""
    asking = [
        (path.name, tag, set(re.findall(r"hx-(?:select|target)=\"#\w+\"", tag)))
        for path in TEMPLATES
        for tag in re.findall(r"<[^>]*\shx-(?:get|post|put|patch|delete)=[^>]*>", path.read_text(encoding="utf-8"))
    ]
    assert len(asking) >= 3
    assert [(name, tag) for name, tag, says in asking if len(says) != 2] == []
    fault = (HERE / "templates" / "fault.html").read_text(encoding="utf-8")
    assert '<section id="fault">' in fault
    asked_for = {one for _, _, says in asking for one in says if one.startswith("hx-select")}
    assert not [one for one in asked_for if f'id="{one.split("#")[1][:-1]}"' in fault], "an error is no answer"


@pytest.mark.parametrize(
    ("amount", "said"),
    [("1234567.00", "1,234,567.00"), ("-1235.05", "-1,235.05"), ("-0.05", "-0.05"), ("1000", "1,000"), (None, "–")],
)
def test_amounts_have_their_thousands_apart(amount: str | None, said: str) -> None:
    assert grouped(amount) == said


def test_everything_is_said_in_chinese_too() -> None:
    said = {
        (one or other).replace("\\'", "'")
        for path in TEMPLATES
        for one, other in SAID.findall(path.read_text(encoding="utf-8"))
    }
    said |= {label for path in TEMPLATES for label in LISTED.findall(path.read_text(encoding="utf-8"))}
    said |= {one.does for one in registry_of([("r1", 1.0)], ["a rule"], 1, [("r1", 1.0)]).values()}
    assert len(said) > 100
    assert sorted(said - {"English", "中文"} - set(chinese())) == []


def test_what_is_vendored_is_what_was_taken() -> None:
    vendor = HERE / "static" / "vendor"
    for line in (vendor / "SHA256SUMS").read_text(encoding="ascii").splitlines():
        digest, name = line.split()
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest, name
    assert {path.name for path in vendor.glob("*.js")} == {"htmx-4.0.1.min.js", "uPlot-1.6.32.iife.min.js"}
