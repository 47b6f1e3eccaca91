"""What becomes of a unit that is held: a pure machine. Others ask the payments part, the store and the shop.

```
 hold ─pay─► PAYING ─paid─► SOLD ─shop has it─► DELIVERED
   │            │ deadline, given back            │ shop refuses
   │            ▼                                 │
   │         CLOSING ─paid─► SOLD                 │
   │            │ closed                          │
   └─expired────┴─────────► RETURNING ◄───────────┘
     given back                 │ released
                                ├─ nothing was paid ─► RETURNED ─paid after all─► LATE ─a unit is left─► SOLD
                                └─ money came ───────► REFUNDING ─► REFUNDED       └─ none is ─► REFUNDING

 SOLD, DELIVERED ─campaign cancelled─► RECALLING ─shop lets go─► RETURNING ─► REFUNDING
                                           └─ shop has sent it ─► SOLD
```

Nothing is released on our own clock alone: a payment that was begun is closed at the provider first, and the provider
says whether money came before. Each state is written down before what it stands for is done, and each step may be done
twice: whoever drives this may die between any two.

A campaign that is cancelled gives back what was paid, once the shop lets go of it. A unit that was sold for good by
then stays so in the store: what is cancelled sells nothing any more.

The store's hold stays one until the shop has the order: until then a refusal can bring the unit back.
"""

from enum import StrEnum
from typing import Any, Final

import msgspec

LOOK_AGAIN_US: Final = tuple(s * 1_000_000 for s in (1, 2, 5, 10, 30))
"""After how long it is looked again what became of a payment; the last holds for all that follow. Mostly it is heard
before."""

HAND_OVER_AGAIN_US: Final = tuple(s * 1_000_000 for s in (5, 10, 30, 60, 300, 900, 3_600, 7_200, 28_800, 86_400))
"""After how long a shop that did not take an order is told again. After the last one the order is parked."""

LATE_PREFIX: Final = "late:"
"""What the names of requests begin with by which money that came late claims a unit."""


HoldKey = tuple[str, str, int, int]
"""What names a hold among all of a campaign: its set ("" where there is but one), pot, slot and number there."""


class State(StrEnum):
    """See the module."""

    PAYING = "paying"
    CLOSING = "closing"
    RETURNING = "returning"
    RETURNED = "returned"
    LATE = "late"
    SOLD = "sold"
    DELIVERED = "delivered"
    RECALLING = "recalling"
    REFUNDING = "refunding"
    REFUNDED = "refunded"


NEVER_US: Final = 1 << 62
"""The instant at which an order is looked at that waits for nothing, or for an operator."""

SETTLED: Final = frozenset({State.RETURNED, State.DELIVERED, State.REFUNDED})
"""States in which nothing is to be done, as long as no money comes that nobody waits for."""


class Why(StrEnum):
    """Why a unit came back, or money did."""

    EXPIRED = "expired"
    GIVEN_BACK = "given_back"
    NOT_PAID = "not_paid"
    REFUSED_BY_SHOP = "refused_by_shop"
    TOO_LATE = "too_late"
    CANCELLED = "cancelled"
    """The campaign was."""
    NOT_RECALLED = "not_recalled"
    """It was, and the shop has not let go of the order: unit and money stay where they are."""


class SaleOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One hold from the moment on at which somebody pays, gives back or comes too late.

    Instants are µs since the epoch. `pot`, `user`, `slot`, `request` and `number` name the hold in its store
    (`redrush.ports.store.Grant`), which is that of `set`.
    """

    id: str
    """The grant's id and the number of the hold: a slot may be held by several people, one after the other. It names
    the payment, its refund and what is handed to the shop."""
    grant: str
    pot: str
    user: str
    slot: int
    number: int
    request: str
    until_us: int
    price_minor: int
    state: State
    version: int = 0
    """How often it was written down; 0: it is only a hold so far."""
    due_us: int
    """When it is looked at next."""
    since_us: int
    """When it came into this state."""
    tries: int = 0
    """How often what is to be done in this state was tried."""
    why: Why | None = None
    charged: bool = False
    """Whether a payment may have been begun."""
    paid_us: int | None = None
    reference: str = ""
    """The provider's own number of the payment."""
    address: str | None = None
    """How the buyer wants it sent, as the shop knows it; None: by their default."""
    parked: bool = False
    """Whether it waits for an operator."""
    set: str = ""
    """The set that the unit is held in; "" where there is but one."""

    @property
    def hold(self) -> HoldKey:
        """What names its hold."""
        return self.set, self.pot, self.slot, self.number

    @property
    def settled(self) -> bool:
        """Whether nothing is to be done any more."""
        return self.state in SETTLED

    @property
    def late_request(self) -> str:
        """The request by which money that came late claims a unit: the same however often it is tried."""
        return f"{LATE_PREFIX}{self.id}"

    def _to(self, state: State, now_us: int, **changes: Any) -> "SaleOrder":
        fresh: dict[str, Any] = {"state": state, "since_us": now_us, "due_us": now_us, "tries": 0, "parked": False}
        return msgspec.structs.replace(self, **(fresh | changes))

    def again(self, now_us: int, retry_after_us: int = 0) -> "SaleOrder":
        """Try once more what this state asks for, after the next pause, or what was asked for if that is longer."""
        pauses_us = HAND_OVER_AGAIN_US if self.state in {State.SOLD, State.RECALLING} else LOOK_AGAIN_US
        due_us = now_us + max(pauses_us[min(self.tries, len(pauses_us) - 1)], retry_after_us)
        if self.state is State.PAYING:
            due_us = min(due_us, max(now_us + LOOK_AGAIN_US[0], self.until_us))
        return msgspec.structs.replace(self, tries=self.tries + 1, due_us=due_us)

    def park(self) -> "SaleOrder":
        """Leave it to an operator."""
        return msgspec.structs.replace(self, parked=True, due_us=NEVER_US)

    def taken_up(self, now_us: int) -> "SaleOrder":
        """Go on with what was left to an operator, as if it was tried for the first time."""
        return msgspec.structs.replace(self, parked=False, due_us=now_us, tries=0) if self.parked else self

    # -- what its buyer does, and time

    def pays(self, address: str | None, now_us: int) -> "SaleOrder":
        """The buyer begins to pay what was only held."""
        return self._to(State.PAYING, now_us, charged=True, address=address, due_us=now_us + LOOK_AGAIN_US[0])

    def returns(self, why: Why, now_us: int) -> "SaleOrder":
        """What was only held comes back: nobody has begun to pay, and nobody can from now on."""
        return self._to(State.RETURNING, now_us, why=why)

    def given_back(self, now_us: int) -> "SaleOrder | None":
        """The buyer does not want it any more; None: it is too late for that."""
        if self.state is State.PAYING:
            return self._to(State.CLOSING, now_us, why=Why.GIVEN_BACK)
        return self if self.state in {State.CLOSING, State.RETURNING, State.RETURNED} else None

    def cancelled(self, now_us: int) -> "SaleOrder | None":
        """The campaign is cancelled, and nobody keeps what they have paid; None: nothing is to be given back, or the
        shop has not let go of it before."""
        if self.why in {Why.CANCELLED, Why.NOT_RECALLED, Why.REFUSED_BY_SHOP}:
            return None
        match self.state:
            case State.PAYING | State.CLOSING:
                return self._to(State.CLOSING, now_us, why=Why.CANCELLED)
            case State.RETURNING:
                return self._to(State.RETURNING, now_us, why=Why.CANCELLED)
            case State.SOLD | State.DELIVERED:
                return self._to(State.RECALLING, now_us, why=Why.CANCELLED)
            case State.LATE:
                return self._to(State.REFUNDING, now_us, why=Why.CANCELLED)
        return None

    def overdue(self, now_us: int) -> "SaleOrder":
        """Close the payment if its time is over."""
        if self.state is State.PAYING and now_us >= self.until_us:
            return self._to(State.CLOSING, now_us, why=Why.EXPIRED)
        return self

    # -- what became of the payment

    def paid(self, paid_us: int, reference: str, now_us: int) -> "SaleOrder":
        """Money came. What is paid once is paid: told again, it changes nothing."""
        if self.paid_us is not None:
            return self
        if self.state is State.CLOSING and self.why is Why.CANCELLED:
            return self._to(State.RETURNING, now_us, paid_us=paid_us, reference=reference)
        if self.state in {State.PAYING, State.CLOSING}:
            return self._to(State.SOLD, now_us, why=None, paid_us=paid_us, reference=reference)
        if self.state is State.RETURNING:  # it is late money as soon as the unit is back
            return msgspec.structs.replace(self, paid_us=paid_us, reference=reference)
        sells = self.why is not Why.CANCELLED
        return self._to(State.LATE if sells else State.REFUNDING, now_us, paid_us=paid_us, reference=reference)

    def closed(self, now_us: int) -> "SaleOrder":
        """Nobody can pay any more, and nobody has."""
        if self.state in {State.PAYING, State.CLOSING}:
            why = Why.EXPIRED if now_us >= self.until_us else Why.NOT_PAID
            return self._to(State.RETURNING, now_us, why=self.why or why)
        return self

    def refunded(self, now_us: int) -> "SaleOrder":
        """The money is back."""
        return self._to(State.REFUNDED, now_us, due_us=NEVER_US) if self.state is State.REFUNDING else self

    # -- what the store says

    def released(self, now_us: int) -> "SaleOrder":
        """The unit is back in its pot."""
        if self.state is not State.RETURNING:
            return self
        if self.paid_us is None:
            return self._to(State.RETURNED, now_us, due_us=NEVER_US)
        goes_back = self.why in {Why.REFUSED_BY_SHOP, Why.CANCELLED}
        return self._to(State.REFUNDING if goes_back else State.LATE, now_us)

    def is_sold_for_good(self, now_us: int) -> "SaleOrder | None":
        """The unit of a cancelled order is not held any more, but sold: it stays so, and the money goes back all the
        same. None for any other order, of which that cannot be."""
        if self.state is not State.RETURNING or self.why is not Why.CANCELLED:
            return None
        return self._to(State.REFUNDING, now_us)

    def got(self, slot: int, number: int, request: str, grant: str, now_us: int) -> "SaleOrder":
        """There was a unit for money that came late: it is the buyer's, in another hold, perhaps of another slot."""
        if self.state is not State.LATE:
            return self
        return self._to(State.SOLD, now_us, slot=slot, number=number, request=request, grant=grant, why=None)

    def got_none(self, now_us: int) -> "SaleOrder":
        """There was no unit for money that came late."""
        return self._to(State.REFUNDING, now_us, why=Why.TOO_LATE) if self.state is State.LATE else self

    def confirmed(self, now_us: int) -> "SaleOrder":
        """The shop has the order, and the store has made the hold permanent."""
        return self._to(State.DELIVERED, now_us, due_us=NEVER_US) if self.state is State.SOLD else self

    # -- what the shop says

    def refused(self, now_us: int) -> "SaleOrder":
        """The shop will never take it: the unit comes back, and so does the money."""
        return self._to(State.RETURNING, now_us, why=Why.REFUSED_BY_SHOP) if self.state is State.SOLD else self

    def recalled(self, now_us: int) -> "SaleOrder":
        """The shop has let go of a cancelled order: unit and money come back."""
        return self._to(State.RETURNING, now_us) if self.state is State.RECALLING else self

    def not_recalled(self, now_us: int) -> "SaleOrder":
        """The shop will not let go of it: it is sold, as before."""
        return self._to(State.SOLD, now_us, why=Why.NOT_RECALLED) if self.state is State.RECALLING else self

    def not_taken(self, now_us: int, retry_after_us: int = 0) -> "SaleOrder":
        """The shop did not take it, or let go of it now. It is told again, for days; then it waits for an operator."""
        return self.park() if self.tries >= len(HAND_OVER_AGAIN_US) else self.again(now_us, retry_after_us)


def order_id(grant: str, number: int, set_id: str) -> str:
    """Return what names a hold for ever: its grant, the set whose store counts its holds ("" where there is but one),
    and its number there."""
    return f"{grant}#{set_id}/{number}" if set_id else f"{grant}#{number}"
