"""The bill book: every bill that we have with a provider, where it is, and the double entry of what has moved.

It is no projection: nothing else knows what a winner wanted to be paid, or what a provider was asked. So every commit
is durable before its call returns, and a bill is in the book before its provider hears of it. What a user *won* is in
the records (`redrush.ports.records`); what left, or came from elsewhere, is here; the balance is the sum of both.

    payout made       user:<id> ─► payouts:<provider>                  payout:<source>#<attempt>
    payout arrived    payouts:<provider> ─► clearing:<provider>        …:done
    payout ended      payouts:<provider> ─► user:<id>                  …:back
    … and is retried  user:<id> ─► payouts:<provider>                  payout:<source>#<attempt>
    … and came after  user:<id> ─► payouts:<provider>                  …:late
    paid in           clearing:<provider> ─► the bill's account        payin:<source>#1:done
    refund made       the bill's account ─► refunds:<provider>         refund:<source>#<attempt>
    refund arrived    refunds:<provider> ─► clearing:<provider>        …:done
    refund ended      refunds:<provider> ─► the bill's account         …:back
    fee               fees:<provider> ─► clearing:<provider>           …:fee
    paid by balance   user:<id> ─► an account                          spend:<source>
    credited          an account ─► user:<id>                          credit:<source>

`clearing:<provider>` is so what the provider's own book must say: what it paid out for us, less what it took in.
All calls block. All adapters pass tests/conformance/test_bill_books.py.
"""

from collections.abc import Sequence
from enum import Enum, StrEnum
from typing import Any, Final, Literal, Protocol, Self

import msgspec

from redrush.core.money.clearing import Billed, credit_of
from redrush.core.money.ledger import Posting
from redrush.core.money.way_to_pay import How
from redrush.core.rush.group import rest_of_payment
from redrush.errors import RedrushError
from redrush.ports.grant_pages import LedgerPage, LedgerPart
from redrush.ports.provider import Notice
from redrush.ports.records import Balance

Kind = Literal["payin", "payout", "refund"]

WAITED_FOR: Final[tuple[Kind, ...]] = ("payin",)
"""Somebody waits at a screen for these."""
PATIENT: Final[tuple[Kind, ...]] = ("refund", "payout")
KINDS: Final = WAITED_FOR + PATIENT
"""In this order they are looked after."""


class BillState(StrEnum):
    """Where a bill is."""

    NEW = "new"
    """The provider was not asked yet, or certainly has not heard of it."""
    ASKED = "asked"
    """It was asked, and nobody knows whether it heard: only queries may follow."""
    OPEN = "open"
    """Somebody may pay it in."""
    CLOSING = "closing"
    """Nobody shall pay it in any more; it may still turn out to be paid."""
    PENDING = "pending"
    """The provider has it."""
    CONFIRMING = "confirming"
    """The winner has to confirm it at the provider."""
    HELD = "held"
    """A person has to decide, and the provider is not asked."""
    DONE = "done"
    """The money has moved: final."""
    PAID_LATE = "paid_late"
    """It has moved although it was said to have ended: final. What was paid in so goes back by a refund and pays for
    nothing, or is kept (`keep_late`) and DONE."""
    CLOSED = "closed"
    """Nobody paid: final."""
    FAILED = "failed"
    """It did not move: final."""
    CANCELLED = "cancelled"
    """It was taken back, or not confirmed in time: final."""


FINAL = frozenset({BillState.DONE, BillState.PAID_LATE, BillState.CLOSED, BillState.FAILED, BillState.CANCELLED})


class NewBill(msgspec.Struct, frozen=True, kw_only=True):
    """A bill that is to be made. `kind` and `source` make it count once; a refund gives back what the source `of` paid.

    `account` is where a pay-in goes, and where its refunds come from. `to` is who gets it, or pays, at the provider.
    """

    kind: Kind
    source: str
    campaign: str
    user: str
    provider: str
    currency: str
    amount_minor: int
    subject: str
    to: str = ""
    of: str = ""
    account: str = ""
    how: How = "qr"
    expires_us: int | None = None
    covered_minor: int | None = None
    """What the user has been granted in all: a payout that their balance does not cover is not made. None: it is."""
    while_late: bool = False
    """Of a refund: it is made only while what it gives back is PAID_LATE, and nobody has kept it."""
    held: bool = False


