"""A campaign as the rules see it: rounds with exact instants, and one numbered row of slots.

Slots are numbered through the whole campaign: round 1 holds 0…n1−1, round 2 n1…n1+n2−1, and so on. A slot therefore
means one amount for ever, wherever it is moved (leftover to the next round, rebalancing between sets), and no table
is rewritten when it moves.
"""

from enum import StrEnum

import msgspec

RETURNED_POT = "$returned"
"""The pot that leftover slots are given to when they go back to the sponsor. No round can have this name."""


class Kind(StrEnum):
    """How a round's total is split over its packets (see `redrush.core.money.splitting`)."""

    EQUAL = "equal"
    LUCKY = "lucky"
    LUCKY_DOUBLE_MEAN = "lucky_double_mean"


class Leftover(StrEnum):
    """Where the unclaimed slots of a closed round go."""

    NEXT = "next"
    RETURN = "return"


class Slots(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A run of consecutive slots: `first`, `first` + 1, … `first` + `count` − 1."""

    first: int
    count: int

    @property
    def end(self) -> int:
        """The slot after the last one."""
        return self.first + self.count


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One rush. Instants are microseconds since the Unix epoch; the round is open for opens_us ≤ t < closes_us."""

    id: str
    opens_us: int
    closes_us: int
    kind: Kind
    total_minor: int
    min_minor: int
    max_minor: int
    slots: Slots
    leftover: Leftover
    release_per_s: float | None = None
    """Packets per second that the shake filter lets through; None lets every claim through."""


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """What was agreed before the opening: currency, rounds in order of their opening, and nothing that may change."""

    id: str
    name: str
    currency: str
    rounds: tuple[Round, ...]
    timezone: str = "UTC"
    """In which people read the event's instants (see `redrush.core.rush.zones`)."""

    def round(self, round_id: str) -> Round | None:
        """Return the round of that id, or None."""
        return next((r for r in self.rounds if r.id == round_id), None)


def grant_id_prefix(campaign_id: str, round_id: str) -> str:
    """Return what the ids of all grants of a round begin with; the slot follows."""
    return f"{campaign_id}-{round_id}-"


def grant_id(campaign_id: str, round_id: str, slot: int) -> str:
    """Return the id of the grant of `slot`: derived, so that every retry of anything names the same grant."""
    return f"{grant_id_prefix(campaign_id, round_id)}{slot}"
