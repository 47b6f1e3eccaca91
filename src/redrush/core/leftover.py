"""Where the unclaimed slots of a closed round go: to the next round, or back to the sponsor."""

from redrush.core.campaign import RETURNED_POT, Campaign, Leftover, Round

LEFTOVER_PREFIX = "leftover:"
"""What the ids of all transfers of leftover begin with."""


def destination(campaign: Campaign, closed: Round, now_us: int) -> str:
    """Return the pot that takes the leftover of `closed`, a round of the campaign, at `now_us` (µs since the epoch).

    With `Leftover.NEXT` it is the first round after it, in order of opening, that has not closed yet; rounds may
    overlap. If there is none, as after the last round, and with `Leftover.RETURN`, it is the pot of what is returned.
    After a crash in between ask with the same instant again, such as the round's closing: a later one may name
    another pot.
    """
    if closed.leftover is Leftover.NEXT:
        for later in campaign.rounds[campaign.rounds.index(closed) + 1 :]:
            if now_us < later.closes_us:
                return later.id
    return RETURNED_POT


def transfer_id(closed: Round) -> str:
    """Return the id under which the leftover moves: derived, so that a crash in between moves it once."""
    return f"{LEFTOVER_PREFIX}{closed.id}"


def sweep_id(closed: Round, set_id: str, sweep: int) -> str:
    """Return the id of the `sweep`-th transfer, from 0, of what the set `set_id` has left of the round.

    It names the set, because the postings of all sets may stand in one ledger.
    """
    return f"{transfer_id(closed)}:{set_id}:{sweep}"
