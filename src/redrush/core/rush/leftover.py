"""Where the unclaimed slots of a closed round go: to the next round, or back to the sponsor."""

from collections.abc import Callable

from redrush.core.rush.campaign import RETURNED_POT, Campaign, Leftover, Round

LEFTOVER_PREFIX = "leftover:"
"""What the ids of all transfers of leftover begin with."""


def _every_round(_round_id: str) -> bool:
    return True


def destination(campaign: Campaign, closed: Round, now_us: int, takes: Callable[[str], bool] = _every_round) -> str:
    """Return the pot that takes the leftover of `closed`, a round of the campaign, at `now_us` (µs since the epoch).

    With `Leftover.NEXT` it is the first round after it, in order of opening, that has not closed yet. Rounds may
    overlap: if none comes after it, it is the first of those before it that is still open. If there is none of these
    either, as after the last round, and with `Leftover.RETURN`, it is the pot of what is returned. Either way it closes
    later than `closed`. `takes` tells of a round whether it can be given anything where this is asked: a set that was
    added later has no pots of earlier rounds.

    After a crash in between ask with the same instant again, such as the round's closing: a later one may name
    another pot.
    """
    if closed.leftover is Leftover.NEXT:
        place = campaign.rounds.index(closed)
        for other in campaign.rounds[place + 1 :] + campaign.rounds[:place]:
            if now_us < other.closes_us and takes(other.id):
                return other.id
    return RETURNED_POT


def transfer_id(closed: Round) -> str:
    """Return the id under which the leftover moves: derived, so that a crash in between moves it once."""
    return f"{LEFTOVER_PREFIX}{closed.id}"


def sweep_id(closed: Round, set_id: str, sweep: int) -> str:
    """Return the id of the `sweep`-th transfer, from 0, of what the set `set_id` has left of the round.

    It names the set, because the postings of all sets may stand in one ledger.
    """
    return f"{transfer_id(closed)}:{set_id}:{sweep}"
