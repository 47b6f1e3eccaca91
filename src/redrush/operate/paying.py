"""What operators do about payouts and bills, on the book of a server that runs or is down.

The book takes orders from several processes: each change is made to the version that it was derived from, or not at
all, and a server finds what is due within a fraction of a second.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from redrush.config import DeploymentFile, PaymentsFile, ProviderSpec, load_deployment_file
from redrush.control.campaigns import keeper_of_books
from redrush.control.data_dir import DataDir
from redrush.core.money.currency import format_amount
from redrush.core.rush.instants import rfc3339
from redrush.errors import ConfigError, RedrushError
from redrush.extras import require
from redrush.named_file import read_named
from redrush.ports.bill_book import BillBook, BillState, Change, KeptBill, Kind, NotCovered
from redrush.ports.provider import BillLine, Unknown
from redrush.ports.records import RecordsFailed
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.settle.paying import steps
from redrush.settle.paying.comparing import Compared, Fees, compare, unbooked_fees
from redrush.wiring.providers import Connected, connected

PAGE: Final = 1_000
BILL_BYTES_MAX: Final = 512 << 20
"""Of a file."""
TRIES_MAX: Final = 5
"""A bill may change while an order is given."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A bill as commands tell of it."""

    number: str
    kind: str
    state: str
    user: str
    amount: str
    currency: str
    provider: str
    source: str
    attempt: int
    made_at: str
    paid_at: str | None
    detail: str

    @classmethod
    def of(cls, bill: KeptBill) -> "Shown":
        """Return it. What a winner confirms with is told to nobody else."""
        detail = "" if bill.state in (BillState.CONFIRMING, BillState.OPEN) else bill.detail
        return cls(
            number=bill.number, kind=bill.kind, state=str(bill.state), user=bill.user,
            amount=format_amount(bill.amount_minor, bill.currency), currency=bill.currency, provider=bill.provider,
            source=bill.source, attempt=bill.attempt, made_at=rfc3339(bill.made_us),
            paid_at=None if bill.done_us is None else rfc3339(bill.done_us), detail=detail,
        )  # fmt: skip


_NOT_BACK: Final = [state for state in BillState if state not in (BillState.FAILED, BillState.CANCELLED)]
"""Of a payout, or refund, whose money did not go back to where it was taken from."""


Granted = Callable[[str, str], int]
"""What a campaign has granted a user in all, in minor units, as far as it is recorded."""

NAMED_MAX: Final = 5
"""Of the things that a balance went to."""


class Books(NamedTuple):
    """Where an event's bills are: in its directory, or in the database of its deployment."""

    data_dir: DataDir
    deployment: DeploymentFile | None

    @classmethod
    def at(cls, data: Path | None, deploy: Path | None) -> "Books":
        """Return those of a directory, maybe of a stack, or of a deployment file. ConfigError unless it is one."""
        if (data is None) == (deploy is None):
            raise ConfigError(
                "say which event: --data DIR, or --deploy FILE; or `redrush payout --console URL --key FILE …`"
            )
        if data is not None:
            data_dir = DataDir(data)
            data_dir.require()
            return cls(data_dir, load_deployment_file(data_dir.deployment) if data_dir.deployment.exists() else None)
        assert deploy is not None
        deployment = load_deployment_file(deploy)
        return cls(DataDir(deployment.data), deployment)

    @property
    def there_are(self) -> bool:
        """Whether there are any: a deployment has them in its database, a directory once a server has made them."""
        return self.deployment is not None or self.data_dir.payments.exists()

    @property
    def of_bills(self) -> "Books":
        """Where the bills of this campaign are: one that is hosted beside another has none of its own."""
        return self if self.deployment is not None else Books(keeper_of_books(self.data_dir), None)


@contextmanager
def known_if_down(books: Books) -> Iterator[None]:
    """Name the command that helps beside a fault of the database, where it is a stack's own."""
    root = books.data_dir.root
    try:
        yield
    except RecordsFailed as fault:
        if not books.data_dir.deployment.exists():
            raise
        helps = f"`redrush stack up FILE --data {root}` starts it"
        raise RecordsFailed(f"{fault}; the stack has to run for this: {helps}") from fault


@contextmanager
def book_of(books: Books) -> Iterator[BillBook]:
    """Open the book. ConfigError if there is none."""
    data_dir = books.data_dir
    if books.deployment is not None:
        require("scaled", "the bills of a deployment")
        from redrush.records.postgres.bills import PostgresBillBook  # noqa: PLC0415 - an extra

        dsn = books.deployment.payments.records.read()
        with known_if_down(books), closing(PostgresBillBook(dsn, as_it_is=True)) as in_database:
            yield in_database
        return
    if not books.there_are:
        raise ConfigError(f"{data_dir.root}: has no bills; `redrush serve --payments FILE` makes them")
    book = SqliteBillBook.open_as_it_is(data_dir.payments)
    try:
        yield book
    finally:
        book.close()


