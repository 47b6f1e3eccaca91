"""The `[page]` table of a campaign file: what the participants' page looks like and says, every key with a default."""

import base64
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from redrush.config.toml_file import Wrong, file_at
from redrush.core.web_address import parts_of
from redrush.named_file import read_named
from redrush.page.document import word_names
from redrush.page.sounds import ENDS
from redrush.page.terms import COLOURS, LANGUAGES, MOMENTS, TUNE, PageTerms

TEXT_CHARACTERS_MAX: Final = 400
"""Of one text: people read it while they wait."""
RULES_CHARACTERS_MAX: Final = 8_000
PICTURE_BYTES_MAX: Final = 20_000
"""The picture is in the page, which everybody opens in the same minute: all of it stays below 50 KB."""

SOUND_BYTES_MAX: Final = 60_000
"""A sound is heard for three seconds at most, and a crowd fetches it."""

_COLOUR: Final = re.compile(r"#(?:[0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})")
_PICTURES: Final = {".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp", ".avif": "image/avif"}
_SOUNDS: Final = {f".{end}": kind for kind, end in ENDS.items()}
_BEGINS: Final = {
    "image/svg+xml": re.compile(rb"(?:\xef\xbb\xbf)?\s*<"),
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "image/avif": re.compile(rb"....ftyp(?:avif|avis|mif1)", re.DOTALL),
    "audio/mpeg": re.compile(rb"ID3|\xff[\xe2-\xff]"),
    "audio/mp4": re.compile(rb"....ftyp", re.DOTALL),
    "audio/wav": re.compile(rb"RIFF....WAVE", re.DOTALL),
}
"""How files of a type begin: one with another name would be there, and not be seen or heard."""


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
    sounds: dict[str, str] = {}


def page_terms(table: PageTable, directory: Path, rounds: Collection[str]) -> PageTerms:
    """Return what the table says. `directory` is what its files are relative to, `rounds` the ids of the campaign's.
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
        picture=None if table.picture is None else _picture(file_at("page.picture", directory, table.picture)),
        sounds={moment: _sound(moment, sound, directory) for moment, sound in table.sounds.items()},
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
    return _file("page.picture", path, _PICTURES, PICTURE_BYTES_MAX, "for it is in the page")


def _sound(moment: str, sound: str, directory: Path) -> str:
    at = f"page.sounds.{moment}"
    if moment not in MOMENTS:
        raise Wrong(at, f"is no moment that is heard; there are {', '.join(MOMENTS)}")
    return (
        sound
        if sound == TUNE
        else _file(at, file_at(at, directory, sound), _SOUNDS, SOUND_BYTES_MAX, "for a crowd fetches it")
    )


def _file(at: str, path: Path, kinds: Mapping[str, str], bytes_max: int, because: str) -> str:
    """Return the file as a data: address. Raises Wrong for one that no browser of the crowd would have any use for."""
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise Wrong(at, f"{path.name} is not one of {', '.join(kinds)}")
    try:
        content = read_named(path, bytes_max)
        size = len(content) if len(content) <= bytes_max else path.stat().st_size
    except OSError as fault:
        raise Wrong(at, f"{path}: cannot be read: {fault.strerror}") from fault
    if size > bytes_max:
        raise Wrong(at, f"{path.name} has {size:,} bytes; at most {bytes_max:,}, {because}")
    if _BEGINS[kind].match(content) is None:
        raise Wrong(at, f"{path.name} is no {path.suffix[1:]} by what is in it; save it as one, or name it so")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
