"""Which splits are possible at all. Apart from the splitting itself, so that checking a campaign needs no numpy."""

from redrush.core.money import AMOUNT_MINOR_MAX
from redrush.errors import RedrushError

PACKETS_MAX = 200_000_000
"""Packets of one split: the largest wave known is 120 million, and the table of this many is 1.6 GB."""


class ImpossibleSplit(RedrushError):
    """No packets can fulfil the demands. The text is one sentence in minor units, to stand after a file and a key."""

    exit_code = 2


def check_feasible(total_minor: int, packets: int, min_minor: int, max_minor: int) -> None:
    """Raise ImpossibleSplit, with the numbers in a sentence, unless `splitting.split` can fulfil these demands."""
    if packets < 1:
        raise ImpossibleSplit(f"{packets} packets cannot be filled; at least 1 is needed")
    if packets > PACKETS_MAX:
        raise ImpossibleSplit(f"{packets} packets are more than the most in one round, {PACKETS_MAX}")
    if min_minor < 1:
        raise ImpossibleSplit(f"the smallest packet is {min_minor} minor units; it must be at least 1")
    if min_minor > max_minor:
        raise ImpossibleSplit(f"the smallest packet, {min_minor} minor units, is above the largest, {max_minor}")
    if total_minor > AMOUNT_MINOR_MAX:
        raise ImpossibleSplit(f"the total of {total_minor} minor units is above the largest amount, {AMOUNT_MINOR_MAX}")
    if total_minor < packets * min_minor:
        raise ImpossibleSplit(
            f"{packets} packets of at least {min_minor} need {packets * min_minor} minor units,"
            f" but the total is {total_minor}"
        )
    if total_minor > packets * max_minor:
        raise ImpossibleSplit(
            f"{packets} packets of at most {max_minor} hold {packets * max_minor} minor units,"
            f" but the total is {total_minor}"
        )
