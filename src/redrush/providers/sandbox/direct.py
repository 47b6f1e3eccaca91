"""The sandbox in one's own process: the bank is called, nothing is sent. For tests, and for trying things out."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from redrush.ports.provider import (
    Absent,
    Bill,
    BillLine,
    Cancelled,
    Cancelling,
    Closed,
    Confirming,
    Done,
    Failed,
    Open,
    Order,
    Paid,
    PayInStart,
    PayInState,
    PayOutStart,
    PayOutState,
    Pending,
    Refund,
    RefundStart,
    RefundState,
    State,
    Terms,
    Unknown,
)
from redrush.providers.sandbox.bank import DAY_US, SECOND_US, Bank


class _Direct:
    def __init__(self, bank: Bank, now_us: Callable[[], int], terms: Terms | None = None) -> None:
        self.bank = bank
        self._now_us = now_us
        self._terms = terms or terms_of(bank)

    @property
    def terms(self) -> Terms:
        """What the bank allows."""
        return self._terms


class DirectPayIn(_Direct):
    """Fulfils `redrush.ports.provider.PayIn`."""

    async def start(self, order: Order) -> PayInStart:
        """See the port."""
        return self.bank.order(order, self._now_us())

    async def find(self, number: str, reference: str = "") -> PayInState:
        """See the port."""
        return payin_state(self.bank.state(number, self._now_us()))

    async def close(self, number: str, reference: str = "") -> Closed | Paid | Unknown:
        """See the port."""
        return closed_state(self.bank.shut(number, self._now_us()))

    async def refund(self, refund: Refund) -> RefundStart:
        """See the port."""
        return self.bank.refund(refund, self._now_us())

    async def find_refund(self, number: str, of: str) -> RefundState:
        """See the port."""
        return refund_state(self.bank.state(number, self._now_us()))


class DirectPayOut(_Direct):
    """Fulfils `redrush.ports.provider.PayOut`."""

    async def start(self, bill: Bill) -> PayOutStart:
        """See the port."""
        return self.bank.transfer(bill, self._now_us())

    async def find(self, number: str) -> PayOutState:
        """See the port."""
        return payout_state(self.bank.state(number, self._now_us()))

    async def cancel(self, number: str) -> Cancelling | Done | Cancelled | Unknown:
        """See the port."""
        answer = self.bank.cancel(number, self._now_us())
        return Unknown("there is no such number") if isinstance(answer, Absent) else answer


class DirectBills:
    """Fulfils `redrush.ports.provider.DailyBills`. Days are those of UTC."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    def bounds(self, day: str) -> tuple[int, int]:
        """See the port."""
        return bounds_of(day)

    async def daily(self, day: str) -> Sequence[BillLine] | Unknown:
        """See the port."""
        return self._bank.lines(*bounds_of(day))


def terms_of(bank: Bank) -> Terms:
    """Return the bank's terms as a provider's."""
    its = bank.terms
    return Terms(
        currency=its.currency, min_minor=its.min_minor, max_minor=its.max_minor, confirms=its.confirms,
        longest_silence_s=2.0, deadline_s=2.0, looks_s=(0.2, 0.5, 1, 2, 5, 10, 30),
    )  # fmt: skip


def bounds_of(day: str) -> tuple[int, int]:
    """Return the first instant of a day and of the next, in µs. ValueError if it is no YYYY-MM-DD."""
    first_us = int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * SECOND_US
    return first_us, first_us + DAY_US


def payin_state(state: State | Absent) -> PayInState:
    """Return the state of a payment; Unknown if the number is of something else."""
    return state if isinstance(state, Open | Paid | Closed | Absent) else _other(state)


def closed_state(state: State | Absent) -> Closed | Paid | Unknown:
    """Return what the wish to close has come to. What the bank never had cannot be paid."""
    if isinstance(state, Closed | Absent):
        return Closed()
    return state if isinstance(state, Paid) else _other(state)


def payout_state(state: State | Absent) -> PayOutState:
    """Return the state of a transfer; Unknown if the number is of something else."""
    return state if isinstance(state, Pending | Confirming | Done | Failed | Cancelled | Absent) else _other(state)


def refund_state(state: State | Absent) -> RefundState:
    """Return the state of a refund; Unknown if the number is of something else."""
    return state if isinstance(state, Pending | Done | Failed | Absent) else _other(state)


def _other(state: object) -> Unknown:
    return Unknown(f"the number is of something else: it is {type(state).__name__.lower()}")