class KeptBill(msgspec.Struct, frozen=True, kw_only=True):
    """A bill as it is in the book."""

    id: int
    kind: Kind
    source: str
    campaign: str
    user: str
    provider: str
    currency: str
    amount_minor: int
    subject: str
    to: str
    of: str
    account: str
    how: How
    attempt: int
    number: str
    state: BillState
    made_us: int
    changed_us: int
    asked_us: int | None
    """When the provider was last asked to do it."""
    next_us: int | None
    """When there is something to do next; None: nothing."""
    looks: int
    """How often it was asked for since it last moved."""
    expires_us: int | None
    """When an open pay-in is closed; when a confirmation runs out."""
    detail: str
    """What to show to whoever pays or confirms; why it failed or is held."""
    reference: str
    fee_minor: int
    done_us: int | None
    version: int
    """Counts changes: a change is made to what it was derived from, or not at all."""

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> Self:
        """Return the bill that stands in a row, whose columns are in the order of its fields."""
        values = dict(zip(cls.__struct_fields__, row, strict=True))
        return cls(**values | {"state": BillState(values["state"])})

    @property
    def billed(self) -> Billed:
        """What its postings are made from."""
        return Billed(self.kind, self.provider, self.user, self.account, self.source, self.attempt, self.amount_minor)

    @property
    def is_final(self) -> bool:
        """Whether nothing more can become of this attempt."""
        return self.state in FINAL


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a bill that is still of this version, with what it posts; None leaves a value as it is."""

    id: int
    version: int
    state: BillState
    next_us: int | None
    looks: int
    changed_us: int
    detail: str | None = None
    expires_us: int | None = None
    reference: str | None = None
    fee_minor: int | None = None
    done_us: int | None = None
    number: str | None = None
    attempt: int | None = None
    postings: tuple[Posting, ...] = ()
    covered_minor: int | None = None
    """Of the next attempt of a payout: what the user has been granted in all, as in `NewBill`."""


class BillConflict(RedrushError):
    """The book has a bill of that kind and source with other terms. Nothing was made."""


def check_same(found: KeptBill | NewBill, bill: NewBill) -> None:
    """Raise BillConflict if a bill of that kind and source is for another amount, or for somebody else."""
    same = (found.amount_minor, found.user, found.provider, found.currency, found.of)
    if same != (bill.amount_minor, bill.user, bill.provider, bill.currency, bill.of):
        raise BillConflict(f"{bill.kind} {bill.source} is in the book with other terms")


def rest_posting(payin: str) -> str:
    """Return the id of the posting by which what is left of a packet goes into its sender's balance, by the source of
    the pay-in that has paid it. Of any other pay-in there is no such posting."""
    return credit_of(rest_of_payment(payin))


class NotCovered(RedrushError):
    """The balance does not cover it. Nothing was made."""

    def __init__(self, available_minor: int) -> None:
        super().__init__(f"the balance is {available_minor} minor units")
        self.available_minor = available_minor


class KeptNotice(msgspec.Struct, frozen=True):
    """A notice in the inbox."""

    id: int
    provider: str
    notice: Notice


class BillSum(msgspec.Struct, frozen=True):
    """What the bills of a kind and state come to."""

    provider: str
    kind: Kind
    state: BillState
    count: int
    amount_minor: int
    fee_minor: int


UNDER_WAY: Final = (BillState.NEW, BillState.ASKED, BillState.PENDING)
"""Of what is to leave: a provider has to do something next, and no person."""
UNDER_WAY_MAX: Final = 1_000
"""Bills of each of these states that are looked at for the oldest ones."""
ACCOUNTS_MAX: Final = 1_000
"""Accounts of a campaign that are told of at once."""

Step = Literal["start", "ask"]
"""What a bill waits for: that the provider is asked to do it, or asked about it."""


class Entered(Enum):
    """What became of one entry among many: it was made now, or before; or the user has not so much."""

    NOW = "now"
    BEFORE = "before"
    NOT_COVERED = "not_covered"


class Entry(msgspec.Struct, frozen=True):
    """A posting that is to be made once. Its debit account is a user's where `covered_minor` says what they were
    granted; else nobody asks whether there is enough."""

    posting: Posting
    covered_minor: int | None = None


class BillBook(Protocol):
    """See the module. Every call may raise RecordsFailed."""

    def make(
        self, bills: Sequence[NewBill], now_us: int, cursor: tuple[str, int] | None = None, *, lenient: bool = False
    ) -> list[KeptBill]:
        """Put bills into the book, all or none; return them, or those that are there already, in order.

        `cursor` (a name and a number) is kept in the same step. Raises BillConflict, and NotCovered for a payout that
        the balance does not cover, for refunds that would come to more than is left of what was paid in (`left_of`),
        and for those of money that is not late any more (`NewBill.while_late`); `lenient`: those are left out.
        """

    def post_each(self, campaign: str, entries: Sequence[Entry]) -> list[Entered]:
        """Move money without any provider for many at once, each once and for itself: who is not covered is left out.
        All of it is durable in one step when this returns."""

    def is_posted(self, campaign: str, posting: str) -> bool:
        """Whether there is a posting of that id."""

    def cursor(self, name: str) -> int:
        """Return the number kept under the name, 0 before the first."""

    def take(
        self,
        provider: str,
        step: Step,
        now_us: int,
        hidden_until_us: int,
        limit: int,
        kinds: Sequence[Kind] = KINDS,
    ) -> list[KeptBill]:
        """Return bills of these kinds for which it is time, those of the first kind before the others; none of them is
        due again before `hidden_until_us`, or a change.

        Those that are to be started are ASKED from now on: they are returned once.
        """

    def change(self, changes: Sequence[Change]) -> list[KeptBill]:
        """Make those changes that still apply; return the bills that were changed.

        Raises NotCovered for the next attempt of a payout whose money has left the balance since it went back there, or
        of a refund whose money was given back since by another one: nothing is changed then.
        """

    def find(self, kind: Kind, source: str) -> KeptBill | None:
        """Return the bill, or None."""

    def left_of(self, source: str) -> int:
        """Return how much of the pay-in of this source may still be given back, in minor units: what was paid, less
        refunds that have not failed, less what was left of the packet that it paid and is in its sender's balance."""

    def numbered(self, number: str) -> KeptBill | None:
        """Return the bill that has, or had, this number, or None."""

    def hurry(self, bill_id: int, now_us: int, *, expires_us: int | None = None) -> None:
        """Look at the bill now, unless it is final, held or new; with `expires_us`, as if it expired then."""

    def untold(self, prefixes: Sequence[str], limit: int, after: int = 0) -> list[KeptBill]:
        """Return pay-ins and refunds by id above `after` that have ended, whose owner has not heard of it, and whose
        source begins so."""

    def paid_late(self, limit: int) -> list[KeptBill]:
        """Return pay-ins that were paid after they had ended, of which nothing was given back and which nobody kept."""

    def keep_late(self, source: str, now_us: int) -> KeptBill | None:
        """Keep what was paid late for this source, unless it goes back: one of the two is in the book for ever, whoever
        comes first. Return the pay-in as it is now: DONE if it is kept, PAID_LATE if it goes back. None: there is none.
        """

    def told(self, bills: Sequence[KeptBill]) -> None:
        """Their owners have heard."""

    def keep_notices(self, notices: Sequence[tuple[str, Notice]], now_us: int) -> int:
        """Put notices (provider, notice) into the inbox; return how many were not there yet."""

    def inbox(self, limit: int) -> list[KeptNotice]:
        """Return notices that nobody has looked into."""

    def seen(self, notices: Sequence[KeptNotice]) -> None:
        """They were looked into."""

    def listed(
        self,
        *,
        kind: Kind | None = None,
        states: Sequence[BillState] = (),
        user: str | None = None,
        provider: str | None = None,
        after: int = 0,
        limit: int = 1_000,
    ) -> list[KeptBill]:
        """Return bills by id above `after`."""

    def forget_receivers(self, before_us: int, user: str | None = None) -> int:
        """Empty `to` of final bills that last changed before that, of one user or of all, where it is more than the
        user's id; return how many that were."""

    def moved(self, provider: str, from_us: int, to_us: int) -> list[KeptBill]:
        """Return the bills of a provider by which money moved in that time."""

    def sums(self) -> list[BillSum]:
        """Return what the bills come to. Reads them all."""

    def under_way(self) -> dict[str, int]:
        """Return when the oldest payout or refund of each campaign was made that is `UNDER_WAY`, µs since the epoch.

        The first `UNDER_WAY_MAX` of each state are looked at: a campaign that has none among them is left out.
        """

    def balance(self, campaign: str, account: str) -> Balance:
        """Return what was posted to an account here."""

    def accounts(self, campaign: str) -> dict[str, Balance]:
        """Return what was posted to each account of a campaign that is no user's, by name: the first `ACCOUNTS_MAX`."""

    def ledger(self, campaign: str, part: LedgerPart, after: str, limit: int) -> LedgerPage:
        """Return up to `limit` postings of a part with an id greater than `after`, in order of their ids. At most
        `redrush.ports.grant_pages.LOOKED_MAX` are looked through."""

    def spendings(self, campaign: str, user: str, from_us: int, limit: int) -> list[Posting]:
        """Return what the user paid for by their balance since then, by id. Reads all that was paid so, by anybody."""

    def net_of(self, account: str) -> int:
        """Return credits less debits of an account, over all campaigns. Reads it of each."""

    def close(self) -> None:
        """Release the files."""
