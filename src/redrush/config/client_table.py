"""The `[client]` table of a campaign file: the client policy as people write it, every key with a default."""

import re
from typing import Any

import msgspec

from redrush.config.toml_file import Wrong, wrong_at
from redrush.core.load.client_policy import TEXTS, ClientPolicy, WaitingTexts
from redrush.core.rush.durations import parse_duration_us

TIME_MS_MAX = 600_000
"""Nobody waits longer than ten minutes at a page; it is a slip of the pen."""
ATTEMPTS_MAX = 20
LANGUAGES_MAX = 16
TEXT_CHARACTERS_MAX = 400
"""The policy is fetched by everybody just before the opening: it stays below a few kilobytes a language."""

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")
_DURATIONS = (
    "start_window", "interval", "backoff_first", "backoff_max", "come_back", "answer_deadline", "throttle_window"
)  # fmt: skip


class ClientTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[client]`; None where the default holds."""

    start_window: str | None = None
    interval: str | None = None
    backoff_first: str | None = None
    backoff_max: str | None = None
    come_back: str | None = None
    answer_deadline: str | None = None
    throttle_window: str | None = None
    retry_share: float | None = None
    throttle_k: float | None = None
    attempts_max: int | None = None
    texts: dict[str, Any] = {}  # msgspec cannot say in which language a mistake is


def client_policy(table: ClientTable) -> ClientPolicy:
    """Return the policy that the table states. Raises Wrong for what no client could follow."""
    chosen: dict[str, object] = {
        f"{key}_ms": _time_ms(key, text) for key in _DURATIONS if (text := getattr(table, key)) is not None
    }
    for key in ("retry_share", "throttle_k", "attempts_max"):
        if (value := getattr(table, key)) is not None:
            chosen[key] = value
    chosen["texts"] = dict(TEXTS) | {language: _texts(language, texts) for language, texts in table.texts.items()}
    policy = msgspec.structs.replace(ClientPolicy(), **chosen)
    _check(policy)
    return policy


def _check(policy: ClientPolicy) -> None:
    if not 0 <= policy.retry_share <= 1:
        raise Wrong("client.retry_share", "must be from 0 to 1: retries per request")
    if not 1 <= policy.throttle_k <= 100:
        raise Wrong("client.throttle_k", "must be from 1 to 100; 2 lets twice as much through as is accepted")
    if not 1 <= policy.attempts_max <= ATTEMPTS_MAX:
        raise Wrong("client.attempts_max", f"must be from 1 to {ATTEMPTS_MAX}")
    if policy.backoff_max_ms < policy.backoff_first_ms:
        raise Wrong("client.backoff_max", f"must be at least backoff_first, which is {policy.backoff_first_ms} ms")
    if len(policy.texts) > LANGUAGES_MAX:
        raise Wrong("client.texts", f"at most {LANGUAGES_MAX} languages are possible")


def _time_ms(key: str, text: str) -> int:
    at = f"client.{key}"
    with wrong_at(at):
        time_ms = parse_duration_us(text) // 1_000
    if time_ms > TIME_MS_MAX:
        raise Wrong(at, f'"{text}" is too long: at most ten minutes')
    return time_ms


def _texts(language: str, table: object) -> WaitingTexts:
    at = f"client.texts.{language}"
    if _LANGUAGE.fullmatch(language) is None:
        raise Wrong(at, f'"{language}" is not a language: write en, zh or zh-TW')
    keys = WaitingTexts.__struct_fields__
    if not isinstance(table, dict) or set(table) != set(keys):
        raise Wrong(at, f"must be a table with the keys {', '.join(keys)}, and no others")
    for key, text in table.items():
        if not isinstance(text, str) or not 1 <= len(text) <= TEXT_CHARACTERS_MAX:
            raise Wrong(f"{at}.{key}", f"must be a text of 1 to {TEXT_CHARACTERS_MAX} characters")
    return WaitingTexts(**table)
