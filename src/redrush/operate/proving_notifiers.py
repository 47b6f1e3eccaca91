"""Proving what a payments file says of notifiers, without telling anybody anything.

A mail server is logged in at. Of a webhook can be seen what can be seen of a shop: whether its address answers. Apprise
has no question at all: its address is read, and only a message shows more.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from redrush.config import NotifierSpec
from redrush.operate.merchants import REACHED, unreachable
from redrush.wiring.notifiers import reached

_SHOWS: Final = {
    "smtp": "answers",
    "webhook": REACHED,
    "apprise": "its address is one; whether anybody is told, only a message shows",
}
_LOGGED_IN: Final = "answers, and lets us log in"


class ProvenNotifier(msgspec.Struct, frozen=True):
    """How a notifier of a payments file answered to what tells nobody anything."""

    notifier: str
    kind: str
    messages_per_s: float
    shows: str
    """What the answer shows."""
    why_not: str | None
    """None: it answers as it should."""


def prove_notifiers(specs: Sequence[NotifierSpec], now_us: Callable[[], int]) -> list[ProvenNotifier]:
    """Ask each, and read whom it is to tell. ConfigError for a secret or contacts that are not there, or are none;
    ExtraMissing."""

    async def ask_all() -> list[ProvenNotifier]:
        return [await _prove(spec, now_us) for spec in specs]

    return asyncio.run(ask_all())


async def _prove(spec: NotifierSpec, now_us: Callable[[], int]) -> ProvenNotifier:
    notifier = reached(spec, now_us).notifier
    try:
        why_not = await notifier.prove()
    finally:
        notifier.close()
    if why_not is None and spec.kind == "webhook":
        why_not = await unreachable(spec.url, private=spec.private)
    shows = _LOGGED_IN if spec.user else _SHOWS[spec.kind]
    return ProvenNotifier(spec.name, spec.kind, spec.messages_per_s, shows, why_not)
