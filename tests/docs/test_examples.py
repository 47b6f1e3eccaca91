"""What the documents show is what the program takes: campaign files are read, commands are parsed."""

import re
import shlex
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from redrush.cli.main import app
from redrush.config import parse_campaign

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_BEFORE_THE_COMMAND = re.compile(r"^(?:[A-Z_]+=\S+ |runuser -u redrush -- )*(?:\S+/bin/)?(?=redrush )")
"""Variables, the user, and where the command is."""
_ENDS_OF_A_COMMAND = frozenset({"|", ">", "<", "&&", ";", "&", ">>", "2>&1", "#"})


def _blocks() -> Iterator[tuple[str, str, str]]:
    for path in DOCUMENTS:
        for language, text in _FENCE.findall(path.read_text(encoding="utf-8")):
            yield str(path.relative_to(ROOT)), language, text


def _commands() -> list[tuple[str, str]]:
    found = []
    for name, language, text in _blocks():
        if language in {"", "sh", "bash", "shell", "console"}:
            lines = text.replace("\\\n", " ").splitlines()
            found += [(name, line.strip().removeprefix("$ ")) for line in lines]
    found = [(name, _BEFORE_THE_COMMAND.sub("", line)) for name, line in found]
    return [(name, line) for name, line in found if line.startswith("redrush ")]


def _campaigns() -> list[tuple[str, str]]:
    return [
        (name, text)
        for name, language, text in _blocks()
        if language == "toml" and "[[round]]" in text and "[campaign]" in text
    ]


def _words(line: str) -> list[str]:
    words = []
    for word in shlex.split(line, comments=True)[1:]:
        if word in _ENDS_OF_A_COMMAND:
            break
        words.append(word)
    return words


def _named() -> list[tuple[str, str]]:
    """Commands in running text, of which parts may be left out."""
    found = set()
    for path in DOCUMENTS:
        text = _FENCE.sub("", path.read_text(encoding="utf-8"))
        found |= {(str(path.relative_to(ROOT)), line) for line in re.findall(r"`(redrush [^`\n]+)`", text)}
    return sorted(found)


def _resolve(words: list[str]) -> tuple[Any, Any, list[str]]:
    """Return the command that the words name, its context, and the words that are left."""
    command: Any = app
    context = None
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        context = command.context_class(command, parent=context)
        name, found, words = command.resolve_command(context, words)
        assert found is not None, f"{name} is no command"
        command = found
    return command, context, words


@pytest.mark.parametrize(("document", "line"), _commands())
def test_a_command_that_is_shown_exists_and_takes_what_it_is_given(document: str, line: str) -> None:
    command, context, words = _resolve(_words(line))
    if not hasattr(command, "commands"):
        command.make_context(command.name, words, parent=context)  # raises UsageError for what it does not take


@pytest.mark.parametrize(("document", "line"), _named())
def test_a_command_that_is_named_in_running_text_exists_with_its_options(document: str, line: str) -> None:
    for words in map(list, product(*(word.split("|") for word in _words(line)))):
        command, _, words = _resolve(words)  # noqa: PLW2901 - what is left of them
        options = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
        named = {word.partition("=")[0] for word in words if word.startswith("--") and word != "--help"}
        assert named <= options, f"{document}: {line}"


@pytest.mark.parametrize(("document", "text"), _campaigns())
def test_a_campaign_file_that_is_shown_is_a_right_one(document: str, text: str) -> None:
    parse_campaign(text, document)
