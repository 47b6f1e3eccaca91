"""The sandbox's bank: what it was asked to move, and what has moved. Its book is what ours is compared with.

Everything that a provider does by itself happens at an instant that stands in the row: who waits long enough sees an
open payment close, a transfer arrive, a confirmation run out. So there is no process behind it, and a bank that was
killed goes on where it was: each change is one transaction. (Killed, not cut off from power: it never syncs.)
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import apsw
import msgspec

from redrush.ports.provider import (
    Absent,
    Accepted,
    Bill,
    BillLine,
    Cancelled,
    Cancelling,
    Closed,
    Confirming,
    Done,
    Failed,
    NeedsConfirmation,
    Open,
    Order,
    Paid,
    PayInStart,
    PayOutStart,
    Pending,
    Refund,
    RefundStart,
    Rejected,
    Started,
    State,
)
from redrush.sqlfiles import load_statements

SECOND_US: Final = 1_000_000
DAY_US: Final = 86_400 * SECOND_US

CONFIRM_WITHIN_US: Final = DAY_US

OTHER_TERMS: Final = "this number was used with other terms"


class BankTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How this bank does business."""

    currency: str = "CNY"
    min_minor: int = 1
    max_minor: int = 10**13
    payin_fee_per_mille: int = 6
    confirms: bool = False
    """Whether receivers have to confirm what they are sent."""
    confirm_within_us: int = CONFIRM_WITHIN_US
    takes_us: int = 0
    """How long a transfer or refund is pending."""


class Row(msgspec.Struct, frozen=True):
    """A bill as the bank has it."""

    number: str
    kind: Literal["payin", "payout", "refund"]
    amount_minor: int
    party: str
    state: str
    until_us: int
    ends: str
    made_us: int
    done_us: int | None
    fee_minor: int

    @property
    def reference(self) -> str:
        """The bank's own number."""
        return f"sb{self.number[:12]}"


class Sum(msgspec.Struct, frozen=True):
    """What the bills of a kind and a state come to."""

    kind: str
    state: str
    count: int
    amount_minor: int
    fee_minor: int


Changed = Callable[[Row], None]
"""Hears of each bill that has reached another state, inside the transaction that moves it."""


