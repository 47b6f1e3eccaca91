"""The bill book in PostgreSQL: a call is one transaction, and some statements however many bills it is about.

Several processes may use a book, and none of them can pay anybody twice: a bill is taken under a lock of its row, and
changed only from the version that was read. But two that took bills by turns would ask a provider at twice its pace. So
one of them is the *teller* (`redrush.records.postgres.lease`): only it is given bills to see to, until it has not
asked for any for `LEASE_S`. A process that comes back under the same name goes on at once.

Long, because it is one port: each call is a statement or two in one transaction, and all share the same rows.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from redrush.core.money.clearing import SALES
from redrush.core.money.ledger import Posting, user_account
from redrush.core.money.numbers import bill_number
from redrush.core.nobody import ignore
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
from redrush.ports.records import Balance
from redrush.records.ledger_pages import ledger_page
from redrush.records.postgres.book import PostgresBook, json_rows, one_each
from redrush.records.postgres.lease import Lease, Row
from redrush.records.postgres.link import Cursor
from redrush.records.postgres.migrations import Tell


class PostgresBillBook(PostgresBook):
    """Fulfils `redrush.ports.bill_book.BillBook`. Calls may come from any thread; reads wait for no write."""

    def __init__(self, dsn: str, teller: str | None = None, *, tell: Tell = ignore, as_it_is: bool = False) -> None:
        """Connects to nothing yet. `teller` names who takes bills here, as long as it lives; None: whoever asks may."""
        super().__init__(__package__, dsn, {}, tell, as_it_is=as_it_is)
        self._lease = Lease(teller)
        self.is_standby = False
        """Whether somebody else was the teller when bills were last asked for."""

    # -- making

    def make(
        self, bills: Sequence[NewBill], now_us: int, cursor: tuple[str, int] | None = None, *, lenient: bool = False
    ) -> list[KeptBill]:
        """See the port."""
        with self._writer.transaction() as at:
            self._run(at, "lock_makers")
            found = self._found(at, bills)
            known: dict[tuple[str, str], KeptBill | NewBill] = dict(found)
            owned = _Owned(self._nets(at, [(b.campaign, b.user) for b in bills if b.covered_minor is not None]))
            refundable: dict[str, tuple[int, bool]] = {}
            wanted: list[NewBill] = []
            for bill in bills:
                try:
                    if self._is_new(at, bill, known, owned, refundable):
                        wanted.append(bill)
                except NotCovered:
                    if not lenient:
                        raise
                    continue
                known.setdefault((bill.kind, bill.source), bill)
            found |= self._insert(at, wanted, now_us)
            if cursor is not None:
                self._run(at, "move_cursor", name=cursor[0], seq=cursor[1])
        return [found[key] for bill in bills if (key := (bill.kind, bill.source)) in found]

    def _is_new(
        self,
        at: Cursor,
        bill: NewBill,
        known: Mapping[tuple[str, str], KeptBill | NewBill],
        owned: "_Owned",
        refundable: dict[str, tuple[int, bool]],
    ) -> bool:
        """Whether the bill is to be made. Raises BillConflict and NotCovered."""
        if (same := known.get((bill.kind, bill.source))) is not None:
            check_same(same, bill)
            return False
        if bill.covered_minor is not None:
            owned.check(bill.campaign, bill.user, bill.amount_minor, bill.covered_minor)
        if bill.kind == "refund":
            if bill.of not in refundable:
                refundable[bill.of] = self._refundable(at, bill.of)
            left_minor, is_late = refundable[bill.of]
            if bill.while_late and not is_late:
                raise NotCovered(0)
            if bill.amount_minor > left_minor:
                raise NotCovered(left_minor)
            refundable[bill.of] = left_minor - bill.amount_minor, is_late
        if bill.kind == "payout":
            owned.take(bill.campaign, bill.user, bill.amount_minor)
        return True

    def _refundable(self, at: Cursor, of: str) -> tuple[int, bool]:
        """Return what is left of a pay-in to be given back, minor units, and whether it came late."""
        row = self._run(at, "refundable", of=of, rest=rest_posting(of)).fetchone()
        return (0, False) if row is None else (int(row[0]), bool(row[1]))

    def _insert(self, at: Cursor, bills: Sequence[NewBill], now_us: int) -> dict[tuple[str, str], KeptBill]:
        if not bills:
            return {}
        rows = [
            msgspec.structs.asdict(bill)
            | {"account": bill.account or SALES, "number": bill_number(bill.kind, bill.source)}
            for bill in bills
        ]
        made = [KeptBill.of_row(row) for row in self._run(at, "make", bills=json_rows(rows), now_us=now_us)]
        made.sort(key=lambda bill: bill.id)
        self._post(at, ((bill.campaign, posting) for bill in made for posting in bill.billed.made(now_us)))
        return {(bill.kind, bill.source): bill for bill in made}

    def post_each(self, campaign: str, entries: Sequence[Entry]) -> list[Entered]:
        """See the port."""
        became: list[Entered] = []
        fresh: list[Posting] = []
        with self._writer.transaction() as at:
            self._run(at, "lock_makers")
            ids = [entry.posting.id for entry in entries]
            posted = {id_ for (id_,) in self._run(at, "posted", campaign=campaign, ids=ids)}
            asked = [(campaign, one.posting.debit_account) for one in entries if one.covered_minor is not None]
            owned = _Owned(self._balances(at, asked))
            for entry in entries:
                posting = entry.posting
                if posting.id in posted:
                    became.append(Entered.BEFORE)
                    continue
                if not owned.covers(campaign, entry):
                    became.append(Entered.NOT_COVERED)
                    continue
                became.append(Entered.NOW)
                fresh.append(posting)
                posted.add(posting.id)
                owned.move(campaign, posting)
            self._post(at, ((campaign, posting) for posting in fresh))
        return became

    def is_posted(self, campaign: str, posting: str) -> bool:
        """See the port."""
        with self._reader.transaction() as at:
            return self._run(at, "posted", campaign=campaign, ids=[posting]).fetchone() is not None

    def _post(self, at: Cursor, postings: Iterable[tuple[str, Posting]]) -> None:
        rows = [{"campaign": campaign, **msgspec.structs.asdict(posting)} for campaign, posting in postings]
        if not rows:
            return
        sums: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        for row in rows:
            sums[row["campaign"], row["debit_account"]][0] += row["amount_minor"]
            sums[row["campaign"], row["credit_account"]][1] += row["amount_minor"]
        moved = [
            {"campaign": campaign, "account": account, "debits_minor": debits, "credits_minor": credits_}
            for (campaign, account), (debits, credits_) in sums.items()
        ]
        self._run(at, "post", postings=json_rows(rows))
        self._run(at, "add_to_accounts", sums=json_rows(moved))

    # -- doing

    def cursor(self, name: str) -> int:
        """See the port."""
        with self._reader.transaction() as at:
            row = self._run(at, "cursor", name=name).fetchone()
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
        """See the port. Nothing, while somebody else is the teller."""
        wanted = {"provider": provider, "kinds": list(kinds), "now_us": now_us, "limit": limit}
        rows: list[Row] | None = None
        with self._writer.transaction() as at:
            rows = self._lease.take(
                at, lambda: self._run(at, f"to_{step}", hidden_until_us=hidden_until_us, **wanted).fetchall()
            )
        self.is_standby = rows is None
        if rows is None:
            return []
        rows.sort(key=lambda row: row[:3])  # in the order of the kinds, then of their times, then of their ids
        return [KeptBill.of_row(row[2:]) for row in rows]

    def change(self, changes: Sequence[Change]) -> list[KeptBill]:
        """See the port."""
        changed: dict[int, KeptBill] = {}
        made: list[Change] = []
        with self._writer.transaction() as at:
            again = [change for change in changes if change.number is not None]
            if again:
                self._run(at, "lock_makers")  # before any row: who makes bills takes theirs after it, too
                self._run(at, "keep_numbers", ids=[change.id for change in again])
            for batch in one_each(changes, key=lambda change: change.id):
                rows = [{name: getattr(change, name) for name in _CHANGED} for change in batch]
                found = [KeptBill.of_row(row) for row in self._run(at, "change", changes=json_rows(rows))]
                changed |= {bill.id: bill for bill in found}
                ids = {bill.id for bill in found}
                made += [change for change in batch if change.id in ids]
            self._post(at, ((changed[change.id].campaign, posting) for change in made for posting in change.postings))
            if again:
                self._check_again(at, [(changed[change.id], change) for change in made if change.number is not None])
        return [changed[change.id] for change in made]

    def _check_again(self, at: Cursor, tried: Sequence[tuple[KeptBill, Change]]) -> None:
        """Raise NotCovered where what next attempts have set aside is more than there was."""
        asked = [(bill.campaign, bill.user) for bill, change in tried if change.covered_minor is not None]
        nets = self._nets(at, asked)
        for bill, change in tried:
            if bill.kind == "refund":
                left_minor, _ = self._refundable(at, bill.of)
            elif change.covered_minor is not None:
                left_minor = change.covered_minor + nets[bill.campaign, user_account(bill.user)]
            else:
                continue
            if left_minor < 0:
                raise NotCovered(left_minor + bill.amount_minor)

    def hurry(self, bill_id: int, now_us: int, *, expires_us: int | None = None) -> None:
        """See the port."""
        with self._writer.transaction() as at:
            self._run(at, "hurry", id=bill_id, now_us=now_us, expires_us=expires_us)
            if expires_us is not None:
                self._run(at, "expire_new", id=bill_id, expires_us=expires_us)

    def untold(self, prefixes: Sequence[str], limit: int, after: int = 0) -> list[KeptBill]:
        """See the port."""
        return self._bills("untold", prefixes=list(prefixes), after=after, limit=limit)

    def paid_late(self, limit: int) -> list[KeptBill]:
        """See the port."""
        return self._bills("paid_late", limit=limit)

    def keep_late(self, source: str, now_us: int) -> KeptBill | None:
        """See the port."""
        with self._writer.transaction() as at:
            self._run(at, "lock_makers")
            self._run(at, "keep_late", source=source, now_us=now_us)
        return self.find("payin", source)

    def told(self, bills: Sequence[KeptBill]) -> None:
        """See the port."""
        with self._writer.transaction() as at:
            self._run(at, "told", bills=json_rows([{"id": bill.id, "version": bill.version} for bill in bills]))

    def keep_notices(self, notices: Sequence[tuple[str, Notice]], now_us: int) -> int:
        """See the port."""
        rows = [
            {"provider": provider, "notice": notice.id, "said": msgspec.json.encode(notice).decode()}
            for provider, notice in notices
        ]
        with self._writer.transaction() as at:
            return self._run(at, "keep_notices", notices=json_rows(rows), now_us=now_us).rowcount

    def inbox(self, limit: int) -> list[KeptNotice]:
        """See the port."""
        with self._reader.transaction() as at:
            rows = self._run(at, "inbox", limit=limit).fetchall()
        return [KeptNotice(id_, provider, msgspec.json.decode(said, type=Notice)) for id_, provider, said in rows]

    def seen(self, notices: Sequence[KeptNotice]) -> None:
        """See the port."""
        with self._writer.transaction() as at:
            self._run(at, "seen", ids=[notice.id for notice in notices])

    # -- looking

    def find(self, kind: Kind, source: str) -> KeptBill | None:
        """See the port."""
        return next(iter(self._bills("found_each", asked=json_rows([{"kind": kind, "source": source}]))), None)

    def left_of(self, source: str) -> int:
        """See the port."""
        with self._reader.transaction() as at:
            return self._refundable(at, source)[0]

    def numbered(self, number: str) -> KeptBill | None:
        """See the port."""
        return next(iter(self._bills("numbered", number=number)), None)

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
        named = [str(state) for state in states]
        return self._bills("listed", kind=kind, states=named, user=user, provider=provider, after=after, limit=limit)

    def forget_receivers(self, before_us: int, user: str | None = None) -> int:
        """See the port."""
        with self._writer.transaction() as at:
            return self._run(at, "forget_receivers", before_us=before_us, user=user).rowcount

    def moved(self, provider: str, from_us: int, to_us: int) -> list[KeptBill]:
        """See the port."""
        return self._bills("moved", provider=provider, from_us=from_us, to_us=to_us)

    def sums(self) -> list[BillSum]:
        """See the port."""
        with self._reader.transaction() as at:
            rows = self._run(at, "sums").fetchall()
        return [BillSum(provider, kind, BillState(state), *figures) for provider, kind, state, *figures in rows]

    def under_way(self) -> dict[str, int]:
        """See the port."""
        with self._reader.transaction() as at:
            return dict(self._run(at, "under_way", states=list(UNDER_WAY), limit=UNDER_WAY_MAX).fetchall())

    def accounts(self, campaign: str) -> dict[str, Balance]:
        """See the port."""
        with self._reader.transaction() as at:
            rows = self._run(at, "accounts", campaign=campaign, limit=ACCOUNTS_MAX).fetchall()
        return {account: Balance(*sums) for account, *sums in rows}

    def balance(self, campaign: str, account: str) -> Balance:
        """See the port."""
        with self._reader.transaction() as at:
            row = self._run(at, "balance", campaign=campaign, account=account).fetchone()
        return Balance(0, 0) if row is None else Balance(*row)

    def ledger(self, campaign: str, part: LedgerPart, after: str, limit: int) -> LedgerPage:
        """See the port."""
        with self._reader.transaction() as at:

            def rows(name: str, **values: Any) -> Sequence[Sequence[Any]]:
                return self._run(at, name, campaign=campaign, **values).fetchall()

            return ledger_page(rows, part, after, limit)

    def spendings(self, campaign: str, user: str, from_us: int, limit: int) -> list[Posting]:
        """See the port."""
        asked = {"campaign": campaign, "account": user_account(user), "from_us": from_us, "limit": limit}
        with self._reader.transaction() as at:
            return [Posting(*row) for row in self._run(at, "spendings", **asked)]

    def net_of(self, account: str) -> int:
        """See the port."""
        with self._reader.transaction() as at:
            ((net_minor,),) = self._run(at, "net_of", account=account).fetchall()
        return int(net_minor)

    # -- rows

    def _bills(self, query: str, /, **values: Any) -> list[KeptBill]:
        with self._reader.transaction() as at:
            return [KeptBill.of_row(row) for row in self._run(at, query, **values)]

    def _found(self, at: Cursor, bills: Sequence[NewBill]) -> dict[tuple[str, str], KeptBill]:
        asked = json_rows([{"kind": bill.kind, "source": bill.source} for bill in bills])
        found = [KeptBill.of_row(row) for row in self._run(at, "found_each", asked=asked)]
        return {(bill.kind, bill.source): bill for bill in found}

    def _nets(self, at: Cursor, owners: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        return self._balances(at, [(campaign, user_account(user)) for campaign, user in owners])

    def _balances(self, at: Cursor, accounts: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        asked = json_rows([{"campaign": campaign, "account": account} for campaign, account in set(accounts)])
        rows = self._run(at, "balances", asked=asked)
        return {(campaign, account): credits_ - debits for campaign, account, debits, credits_ in rows}


class _Owned:
    """What accounts come to, as a batch that is not yet in the book takes from them."""

    def __init__(self, nets_minor: Mapping[tuple[str, str], int]) -> None:
        self._nets_minor = defaultdict(int, nets_minor)

    def check(self, campaign: str, user: str, amount_minor: int, covered_minor: int) -> None:
        """Raise NotCovered for more than there is."""
        available = covered_minor + self._nets_minor[campaign, user_account(user)]
        if amount_minor > available:
            raise NotCovered(available)

    def take(self, campaign: str, user: str, amount_minor: int) -> None:
        """The user has so much less."""
        self._nets_minor[campaign, user_account(user)] -= amount_minor

    def covers(self, campaign: str, entry: Entry) -> bool:
        """Whether an entry may be made."""
        if entry.covered_minor is None:
            return True
        account = entry.posting.debit_account
        return entry.posting.amount_minor <= entry.covered_minor + self._nets_minor[campaign, account]

    def move(self, campaign: str, posting: Posting) -> None:
        """It was made."""
        self._nets_minor[campaign, posting.debit_account] -= posting.amount_minor
        self._nets_minor[campaign, posting.credit_account] += posting.amount_minor


_CHANGED: Final = tuple(name for name in Change.__struct_fields__ if name not in ("postings", "covered_minor"))
