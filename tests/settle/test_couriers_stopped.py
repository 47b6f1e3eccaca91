"""Two couriers over one book, of which one is stopped with a message in its hands, and comes back too late: whoever was
told by the other meanwhile is not told by it too."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from redrush.errors import RedrushError
from redrush.operate.messages import send_again
from redrush.ports.message_book import OURS_S, KeptMessage, MessageBook, MessageState, NewMessage
from redrush.ports.notifier import Message, Told
from redrush.ports.provider import Accepted, Terms
from redrush.records.postgres.lease import RENEWED_S
from redrush.records.postgres.messages import PostgresMessageBook
from redrush.records.sqlite.messages import SqliteMessageBook
from redrush.settle.hiding import running_s
from redrush.settle.messages.courier import Courier
from tests.conftest import Databases
from tests.patience import PATIENCE_S
from tests.records.test_postgres_bills import lapse

AT_US: Final = 1_800_000_000_000_000
HOUR_S: Final = 3_600

Books = tuple[MessageBook, MessageBook, Callable[[], None]]
"""Of two processes, and what lets the second have its turn."""


def sqlite_books(tmp_path: Path, _request: pytest.FixtureRequest) -> Books:
    first, second = (SqliteMessageBook.open_path(tmp_path / "messages.db") for _ in range(2))
    return first, second, lambda: None


def postgres_books(_tmp_path: Path, request: pytest.FixtureRequest) -> Books:
    databases: Databases = request.getfixturevalue("databases")
    dsn = databases.fresh()
    return PostgresMessageBook(dsn, "a"), PostgresMessageBook(dsn, "b"), lambda: lapse(dsn)


@pytest.fixture(params=[sqlite_books, postgres_books], ids=["sqlite", "postgres"])
def books(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Books]:
    first, second, lapses = request.param(tmp_path, request)
    with closing(first), closing(second):
        yield first, second, lapses


class Carrier:
    """Hands over at once."""

    def __init__(self, told: list[str], *, repeats: bool) -> None:
        self.repeats = repeats
        self._told = told

    @property
    def terms(self) -> Terms:
        return Terms(currency="", at_once_max=3, deadline_s=PATIENCE_S)

    async def send(self, message: Message) -> Told:
        self._told.append(message.user)
        return Accepted(message.number)

    async def prove(self) -> str | None:
        return None

    def close(self) -> None:
        pass


class Stop:
    """Where a process is stopped, once: in a call of its book, or while a message is made."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.goes_on = threading.Event()

    def here(self) -> None:
        if not self.stopped.is_set():
            self.stopped.set()
            assert self.goes_on.wait(PATIENCE_S)


class StoppedAfterTaking:
    """A book whose process is stopped when it has taken something."""

    def __init__(self, inner: MessageBook, stop: Stop) -> None:
        self._inner = inner
        self._stop = stop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def take(self, *arguments: Any) -> list[KeptMessage]:
        taken = self._inner.take(*arguments)
        if taken:
            self._stop.here()
        return taken


def composed(kept: KeptMessage) -> Message:
    return Message(
        number=kept.number, user=kept.user, to="", language="en", title="", text="", at_us=kept.at_us, fields={}
    )


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.01)


async def ended(courier: Courier, task: "asyncio.Task[None]") -> None:
    courier.stop()
    await task


