"""The books of one machine: SQLite files, read as an outsider would."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from redrush.settle.reconcile.book_rows import AccountRow, BillRow, OrderRow, PacketRow, PostingRow
from redrush.settle.reconcile.evidence import one_state_of
from redrush.sqlfiles import load_statements

FILES: Final = {"bills": "payments.db", "packets": "packets.db", "orders": "sales.db"}


class BookFiles:
    """Fulfils `redrush.settle.reconcile.book_rows.Books`: one state of each file. Made by `one_state_of_files`."""

    def __init__(self, connections: dict[str, Any], keeper: dict[str, Path], campaign: str) -> None:
        self._connections = connections
        self._keeper = keeper
        self._campaign = campaign
        self._sql = load_statements(__package__, "book_files.sql")

    def bills(self) -> Iterator[BillRow]:
        """See the protocol."""
        return map(BillRow._make, self._rows("bills", "bills"))

    def postings(self) -> Iterator[PostingRow]:
        """See the protocol."""
        return map(PostingRow._make, self._rows("bills", "postings"))

    def accounts(self) -> Iterator[AccountRow]:
        """See the protocol."""
        return map(AccountRow._make, self._rows("bills", "accounts"))

    def packets(self) -> Iterator[PacketRow]:
        """See the protocol."""
        return map(PacketRow._make, self._rows("packets", "packets"))

    def orders(self) -> Iterator[OrderRow]:
        """See the protocol."""
        return map(OrderRow._make, self._rows("orders", "orders"))

    def name(self, what: str) -> str:
        """See the protocol."""
        return FILES[what]

    def mend(self, what: str) -> str:
        """See the protocol."""
        directory, file = self._keeper[what], FILES[what]
        return (
            f"`redrush book check --data {directory}` says what of {file} is damaged, "
            f"`redrush restore BACKUP --data {directory} --only {file}` puts an earlier one back"
        )

    def _rows(self, book: str, name: str) -> Iterator[tuple[Any, ...]]:
        if book in self._connections:
            yield from self._connections[book].execute(self._sql[name], {"campaign": self._campaign})


@contextmanager
def one_state_of_files(data_dir: Path, bills_of: Path, campaign: str) -> Iterator[BookFiles | None]:
    """Read the books of a campaign as they are now, whatever is written meanwhile; None if it has none. Its bills are
    in `bills_of`, which is another directory where it is hosted beside another campaign.

    Raises as `redrush.settle.reconcile.evidence.one_state_of` does, in the block too.
    """
    keeper = {"bills": bills_of, "packets": data_dir, "orders": data_dir}
    with ExitStack() as stack:
        connections: dict[str, Any] = {}
        for what, directory in keeper.items():
            path = directory / FILES[what]
            if path.exists():
                connections[what] = stack.enter_context(one_state_of(path, f"a book of {what}"))
        yield BookFiles(connections, keeper, campaign) if connections else None
