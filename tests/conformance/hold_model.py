"""An independent model of pots with limits and holds: lists of single slots. It shares no code with the stores."""

from dataclasses import dataclass, field

from redrush.core.rush.campaign import Slots
from redrush.ports.store import (
    Claim,
    Claimed,
    ClaimResult,
    Confirmed,
    Given,
    Grant,
    Granted,
    Held,
    HoldState,
    LogRecord,
    Offered,
    Opened,
    PotState,
    PotTerms,
    Released,
    Scattered,
    Taken,
    grants_of,
)

HOLD_US = 1_000
POTS = (
    PotTerms("plain", Slots(0, 12)),
    PotTerms("two each", Slots(100, 9), limit_per_user=2),
    PotTerms("sale", Slots(200, 6), hold_us=HOLD_US),
    PotTerms("big sale", Slots(1_000, 150), limit_per_user=3, hold_us=HOLD_US),
    PotTerms("receives", Slots(5_000, 0), hold_us=HOLD_US),
)


def singles(runs: tuple[Slots, ...]) -> list[int]:
    return [slot for run in runs for slot in range(run.first, run.first + run.count)]


@dataclass
class ModelPot:
    limit: int
    hold_us: int | None
    queue: list[int]
    waiting: list[int] = field(default_factory=list)
    grants: dict[tuple[str, str], tuple[int, int, int, int | None]] = field(default_factory=dict)
    """By user and request: slot, instant, number, deadline."""
    ever: int = 0
    returned: int = 0

    def of_user(self, user: str) -> int:
        return sum(of == user for of, _ in self.grants)

    def state(self) -> PotState:
        held = sum(until is not None for _, _, _, until in self.grants.values())
        return PotState(len(self.queue) + len(self.waiting), self.ever, self.returned, held, len(self.waiting))

    def is_held(self, hold: Grant) -> bool:
        return self.grants[hold.user, hold.request][3] is not None

    def some_held(self) -> bool:
        return bool(self.waiting) or any(until is not None for _, _, _, until in self.grants.values())


class HoldModel:
    """Does what a store should; every method returns what the store should say."""

    def __init__(self) -> None:
        self.pots = {
            terms.pot: ModelPot(terms.limit_per_user, terms.hold_us, singles((terms.slots,))) for terms in POTS
        }
        self.taken: dict[str, tuple[str, list[int]]] = {}
        self.given: set[str] = set()

    def claim(self, claim: Claim, at_us: int) -> Claimed | str:
        pot = self.pots[claim.pot]
        key = claim.user, claim.request
        if key in pot.grants:
            return self.told(claim.pot, key, repeat=True)
        if pot.of_user(claim.user) >= pot.limit:
            return "limit"
        if not pot.queue:
            return "held_out" if pot.some_held() else "empty"
        pot.ever += 1
        holds = pot.hold_us is not None
        until_us = at_us + pot.hold_us if pot.hold_us is not None else None
        pot.grants[key] = (pot.queue.pop(0), at_us, pot.ever if holds else 0, until_us)
        return self.told(claim.pot, key, repeat=False)

    def told(self, pot: str, key: tuple[str, str], *, repeat: bool) -> Claimed:
        slot, at_us, number, until_us = self.pots[pot].grants[key]
        return Held(slot, at_us, repeat, until_us, number) if number else Claimed(slot, at_us, repeat)

    def holds(self) -> list[Grant]:
        """Every grant there is, as who holds it would name it."""
        return [
            Grant(name, user, slot, request, number)
            for name, pot in self.pots.items()
            for (user, request), (slot, _, number, _) in pot.grants.items()
        ]

    def live(self, pot: str) -> list[Grant]:
        """The grants of the pot that are still held, as who holds them would name them."""
        return [hold for hold in self.holds() if hold.pot == pot and self.pots[pot].is_held(hold)]

    def finish(self, hold: Grant, end: HoldState) -> HoldState:
        pot = self.pots[hold.pot]
        key = hold.user, hold.request
        known = pot.grants.get(key)
        if pot.hold_us is None:
            return HoldState.CONFIRMED if known is not None and known[0] == hold.slot else HoldState.UNKNOWN
        if known is None or (known[0], known[2]) != (hold.slot, hold.number):
            return HoldState.RELEASED if 0 < hold.number <= pot.ever else HoldState.UNKNOWN
        if known[3] is None:
            return HoldState.CONFIRMED
        if end is HoldState.CONFIRMED:
            pot.grants[key] = (*known[:3], None)
        else:
            del pot.grants[key]
            pot.waiting.append(known[0])
            pot.returned += 1
        return end

    def offer(self, names: list[str]) -> int:
        count = 0
        for name in dict.fromkeys(names):
            pot = self.pots[name]
            count += len(pot.waiting)
            pot.queue += pot.waiting
            pot.waiting = []
        return count

    def take(self, name: str, count: int, transfer: str) -> list[int]:
        if transfer not in self.taken:
            pot = self.pots[name]
            of_queue = min(count, len(pot.queue))
            slots = pot.queue[len(pot.queue) - of_queue :] + pot.waiting[: count - of_queue]
            del pot.queue[len(pot.queue) - of_queue :], pot.waiting[: count - of_queue]
            self.taken[transfer] = (name, slots)
        return self.taken[transfer][1]

    def give(self, name: str, transfer: str) -> None:
        if transfer not in self.given:
            self.given.add(transfer)
            self.pots[name].queue += self.taken[transfer][1]

    def check_conserved(self) -> None:
        """No slot is twice, and none is lost."""
        everywhere = [
            slot for transfer, (_, slots) in self.taken.items() if transfer not in self.given for slot in slots
        ]
        for pot in self.pots.values():
            granted = [slot for slot, _, _, _ in pot.grants.values()]
            assert pot.ever - pot.returned == len(granted)
            everywhere += [*pot.queue, *pot.waiting, *granted]
        assert sorted(everywhere) == [slot for terms in POTS for slot in singles((terms.slots,))]


