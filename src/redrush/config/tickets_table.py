"""The `[tickets]` table of a campaign file: what a ticket costs, every key with a default."""

import msgspec

from redrush.config.toml_file import Wrong, wrong_at
from redrush.core.identity.proof_of_work import MAX_NUMBER, ProofOfWork
from redrush.core.rush.durations import parse_duration_us
from redrush.core.steering.switches import EXCHANGES_MOST

HARDEST_NUMBER = 50_000_000
"""Half a minute of a fast core; nobody at a telephone would see the opening."""
CHALLENGE_LASTS_S = range(30, 86_401)
REST_S_MAX = 300


class TicketsTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[tickets]`. The other keys are checked also while `proof_of_work` is off, so that turning it on is one word."""

    proof_of_work: bool = False
    max_number: int = MAX_NUMBER
    challenge_lasts: str = "10m"
    exchanges_per_second: int = 2_000
    rest: str = "2s"


def proof_of_work(table: TicketsTable) -> ProofOfWork | None:
    """Return what the table asks for; None: nothing. Raises Wrong for what nobody could do."""
    if not 1 <= table.max_number <= HARDEST_NUMBER:
        raise Wrong("tickets.max_number", f"must be from 1 to {HARDEST_NUMBER:,}; half as many hashes are needed")
    if not 1 <= table.exchanges_per_second <= EXCHANGES_MOST:
        raise Wrong("tickets.exchanges_per_second", f"must be from 1 to {EXCHANGES_MOST:,}")
    lasts_s = _time_us("challenge_lasts", table.challenge_lasts) // 1_000_000
    if lasts_s not in CHALLENGE_LASTS_S:
        raise Wrong("tickets.challenge_lasts", f'"{table.challenge_lasts}" is not from 30 seconds to a day')
    rest_us = 0 if table.rest == "0s" else _time_us("rest", table.rest)
    if rest_us > REST_S_MAX * 1_000_000:
        raise Wrong("tickets.rest", f'"{table.rest}" is too long: at most {REST_S_MAX} s, for the late must wait')
    if not table.proof_of_work:
        return None
    return ProofOfWork(
        max_number=table.max_number,
        challenge_lasts_s=lasts_s,
        exchanges_per_s=table.exchanges_per_second,
        rest_us=rest_us,
    )


def _time_us(key: str, text: str) -> int:
    with wrong_at(f"tickets.{key}"):
        return parse_duration_us(text)
