"""What is said in Chinese: the texts of the pages, and the sentences of what is behind them, with holes for names.

A sentence comes here as it was told, its holes filled already, so it is known by what stands between them. What nobody
has put into Chinese is said as it came: an English sentence is better than none.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
LENGTH_MAX: Final = 1_000
"""Characters of a sentence with holes; a longer one is said as it came."""
SAID_TOO: Final = frozenset({"state", "doing", "verb", "role"})
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


def in_chinese(said: str) -> str:
    """Return what was said in Chinese, or as it came where that is not known."""
    exact = chinese().get(said) or sentences().get(said)
    if exact is not None or len(said) > LENGTH_MAX:
        return exact or said
    for pattern, text in _patterns():
        if (found := pattern.fullmatch(said)) is not None:
            holes = {
                name: in_chinese(value) if name in SAID_TOO else value for name, value in found.groupdict().items()
            }
            return text.format(**holes)
    return said


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Return the sentences with holes, those that say most themselves first."""
    open_ones = [(said, text) for said, text in sentences().items() if _HOLE.search(said)]
    open_ones.sort(key=lambda one: -len(_HOLE.sub("", one[0])))
    return [(re.compile("".join(_pattern_of(said)), re.DOTALL), text) for said, text in open_ones]


def _pattern_of(said: str) -> Iterator[str]:
    for number, piece in enumerate(_HOLE.split(said)):
        yield f"(?P<{piece}>.+?)" if number % 2 else re.escape(piece)
