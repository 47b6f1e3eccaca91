"""The rows of the books of money, as files and tables give them alike, and what is the same before and after.

The log goes on while books are read. So they are read twice, before the log and after it. What is not the same both
times was being changed, and is left to the next look; all else was so while the log was read, and each equation has to
hold to the cent. Nothing has to be stopped for that.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, Protocol

from redrush.settle.reconcile.report import Problems

MOVED: Final = frozenset({"done", "paid_late"})
"""States of bills in which a provider has moved the money."""
WENT_BACK: Final = frozenset({"failed", "cancelled"})
"""States in which it never will, and what was set aside is back."""

Key = tuple[str, ...]
"""What names a row among all of the books."""

Posting = tuple[str, str, int]
"""Debit account, credit account, minor units."""


class BillRow(NamedTuple):
    """A bill with a provider."""

    kind: str
    source: str
    number: str
    user: str
    provider: str
    amount_minor: int
    account: str
    of_source: str
    state: str
    attempt: int
    fee_minor: int
    is_told: bool
    version: int


def is_part(refund: BillRow) -> bool:
    """Whether an operator gave back a part, or all, of what was paid for something that its buyer keeps."""
    return refund.source.startswith(f"{refund.of_source}/part/")


class PostingRow(NamedTuple):
    """A posting beside the bills."""

    id: str
    debit_account: str
    credit_account: str
    amount_minor: int


class AccountRow(NamedTuple):
    """What is kept as the sums of an account's postings."""

    account: str
    debits_minor: int
    credits_minor: int


class PacketRow(NamedTuple):
    """A packet between people: `content` is the whole of it as JSON."""

    id: str
    sender: str
    stage: int
    created_us: int
    paid_us: int | None
    closes_us: int
    total_minor: int
    request: str | None
    content: str


class OrderRow(NamedTuple):
    """An order of a sale: `body` is the whole of it as JSON."""

    id: str
    version: int
    set: str
    pot: str
    slot: int
    number: int
    user: str
    state: str
    due_us: int
    body: str


class Books(Protocol):
    """One state of the books of one campaign."""

    def bills(self) -> Iterator[BillRow]:
        """Yield its bills."""

    def postings(self) -> Iterator[PostingRow]:
        """Yield what was posted for it beside the bills."""

    def accounts(self) -> Iterator[AccountRow]:
        """Yield the sums that are kept of these postings."""

    def packets(self) -> Iterator[PacketRow]:
        """Yield its packets."""

    def orders(self) -> Iterator[OrderRow]:
        """Yield the orders of its sales."""

    def name(self, what: str) -> str:
        """Return where "bills", "packets" or "orders" are, for people."""

    def mend(self, what: str) -> str:
        """Return what to do where a row of these is not what was written."""


def _keyed(books: Books) -> Iterator[tuple[Key, tuple[Any, ...]]]:
    yield from ((("bill", bill.kind, bill.source), bill) for bill in books.bills())
    yield from ((("posting", posting.id), posting) for posting in books.postings())
    yield from ((("account", account.account), account) for account in books.accounts())
    yield from ((("packet", packet.id), packet) for packet in books.packets())
    yield from ((("order", order.id), order) for order in books.orders())


class Marks:
    """What the books were like before the log was read: a number for each row, which another one has not."""

    def __init__(self, books: Books) -> None:
        self.of = {key: hash(row) for key, row in _keyed(books)}


class Kept:
    """The books after the log was read, and what of them was the same before it. Made by `check_books`."""

    def __init__(self, before: Marks, books: Books) -> None:
        self.books = books
        self.postings: dict[str, Posting] = {}
        self.bills: dict[tuple[str, str], BillRow] = {}
        self.accounts: dict[str, tuple[int, int]] = {}
        self._unseen = dict(before.of)
        self._changed: set[Key] = set()
        for bill in books.bills():
            self.bills[bill.kind, bill.source] = bill
            self.note(("bill", bill.kind, bill.source), bill)
        for posting in books.postings():
            self.postings[posting.id] = posting[1:]
            self.note(("posting", posting.id), posting)
        for account in books.accounts():
            self.accounts[account.account] = account[1:]
            self.note(("account", account.account), account)
        self._changed |= {key for key in self._unseen if key[0] in {"bill", "posting", "account"}}
        self.explained: set[str] = set()
        """Postings that something stands for."""
        self.refunds: defaultdict[str, list[BillRow]] = defaultdict(list)
        """By the source of a pay-in, what of it goes back, or has."""
        for bill in self.bills.values():
            if bill.kind == "refund" and bill.state not in WENT_BACK:
                self.refunds[bill.of_source].append(bill)

    @property
    def changing(self) -> int:
        """How many rows were being written."""
        return len(self._changed)

    def note(self, key: Key, row: tuple[Any, ...]) -> None:
        """Take in a row as it is now."""
        if self._unseen.pop(key, None) != hash(row):
            self._changed.add(key)

    def stood(self, *keys: Key) -> bool:
        """Whether all of these were the same before and after the log was read, or absent both times."""
        return self._changed.isdisjoint(keys)

    def explain(self, posting: str) -> Posting | None:
        """Return the posting of that id: something stands for it."""
        found = self.postings.get(posting)
        if found is not None:
            self.explained.add(posting)
        return found


Tell = Callable[[str, str], None]
"""Tells of a difference: a sentence, and what to do."""


class Teller:
    """Tells of a difference, and what to do about it, unless what it is about was being changed."""

    def __init__(self, kept: Kept, problems: Problems) -> None:
        self._kept = kept
        self._problems = problems

    def about(self, *keys: Key) -> Tell:
        """Return what tells of a difference that rests on these rows."""

        def tell(sentence: str, todo: str) -> None:
            if self._kept.stood(*keys):
                self._problems.add(f"{sentence}; {todo}")

        return tell
