"""The books of a campaign's sales and of its packets, wherever they are: in its directory, or in the database of its
deployment."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from redrush.config import DeploymentFile
from redrush.extras import require
from redrush.operate.paying import Books
from redrush.ports.packets import PacketBook
from redrush.ports.sale_book import SaleBook
from redrush.records.sqlite.packets import SqlitePacketBook
from redrush.records.sqlite.sales import SqliteSaleBook


class _Closed(Protocol):
    def close(self) -> None:
        """Close it."""


_Book = TypeVar("_Book", bound=_Closed)


def sale_book_of(books: Books, campaign: str) -> AbstractContextManager[SaleBook | None]:
    """Open it; None: nothing was ever sold here. Addresses in it stay hidden. ConfigError, BookFailed."""

    def in_database(deployment: DeploymentFile) -> SaleBook:
        require("scaled", "the orders of a deployment")
        from redrush.records.postgres.sales import PostgresSaleBook  # noqa: PLC0415 - an extra

        return PostgresSaleBook(deployment.payments.records.read(), campaign, as_it_is=True)

    return _opened(books, in_database, books.data_dir.sales, SqliteSaleBook.open_as_it_is)


def packet_book_of(books: Books, campaign: str) -> AbstractContextManager[PacketBook | None]:
    """Open it; None: nobody ever sent a packet here. ConfigError, BookFailed."""

    def in_database(deployment: DeploymentFile) -> PacketBook:
        require("scaled", "the packets of a deployment")
        from redrush.records.postgres.packets import PostgresPacketBook  # noqa: PLC0415 - an extra

        return PostgresPacketBook(deployment.payments.records.read(), campaign, as_it_is=True)

    return _opened(books, in_database, books.data_dir.packets, SqlitePacketBook.open_as_it_is)


@contextmanager
def _opened(
    books: Books, in_database: Callable[[DeploymentFile], _Book], path: Path, in_file: Callable[[Path], _Book]
) -> Iterator[_Book | None]:
    if books.deployment is None and not path.exists():
        yield None
        return
    book = in_file(path) if books.deployment is None else in_database(books.deployment)
    with closing(book):
        yield book