def payouts(book: BillBook, states: Sequence[BillState], user: str | None) -> Iterator[KeptBill]:
    """Yield the payouts in these states, all if there are none, the oldest first."""
    return _all_of(book, "payout", states, user)


def refunds(book: BillBook) -> Iterator[KeptBill]:
    """Yield the refunds that have arrived, or are on their way, the oldest first."""
    return _all_of(book, "refund", _NOT_BACK, None)


def _all_of(book: BillBook, kind: Kind, states: Sequence[BillState], user: str | None) -> Iterator[KeptBill]:
    after = 0
    while page := book.listed(kind=kind, states=states, user=user, after=after, limit=PAGE):
        yield from page
        after = page[-1].id


def retry(book: BillBook, bill: KeptBill, now_us: int, granted: Granted) -> KeptBill:
    """Pay once more what has failed or was cancelled, under a new number; what waits is asked for now.

    The next attempt takes its money out of the balance anew, in one step with the look whether it is there. Raises
    RedrushError for what is paid or held, and where the money, which went back to the balance, has left it since.
    """
    if bill.state in (BillState.DONE, BillState.PAID_LATE):
        raise RedrushError(f"{bill.number} is paid: nothing was done")
    if bill.state is BillState.HELD:
        raise RedrushError(f"{bill.number} is held: `redrush payout release` lets it go on")
    if not bill.is_final:
        book.hurry(bill.id, now_us)
        return _again(book, bill)
    try:
        return _once_more(book, bill, now_us, granted(bill.campaign, bill.user))
    except NotCovered as refused:
        raise _left_since(book, bill, refused.available_minor) from refused


def refund_again(book: BillBook, bill: KeptBill, now_us: int) -> KeptBill:
    """Give back once more what has failed, under a new number. RedrushError where another refund has given it back."""
    try:
        return _once_more(book, bill, now_us, None)
    except NotCovered as refused:
        raise RedrushError(
            f"{bill.number} ended, and its money was given back by another refund since: nothing was done"
        ) from refused


def is_given_back(book: BillBook, bill: KeptBill) -> bool:
    """Whether other refunds leave nothing for one that has failed to give back."""
    return bill.amount_minor > book.left_of(bill.of)


def _once_more(book: BillBook, bill: KeptBill, now_us: int, covered_minor: int | None) -> KeptBill:
    def wish(fresh: KeptBill) -> Change:
        if fresh.state not in (BillState.FAILED, BillState.CANCELLED):
            raise RedrushError(f"{bill.number} is {fresh.state} by now: somebody else has retried it")
        return steps.again(fresh, now_us, covered_minor=covered_minor)

    return _changed(book, bill, wish)


def _left_since(book: BillBook, bill: KeptBill, available_minor: int) -> RedrushError:
    """Return what is said of a payout whose money is not in the balance any more.

    What is paid for a grant by itself has that grant's name for its source, and takes nothing that went back."""
    of_balance = f"{bill.campaign}/{bill.user}/"
    paid = (one for one in payouts(book, _NOT_BACK, bill.user) if one.source.startswith(of_balance))
    names = [one.number for one in paid if one.made_us >= bill.changed_us]
    if len(names) <= NAMED_MAX:
        spent = book.spendings(bill.campaign, bill.user, bill.changed_us, NAMED_MAX + 1 - len(names))
        names += [one.id.removeprefix("spend:") for one in spent]
    if not names:
        available = format_amount(max(0, available_minor), bill.currency)
        return RedrushError(
            f"{bill.number} ended, and the balance has {available} {bill.currency} now, less than it would pay; a win "
            "counts once it is recorded, which `redrush reconcile` waits for"
        )
    named = ", ".join(names[:NAMED_MAX]) + (" and more" if len(names) > NAMED_MAX else "")
    return RedrushError(
        f"{bill.number} ended, and its money went back to the balance, from which {named} was paid since: "
        "`redrush payout make` pays what is left"
    )


def hold(book: BillBook, bill: KeptBill, why: str, now_us: int) -> KeptBill:
    """Let it wait for a person. Raises RedrushError for what its provider has heard of already: that cannot be held."""

    def wish(fresh: KeptBill) -> Change:
        if fresh.state is not BillState.NEW:
            raise RedrushError(f"{fresh.number} is {fresh.state}: only what the provider has not heard of can be held")
        return steps.held(fresh, why, now_us)

    return _changed(book, bill, wish)


def release(book: BillBook, bill: KeptBill, now_us: int) -> KeptBill:
    """Let what is held go on. Raises RedrushError for what is not."""

    def wish(fresh: KeptBill) -> Change:
        if fresh.state is not BillState.HELD:
            raise RedrushError(f"{fresh.number} is {fresh.state}: only what is held is released")
        return steps.released(fresh, now_us)

    return _changed(book, bill, wish)


