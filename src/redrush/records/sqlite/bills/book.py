"""The bill book in `payments.db`, in SQLite with a fsync for each commit: what it says is nowhere else.

One connection, under a lock: the payments part writes in batches, people wait for theirs some milliseconds.

Long, because it is one port: each call is a statement or two in one transaction, and all share the same rows.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import apsw
import msgspec

from redrush.core.money.clearing import SALES
from redrush.core.money.ledger import Posting, user_account
from redrush.core.money.numbers import bill_number
from redrush.ports.bill_book import (
    ACCOUNTS_MAX,
    KINDS,
    UNDER_WAY,
    UNDER_WAY_MAX,
    BillState,
    BillSum,
    Change,
    Entered,
    Entry,
    KeptBill,
    KeptNotice,
    Kind,
    NewBill,
    NotCovered,
    Step,
    check_same,
    rest_posting,
)
from redrush.ports.grant_pages import LedgerPage, LedgerPart
from redrush.ports.provider import Notice
from redrush.ports.records import Balance, RecordsConflict, RecordsFailed
from redrush.records.ledger_pages import ledger_page
from redrush.records.sqlite.book_examining import add_digest_of, digest_of_row
from redrush.records.sqlite.book_mark import MarkedBook
from redrush.records.sqlite.file import Book, book_failures, open_as_it_is, open_durable
from redrush.sqlfiles import load_numbered, load_statements

BOOK: Final = Book("a bill book", "people were paid", 0x52525042, load_numbered(__package__))

SEALED: Final = ("kind", "source", "campaign", "user", "provider", "currency", "amount_minor", "subject", "to", "of",
                 "account", "how")  # fmt: skip
"""What never changes of a bill, in the order of `redrush/records/sqlite/book_examining.sql`."""


class SqliteBillBook:
    """Fulfils `redrush.ports.bill_book.BillBook`. Calls may come from any thread and take turns."""

    def __init__(self, path: Path, marked: MarkedBook) -> None:
        self._path = path
        self._marked = marked
        self._connection = marked.connection
        add_digest_of(self._connection)
        self._sql = load_statements(__package__, "queries.sql")
        self._lock = threading.Lock()

    @classmethod
    def open_path(cls, path: Path) -> Self:
        """Open the book, making it if the file is missing. ConfigError as of `open_durable`."""
        return cls(path, open_durable(path, BOOK))

    @classmethod
    def open_as_it_is(cls, path: Path) -> Self:
        """Open the book for a command. ConfigError as of `redrush.records.sqlite.file.open_as_it_is`."""
        return cls(path, open_as_it_is(path, BOOK))

    # -- making

    def make(
        self, bills: Sequence[NewBill], now_us: int, cursor: tuple[str, int] | None = None, *, lenient: bool = False
    ) -> list[KeptBill]:
        """See the port."""
        kept = []
        with self._transaction():
            for bill in bills:
                try:
                    kept.append(self._make(bill, now_us))
                except NotCovered:
                    if not lenient:
                        raise
            if cursor is not None:
                self._run("move_cursor", name=cursor[0], seq=cursor[1])
        return kept

    def _make(self, bill: NewBill, now_us: int) -> KeptBill:
        if (found := self._found(bill.kind, bill.source)) is not None:
            check_same(found, bill)
            return found
        if bill.covered_minor is not None:
            self._check_covered(bill.campaign, user_account(bill.user), bill.amount_minor, bill.covered_minor)
        if bill.kind == "refund":
            self._check_refundable(bill.of, bill.amount_minor, while_late=bill.while_late)
        account = bill.account or SALES
        values = msgspec.structs.asdict(bill) | {
            "account": account,
            "number": bill_number(bill.kind, bill.source),
            "state": "held" if bill.held else "new",
            "next_us": None if bill.held else now_us,
            "now_us": now_us,
        }
        values["digest"] = digest_of_row([values[key] for key in SEALED])
        for unstored in ("covered_minor", "while_late", "held"):
            del values[unstored]
        self._run("make", **values)
        kept = self._found(bill.kind, bill.source)
        assert kept is not None
        self._post(bill.campaign, kept.billed.made(now_us))
        return kept

    def post_each(self, campaign: str, entries: Sequence[Entry]) -> list[Entered]:
        """See the port."""
        fresh: dict[str, Posting] = {}
        moved: defaultdict[str, int] = defaultdict(int)  # by account, what these come to
        with self._transaction():
            became = [self._enter(campaign, entry, fresh, moved) for entry in entries]
            self._post(campaign, fresh.values())
        return became

    def _enter(self, campaign: str, entry: Entry, fresh: dict[str, Posting], moved: defaultdict[str, int]) -> Entered:
        posting = entry.posting
        if posting.id in fresh or self._run("posted", campaign=campaign, id=posting.id).fetchone() is not None:
            return Entered.BEFORE
        account, amount_minor = posting.debit_account, posting.amount_minor
        if entry.covered_minor is not None:
            try:
                self._check_covered(campaign, account, amount_minor, entry.covered_minor + moved[account])
            except NotCovered:
                return Entered.NOT_COVERED
        moved[account] -= amount_minor
        moved[posting.credit_account] += amount_minor
        fresh[posting.id] = posting
        return Entered.NOW

    def is_posted(self, campaign: str, posting: str) -> bool:
        """See the port."""
        with self._reading():
            return self._run("posted", campaign=campaign, id=posting).fetchone() is not None

    def _check_covered(self, campaign: str, account: str, amount_minor: int, covered_minor: int) -> None:
        available = covered_minor + self._balance(campaign, account).net_minor
        if amount_minor > available:
            raise NotCovered(available)

    def _check_refundable(self, of: str, amount_minor: int, *, while_late: bool = False) -> None:
        left_minor, is_late = self._refundable(of)
        if while_late and not is_late:
            raise NotCovered(0)
        if amount_minor > left_minor:
            raise NotCovered(left_minor)

    def _refundable(self, of: str) -> tuple[int, bool]:
        """Return what is left of a pay-in to be given back, minor units, and whether it came late."""
        row = self._run("refundable", of=of, rest=rest_posting(of)).fetchone()
        return (0, False) if row is None else (int(row[0]), bool(row[1]))

    def _post(self, campaign: str, postings: Iterable[Posting]) -> None:
        moved: defaultdict[tuple[str, str], int] = defaultdict(int)
        for posting in postings:
            self._run("post", campaign=campaign, **msgspec.structs.asdict(posting))
            moved["debit", posting.debit_account] += posting.amount_minor
            moved["credit", posting.credit_account] += posting.amount_minor
        for (side, account), amount_minor in moved.items():
            self._run(side, campaign=campaign, account=account, amount_minor=amount_minor)

    # -- doing

    def cursor(self, name: str) -> int:
        """See the port."""
        with self._reading():
            row = self._run("cursor", name=name).fetchone()
        return 0 if row is None else int(row[0])

    def take(
        self,
        provider: str,
        step: Step,
        now_us: int,
        hidden_until_us: int,
        limit: int,
        kinds: Sequence[Kind] = KINDS,
    ) -> list[KeptBill]:
        """See the port."""
        taken: list[KeptBill] = []
        with self._transaction():
            for kind in kinds:
                wanted = {"provider": provider, "kind": kind, "now_us": now_us, "limit": limit - len(taken)}
                for (bill_id,) in self._run(f"to_{step}", **wanted).fetchall():
                    if step == "start":
                        self._run("started", id=bill_id, now_us=now_us, hidden_until_us=hidden_until_us)
                    else:
                        self._run("hidden", id=bill_id, hidden_until_us=hidden_until_us)
                    taken.append(self._of_id(bill_id))
        return taken

    def change(self, changes: Sequence[Change]) -> list[KeptBill]:
        """See the port."""
        changed = []
        with self._transaction():
            for change in changes:
                if change.number is not None:
                    self._run("keep_number", id=change.id)
                values = msgspec.structs.asdict(change)
                del values["postings"], values["covered_minor"]
                if change.attempt is not None:
                    self._check_again(change)
                self._run("change", **values)
                if self._connection.changes() != 1:
                    continue
                bill = self._of_id(change.id)
                self._post(bill.campaign, change.postings)
                changed.append(bill)
        return changed

    def _check_again(self, change: Change) -> None:
        """Raise NotCovered where the money of the next attempt is not there any more."""
        bill = self._of_id(change.id)
        if bill.version != change.version:
            return  # and it is not changed
        if bill.kind == "refund":
            self._check_refundable(bill.of, bill.amount_minor)
        elif change.covered_minor is not None:
            self._check_covered(bill.campaign, user_account(bill.user), bill.amount_minor, change.covered_minor)

    def hurry(self, bill_id: int, now_us: int, *, expires_us: int | None = None) -> None:
        """See the port."""
        with self._transaction():
            self._run("hurry", id=bill_id, now_us=now_us, expires_us=expires_us)
            if expires_us is not None:
                self._run("expire_new", id=bill_id, expires_us=expires_us)

    def untold(self, prefixes: Sequence[str], limit: int, after: int = 0) -> list[KeptBill]:
        """See the port."""
        with self._reading():
            begins = msgspec.json.encode(prefixes).decode()
            return self._bills("untold", prefixes=begins, after=after, limit=limit)

    def paid_late(self, limit: int) -> list[KeptBill]:
        """See the port."""
        with self._reading():
            return self._bills("paid_late", limit=limit)

    def keep_late(self, source: str, now_us: int) -> KeptBill | None:
        """See the port."""
        with self._transaction():
            self._run("keep_late", source=source, now_us=now_us)
            return self._found("payin", source)

    def told(self, bills: Sequence[KeptBill]) -> None:
        """See the port."""
        with self._transaction():
            for bill in bills:
                self._run("told", id=bill.id, version=bill.version)

    def keep_notices(self, notices: Sequence[tuple[str, Notice]], now_us: int) -> int:
        """See the port."""
        fresh = 0
        with self._transaction():
            for provider, notice in notices:
                said = msgspec.json.encode(notice).decode()
                self._run("keep_notice", provider=provider, notice=notice.id, said=said, now_us=now_us)
                fresh += self._connection.changes()
        return fresh

    def inbox(self, limit: int) -> list[KeptNotice]:
        """See the port."""
        with self._reading():
            rows = self._run("inbox", limit=limit).fetchall()
            return [KeptNotice(id_, provider, msgspec.json.decode(said, type=Notice)) for id_, provider, said in rows]

    def seen(self, notices: Sequence[KeptNotice]) -> None:
        """See the port."""
        with self._transaction():
            for notice in notices:
                self._run("seen", id=notice.id)

    # -- looking

    def find(self, kind: Kind, source: str) -> KeptBill | None:
        """See the port."""
        with self._reading():
            return self._found(kind, source)

    def left_of(self, source: str) -> int:
        """See the port."""
        with self._reading():
            return self._refundable(source)[0]

    def numbered(self, number: str) -> KeptBill | None:
        """See the port."""
        with self._reading():
            row = self._run("numbered", number=number).fetchone()
            return None if row is None else self._of_id(row[0])

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
        """See the port."""
        wanted = {"kind": kind, "provider": provider, "after": after, "limit": limit}
        with self._reading():
            if user is not None:
                names = msgspec.json.encode([str(state) for state in states]).decode()
                return self._bills("listed_of_user", user=user, states=names, **wanted)
            if not states:
                return self._bills("listed", **wanted)
            # Each in the order of its index: few that failed are found among millions that did not.
            rows = [row for state in states for row in self._run("listed_in_state", state=str(state), **wanted)]
            return [self._of_id(bill_id) for (bill_id,) in sorted(rows)[:limit]]

    def forget_receivers(self, before_us: int, user: str | None = None) -> int:
        """See the port."""
        with self._transaction():
            self._run("forget_receivers", before_us=before_us, user=user)
            return self._connection.changes()

    def moved(self, provider: str, from_us: int, to_us: int) -> list[KeptBill]:
        """See the port."""
        with self._reading():
            return self._bills("moved", provider=provider, from_us=from_us, to_us=to_us)

    def sums(self) -> list[BillSum]:
        """See the port."""
        with self._reading():
            rows = self._run("sums").fetchall()
        return [BillSum(provider, kind, BillState(state), *figures) for provider, kind, state, *figures in rows]

    def under_way(self) -> dict[str, int]:
        """See the port."""
        oldest: dict[str, int] = {}
        with self._reading():
            for state in UNDER_WAY:
                for campaign, made_us in self._run("under_way", state=str(state), limit=UNDER_WAY_MAX):
                    oldest[campaign] = min(made_us, oldest.get(campaign, made_us))
        return oldest

    def accounts(self, campaign: str) -> dict[str, Balance]:
        """See the port."""
        with self._reading():
            rows = self._run("accounts", campaign=campaign, limit=ACCOUNTS_MAX).fetchall()
        return {account: Balance(*sums) for account, *sums in rows}

    def balance(self, campaign: str, account: str) -> Balance:
        """See the port."""
        with self._reading():
            return self._balance(campaign, account)

    def ledger(self, campaign: str, part: LedgerPart, after: str, limit: int) -> LedgerPage:
        """See the port."""

        def rows(name: str, **values: Any) -> Sequence[Sequence[Any]]:
            found: list[Sequence[Any]] = self._run(name, campaign=campaign, **values).fetchall()
            return found

        with self._reading():
            return ledger_page(rows, part, after, limit)

    def spendings(self, campaign: str, user: str, from_us: int, limit: int) -> list[Posting]:
        """See the port."""
        asked = {"campaign": campaign, "account": user_account(user), "from_us": from_us, "limit": limit}
        with self._reading():
            return [Posting(*row) for row in self._run("spendings", **asked)]

    def net_of(self, account: str) -> int:
        """See the port."""
        with self._reading():
            return int(self._run("net_of", account=account).fetchone()[0])

    def close(self) -> None:
        """See the port."""
        with self._lock:
            self._marked.close()

    # -- rows

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, _failures(self._path), self._marked.committing():
            yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, _failures(self._path):
            yield

    def _balance(self, campaign: str, account: str) -> Balance:
        row = self._run("balance", campaign=campaign, account=account).fetchone()
        return Balance(0, 0) if row is None else Balance(*row)

    def _found(self, kind: Kind, source: str) -> KeptBill | None:
        row = self._run("found", kind=kind, source=source).fetchone()
        return None if row is None else KeptBill.of_row(row)

    def _of_id(self, bill_id: int) -> KeptBill:
        return KeptBill.of_row(self._run("of_id", id=bill_id).fetchone())

    def _bills(self, query: str, /, **values: Any) -> list[KeptBill]:
        return [self._of_id(bill_id) for (bill_id,) in self._run(query, **values).fetchall()]

    def _run(self, query: str, /, **values: Any) -> Any:
        return self._connection.execute(self._sql[query], values or None)


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    with book_failures(path, RecordsFailed):
        try:
            yield
        except apsw.ConstraintError as error:
            raise RecordsConflict(f"{path} contradicts itself ({error}): nothing was changed") from error
