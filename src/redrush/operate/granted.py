"""What users were granted in all, as far as it is recorded: whoever retries a payout has to say so to the bill book.

Records may lag a win by a moment, and never have too much: nobody is paid what they have not won.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redrush.control.campaigns import directory_of
from redrush.control.event import load_campaign
from redrush.core.money.ledger import user_account
from redrush.operate.paying import Books, Granted
from redrush.records.sqlite.looking import SqlitePages


@contextmanager
def granted_by(books: Books) -> Iterator[Granted]:
    """Yield what says it of any campaign whose bills are in these books. Nothing is opened before it is asked."""
    opened: dict[str, tuple[Granted, Callable[[], None]]] = {}

    def granted_minor(campaign: str, user: str) -> int:
        key = campaign if books.deployment is None else ""
        if key not in opened:
            opened[key] = _on_one_machine(books, campaign) if books.deployment is None else _in_databases(books)
        return opened[key][0](campaign, user)

    try:
        yield granted_minor
    finally:
        for _, close in opened.values():
            close()


def _on_one_machine(books: Books, campaign: str) -> tuple[Granted, Callable[[], None]]:
    """Each campaign of a process has records of its own."""
    first = books.data_dir
    data_dir = first if load_campaign(first).id == campaign else directory_of(first, campaign)
    pages = SqlitePages(data_dir.records, campaign)

    def granted_minor(_campaign: str, user: str) -> int:
        account = user_account(user)
        debits_minor, credits_minor = pages.balances([account]).get(account, (0, 0))
        return credits_minor - debits_minor

    return granted_minor, pages.close


def _in_databases(books: Books) -> tuple[Granted, Callable[[], None]]:
    """The databases of a deployment's sets have all its campaigns."""
    from redrush.wiring.set_records import RecordedWins  # noqa: PLC0415 - needs the clients

    assert books.deployment is not None
    wins = RecordedWins(books.deployment.sets)
    return (lambda campaign, user: wins.balance(campaign, user_account(user)).net_minor), wins.close
