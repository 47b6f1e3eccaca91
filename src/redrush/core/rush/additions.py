"""What amendments add to a campaign that is sealed already: more packets of a round, or a round.

Slots that are added are numbered on from the last one, so no slot that was there means anything else than before. More
packets of a round join its pot under a transfer id that says which addition it is, and what its amounts are: the set's
log remembers the table by it. Such a transfer has no source; the money comes from the sponsor.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from redrush.core.rush.campaign import Campaign, Round, Slots

ADDED_PREFIX: Final = "added:"
"""What the ids of all transfers of added packets begin with."""

ADDED_MAX: Final = 1_000
"""Additions to one campaign: each is a file, and read at every start."""

_DIGITS: Final = 16


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """Packets that were added to a round, or came with a round that was added."""

    round: str
    slots: Slots
    total_minor: int
    seed: str
    """Hex: the amounts are split with it, as those of the seal are with theirs."""
    amounts_sha256: str
    new: Round | None = None
    """The round, where it was added with these packets; None: it was there."""

    @property
    def transfer(self) -> str:
        """The id under which the slots are given to the pot of a round that was there."""
        return f"{ADDED_PREFIX}{self.round}:{self.slots.first}:{self.amounts_sha256[:_DIGITS]}"


def transfer_to(added: Added, set_id: str) -> str:
    """Return the id under which a set's pot is given its part, where the pot is divided over several."""
    return f"{added.transfer}:{set_id}"


def with_added_rounds(campaign: Campaign, added: Iterable[Added]) -> Campaign:
    """Return the campaign with those rounds that were added and that it does not have, in order of their opening."""
    known = {round_.id for round_ in campaign.rounds}
    rounds = [*campaign.rounds, *(one.new for one in added if one.new is not None and one.round not in known)]
    return msgspec.structs.replace(campaign, rounds=tuple(sorted(rounds, key=lambda round_: round_.opens_us)))


def budget_of(round_: Round, added: Iterable[Added]) -> tuple[int, int]:
    """Return how many packets of its own the round has, with what was added to it, and their total in minor units."""
    more = [one for one in added if one.round == round_.id and one.new is None]
    packets = round_.slots.count + sum(one.slots.count for one in more)
    return packets, round_.total_minor + sum(one.total_minor for one in more)
