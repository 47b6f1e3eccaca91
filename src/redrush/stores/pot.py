"""One pot in memory: the queue of its slots, who has which, and who holds which.

There may be a million small pots, most of them asleep, so a pot keeps no more than it needs: the head of its queue as
two numbers, everything else made when it is first needed. What only some pots have, requests and holds, is in an object
of its own (`Special`), and the claims of all others do not look at it.

A claim on a plain pot costs one look-up and, if it wins, two structs and one insertion. `Claimed` holds no containers
and is not tracked by the garbage collector (`gc=False`), hence neither is a dict of them: a million grants add nothing
to a collection.

Rejected: deriving the grants' instants from runs instead of keeping a struct per grant. It saves 40 bytes each and
costs every repeat a search.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Self

import msgspec

from redrush.core.rush.campaign import Slots
from redrush.ports.store import (
    EMPTY,
    HELD_OUT,
    LIMIT,
    Claim,
    Claimed,
    ClaimResult,
    Grant,
    Held,
    HoldState,
    PotState,
    PotTerms,
)
from redrush.stores.runs import runs_of, without

Run = tuple[int, list[str]]
"""First slot and users of new grants whose slots follow each other."""


class Special:
    """What a pot has besides: grants to named requests, by user and request, and what becomes of holds."""

    __slots__ = ("by_request", "claimed_ever", "held", "of_user", "returned_ever", "waiting")

    def __init__(self) -> None:
        self.by_request: dict[tuple[str, str], Claimed] = {}
        self.of_user: dict[str, int] = {}
        """How many of these a user has."""
        self.claimed_ever = 0
        """Of a pot of holds: how many grants it has ever made, so the number of the last one."""
        self.returned_ever = 0
        self.held = 0
        self.waiting: list[int] = []


class Pot(msgspec.Struct, eq=False, gc=False):
    """See the module. Nothing here is durable, nor written down: that is the caller's part.

    It is made by `awake`. No pot leads back to itself, so the garbage collector need not walk the many of them.
    """

    terms: PotTerms
    special: Special | None
    _slot: int
    """The next slot of the first unclaimed run."""
    _end: int
    """Where that run ends."""
    grants: dict[str, Claimed] = {}
    """By user, those to the unnamed request."""
    _following: deque[Slots] | None = None
    """The unclaimed runs after that one, none of them empty."""
    _members: list[Slots] | None = None
    """The runs that the pot has, whether granted, waiting or unclaimed; None: those that it was opened with."""

    @classmethod
    def awake(cls, terms: PotTerms) -> Self:
        """Return the pot of which nothing was asked yet."""
        slots = terms.slots
        first = slots.first
        special = None if terms.hold_us is None and terms.limit_per_user == 1 else Special()
        return cls(terms, special, first, first + slots.count)

    # -- counts

    def state(self) -> PotState:
        special = self.special
        if special is None:
            return PotState(self.unclaimed(), len(self.grants))
        left = self.unclaimed() + len(special.waiting)
        if self.terms.hold_us is None:
            return PotState(left, len(self.grants) + len(special.by_request))
        return PotState(left, special.claimed_ever, special.returned_ever, special.held, len(special.waiting))

    def unclaimed(self) -> int:
        """Return how many slots a claim could get now."""
        left = self._end - self._slot
        if self._following:
            left += sum(run.count for run in self._following)
        return left

    def granted(self) -> int:
        """Return how many slots are somebody's now."""
        return len(self.grants) + (0 if self.special is None else len(self.special.by_request))

    def queue(self) -> Iterator[Slots]:
        """Yield the unclaimed runs in the order of their granting."""
        if self._slot < self._end:
            yield Slots(self._slot, self._end - self._slot)
        yield from self._following or ()

    def find(self, user: str, request: str) -> Claimed | None:
        if not request:
            return self.grants.get(user)
        return None if self.special is None else self.special.by_request.get((user, request))

    # -- claims

    def claim(self, users: list[str], at_us: int) -> tuple[list[ClaimResult], list[Run]]:
        """Give each user their slot, in a pot that is not special; return the results and the new grants as runs."""
        grants, first = self.grants, self._slot
        stop = first + len(users)
        if stop <= self._end and grants.keys().isdisjoint(users):
            before = len(grants)
            slots = range(first, stop)
            grants.update(zip(users, map(Claimed, slots, repeat(at_us), repeat(True)), strict=True))
            if len(grants) == before + len(users):
                self._slot = stop
                return list(map(Claimed, slots, repeat(at_us), repeat(False))), [(first, users)] if users else []
            for user in users:  # one of them stands there twice
                grants.pop(user, None)
        return self._claim_one_by_one(users, at_us)

    def _claim_one_by_one(self, users: Sequence[str], at_us: int) -> tuple[list[ClaimResult], list[Run]]:
        grants = self.grants
        results: list[ClaimResult] = []
        runs: list[Run] = []
        winners: list[str] = []
        first = slot = self._slot
        end = self._end
        for user in users:
            known = grants.get(user)
            if known is not None:
                results.append(known)
                continue
            if slot == end:
                if winners:
                    runs.append((first, winners))
                    winners = []
                self._slot = slot
                if not self._next_run():
                    results.append(EMPTY)
                    continue
                first = slot = self._slot
                end = self._end
            grants[user] = Claimed(slot, at_us, True)
            results.append(Claimed(slot, at_us, False))
            winners.append(user)
            slot += 1
        if winners:
            runs.append((first, winners))
        self._slot = slot
        return results, runs

    def claim_one(self, claim: Claim, at_us: int, new: list[Grant]) -> ClaimResult:
        """Decide on one claim, in any pot; append the grant to `new` if it is one."""
        if self.special is not None or claim.request:
            return self._claim_specially(claim, at_us, new)
        user = claim.user
        known = self.grants.get(user)
        if known is not None:
            return known
        slot = self._slot
        if slot == self._end:
            if not self._next_run():
                return EMPTY
            slot = self._slot
        self._slot = slot + 1
        self.grants[user] = Claimed(slot, at_us, True)
        new.append(Grant(claim.pot, user, slot))
        return Claimed(slot, at_us, False)

    def _claim_specially(self, claim: Claim, at_us: int, new: list[Grant]) -> ClaimResult:
        known = self.find(claim.user, claim.request)
        if known is not None:
            return known
        refusal = self._refusal(claim.user)
        if refusal is not None:
            return refusal
        grant = self._new_grant(claim, self._slot, at_us)
        self._slot += 1
        new.append(grant)
        return self.keep(grant, at_us)

    def _refusal(self, user: str) -> ClaimResult | None:
        special = self.special
        live = (user in self.grants) + (0 if special is None else special.of_user.get(user, 0))
        if live >= self.terms.limit_per_user:
            return LIMIT
        if self._slot < self._end or self._next_run():
            return None
        return HELD_OUT if special is not None and (special.held or special.waiting) else EMPTY

    def _new_grant(self, claim: Claim, slot: int, at_us: int) -> Grant:
        if self.terms.hold_us is None or self.special is None:
            return Grant(self.terms.pot, claim.user, slot, claim.request)
        number, until_us = self.special.claimed_ever + 1, at_us + self.terms.hold_us
        return Grant(self.terms.pot, claim.user, slot, claim.request, number, until_us)

    def keep(self, grant: Grant, at_us: int) -> Claimed:
        """Note a grant whose slot was taken out of the queue; return what the user is told of it the first time."""
        first, known = _told(grant, at_us, repeat=False), _told(grant, at_us, repeat=True)
        if self.special is None and grant.request:
            self.special = Special()
        special = self.special
        if special is not None and self.terms.hold_us is not None:
            special.claimed_ever += 1
            special.held += grant.until_us is not None
        if special is None or not grant.request:
            self.grants[grant.user] = known
        else:
            special.by_request[grant.user, grant.request] = known
            special.of_user[grant.user] = special.of_user.get(grant.user, 0) + 1
        return first

    def _next_run(self) -> bool:
        """Let the queue begin with its next run, when the first one is used up; return whether there is one."""
        if not self._following:
            return False
        run = self._following.popleft()
        self._slot, self._end = run.first, run.end
        return True

    # -- holds

    def state_of(self, hold: Grant) -> HoldState | None:
        """Return what became of the hold; None: it is still one."""
        known = self.find(hold.user, hold.request)
        if self.terms.hold_us is None:
            return HoldState.CONFIRMED if known is not None and known.slot == hold.slot else HoldState.UNKNOWN
        if isinstance(known, Held) and (known.slot, known.number) == (hold.slot, hold.number):
            return HoldState.CONFIRMED if known.until_us is None else None
        assert self.special is not None
        return HoldState.RELEASED if 0 < hold.number <= self.special.claimed_ever else HoldState.UNKNOWN

    def confirm(self, hold: Grant) -> None:
        """Make a hold permanent that is still one."""
        assert self.special is not None
        known = self.find(hold.user, hold.request)
        assert known is not None
        confirmed = Held(known.slot, known.at_us, True, None, hold.number)
        self.special.held -= 1
        if hold.request:
            self.special.by_request[hold.user, hold.request] = confirmed
        else:
            self.grants[hold.user] = confirmed

    def release(self, hold: Grant) -> None:
        """End a hold that is still one."""
        special = self.special
        assert special is not None
        special.held -= 1
        special.returned_ever += 1
        special.waiting.append(hold.slot)
        if not hold.request:
            del self.grants[hold.user]
            return
        del special.by_request[hold.user, hold.request]
        special.of_user[hold.user] -= 1
        if not special.of_user[hold.user]:
            del special.of_user[hold.user]

    def offer(self) -> tuple[Slots, ...]:
        """Let the slots that wait be claimed after all others; return them."""
        if self.special is None or not self.special.waiting:
            return ()
        runs = runs_of(self.special.waiting)
        self.special.waiting.clear()
        self._append(runs)
        return runs

    # -- moves

    def take(self, count: int) -> tuple[Slots, ...]:
        """Remove up to `count` slots from the end, then of those that wait; return them in the order of the queue."""
        taken: deque[Slots] = deque()
        following = self._following
        while count and following:
            tail = following.pop()
            if tail.count > count:
                following.append(Slots(tail.first, tail.count - count))
                tail = Slots(tail.end - count, count)
            taken.appendleft(tail)
            count -= tail.count
        of_head = min(count, self._end - self._slot)
        if of_head:
            self._end -= of_head
            taken.appendleft(Slots(self._end, of_head))
        waiting = [] if self.special is None else self.special.waiting
        taken.extend(runs_of(waiting[: count - of_head]))
        del waiting[: count - of_head]
        if taken:
            self._members = without(self.members(), taken)
        return tuple(taken)

    def give(self, slots: Iterable[Slots]) -> None:
        """Append slots that the pot does not have."""
        runs = [run for run in slots if run.count]
        self._append(runs)
        self._members = [*self.members(), *runs]

    def _append(self, runs: Iterable[Slots]) -> None:
        if self._following is None:
            self._following = deque()
        self._following.extend(runs)
        if self._slot == self._end:
            self._next_run()

    def members(self) -> list[Slots]:
        """Return the runs that the pot has, in whatever state each slot is."""
        if self._members is None:
            self._members = [self.terms.slots] if self.terms.slots.count else []
        return self._members

    def overlap(self, slots: tuple[Slots, ...]) -> Slots | None:
        """Return the first of these runs that meets a slot the pot has, or one of the runs before it."""
        held = [*self.members()]
        for run in slots:
            if any(run.first < other.end and other.first < run.end for other in held):
                return run
            held.append(run)
        return None

    def draw(self, slot: int, count: int = 1) -> bool:
        """Take these slots out of the queue, wherever in it they stand; return whether they were there, as one run.

        They stay the pot's own.
        """
        if self._slot == slot and slot + count <= self._end:
            self._slot += count
            if self._slot == self._end:
                self._next_run()
            return True
        queue = list(self.queue())
        for place, run in enumerate(queue):
            if run.first <= slot and slot + count <= run.end:
                parts = (Slots(run.first, slot - run.first), Slots(slot + count, run.end - slot - count))
                queue[place : place + 1] = [part for part in parts if part.count]
                self._slot = self._end = 0
                self._following = deque(queue)
                self._next_run()
                return True
        return False

    def withhold(self, slot: int) -> bool:
        """Remove one slot from the pot if it is unclaimed; return whether it was."""
        if not self.draw(slot):
            return False
        self._members = without(self.members(), (Slots(slot, 1),))
        return True


def _told(grant: Grant, at_us: int, *, repeat: bool) -> Claimed:
    if not grant.number:
        return Claimed(grant.slot, at_us, repeat)
    return Held(grant.slot, at_us, repeat, grant.until_us, grant.number)


class Holders:
    """Who has a grant of a pot, to whatever request, now."""

    __slots__ = ("_pot",)

    def __init__(self, pot: Pot) -> None:
        self._pot = pot

    def __contains__(self, user: object) -> bool:
        special = self._pot.special
        return user in self._pot.grants or (special is not None and user in special.of_user)
