"""Where the unclaimed slots of a pot go when its round has closed: to one of the next round, or back to the sponsor."""

from collections.abc import Callable, Mapping

from redrush.core.rush.campaign import RETURNED_POT, Campaign, Leftover, Pot

LEFTOVER_PREFIX = "leftover:"
"""What the ids of all transfers of leftover begin with."""


def _every_pot(_pot_id: str) -> bool:
    return True


def destination(campaign: Campaign, closed: Pot, now_us: int, takes: Callable[[str], bool] = _every_pot) -> str:
    """Return the pot that takes the leftover of `closed`, a pot of the campaign, at `now_us` (µs since the epoch).

    With `Leftover.NEXT` it is the first one after it, in order of opening, that may take it and has not closed yet.
    Rounds may overlap: if none comes after it, it is the first of those before it that is still open. If there is none
    of these either, as after the last round, and with `Leftover.RETURN`, it is the pot of what is returned. Either way
    it closes later than `closed`. `takes` tells of a pot whether it can be given anything where this is asked: a set
    that was added later has no pots of earlier rounds.

    After a crash in between ask with the same instant again, such as the round's closing: a later one may name
    another pot.
    """
    if closed.leftover is Leftover.NEXT:
        pots = campaign.pots
        place = [pot.id for pot in pots].index(closed.id)
        for other in pots[place + 1 :] + pots[:place]:
            is_held = other.opens_us < other.closes_us  # one that was cancelled is never open
            if is_held and other.takes_from(closed) and now_us < other.closes_us and takes(other.id):
                return other.id
    return RETURNED_POT


def carried_in(campaign: Campaign, granted: Mapping[str, int], now_us: int) -> dict[str, int]:
    """Return how many slots each pot got from pots that had closed by `now_us`, whether or not it granted them.

    `granted` says how many slots each pot has granted, its own and those that it got; a pot without an entry granted
    none.
    """
    carried = dict.fromkeys((pot.id for pot in campaign.pots), 0)
    # What a pot gets comes from those that closed before it, so that its own leftover is known when its turn comes.
    for closed in sorted(campaign.pots, key=lambda pot: pot.closes_us):
        target = destination(campaign, closed, closed.closes_us)
        if target != RETURNED_POT and closed.closes_us <= now_us:
            carried[target] += closed.slots.count + carried[closed.id] - granted.get(closed.id, 0)
    return carried


def transfer_id(closed: Pot) -> str:
    """Return the id under which the leftover moves: derived, so that a crash in between moves it once."""
    return f"{LEFTOVER_PREFIX}{closed.id}"


def sweep_id(closed: Pot, set_id: str, sweep: int) -> str:
    """Return the id of the `sweep`-th transfer, from 0, of what the set `set_id` has left of the pot.

    It names the set, because the postings of all sets may stand in one ledger.
    """
    return f"{transfer_id(closed)}:{set_id}:{sweep}"