@pytest.mark.parametrize(
    ("where", "repeats", "noticed_by"),
    [
        ("taken", False, "the clock of the book"),
        ("taken", True, "the clock that nobody sets"),
        ("made", False, "the clock that nobody sets"),
    ],
)
async def test_who_was_told_by_the_next_is_not_told_by_the_one_that_was_stopped_too(
    books: Books, where: str, repeats: bool, noticed_by: str
) -> None:
    a_book, b_book, lapses = books
    stop, told, slept_s, a_us, b_us = Stop(), list[str](), [0.0], [AT_US], [AT_US]
    b_book.put([NewMessage(by="x", campaign="c", grant="g", user="ann", at_us=AT_US, fields={})], AT_US)

    def made(kept: KeptMessage) -> Message:
        stop.here()
        return composed(kept)

    carrier = Carrier(told, repeats=repeats)
    held: Any = StoppedAfterTaking(a_book, stop) if where == "taken" else a_book
    a = Courier("x", held, carrier, made if where == "made" else composed, lambda: a_us[0],
                running_s=lambda: running_s() + slept_s[0])  # fmt: skip
    b = Courier("x", b_book, carrier, composed, lambda: b_us[0])
    running_a = asyncio.create_task(a.run())
    await until(stop.stopped.is_set)
    lapses()
    b_us[0] += HOUR_S * 1_000_000
    running_b = asyncio.create_task(b.run())
    try:
        state = MessageState.NEW if repeats else MessageState.UNKNOWN
        await until(lambda: [one.state for one in b_book.listed()] == [state])
        if repeats:
            b_us[0] += HOUR_S * 1_000_000
        else:
            assert send_again(b_book, b_book.listed(), b_us[0]) == 1, "a person says so"
        await until(lambda: [one.state for one in b_book.listed()] == [MessageState.SENT])
        if noticed_by == "the clock of the book":
            a_us[0] = b_us[0]
        else:
            slept_s[0] = HOUR_S
        stop.goes_on.set()
        await until(lambda: len(told) > 1 or a.dropped)
        assert (told, a.dropped) == (["ann"], 1)
    finally:
        stop.goes_on.set()
        await asyncio.gather(ended(a, running_a), ended(b, running_b))


async def test_who_was_stopped_alone_sends_what_it_has_in_its_hands(books: Books) -> None:
    book, _, _ = books
    stop, told, slept_s = Stop(), list[str](), [0.0]
    book.put([NewMessage(by="x", campaign="c", grant="g", user="ann", at_us=AT_US, fields={})], AT_US)
    held: Any = StoppedAfterTaking(book, stop)
    courier = Courier("x", held, Carrier(told, repeats=False), composed, lambda: AT_US,
                      running_s=lambda: running_s() + slept_s[0])  # fmt: skip
    running = asyncio.create_task(courier.run())
    try:
        await until(stop.stopped.is_set)
        slept_s[0] = HOUR_S
        stop.goes_on.set()
        await until(lambda: [one.state for one in book.listed()] == [MessageState.SENT])
    finally:
        stop.goes_on.set()
        await ended(courier, running)
    assert (told, courier.dropped) == (["ann"], 0)


async def test_a_book_that_cannot_say_whose_it_is_is_asked_again_and_nobody_is_told_before(books: Books) -> None:
    book, _, _ = books
    faults, now_us, told, slept_s = list[RedrushError](), [AT_US], list[str](), [0.0]
    book.put([NewMessage(by="x", campaign="c", grant="g", user="ann", at_us=AT_US, fields={})], AT_US)

    class Away:
        def __getattr__(self, name: str) -> Any:
            return getattr(book, name)

        def take(self, *arguments: Any) -> list[KeptMessage]:
            taken = book.take(*arguments)
            slept_s[0] += 0.0 if faults else HOUR_S
            return taken

        def is_ours(self, message: KeptMessage) -> bool:
            if not faults:
                raise RedrushError("the book is away")
            return book.is_ours(message)

    held: Any = Away()
    courier = Courier("x", held, Carrier(told, repeats=False), composed, lambda: now_us[0], on_fault=faults.append,
                      running_s=lambda: running_s() + slept_s[0])  # fmt: skip
    running = asyncio.create_task(courier.run())
    try:
        await until(lambda: [(one.state, one.tries) for one in book.listed()] == [(MessageState.NEW, 0)] and faults)
        assert told == []
        now_us[0] += HOUR_S * 1_000_000
        await until(lambda: [one.state for one in book.listed()] == [MessageState.SENT])
    finally:
        await ended(courier, running)
    assert (told, [str(one) for one in faults]) == (["ann"], ["the book is away"])


def test_a_lease_that_is_seen_lasts_longer_than_what_was_taken_under_it_is_ours() -> None:
    assert RENEWED_S > OURS_S