def named(book: BillBook, numbers: Sequence[str]) -> list[KeptBill]:
    """Return the payouts of these numbers. ConfigError for one that there is not."""
    found = []
    for number in numbers:
        bill = book.numbered(number.upper())
        if bill is None or bill.kind != "payout":
            raise ConfigError(f"there is no payout {number}; `redrush payout list` has their numbers")
        found.append(bill)
    return found


class OtherFees(RedrushError):
    """A provider's bill tells of other fees than somebody has seen: nothing was written."""

    def __init__(self, now: Fees) -> None:
        super().__init__(f"the bill alone tells {now.count} fees now, {now.total_minor} minor units in all")
        self.now = now


def compare_day(
    books: Books,
    file: PaymentsFile,
    provider: str | None,
    day: str | None,
    now_us: Callable[[], int],
    *,
    files: Sequence[Path] = (),
    books_fees: bool | Fees = False,
) -> Compared:
    """Hold a provider's bill of a day, today's by default, against an event's books. ConfigError where several move
    money and none is named; else as `compare_bills`."""
    if provider is None and len(file.providers) > 1:
        raise ConfigError(f"say whose bill: --provider {' or '.join(one.name for one in file.providers)}")
    name, when = provider or file.providers[0].name, day or rfc3339(now_us())[:10]
    with book_of(books) as book:
        return compare_bills(book, file, name, when, now_us, files=files, books_fees=books_fees)


def compare_bills(
    book: BillBook,
    file: PaymentsFile,
    provider: str,
    day: str,
    now_us: Callable[[], int],
    *,
    files: Sequence[Path] = (),
    books_fees: bool | Fees = False,
) -> Compared:
    """Fetch a provider's bill of a day (YYYY-MM-DD), or read it from `files`, which may have other days besides, and
    compare. With `books_fees` fees that only the bill tells are written into our books first, each once; if those
    are given that somebody has seen, and there are others, nothing is written: OtherFees. ConfigError for a provider, a
    day or a file that is none, RedrushError if the bill cannot be had."""
    spec = next((one for one in file.providers if one.name == provider), None)
    if spec is None:
        raise ConfigError(f"{file.path}: has no provider {provider!r}")

    async def fetch() -> tuple[tuple[int, int], Sequence[BillLine] | Unknown, bool]:
        one = connected(spec, now_us)
        try:
            if one.bills is None:
                raise ConfigError(f"{provider}: a {spec.kind} has no daily bill that can be fetched")
            try:
                bounds = one.bills.bounds(day)
            except (ValueError, OverflowError):  # the first and the last day of the calendar end, or begin, beyond it
                raise ConfigError(f'"{day}" is no day: write it like 2027-02-06') from None
            if bounds[0] > now_us():
                raise ConfigError(f"{day} has not begun for {provider}, so there is no bill of it")
            theirs = _of_files(spec, one, files, bounds) if files else await one.bills.daily(day)
            return bounds, theirs, one.provider.terms.tells_fees
        finally:
            one.close()

    (from_us, to_us), theirs, tells_fees = asyncio.run(fetch())
    if isinstance(theirs, Unknown):
        raise RedrushError(f"the bill of {provider} for {day} cannot be had: {theirs.why}")
    if books_fees and not tells_fees:
        fees = unbooked_fees(theirs, {}, book.numbered)
        if isinstance(books_fees, Fees) and books_fees != (now := Fees.of(fees)):
            raise OtherFees(now)
        for at in range(0, len(fees), PAGE):
            book.change([steps.charged(bill, line.fee_minor, now_us()) for bill, line in fees[at : at + PAGE]])
    return compare(provider, day, book.moved(provider, from_us, to_us), theirs, book, tells_fees=tells_fees)


def _of_files(spec: ProviderSpec, one: Connected, files: Sequence[Path], bounds: tuple[int, int]) -> Sequence[BillLine]:
    if one.reads is None:
        raise ConfigError(f"{spec.name}: the bill of a {spec.kind} is fetched, leave the file out")
    lines: list[BillLine] = []
    for path in files:
        try:
            data = read_named(path, BILL_BYTES_MAX)
            if len(data) > BILL_BYTES_MAX:
                raise ConfigError(f"{path}: larger than {BILL_BYTES_MAX >> 20} MB; this is no bill")
            lines += one.reads(data)
        except OSError as fault:
            raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
        except RedrushError as fault:
            raise ConfigError(f"{path}: {fault}") from None
    return [line for line in lines if bounds[0] <= line.at_us < bounds[1]]


def _changed(book: BillBook, bill: KeptBill, wish: Callable[[KeptBill], Change]) -> KeptBill:
    for _ in range(TRIES_MAX):
        if changed := book.change([wish(bill)]):
            return changed[0]
        bill = _again(book, bill)
    raise RedrushError(f"{bill.number} changes all the time, give the order again")


def _again(book: BillBook, bill: KeptBill) -> KeptBill:
    found = book.numbered(bill.number)
    assert found is not None
    return found
