"""Which splits are possible at all. Apart from the splitting itself, so that checking a campaign needs no numpy."""

from collections.abc import Callable

from redrush.core.money.currency import AMOUNT_MINOR_MAX
from redrush.errors import RedrushError

PACKETS_MAX = 200_000_000
"""Packets of one split: the largest wave known is 120 million, and the table of this many is 1.6 GB."""


class ImpossibleSplit(RedrushError):
    """No packets can fulfil the demands. The text is one sentence in minor units, to stand after a file and a key."""

    exit_code = 2


def _minor_units(amount_minor: int) -> str:
    return f"{amount_minor} minor units"


def check_feasible(
    total_minor: int, packets: int, min_minor: int, max_minor: int, text: Callable[[int], str] = _minor_units
) -> None:
    """Raise ImpossibleSplit, with the numbers in a sentence, unless `splitting.split` can fulfil these demands.

    `text` writes an amount for the reader of that sentence, who may think in yuan.
    """
    if packets < 1:
        raise ImpossibleSplit(f"{packets} packets cannot be filled; at least 1 is needed")
    if packets > PACKETS_MAX:
        raise ImpossibleSplit(f"{packets} packets are more than the most in one round, {PACKETS_MAX}")
    if min_minor < 1:
        raise ImpossibleSplit(f"the smallest packet is {text(min_minor)}; it must be at least {text(1)}")
    if min_minor > max_minor:
        raise ImpossibleSplit(f"the smallest packet, {text(min_minor)}, is above the largest, {text(max_minor)}")
    if total_minor > AMOUNT_MINOR_MAX:
        raise ImpossibleSplit(f"the total of {text(total_minor)} is above the largest, {text(AMOUNT_MINOR_MAX)}")
    if total_minor < packets * min_minor:
        raise ImpossibleSplit(
            f"{packets} packets of at least {text(min_minor)} need {text(packets * min_minor)},"
            f" but the total is {text(total_minor)}"
        )
    if total_minor > packets * max_minor:
        raise ImpossibleSplit(
            f"{packets} packets of at most {text(max_minor)} hold {text(packets * max_minor)},"
            f" but the total is {text(total_minor)}"
        )
