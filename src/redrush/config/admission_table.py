"""The `[admission]` table of campaign and deployment files: how gates behave when more is asked than can be decided."""

import msgspec

from redrush.config.toml_file import Wrong, wrong_at
from redrush.core.load.levels import AdmissionTerms
from redrush.core.rush.durations import parse_duration_us

TIME_MS_MAX = 60_000
"""Nobody waits a minute for a gate; it is a slip of the pen."""
INTERVAL_MS_MAX = 600_000
_DURATIONS = {
    "queueing_target": TIME_MS_MAX,
    "loop_late_target": TIME_MS_MAX,
    "wait_max": TIME_MS_MAX,
    "interval_max": INTERVAL_MS_MAX,
}


class AdmissionTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[admission]`; None where the default holds."""

    queueing_target: str | None = None
    loop_late_target: str | None = None
    wait_max: str | None = None
    interval_max: str | None = None
    level_at_opening: float | None = None


def admission_terms(table: AdmissionTable, over: AdmissionTerms = AdmissionTerms()) -> AdmissionTerms:  # noqa: B008
    """Return the terms that the table states, and those of `over` where it states none. Raises Wrong for what no gate
    could keep."""
    chosen: dict[str, float] = {
        f"{key}_ms": _time_ms(key, text, most_ms)
        for key, most_ms in _DURATIONS.items()
        if (text := getattr(table, key)) is not None
    }
    if table.level_at_opening is not None:
        if not 0 <= table.level_at_opening <= 1:
            raise Wrong("admission.level_at_opening", "must be from 0 to 1: the share of users that is refused")
        chosen["level_at_opening"] = table.level_at_opening
    terms = msgspec.structs.replace(over, **chosen)
    if terms.wait_max_ms < terms.queueing_target_ms:
        raise Wrong("admission.wait_max", "must not be below queueing_target: everybody would be refused")
    return terms


def _time_ms(key: str, text: str, most_ms: int) -> int:
    with wrong_at(f"admission.{key}"):
        time_ms = parse_duration_us(text) // 1_000
    if time_ms > most_ms:
        raise Wrong(f"admission.{key}", f'"{text}" is too long: at most {most_ms // 1_000} s')
    return time_ms
