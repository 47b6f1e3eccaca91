"""A campaign as the rules see it: rounds with exact instants, their pots, and one numbered row of slots.

Slots are numbered through the whole campaign: round 1 holds 0…n1−1, round 2 n1…n1+n2−1, and so on. A slot therefore
means one amount for ever, wherever it is moved (leftover to the next round, rebalancing between sets), and no table
is rewritten when it moves.
"""

from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Final, Protocol

import msgspec

from redrush.core.rush.draw import DrawTerms
from redrush.core.rush.line import LineTerms
from redrush.core.rush.sale import SaleTerms
from redrush.core.rush.share import ShareTerms

RETURNED_POT = "$returned"
"""The pot that leftover slots are given to when they go back to the sponsor. No round can have this name."""

REST_PREFIX = "rest:"
"""What the ids of transfers begin with by which a pot that is no round gives back what is left of it: such slots leave
the pot and join no other."""

SHARED_SLOTS_MAX: Final = 4_096
"""Runs that are one object for all who have the same: packets have up to some hundred sizes."""


class Kind(StrEnum):
    """What kind of rush a round is; of packets also how their total is split (see `redrush.core.money.splitting`)."""

    EQUAL = "equal"
    LUCKY = "lucky"
    LUCKY_DOUBLE_MEAN = "lucky_double_mean"
    SALE = "sale"
    DRAW = "draw"


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


@lru_cache(maxsize=SHARED_SLOTS_MAX)
def shared_slots(first: int, count: int) -> Slots:
    """Return the run as one object for all who ask for the same: a million packets asleep have few sizes, and begin
    alike. So each takes 32 bytes less, and what is woken finds its slots where others were found just before."""
    return Slots(first, count)


class Timed(Protocol):
    """What is open for opens_us ≤ t < closes_us, in microseconds since the Unix epoch: a round, or a pot of one."""

    @property
    def id(self) -> str: ...
    @property
    def opens_us(self) -> int: ...
    @property
    def closes_us(self) -> int: ...


class Round(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rush. Instants are microseconds since the Unix epoch; the round is open for opens_us ≤ t < closes_us.

    The round is only a time; what is claimed from are its pots.
    """

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
    sale: SaleTerms | None = None
    """What is sold; None: it is no sale."""
    share: ShareTerms | None = None
    """What winners share with friends; None: nothing."""
    line: LineTerms | None = None
    """Where people wait before they may claim; None: they need not."""
    draw: DrawTerms | None = None
    """What was agreed for a draw; None: it is none."""

    @property
    def is_of_packets(self) -> bool:
        """Whether it is about packets, of whatever kind."""
        return self.draw is None and self.sale is None

    @property
    def pots(self) -> "tuple[Pot, ...]":
        """The pots that are open while the round is, in order of their slots, which are all of the round's."""
        if self.draw is not None:
            return tuple(self._prize_pots(self.draw))
        if self.sale is not None:
            limit, hold_us = self.sale.limit_per_user, self.sale.hold_us
            return (Pot(id=self.id, round=self, slots=self.slots, limit_per_user=limit, hold_us=hold_us),)
        return (Pot(id=self.id, round=self, slots=self.slots, total_minor=self.total_minor),)

    def _prize_pots(self, draw: DrawTerms) -> "Iterator[Pot]":
        first = self.slots.first
        for prize in draw.prizes:
            slots = Slots(first, prize.count)
            first = slots.end
            yield Pot(
                id=prize_pot(self.id, prize.id),
                round=self,
                slots=slots,
                limit_per_user=prize.limit_per_user,
                total_minor=prize.count * prize.each_minor,
                prize=prize.id,
            )


class Pot(msgspec.Struct, frozen=True, kw_only=True):
    """A finite row of slots that is claimed from while its round is open. It is the unit of all that is opened, divided
    over sets, closed, recorded and reconciled.

    A round of packets has one, of the round's id; a draw has one for each prize.
    """

    id: str
    round: Round
    slots: Slots
    limit_per_user: int = 1
    """Grants that a user may have of it at a time."""
    hold_us: int | None = None
    """How long a grant is only held; None: it is permanent at once."""
    total_minor: int = 0
    """What its slots are worth together, in minor units."""
    prize: str | None = None
    """The prize of a draw that its slots are."""

    @property
    def opens_us(self) -> int:
        """When its round opens."""
        return self.round.opens_us

    @property
    def closes_us(self) -> int:
        """When its round closes."""
        return self.round.closes_us

    @property
    def leftover(self) -> Leftover:
        """Where its unclaimed slots go at the close."""
        return self.round.leftover

    def takes_from(self, other: "Pot") -> bool:
        """Whether leftover of the other pot may go on in this one: only packets are as good as others."""
        return self.round.is_of_packets and other.round.is_of_packets


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """What was agreed before the opening: currency, rounds in order of their opening, and nothing that may change."""

    id: str
    name: str
    currency: str
    rounds: tuple[Round, ...]
    timezone: str = "UTC"
    """In which people read the event's instants (see `redrush.core.rush.zones`)."""
    budget_minor: int | None = None
    """What may be granted in all (`redrush.core.money.budget`); None: what the slots hold."""
    rehearsal: bool = False
    """Whether it is played to see how it goes: nobody is paid or told, and people are shown that."""

    def round(self, round_id: str) -> Round | None:
        """Return the round of that id, or None."""
        return next((r for r in self.rounds if r.id == round_id), None)

    @property
    def sells(self) -> bool:
        """Whether any of its rounds is a sale."""
        return any(one.sale is not None for one in self.rounds)

    @property
    def pots(self) -> tuple[Pot, ...]:
        """The pots of all rounds, in order of the rounds' opening."""
        return tuple(pot for round_ in self.rounds for pot in round_.pots)

    def pot(self, pot_id: str) -> Pot | None:
        """Return the pot of that id, or None."""
        return next((pot for pot in self.pots if pot.id == pot_id), None)


def prize_pot(round_id: str, prize_id: str) -> str:
    """Return the id of the pot of a draw's prize. No id has a dot, so it is no other's."""
    return f"{round_id}.{prize_id}"


def grant_id_prefix(campaign_id: str, pot_id: str) -> str:
    """Return what the ids of all grants of a pot begin with; the slot follows."""
    return f"{campaign_id}-{pot_id}-"


def grant_id(campaign_id: str, pot_id: str, slot: int) -> str:
    """Return the id of the grant of `slot`: derived, so that every retry of anything names the same grant."""
    return f"{grant_id_prefix(campaign_id, pot_id)}{slot}"
