"""The packet that somebody wants, read from the fields of a request; or what is wrong with which field."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from redrush.core.identity.tickets import KeyRing
from redrush.core.identity.user_ids import checked_user
from redrush.core.money.currency import format_amount, parse_amount
from redrush.core.rush.campaign import Kind
from redrush.core.rush.group import ID_SIGNS, For, GroupTerms, Packet, Unfit, check_packet, checked_word, hashed_word
from redrush.core.rush.share import SHARE_PREFIX

FIELDS: Final = frozenset({"kind", "total", "count", "greeting", "word", "for", "request"})


class Wishes:
    """Reads what people want by the terms of a campaign."""

    def __init__(self, currency: str, terms: GroupTerms, keys: KeyRing, now_us: Callable[[], int]) -> None:
        """`keys` are those that words are hashed with."""
        self.terms = terms
        self._currency = currency
        self._keys = keys
        self._now_us = now_us

    def packet(self, fields: Mapping[str, Any], user: str) -> Packet:
        """Return the packet that somebody wants. Raises Unfit."""
        unknown = sorted(fields.keys() - FIELDS)
        if unknown:
            raise Unfit(unknown[0], "is no field of a packet")
        kinds = {str(kind): kind for kind in self.terms.kinds}
        kind = kinds.get(str(fields.get("kind", Kind.LUCKY)))
        if kind is None:
            raise Unfit("kind", f"packets here are {' or '.join(kinds)}")
        whom, named = self._audience_of(fields.get("for"))
        packet = Packet(
            id=secrets.token_hex(ID_SIGNS // 2),
            sender=user,
            kind=kind,
            total_minor=self._total(fields.get("total")),
            count=_count(fields.get("count")),
            greeting=_text("greeting", fields.get("greeting", "")),
            named=named,
            whom=whom,
            created_us=self._now_us(),
            request=_request(fields.get("request", "")),
        )
        check_packet(packet, self.terms, self._amount)
        if fields.get("word") is None:
            return packet
        keeps_out = bool(named) or whom is not For.EVERYBODY
        word = checked_word(_text("word", fields["word"]), named=keeps_out)
        return msgspec.structs.replace(packet, word=hashed_word(word, packet.id, self._keys))

    def _total(self, total: object) -> int:
        if not isinstance(total, str):
            raise Unfit("total", f'is an amount in quotes, like "{self._amount(1_000)}"')
        try:
            return parse_amount(total, self._currency)
        except ValueError as fault:
            raise Unfit("total", str(fault)) from None

    def _audience_of(self, whom: object) -> tuple[For, tuple[str, ...]]:
        if whom is None or whom == For.EVERYBODY:
            return For.EVERYBODY, ()
        if whom == For.FOLLOWERS:
            return For.FOLLOWERS, ()
        if not isinstance(whom, list) or not whom or not all(isinstance(user, str) for user in whom):
            raise Unfit("for", 'is "followers", or a list of users')
        try:
            return For.EVERYBODY, tuple(dict.fromkeys(checked_user(user) for user in whom))
        except ValueError as fault:
            raise Unfit("for", str(fault)) from None

    def _amount(self, minor: int) -> str:
        return format_amount(minor, self._currency)


def _request(request: object) -> str:
    name = _text("request", request)
    if name.startswith(SHARE_PREFIX):
        raise Unfit("request", f'a name that begins with "{SHARE_PREFIX}" is not for people')
    return name


def _count(count: object) -> int:
    if not isinstance(count, int) or isinstance(count, bool):
        raise Unfit("count", "is how many shares there are, a number")
    return count


def _text(field: str, text: object) -> str:
    if not isinstance(text, str):
        raise Unfit(field, "is text")
    return text
