"""Who wants the money of one user after the other, while somebody else wants it too.

As a process (`python -m tests.conformance.wanting_money KIND ADDRESS WISH COUNT`) it opens a book, says so, begins when
a line comes in, and tells at the end whose money it got.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from redrush.core.money.clearing import spent
from redrush.errors import RedrushError
from redrush.operate.paying import retry
from redrush.ports.bill_book import BillBook, Entered, Entry
from redrush.records.postgres.bills import PostgresBillBook
from redrush.records.sqlite.bills import SqliteBillBook

WON_MINOR = 100
"""By each user; a payout of all of it has failed."""
SPENT_MINOR = 60

Wish = Callable[[BillBook, int], bool]
"""Wants the money of the user of this number; whether it got it."""


def open_at(kind: str, address: str) -> BillBook:
    """Open the book, as any process may."""
    return SqliteBillBook.open_path(Path(address)) if kind == "sqlite" else PostgresBillBook(address)


def retried(book: BillBook, number: int) -> bool:
    """An operator tries the payout again."""
    bill = book.find("payout", f"g{number}")
    assert bill is not None
    if not bill.is_final:
        return False  # somebody else has
    try:
        return retry(book, bill, 50, lambda _campaign, _user: WON_MINOR).attempt == bill.attempt + 1
    except RedrushError:
        return False


def was_spent(book: BillBook, number: int) -> bool:
    """The user pays for a packet."""
    posting = spent(f"u{number}", "sponsor", f"packet:{number}", SPENT_MINOR, 50)
    return book.post_each("c", [Entry(posting, WON_MINOR)]) == [Entered.NOW]


WISHES: dict[str, Wish] = {"retry": retried, "spend": was_spent}


def main() -> None:
    """Be such a process."""
    kind, address, wish, count = sys.argv[1:]
    book = open_at(kind, address)
    book.cursor("")  # connected
    tell("open")
    sys.stdin.readline()
    tell(json.dumps([WISHES[wish](book, number) for number in range(int(count))]))
    book.close()


def tell(line: str) -> None:
    """Say it to whoever has started this process."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
