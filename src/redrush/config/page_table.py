"""The `[page]` table of a campaign file: what the participants' page looks like and says, every key with a default."""

import base64
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from redrush.config.toml_file import Wrong
from redrush.core.web_address import parts_of
from redrush.page.document import word_names
from redrush.page.terms import COLOURS, LANGUAGES, PageTerms

TEXT_CHARACTERS_MAX: Final = 400
"""Of one text: people read it while they wait."""
RULES_CHARACTERS_MAX: Final = 8_000
PICTURE_BYTES_MAX: Final = 20_000
"""The picture is in the page, which everybody opens in the same minute: all of it stays below 50 KB."""

_COLOUR: Final = re.compile(r"#(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})")
_PICTURES: Final = {".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp", ".avif": "image/avif"}


class PageTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[page]`; see `redrush.page.terms.PageTerms`."""

    language: str | None = None
    title: dict[str, str] = {}
    greeting: dict[str, str] = {}
    rules: dict[str, str] = {}
    login: str | None = None
    renew: str | None = None
    offline: bool = True
    colours: dict[str, str] = {}
    dark: dict[str, str] = {}
    texts: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    picture: str | None = None


def page_terms(table: PageTable, directory: Path, rounds: Collection[str]) -> PageTerms:
    """Return what the table says. `directory` is what its picture is relative to, `rounds` the ids of the campaign's.
    Raises Wrong."""
    if table.language is not None:
        _check_language("page.language", table.language)
    for key, most in (("title", 60), ("greeting", 60), ("rules", RULES_CHARACTERS_MAX)):
        _check_texts(f"page.{key}", getattr(table, key), most)
    for key in ("colours", "dark"):
        _check_colours(f"page.{key}", getattr(table, key))
    for language, texts in table.texts.items():
        _check_language("page.texts", language)
        _check_words(f"page.texts.{language}", texts)
    for round_id, name in table.names.items():
        if round_id not in rounds:
            raise Wrong("page.names", f'"{round_id}" is no round of this campaign; it has {", ".join(rounds)}')
        _check_text(f"page.names.{round_id}", name, 30)
    _check_address("page.login", table.login)
    _check_address("page.renew", table.renew)
    return PageTerms(
        language=table.language,
        title=table.title,
        greeting=table.greeting,
        rules=table.rules,
        login=table.login,
        renew=table.renew,
        offline=table.offline,
        colours=table.colours,
        dark=table.dark,
        texts=table.texts,
        names=table.names,
        picture=None if table.picture is None else _picture(directory / table.picture),
    )


def _check_language(at: str, language: str) -> None:
    if language not in LANGUAGES:
        raise Wrong(at, f'"{language}" is not a language of the page: {" or ".join(LANGUAGES)}')


def _check_texts(at: str, texts: Mapping[str, str], characters_max: int) -> None:
    for language, text in texts.items():
        _check_language(at, language)
        _check_text(f"{at}.{language}", text, characters_max)


def _check_text(at: str, text: str, characters_max: int) -> None:
    if not 1 <= len(text) <= characters_max:
        raise Wrong(at, f"must be a text of 1 to {characters_max:,} characters")


def _check_words(at: str, texts: Mapping[str, str]) -> None:
    known = word_names()
    for name, text in texts.items():
        if name not in known:
            raise Wrong(f"{at}.{name}", f"is no text of the page; it has {', '.join(sorted(known))}")
        _check_text(f"{at}.{name}", text, TEXT_CHARACTERS_MAX)


def _check_colours(at: str, colours: Mapping[str, str]) -> None:
    for name, colour in colours.items():
        if name not in COLOURS:
            raise Wrong(f"{at}.{name}", f"is no colour of the page; it has {', '.join(COLOURS)}")
        if _COLOUR.fullmatch(colour) is None:
            raise Wrong(f"{at}.{name}", f'"{colour}" is not a colour: write it like "#c9241b"')


def _check_address(at: str, url: str | None) -> None:
    """Raise Wrong for what is neither an address nor a path of the page's own site."""
    if url is None:
        return
    own = url.startswith("/") and not url.startswith("//")
    if not (own or parts_of(url)) or not url.isprintable() or " " in url:
        raise Wrong(at, f'"{url}" is not an address: write it like "https://login.example/hongbao", or "/login"')


def _picture(path: Path) -> str:
    kind = _PICTURES.get(path.suffix.lower())
    if kind is None:
        raise Wrong("page.picture", f"{path.name} is not one of {', '.join(_PICTURES)}")
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise Wrong("page.picture", f"{path}: cannot be read: {fault.strerror}") from fault
    if len(content) > PICTURE_BYTES_MAX:
        raise Wrong(
            "page.picture",
            f"{path.name} has {len(content):,} bytes; at most {PICTURE_BYTES_MAX:,}, for it is in the page",
        )
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