def said(result: ClaimResult) -> Claimed | str:
    return result if isinstance(result, Claimed) else result.value


def replayed(records: list[LogRecord]) -> dict[str, ModelPot]:
    """Return what the log alone adds up to."""
    pots: dict[str, ModelPot] = {}
    for record in records:
        replay(pots, record)
    return pots


def replay(pots: dict[str, ModelPot], record: LogRecord) -> None:
    """Change what the log alone adds up to by its next record."""
    if isinstance(record, Scattered | Granted):
        for grant in grants_of(record):
            _grant(pots[grant.pot], grant, record.at_us)
    elif isinstance(record, Confirmed | Released):
        for hold in record.holds:
            _end(pots[hold.pot], hold, released=isinstance(record, Released))
    elif isinstance(record, Opened):
        pots[record.pot] = ModelPot(record.limit_per_user, record.hold_us, singles((record.slots,)))
    else:
        _move(pots[record.pot], record)


def _end(pot: ModelPot, hold: Grant, *, released: bool) -> None:
    slot, at_us, number, until_us = pot.grants.pop((hold.user, hold.request))
    assert (slot, number) == (hold.slot, hold.number)
    assert until_us is not None
    if released:
        pot.waiting.append(slot)
        pot.returned += 1
    else:
        pot.grants[hold.user, hold.request] = (slot, at_us, number, None)


def _move(pot: ModelPot, record: Offered | Taken | Given) -> None:
    slots = singles(record.slots)
    if isinstance(record, Taken):
        for slot in slots:
            (pot.queue if slot in pot.queue else pot.waiting).remove(slot)
        return
    if isinstance(record, Offered):
        assert slots == pot.waiting
        pot.waiting = []
    pot.queue += slots


def _grant(pot: ModelPot, grant: Grant, at_us: int) -> None:
    assert pot.queue.pop(0) == grant.slot
    pot.ever += 1
    assert (grant.user, grant.request) not in pot.grants
    pot.grants[grant.user, grant.request] = (grant.slot, at_us, grant.number, grant.until_us)
