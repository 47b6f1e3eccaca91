"""Division of a campaign over sets: which sets a round has, which of its slots each gets, and where a user is at home.

Everything follows from the campaign and the list of sets alone, so every gate, closer and recorder comes to the same
result without asking anybody. Each of them opens the pots with these shares, and a store refuses a pot that was opened
with another share: who divides differently is found out before the opening.

A set that joins later says from which round on it takes part. Rounds before that one keep their division, because their
grants are where it put them; so a set may be added between rounds, and none may be taken away or change its place.

The slots of a pot are in random order, so contiguous shares are fair. A user's home is CRC-32 of the id: the same
on every machine and in every language, and even enough (rebalancing has to follow the crowd anyway). A user who chooses
an id chooses the set, but ids are not for users to choose.
"""

from collections.abc import Sequence
from zlib import crc32

import msgspec

from redrush.core.rush.campaign import Campaign, Slots


class SetPlace(msgspec.Struct, frozen=True):
    """A set in the list of a deployment. `from_round` is the first round it takes part in; None: the very first."""

    id: str
    from_round: str | None = None


class Share(msgspec.Struct, frozen=True):
    """What a set has of a pot at its opening."""

    set: str
    slots: Slots


class Division:
    """The shares of every pot. A user's home in a pot is `shares(pot)[home(user, len(shares(pot)))]`."""

    def __init__(self, campaign: Campaign, places: Sequence[SetPlace]) -> None:
        """Raises ValueError for a set named twice, a `from_round` that is no round, and a round that has no set."""
        names = [place.id for place in places]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'the set "{name}" is named twice')
        order = {round_.id: number for number, round_ in enumerate(campaign.rounds)}
        for place in places:
            if place.from_round is not None and place.from_round not in order:
                raise ValueError(f'the set "{place.id}" joins from round "{place.from_round}", which does not exist')
        self.sets = tuple(names)
        self._shares: dict[str, tuple[Share, ...]] = {}
        for number, round_ in enumerate(campaign.rounds):
            sets = [p.id for p in places if p.from_round is None or order[p.from_round] <= number]
            if not sets:
                raise ValueError(f'the round "{round_.id}" has no set: every set joins after it')
            for pot in round_.pots:
                self._shares[pot.id] = tuple(map(Share, sets, divide(pot.slots, len(sets))))

    def shares(self, pot_id: str) -> tuple[Share, ...]:
        """Return the pot's shares in the order of the sets. Raises KeyError for an unknown pot."""
        return self._shares[pot_id]


def divide(slots: Slots, count: int) -> list[Slots]:
    """Return the run cut into `count` runs in order, which differ by one slot at most; the longer ones come first."""
    size, longer = divmod(slots.count, count)
    runs = []
    first = slots.first
    for number in range(count):
        run = Slots(first, size + (number < longer))
        runs.append(run)
        first = run.end
    return runs


def home(user: str, count: int) -> int:
    """Return the place, below `count`, of the user's home among the sets of a round."""
    return crc32(user.encode()) % count
