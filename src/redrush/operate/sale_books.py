"""The book of a campaign's sales, wherever it is: in its directory, or in the database of its deployment."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from redrush.extras import require
from redrush.operate.paying import Books
from redrush.ports.sale_book import SaleBook
from redrush.records.sqlite.sales import SqliteSaleBook


@contextmanager
def sale_book_of(books: Books, campaign: str) -> Iterator[SaleBook | None]:
    """Open it; None: nothing was ever sold here. Addresses in it stay hidden. ConfigError, BookFailed."""
    if books.deployment is not None:
        require("scaled", "the orders of a deployment")
        from redrush.records.postgres.sales import PostgresSaleBook  # noqa: PLC0415 - an extra

        with closing(PostgresSaleBook(books.deployment.payments.records.read(), campaign)) as in_database:
            yield in_database
    elif books.data_dir.sales.exists():
        with closing(SqliteSaleBook.open_path(books.data_dir.sales)) as book:
            yield book
    else:
        yield None
