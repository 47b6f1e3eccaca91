"""What is said in Chinese: the texts of the pages, and the sentences of what is behind them, with holes for names.

A sentence comes here as it was told, its holes filled already, so it is known by what stands between them. What nobody
has put into Chinese is said as it came: an English sentence is better than none.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
LENGTH_MAX: Final = 1_000
"""Characters of a sentence with holes; a longer one is said as it came."""
SAID_TOO: Final = frozenset({"state", "doing", "verb", "role", "fault", "sort"})
"""Holes for words of ours. All others are names that somebody has given, and stay as they are."""
_HOLE: Final = re.compile(r"\{(\w+)\}")


@cache
def chinese() -> Mapping[str, str]:
    """Return what the pages say in Chinese, by what they say in English."""
    texts: dict[str, str] = tomllib.loads((HERE / "chinese.toml").read_text(encoding="utf-8"))
    return texts


@cache
def sentences() -> Mapping[str, str]:
    """Return what is told to the pages, in Chinese, by how it is told in English."""
    texts: dict[str, str] = tomllib.loads((HERE / "chinese_sentences.toml").read_text(encoding="utf-8"))
    return texts


@cache
def validators() -> Mapping[str, str]:
    """Return what the validator of campaigns and lists says, in Chinese, by how it is said in English."""
    texts: dict[str, str] = tomllib.loads((HERE / "chinese_validator.toml").read_text(encoding="utf-8"))
    return texts


def in_chinese(said: str) -> str:
    """Return what was said in Chinese, or as it came where that is not known."""
    return chinese().get(said) or _known(said, sentences, again=in_chinese) or said


def validator_in_chinese(said: str) -> str:
    """Return what the validator said in Chinese, each line and each part of it, or as it came where that is not known.

    Its sentences are short, and have large holes, so they are looked for only where the validator speaks."""
    lines = said.split("\n")
    if len(lines) > 1:
        return "\n".join(validator_in_chinese(line.strip()) for line in lines)
    if (known := _known(said, validators, sentences, again=validator_in_chinese)) is not None:
        return known
    head, colon, rest = said.partition(": ")
    if colon and len(said) <= LENGTH_MAX:
        parts = [_known(part, validators, again=validator_in_chinese) or part for part in rest.split("; ")]
        if parts != rest.split("; "):
            return f"{head}：{'；'.join(parts)}"
    return said


def _known(said: str, *texts: Callable[[], Mapping[str, str]], again: Callable[[str], str]) -> str | None:
    """Return what was said in Chinese, None where these texts have it not. `again` says what stands in a hole for words
    of ours."""
    for known in texts:
        if (exact := known().get(said)) is not None:
            return exact
    if len(said) > LENGTH_MAX:
        return None
    for known in texts:
        for pattern, text in _patterns(known):
            if (found := pattern.fullmatch(said)) is not None:
                holes = found.groupdict()
                holes |= {name: again(value) for name, value in holes.items() if name in SAID_TOO}
                return _HOLE.sub(lambda hole: holes[hole[1]], text)  # noqa: B023 - it is called here
    return None


@cache
def _patterns(texts: Callable[[], Mapping[str, str]]) -> list[tuple[re.Pattern[str], str]]:
    """Return the sentences with holes, those that say most themselves first."""
    open_ones = [(said, text) for said, text in texts().items() if _HOLE.search(said)]
    open_ones.sort(key=lambda one: -len(_HOLE.sub("", one[0])))
    return [(re.compile("".join(_pattern_of(said)), re.DOTALL), text) for said, text in open_ones]


def _pattern_of(said: str) -> Iterator[str]:
    for number, piece in enumerate(_HOLE.split(said)):
        yield f"(?P<{piece}>.+?)" if number % 2 else re.escape(piece)
