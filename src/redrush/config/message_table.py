"""The `[[message]]` tables of a campaign file: what winners are told, in which words, and by whom."""

from collections.abc import Sequence
from typing import Final

import msgspec

from redrush.config.toml_file import Wrong, check_id, wrong_at
from redrush.core.rush.draw import PrizeKind
from redrush.core.rush.message import DEFAULTS, LANGUAGES, MessageTerms, Text, check_text

MESSAGES_MAX: Final = 8
"""Ways by which one winner hears of one win."""


class TextTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`zh` or `en` of a message."""

    title: str
    text: str


class MessageTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[message]]`; without any, winners see what they have won when they look."""

    by: str
    of: tuple[str, ...] = tuple(str(kind) for kind in PrizeKind)
    language: str = LANGUAGES[0]
    zh: TextTable | None = None
    en: TextTable | None = None


def message_terms(tables: Sequence[MessageTable]) -> tuple[MessageTerms, ...]:
    """Return what the tables state. Raises Wrong."""
    if len(tables) > MESSAGES_MAX:
        raise Wrong("message", f"there are {len(tables)} of them; at most {MESSAGES_MAX} are possible")
    terms: list[MessageTerms] = []
    for index, table in enumerate(tables):
        where = f"message[{index}]"
        check_id(f"{where}.by", table.by)
        if any(one.by == table.by for one in terms):
            raise Wrong(f"{where}.by", f'"{table.by}" tells winners already')
        terms.append(_terms(where, table))
    return tuple(terms)


def _terms(where: str, table: MessageTable) -> MessageTerms:
    for kind in table.of:
        if kind not in list(PrizeKind):
            raise Wrong(f"{where}.of", f'"{kind}" is none of {", ".join(PrizeKind)}')
    if not table.of:
        raise Wrong(f"{where}.of", f"names no kind of prize; write some of {', '.join(PrizeKind)}")
    if table.language not in LANGUAGES:
        raise Wrong(f"{where}.language", f'"{table.language}" is none of {", ".join(LANGUAGES)}')
    texts = dict(DEFAULTS)
    for language, written in (("zh", table.zh), ("en", table.en)):
        if written is not None:
            texts[language] = Text(written.title, written.text)
            with wrong_at(f"{where}.{language}"):
                check_text(texts[language])
    return MessageTerms(
        by=table.by, of=tuple(PrizeKind(kind) for kind in dict.fromkeys(table.of)), language=table.language, texts=texts
    )