class Bank:
    """See the module. Calls take the present, µs since the epoch; one thread at a time."""

    def __init__(self, path: Path | None = None, terms: BankTerms | None = None) -> None:
        """`path` is its book; None: it is gone with the process."""
        self.terms = terms or BankTerms()
        self.changed: Changed | None = None
        self.ends: Callable[[str], str] = lambda _number: "done"
        """How a transfer ends that was accepted: done, or failed."""
        self.gives_fees_back = False
        """Whether a refund gives back its share of the fee, as WeChat Pay and Alipay do."""
        self._sql = load_statements(__package__, "bank.sql")
        self._book = apsw.Connection(":memory:" if path is None else os.fspath(path))
        self._book.pragma("journal_mode", "wal")
        self._book.pragma("synchronous", "off")
        self._book.execute(self._sql["create"])

    def close(self) -> None:
        """Close the book."""
        self._book.close()

    # -- pay-in

    def order(self, order: Order, now_us: int) -> PayInStart:
        """Let somebody pay."""
        with self._change():
            if (found := self._advanced(order.number, now_us)) is None:
                if (why := self._why_not(order.amount_minor, order.currency)) is not None:
                    return Rejected(why, final=True)
                self._keep(order.number, "payin", order.amount_minor, order.payer, "open", order.expires_us, now_us)
            elif (found.kind, found.amount_minor) != ("payin", order.amount_minor):
                return Rejected(OTHER_TERMS, final=True)
            elif found.state != "open":
                return Rejected(f"this payment is {found.state}", final=True)
        return Started(order.how, f"sandbox://pay/{order.number}", order.expires_us)

    def pay(self, number: str, now_us: int, *, though_closed: bool = False) -> State | Absent:
        """Somebody pays: of an open payment what was due, of any other nothing. `though_closed`: a closed one, too,
        which its book then says."""
        with self._change():
            if (found := self._advanced(number, now_us)) is None or found.kind != "payin":
                return Absent()
            late = though_closed and found.state == "closed"
            if late:
                self._run("take_late", number=number, closed_us=found.done_us)
            if found.state == "open" or late:
                self._move(found, "paid", now_us)
        return self.state(number, now_us)

    def shut(self, number: str, now_us: int) -> State | Absent:
        """Let nobody pay any more."""
        with self._change():
            found = self._advanced(number, now_us)
            if found is not None and found.state == "open":
                self._move(found, "closed", now_us)
        return self.state(number, now_us)

    def refund(self, refund: Refund, now_us: int) -> RefundStart:
        """Give back what was paid, or a part of it."""
        with self._change():
            if (found := self._advanced(refund.number, now_us)) is not None:
                same = (found.kind, found.amount_minor, found.party) == ("refund", refund.amount_minor, refund.of)
                return Accepted(found.reference) if same else Rejected(OTHER_TERMS, final=True)
            of = self._advanced(refund.of, now_us)
            if of is None or of.state != "paid":
                return Rejected("nothing was paid under that number", final=True)
            (before,) = self._one("refunded", number=refund.of)
            if before + refund.amount_minor > of.amount_minor:
                return Rejected("more would go back than was paid", final=True)
            until_us = now_us + self.terms.takes_us
            self._keep(refund.number, "refund", refund.amount_minor, refund.of, "pending", until_us, now_us)
            self._advanced(refund.number, now_us)
        return Accepted(f"sb{refund.number[:12]}")

    # -- payout

    def transfer(self, bill: Bill, now_us: int) -> PayOutStart:
        """Send money to a wallet."""
        with self._change():
            if (found := self._advanced(bill.number, now_us)) is None:
                if (why := self._why_not(bill.amount_minor, bill.currency)) is not None:
                    return Rejected(why, final=True)
                waits = self.terms.confirms
                state = "confirming" if waits else "pending"
                until_us = now_us + (self.terms.confirm_within_us if waits else self.terms.takes_us)
                self._keep(bill.number, "payout", bill.amount_minor, bill.to, state, until_us, now_us)
                found = self._advanced(bill.number, now_us)
                assert found is not None
            elif (found.kind, found.amount_minor, found.party) != ("payout", bill.amount_minor, bill.to):
                return Rejected(OTHER_TERMS, final=True)
        if found.state == "confirming":
            return NeedsConfirmation(f"confirm-{bill.number}", found.until_us, found.reference)
        return Accepted(found.reference)

    def confirm(self, number: str, now_us: int) -> State | Absent:
        """The receiver confirms, if it is not too late."""
        with self._change():
            found = self._advanced(number, now_us)
            if found is not None and found.state == "confirming":
                until_us = now_us + self.terms.takes_us
                self._run("proceed", number=number, state="pending", until_us=until_us, ends=self.ends(number))
        return self.state(number, now_us)

    def cancel(self, number: str, now_us: int) -> Cancelling | Done | Cancelled | Absent:
        """Take it back: at once if nobody has confirmed yet, never any more once it is on its way."""
        with self._change():
            found = self._advanced(number, now_us)
            if found is not None and found.state == "confirming":
                self._move(found, "cancelled", now_us)
        state = self.state(number, now_us)
        return state if isinstance(state, Done | Cancelled | Absent) else Cancelling()

    # -- looking

    def state(self, number: str, now_us: int) -> State | Absent:
        """Return where the bill is."""
        with self._change():
            found = self._advanced(number, now_us)
        return Absent() if found is None else self.state_of(found)

    def state_of(self, row: Row) -> State:
        """Return the row's state as a value of the port."""
        at_us = row.done_us or 0
        match row.state:
            case "open":
                return Open()
            case "closed":
                return Closed()
            case "paid":
                return Paid(row.amount_minor, at_us, row.reference, self.terms.currency, row.fee_minor)
            case "confirming":
                return Confirming(f"confirm-{row.number}", row.until_us)
            case "pending":
                return Pending()
            case "done":
                return Done(row.amount_minor, at_us, row.reference, self.terms.currency, row.fee_minor)
            case "failed":
                return Failed("the wallet does not take it")
        return Cancelled("not confirmed in time")

    def row(self, number: str) -> Row | None:
        """Return the bill as it stands in the book, None if there is none."""
        return self._find(number)

    def advance(self, now_us: int) -> int:
        """Let happen what is due by now, up to a few hundred bills; return how many they were."""
        with self._change():
            due = list(self._run("due", now_us=now_us))
            for number, _, _ in due:
                self._advanced(number, now_us)
        return len(due)

    def lines(self, from_us: int, to_us: int) -> list[BillLine]:
        """Return what has moved in that time."""
        self.advance(to_us)
        rows = self._run("lines", from_us=from_us, to_us=to_us)
        return [
            BillLine(kind, number, amount, fee, f"sb{number[:12]}", at_us) for kind, number, amount, fee, at_us in rows
        ]

    def sums(self) -> list[Sum]:
        """Return what the bills come to, by kind and state."""
        return [Sum(*row) for row in self._run("sums")]

    def confirming(self, limit: int) -> list[tuple[str, str, int]]:
        """Return number, receiver and deadline of transfers that wait for a confirmation."""
        return list(self._run("confirming", limit=limit))

    def waiting(self, limit: int) -> list[tuple[str, str, int]]:
        """Return number, payer and deadline of payments that wait for somebody to pay."""
        return list(self._run("waiting", limit=limit))

    # -- notices that are to be sent

    def keep_notice(self, notice_id: str, body: str, due_us: int, how: str = "") -> None:
        """Send this then; in the transaction under way, if there is one."""
        self._run("keep_notice", id=notice_id, body=body, due_us=due_us, how=how)

    def notices(self, now_us: int, limit: int) -> list[tuple[int, str, str, str, int]]:
        """Return row, body, id, how and tries of the notices that are due."""
        return list(self._run("notices", now_us=now_us, limit=limit))

    def delay_notice(self, notice: int, due_us: int) -> None:
        """It was not taken: send it again then."""
        self._run("delay_notice", notice=notice, due_us=due_us)

    def drop_notice(self, notice: int) -> None:
        """It was taken, or was sent often enough."""
        self._run("drop_notice", notice=notice)

    # -- rows

    @contextmanager
    def _change(self) -> Iterator[None]:
        if self._book.in_transaction:
            yield
            return
        self._run("begin")
        try:
            yield
        except BaseException:
            self._run("rollback")
            raise
        self._run("commit")

    def _why_not(self, amount_minor: int, currency: str) -> str | None:
        if currency != self.terms.currency:
            return f"the currency is {self.terms.currency}"
        if not self.terms.min_minor <= amount_minor <= self.terms.max_minor:
            return f"amounts are {self.terms.min_minor} to {self.terms.max_minor}"
        return None

    def _keep(
        self, number: str, kind: str, amount_minor: int, party: str, state: str, until_us: int, now_us: int
    ) -> None:
        ends = {"open": "closed", "confirming": "cancelled"}.get(state) or self.ends(number)
        self._run(
            "keep", number=number, kind=kind, amount_minor=amount_minor, party=party, state=state, until_us=until_us,
            ends=ends, made_us=now_us,
        )  # fmt: skip

    def _advanced(self, number: str, now_us: int) -> Row | None:
        """Return the bill as it is by now."""
        found = self._find(number)
        if found is not None and found.done_us is None and found.until_us <= now_us:
            self._move(found, found.ends, found.until_us)
            found = self._find(number)
        return found

    def _move(self, row: Row, state: str, at_us: int) -> None:
        self._run("move", number=row.number, state=state, done_us=at_us, fee_minor=self._fee_minor(row, state))
        if self.changed is not None and (moved := self._find(row.number)) is not None:
            self.changed(moved)

    def _fee_minor(self, row: Row, state: str) -> int:
        """Return what is kept of what has moved so; below 0, what is given back."""
        share_minor = (row.amount_minor * self.terms.payin_fee_per_mille + 500) // 1000
        if state == "paid":
            return share_minor
        return -share_minor if self.gives_fees_back and (row.kind, state) == ("refund", "done") else 0

    def _find(self, number: str) -> Row | None:
        row = self._run("bill", number=number).fetchone()
        return None if row is None else Row(*row)

    def _one(self, name: str, **values: Any) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self._run(name, **values).fetchone()
        assert row is not None
        return row

    def _run(self, name: str, **values: Any) -> apsw.Cursor:
        return self._book.execute(self._sql[name], values or None)
