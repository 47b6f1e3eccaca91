"""What winners are told, in the campaign's words: templates in two languages, filled with what one grant is.

A template has fields in braces, such as `{worth}`, and nothing else: no loops, no attributes, no code. So it can be
checked when the file is read, and what a person may type can only ever be text.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from redrush.core.rush.draw import PrizeKind

FIELDS: Final = ("campaign", "round", "worth", "code", "grant", "user", "at")
"""`worth` is an amount with its currency, or the name of a prize; `code` is empty where the prize is none; `at` is the
day and minute of the win in the campaign's zone."""

LANGUAGES: Final = ("zh", "en")
TITLE_CHARS_MAX: Final = 200
BODY_CHARS_MAX: Final = 10_000

_FIELD: Final = re.compile(r"\{([^{}]*)\}")


class Text(msgspec.Struct, frozen=True):
    """A title in one line, and what is under it."""

    title: str
    text: str


DEFAULTS: Final[Mapping[str, Text]] = {
    "zh": Text(
        "{campaign}：恭喜，你抢到了 {worth}", "{at}，你在「{campaign}」中抢到了 {worth}。\n{code}\n\n凭证号：{grant}"
    ),
    "en": Text(
        "{campaign}: you have won {worth}", "On {at} you won {worth} in {campaign}.\n{code}\n\nReference: {grant}"
    ),
}


class MessageTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What is told to winners of these kinds of prizes; `by` names a notifier of the payments file."""

    by: str
    of: tuple[PrizeKind, ...] = tuple(PrizeKind)
    language: str = LANGUAGES[0]
    """Theirs of whom nobody knows another."""
    texts: dict[str, Text] = msgspec.field(default_factory=lambda: dict(DEFAULTS))


def check_text(text: Text) -> None:
    """Raise ValueError, with what would be right, for a template that cannot be filled or sent."""
    if not text.title or not text.title.isprintable() or len(text.title) > TITLE_CHARS_MAX:
        raise ValueError(f"a title is one line of 1 to {TITLE_CHARS_MAX} signs that can be seen")
    if len(text.text) > BODY_CHARS_MAX:
        raise ValueError(f"a text has at most {BODY_CHARS_MAX:,} signs")
    for template in (text.title, text.text):
        for name in _FIELD.findall(template):
            if name not in FIELDS:
                raise ValueError(f'"{{{name}}}" is no field: there are {", ".join(f"{{{one}}}" for one in FIELDS)}')
        if "{" in _FIELD.sub("", template) or "}" in _FIELD.sub("", template):
            raise ValueError("has a brace without its other one")


def filled(terms: MessageTerms, language: str, fields: Mapping[str, str]) -> Text:
    """Return what is told in this language, or in the campaign's where it has no words for it. A title stays one line,
    whatever is filled in."""
    template = terms.texts.get(language) or terms.texts[terms.language]
    title = " ".join(_fill(template.title, fields).split())
    return Text(title, re.sub(r"\n{3,}", "\n\n", _fill(template.text, fields)).strip())


def _fill(template: str, fields: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda found: fields.get(found[1], ""), template)
