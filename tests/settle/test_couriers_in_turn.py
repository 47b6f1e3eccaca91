"""Couriers of two processes on one book in PostgreSQL: one sends at a time, and no mail is sent twice when the other
takes over, whether the first is dead or was only asleep."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Any, Final

import psycopg
import pytest

from redrush.ports.message_book import KeptMessage, MessageState, NewMessage
from redrush.ports.notifier import Message, Told
from redrush.ports.provider import Accepted, Terms
from redrush.records.postgres.messages import PostgresMessageBook
from redrush.settle.messages.courier import Courier
from tests.patience import PATIENCE_S

AT_US: Final = 1_800_000_000_000_000
AT_ONCE: Final = 3
MESSAGES: Final = 8


class Mailer:
    """Hands mails over at once, once `goes` is set; does not know numbers."""

    repeats = False

    def __init__(self) -> None:
        self.told: list[str] = []
        self.goes = asyncio.Event()

    @property
    def terms(self) -> Terms:
        return Terms(currency="", at_once_max=AT_ONCE, deadline_s=PATIENCE_S)

    async def send(self, message: Message) -> Told:
        self.told.append(message.user)
        await self.goes.wait()
        return Accepted(message.number)

    async def prove(self) -> str | None:
        return None

    def close(self) -> None:
        pass


def composed(kept: KeptMessage) -> Message:
    return Message(
        number=kept.number, user=kept.user, to="", language="en", title="", text="", at_us=kept.at_us, fields={}
    )


@pytest.fixture
def books(dsn: str) -> Iterator[list[PostgresMessageBook]]:
    with closing(PostgresMessageBook(dsn, "a")) as first, closing(PostgresMessageBook(dsn, "b")) as second:
        yield [first, second]


@asynccontextmanager
async def running(courier: Courier) -> Any:
    """Let it run, and fall asleep at the end as a process does that is not given the CPU any more."""
    task = asyncio.create_task(courier.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(holds: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.01)


async def test_who_takes_over_leaves_alone_what_was_under_way_and_sends_the_rest(
    dsn: str, books: list[PostgresMessageBook]
) -> None:
    book = books[1]
    book.put(
        [
            NewMessage(by="mail", campaign="c", grant=f"g{n}", user=f"u{n}", at_us=AT_US, fields={})
            for n in range(MESSAGES)
        ],
        AT_US,
    )
    mailer = Mailer()
    first, second = (Courier("mail", one, mailer, composed, lambda: AT_US) for one in books)

    def states() -> Counter[MessageState]:
        return Counter(one.state for one in book.listed())

    async with running(first):
        await until(lambda: len(mailer.told) == AT_ONCE)
    under_way = set(mailer.told)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE bill_teller SET until = clock_timestamp() - interval '1 minute'")
    others = Mailer()
    others.goes.set()
    second.notifier = others
    async with running(second):
        await until(lambda: states() == {MessageState.UNKNOWN: AT_ONCE, MessageState.SENT: MESSAGES - AT_ONCE})
        mailer.goes.set()  # the first wakes up: its mails were handed over all the time
        async with running(first):
            await until(lambda: first.sent == AT_ONCE)
            assert await asyncio.to_thread(books[0].take, "mail", AT_US, 1) == []
    assert {one.user for one in book.listed(states=[MessageState.UNKNOWN])} == under_way
    assert {one.why for one in book.listed(states=[MessageState.UNKNOWN])} == {
        "the server was killed while it was being sent"
    }
    assert sorted([*mailer.told, *others.told]) == sorted(f"u{n}" for n in range(MESSAGES)), "each once"
